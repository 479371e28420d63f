"""Which ids a module registers, and the one refusal of an environment that there is not.

An id of one's own is written ``module:Id-v0``. Where it is misspelt, what that module registers is nearer than anything
of this suite.
"""

from __future__ import annotations

import inspect
from types import ModuleType

import gymnasium as gym

from .choices import nearest

_LISTED = 20  # ids in a message


def ids_of(module_name: str, before: frozenset[str] = frozenset()) -> list[str]:
    """The registered ids of a module's environments: made by something of its package, or new since `before`.

    Args:
        module_name: The module, which has been imported.
        before: The ids that there were before it was imported; empty where that is not known.
    """
    package = module_name.partition(".")[0]
    new = gym.registry.keys() - before if before else set()
    return [name for name, spec in gym.registry.items() if name in new or _package(spec.entry_point) == package]


def _package(entry_point: object) -> str:
    """The top-level package of what makes an environment."""
    module = entry_point if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
    return str(module).partition(":")[0].partition(".")[0]


def makers_of(module: ModuleType) -> list[str]:
    """The names of a module's own classes and functions that could make an environment."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, gym.Env)))
    ]


def unknown_environment(env_id: str, registers: list[str] | None = None, makers: list[str] | None = None) -> ValueError:
    """Build (not raise) the error for an environment that there is not, with the nearest of where it was looked for.

    Args:
        env_id: What was asked for, with its module where it names one.
        registers: The ids that the module registers.
        makers: What else of the module a command takes in the place of an id.
    """
    from . import ENVIRONMENTS

    module, colon, name = env_id.rpartition(":")
    if not colon:
        space, slash, _ = name.partition("/")
        ours = not slash or nearest(space, ["sdar"]) is not None  # an id of somebody's own namespace is none of ours
        meant = (nearest(name, ENVIRONMENTS) if ours else None) or nearest(name, gym.registry)
        if meant in ENVIRONMENTS and not ours:
            meant = None
        hint = f'the nearest is "{meant}"; ' if meant else ""
        return ValueError(
            f"there is no environment {env_id!r}: {hint}`sdar envs` lists those of this suite, and module:id finds one "
            "that a module of yours registers"
        )
    own = [*(registers or ()), *(makers or ())]
    meant = nearest(name, own)
    hint = f'; the nearest is "{module}:{meant}"' if meant else ""
    if not registers:
        has = f", and makes one by {_listed(makers)}" if makers else ""
        listed = f"the module {module} registers none (gymnasium.register(id=..., entry_point=...)){has}"
    else:
        listed = f"the module {module} registers {_listed(registers)}"
        listed += f", and has {_listed(makers)}" if makers else ""
    return ValueError(f"there is no environment {env_id!r}: {listed}{hint}")


def _listed(names: list[str] | None) -> str:
    shown = list(names or ())
    return ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")
