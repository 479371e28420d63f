"""How it learns: rollouts, formulas, the trainer and its command line.

Importing this package loads no torch; a public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdar_envs.ownership import require_own_package

if TYPE_CHECKING:
    from .config import SDARConfig
    from .evaluation import Evaluation, Panel, evaluate, make_panel
    from .trainer import SDARTrainer

# Other distributions install a package of this name too: whoever imports it can tell ours by this.
PACKAGE_MARKER = "sdar-gym"

require_own_package("agents")

_MODULE_OF = {
    "SDARConfig": "config",
    "SDARTrainer": "trainer",
    "Evaluation": "evaluation",
    "Panel": "evaluation",
    "evaluate": "evaluation",
    "make_panel": "evaluation",
}

__all__ = ["PACKAGE_MARKER", "Evaluation", "Panel", "SDARConfig", "SDARTrainer", "evaluate", "make_panel"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
