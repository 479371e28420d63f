"""Whether `agents` and `trainers` are this distribution's.

Both are generic import names. Another distribution that installs a package of the same name (openai-agents installs
`agents`) overwrites ours without a word, or stands before it on `sys.path`; the first sign would be a strange
`AttributeError` far away. The packages therefore carry a marker, and who needs one asks here first.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

MARKER = "sdar-gym"


def require_own_package(name: str) -> None:
    """Look for the marker of the package `name`, without importing it.

    Raises:
        ImportError: There is no such package, or it is a foreign one; the message names its place and the remedy.
    """
    module = sys.modules.get(name)
    if module is not None:
        if getattr(module, "PACKAGE_MARKER", None) == MARKER:
            return
        spec = module.__spec__
    else:
        spec = importlib.util.find_spec(name)
        if spec is not None and _is_marked(spec):
            return
    if spec is None:
        raise ImportError(f"sdar-gym expects its package {name!r} and there is none: reinstall sdar-gym")
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    raise ImportError(
        f"sdar-gym expects its own package {name!r}, got a foreign one at {', '.join(map(str, places))}. If another "
        "distribution installed it (openai-agents installs 'agents'), use a virtual environment for sdar-gym alone, or "
        "uninstall the other and reinstall sdar-gym; if it is a folder of yours, rename it or start Python elsewhere"
    )


def _is_marked(spec: ModuleSpec) -> bool:
    if not spec.origin or not Path(spec.origin).is_file():
        return False
    # Read, not imported: a foreign package would be executed, and may fail for reasons of its own.
    return f'PACKAGE_MARKER = "{MARKER}"' in Path(spec.origin).read_text(encoding="utf-8", errors="replace")
