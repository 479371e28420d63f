"""Training: rollouts, formulas, the trainer and its command line.

Importing this package loads no torch; a public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdar_envs.ownership import require_own_package

if TYPE_CHECKING:
    from .config import SDARConfig
    from .evaluation.evaluate import Evaluation, evaluate
    from .evaluation.evaluation_set import EvaluationSet, make_evaluation_set
    from .trainer import SDARTrainer
    from .warm_start.own_environment import TinyModel, make_tiny_model

# Other distributions install a package of this name too; this marker identifies ours.
PACKAGE_MARKER = "sdar-gym"

require_own_package("agents")

# Public name -> (module, name there).
_HOME = {
    "SDARConfig": ("config", "SDARConfig"),
    "SDARTrainer": ("trainer", "SDARTrainer"),
    "Evaluation": ("evaluation.evaluate", "Evaluation"),
    "evaluate": ("evaluation.evaluate", "evaluate"),
    "EvaluationSet": ("evaluation.evaluation_set", "EvaluationSet"),
    "make_evaluation_set": ("evaluation.evaluation_set", "make_evaluation_set"),
    "TinyModel": ("warm_start.own_environment", "TinyModel"),
    "make_tiny_model": ("warm_start.own_environment", "make_tiny_model"),
    # Earlier names of the two above.
    "Panel": ("evaluation.evaluation_set", "EvaluationSet"),
    "make_panel": ("evaluation.evaluation_set", "make_evaluation_set"),
}

__all__ = [
    "PACKAGE_MARKER",
    "Evaluation",
    "EvaluationSet",
    "SDARConfig",
    "SDARTrainer",
    "TinyModel",
    "evaluate",
    "make_evaluation_set",
    "make_tiny_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _HOME[name]
    return getattr(import_module(f".{module}", __name__), own_name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
