"""Write curated episodes as a data set for other programs, with a card.

messages: chats, as TRL and others read them. prompt-completion-ids: the exact token ids, with labels and log-probs.
parquet: both, as one file that datasets loads.
"""

from __future__ import annotations

import argparse

USAGE = "DIR --format FORMAT --out OUT"
EPILOGUE = """examples:
  sdar export curated/best --format messages --out data/chats
  sdar export curated/best --format prompt-completion-ids --out data/ids
  sdar export curated/best --format parquet --out data/parquet

DIR is what sdar curate wrote. A study's results are exported by sdar study export, a model by sdar export-model."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar export``."""
    from ..offline.export import FORMATS

    parser.add_argument("folder", metavar="DIR", help="curated episodes")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="what is written")
    parser.add_argument("--out", metavar="OUT", required=True, help="the folder to write, which must not exist")


def run(options: argparse.Namespace) -> int:
    """Export, and say what was written."""
    from ..offline.export import export
    from .terminal import make_console

    rows = export(options.folder, options.format, options.out)
    make_console().print(
        f"{options.out}: {rows:,} rows as {options.format}, and README.md, their card", highlight=False
    )
    return 0
