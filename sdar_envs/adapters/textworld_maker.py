"""Makes one game of a TextWorld challenge: ``python -m sdar_envs.adapters.textworld_maker``, a JSON object as argument.

It runs in a process of its own, with a fixed hash seed: TextWorld's generators walk over sets and draw from a generator
that the whole process shares, so that in a user's process a game would depend on what ran before it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def make_game(challenge: str, settings: dict[str, Any], seed: int, path: Path) -> None:
    """Write a game: `path` ends with ``.z8`` (compiled by Inform, its ``.json`` beside it) or ``.json``.

    Raises:
        ImportError: TextWorld is not installed.
        ValueError: TextWorld cannot make a game of such settings.
    """
    import textworld
    from textworld.challenges import CHALLENGES
    from textworld.generator import compile_game

    textworld.g_rng.set_seed(seed)
    options = textworld.GameOptions()
    options.seeds = seed
    # Otherwise the objective of a quest tells the whole way, step by step, and there is nothing left for a teacher.
    options.grammar.only_last_action = True
    game = CHALLENGES[f"tw-{challenge}"][1](settings, options)
    if path.suffix == ".json":
        game.save(str(path))
        return
    options.path = str(path)
    compile_game(game, options)
    path.with_suffix(".ni").unlink(missing_ok=True)


def main() -> None:
    """Read the order from the command line, and make the game."""
    order = json.loads(sys.argv[1])
    make_game(order["challenge"], order["settings"], order["seed"], Path(order["path"]))


if __name__ == "__main__":
    main()
