"""Pair for PettingZoo: `env` (one agent after another), `raw_env` (the same unwrapped) and `parallel_env`."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from .aec import TextGameAEC
from .pair.game import Pair
from .parallel import TextGameParallel

__all__ = ["env", "parallel_env", "raw_env"]


def raw_env(*, expose_privileged: bool = True, render_mode: str | None = None, **options: Any) -> TextGameAEC:
    """The game as an AEC environment.

    Args:
        expose_privileged: Whether the agents' infos have ``"privileged"``.
        render_mode: ``"ansi"`` or ``"human"``.
        **options: Of `pair.game.Pair`; `max_cycles` is PettingZoo's name for `horizon`.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """
    if "max_cycles" in options:
        options["horizon"] = options.pop("max_cycles")
    return TextGameAEC(Pair(**options), expose_privileged=expose_privileged, render_mode=render_mode)


def env(**options: Any) -> Any:
    """The same with the one wrapper that says when methods are called in a wrong order."""
    return OrderEnforcingWrapper(raw_env(**options))


def parallel_env(**options: Any) -> TextGameParallel:
    """The same game with the dictionaries of the parallel interface; each step takes one role's turn."""
    return TextGameParallel(raw_env(**options))
