"""Write the folder from which OpenEnv builds and checks an image of an environment: openenv.yaml, Dockerfile, server.

The image installs this package by its version and serves the environment without a teacher's side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

USAGE = "ENV FOLDER [options]"
EPILOGUE = """example:
  sdar export-env sdar/Household-v0 household --env-kwargs size=small
  openenv validate household --level static --skip-build"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("environment", metavar="ENV", help="Gymnasium id of this suite")
    parser.add_argument("folder", metavar="FOLDER", help="a folder that does not exist, or is empty")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="arguments of the environment"
    )
    parser.add_argument("--max-sessions", type=int, default=64, help="clients at one time [64]")


def run(options: argparse.Namespace) -> int:
    """Write it and say where it is."""
    from ..bridges.openenv_folder import write_folder
    from .check import read_pairs

    written = write_folder(
        Path(options.folder), options.environment, read_pairs(options.env_kwargs), max_sessions=options.max_sessions
    )
    for path in written:
        print(path)
    return 0
