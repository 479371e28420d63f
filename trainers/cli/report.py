"""Write the report of a study or of a run: one HTML file without network; Markdown, CSV, images."""

from __future__ import annotations

import argparse

EPILOGUE = """examples:
  sdar report studies/house
  sdar report runs/house --output house.html
  sdar report runs/house --with-privileged"""
USAGE = "DIRECTORY [options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar report``."""
    from ..report import EPISODES

    parser.add_argument("directory", metavar="DIRECTORY", help="a study's or a run's directory")
    parser.add_argument("--output", metavar="FILE", help="the HTML file [DIRECTORY/report.html]")
    parser.add_argument(
        "--episodes", type=int, default=EPISODES, metavar="N", help=f"in the viewer, per arm; 0 for none [{EPISODES}]"
    )
    parser.add_argument(
        "--with-privileged", action="store_true", help="show the teacher's side too, where it was logged"
    )
    parser.add_argument("--no-images", action="store_true", help="write no PNG files of the figures")


def run(options: argparse.Namespace) -> int:
    """Write the report."""
    from ..report.write import write_report
    from .terminal import make_console

    if options.episodes < 0:
        raise ValueError(f"--episodes: expected at least 0, got {options.episodes}")
    written = write_report(
        options.directory,
        output=options.output,
        episodes=options.episodes,
        with_privileged=options.with_privileged,
        images=not options.no_images,
    )
    console = make_console()
    for path in written.files:
        console.print(f"{path}  {path.stat().st_size / 1024:,.0f} KiB")
    for note in written.notes:
        console.print(note)
    return 0
