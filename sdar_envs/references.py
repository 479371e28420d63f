"""A user's own code by reference: ``module:name``, with the current folder searched last.

The ``sdar`` command starts without the current folder on the import path, so a file in it would not be found. The
folder is added at the end of the path, and only for a module that is in it and nowhere else, so that no folder of a
project ever replaces an installed package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .choices import unknown_choice


def import_own(name: str) -> ModuleType:
    """Import a module; a file or package of the current folder is found, too.

    Raises:
        ValueError: There is no such module; the message says where it was looked for.
        ImportError: The module exists, and one of its own imports does not.
    """
    top = name.partition(".")[0]
    folder = Path.cwd()
    here = (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
    if here and str(folder) not in sys.path and importlib.util.find_spec(top) is None:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, and something that it imports does not
        raise ValueError(
            f"expected an importable module {name!r}, found none: it is looked for among installed packages and in the "
            f"current folder, {folder}"
        ) from None


def load_object(reference: str, kind: str, *, registered: Mapping[str, Any] | None = None) -> Any:
    """What ``module:name`` refers to: a variable of the module, or an entry that it has added to a table.

    Args:
        reference: The reference.
        kind: What it should be, for messages.
        registered: What modules have added to a table, as ``module:name`` -> entry; looked up after the import.

    Raises:
        ValueError: It has another form, or the module cannot be imported or has nothing of that name; the message
            names the nearest.
    """
    module_name, colon, name = reference.partition(":")
    if not (colon and module_name and name):
        raise ValueError(f"{kind} {reference!r}: expected module:name, such as my_module:my_{kind.replace(' ', '_')}")
    module = import_own(module_name)
    if name in vars(module):
        return vars(module)[name]
    added = registered or {}
    if reference in added:
        return added[reference]
    own = [key.partition(":")[2] for key in added if key.startswith(f"{module_name}:")]
    public = [each for each in vars(module) if not each.startswith("_")]
    raise unknown_choice(kind, name, [*own, *public], f"the module {module_name}")
