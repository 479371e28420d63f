"""What the module of a game exports for PettingZoo: `env`, `raw_env` and `parallel_env`, made of the game's class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from .aec import TextGameAEC
from .game import TextGame
from .parallel import TextGameParallel


@dataclass(frozen=True, slots=True)
class Exports:
    """The three functions of a game's module, each with the game's own options.

    Attributes:
        game: Makes the game.
    """

    game: Callable[..., TextGame]

    def raw_env(self, *, expose_privileged: bool = True, render_mode: str | None = None, **options: Any) -> TextGameAEC:
        """The game as an AEC environment: one agent after another.

        Args:
            expose_privileged: Whether the agents' infos have ``"privileged"``.
            render_mode: ``"ansi"`` or ``"human"``.
            **options: Of the game; `max_cycles` is PettingZoo's name for `horizon`.

        Raises:
            ValueError: An unknown choice or a number out of range.
        """
        if "max_cycles" in options:
            options["horizon"] = options.pop("max_cycles")
        return TextGameAEC(self.game(**options), expose_privileged=expose_privileged, render_mode=render_mode)

    def env(self, **options: Any) -> Any:
        """The same with the one wrapper that says when methods are called in a wrong order."""
        return OrderEnforcingWrapper(self.raw_env(**options))

    def parallel_env(self, **options: Any) -> TextGameParallel:
        """The same game with the dictionaries of the parallel interface; each step takes one role's turn."""
        return TextGameParallel(self.raw_env(**options))
