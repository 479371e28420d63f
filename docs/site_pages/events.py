"""The steps of a build that the site takes part in: its settings, its list of pages, the text of each page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkdocs.structure.files import File

from . import api, commands, links, methods, repository, worlds

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Hang the pages of the commands into the navigation."""
    for section in config.nav or []:
        for entry in section.get("Reference", []) if isinstance(section, dict) else []:
            if isinstance(entry, dict) and "Command line" in entry:
                entry["Command line"] = [commands.INDEX, *commands.pages_in_order()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    for source in (repository, commands, methods, api):
        for name, text in source.pages().items():
            files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the worlds' blocks where a page asks for them, and turn links that are right on GitHub into the site's."""
    return links.for_the_site(worlds.filled_in(markdown), page.file.src_uri)
