"""What mkdocs calls while it builds the site; the pages that are made then come from `site_pages`."""

from site_pages.events import on_config as on_config
from site_pages.events import on_files as on_files
from site_pages.events import on_page_content as on_page_content
from site_pages.events import on_page_markdown as on_page_markdown
