"""Pair for PettingZoo: `env` (one agent after another), `raw_env` (the same unwrapped) and `parallel_env`.

They take the options of `pair.game.Pair`, beside `expose_privileged` and `render_mode`.
"""

from __future__ import annotations

from .exports import Exports
from .pair.game import Pair

__all__ = ["env", "parallel_env", "raw_env"]

_exports = Exports(Pair)
raw_env = _exports.raw_env
env = _exports.env
parallel_env = _exports.parallel_env
