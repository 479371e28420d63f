"""The table of methods by name.

A name is one of the table, or ``module:name`` for a method of a user's own: the module is imported (a file in the
current folder is found, too), and ``name`` is a method that it registers, or a variable of it that holds a `Method`.
"""

from __future__ import annotations

import inspect

from sdar_envs.choices import require_choice
from sdar_envs.references import load_object

from .method import Method

METHODS: dict[str, Method] = {}
# The same by who registered them, ``module:name``: so that a reference finds only what that module has added.
_REGISTERED: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Add a method to the table.

    Raises:
        ValueError: The name is taken.
    """
    if method.name in METHODS:
        raise ValueError(f"method {method.name!r} is registered already; choose another name")
    METHODS[method.name] = method
    frame = inspect.currentframe()
    caller = frame.f_back if frame is not None else None
    if caller is not None:
        _REGISTERED[f"{caller.f_globals.get('__name__', '')}:{method.name}"] = method
    return method


def get_method(name: str) -> Method:
    """Look a method up, by its name in the table or as ``module:name``.

    Raises:
        ValueError: There is none of that name; the message lists the choices and the nearest. Or the module cannot be
            imported, or holds no method of that name.
    """
    if ":" not in name:
        return METHODS[require_choice("method", name, METHODS, "the table of methods")]
    return _own_method(name)


def _own_method(reference: str) -> Method:
    """A user's own method by ``module:name``."""
    _, _, name = reference.partition(":")
    found = load_object(reference, "method", registered=_REGISTERED)
    if not isinstance(found, Method):
        raise ValueError(
            f"method {reference!r}: expected {name} to be a trainers.methods.Method, got {type(found).__name__}"
        )
    return found
