"""One way to refuse an unknown name: say what was expected, what came, where, and the nearest choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_choice(kind: str, value: object, choices: Iterable[str], where: str) -> ValueError:
    """Build (not raise) the error for a name that is not among `choices`.

    Args:
        kind: What the name stands for, e.g. ``"split"``.
        value: What came.
        choices: What was expected.
        where: The thing that was asked, e.g. an environment id or a file name.
    """
    listed = list(choices)
    # Bounded, because the value may be anyone's text and a split has 100,000 task ids.
    nearest = difflib.get_close_matches(str(value)[:200], listed[:2000], n=1, cutoff=0.5)
    hint = f'; the nearest is "{nearest[0]}"' if nearest else ""
    shown = ", ".join(listed) if len(listed) <= 40 else ", ".join(listed[:40]) + ", ..."
    return ValueError(f"unknown {kind} {repr(value)[:200]} for {where}: choose from {shown}{hint}")


def require_choice(kind: str, value: str, choices: Iterable[str], where: str) -> str:
    """Return `value` when it is one of `choices`.

    Raises:
        ValueError: It is not; the message lists the choices and the nearest.
    """
    listed = list(choices)
    if value not in listed:
        raise unknown_choice(kind, value, listed, where)
    return value
