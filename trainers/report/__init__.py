"""Reports: one HTML file about a study or a run, and the same as Markdown and images.

    gather    `study_document`, `run_document`      records on disk -> a `document` of blocks and `figure` descriptions
              `episodes`, `viewer_data`             a few logged episodes for the viewer
    draw      `svg` (in the page), `png` (beside it), both from the same descriptions
    write     `page` (HTML), `markdown`

Text of models and worlds passes through here as data only: it is cleaned, escaped, and never markup.
"""

from __future__ import annotations

EPISODES = 96  # in the viewer, per arm; with the tiny preset's short texts about 300 KB
