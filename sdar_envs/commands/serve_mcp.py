"""Serve a world's tools to an assistant that speaks the Model Context Protocol, over standard input and output.

ENV is a Gymnasium id or `module:factory`. The assistant starts this command itself: it gets the world's tools, and
`reset`, which begins an episode. Nothing that only a teacher may know is computed or sent.
"""

from __future__ import annotations

import argparse

USAGE = "ENV [options]"
EPILOGUE = """examples:
  sdar serve-mcp sdar/Trip-v0
  sdar serve-mcp sdar/Household-v0 --env-kwargs size=small split=valid --seed 7

It needs the extra `mcp`. An assistant's configuration names it as a server:
  {"mcpServers": {"trip": {"command": "sdar", "args": ["serve-mcp", "sdar/Trip-v0"]}}}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("environment", metavar="ENV", help="Gymnasium id, or module:factory")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="arguments of the environment"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first episode, where the assistant names none [0]")


def run(options: argparse.Namespace) -> int:
    """Serve until the assistant leaves. Standard output is the protocol's alone."""
    from .. import __version__
    from ..text_only import require_text_world
    from .check import read_pairs, target_of

    if options.seed < 0:
        raise ValueError(f"--seed: expected at least 0, got {options.seed}")
    make = target_of(options.environment, read_pairs(options.env_kwargs))
    from ..bridges.mcp_server import serve_stdio

    require_text_world(make, options.environment)

    serve_stdio(make, options.environment, version=__version__, seed=options.seed)
    return 0
