"""The steps of a build that the site takes part in: its settings, its list of pages, the text of each page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

from . import api, commands, links, methods, repository, tabs, worlds

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Hang the pages of the commands and of the examples into the navigation, in the place of their lists."""
    made = {
        "Command line": [commands.INDEX, *commands.pages_in_order()],
        "Examples": repository.example_pages(),
    }
    for section in config.nav or []:
        for entries in section.values() if isinstance(section, dict) else []:
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict):
                    entry.update({title: pages for title, pages in made.items() if title in entry})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and the repository's files that are served as they are."""
    for source in (repository, commands, methods, api):
        for name, text in source.pages().items():
            files.append(File.generated(config, name, content=text))
    for name, content in repository.files().items():  # `exclude_docs` keeps programs of docs/ out, and not these
        files.append(File.generated(config, name, content=content, inclusion=InclusionLevel.INCLUDED))
    return files


_FLAG = re.compile(r"<code>(--?[\w-]{1,24})</code>")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keep the name of an option in one line: browsers break behind its hyphens."""
    return _FLAG.sub(r'<code class="whole">\1</code>', html)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put worlds' blocks and tabs where a page asks for them, and make links that are right on GitHub the site's."""
    here = links.for_the_site(worlds.filled_in(markdown), page.file.src_uri)
    return tabs.in_tabs(links.with_the_address(here, config.repo_url))
