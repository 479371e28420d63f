"""One way to refuse a wrong option: an error that names what was expected, what came, where, and the nearest choice."""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Iterable, Mapping
from typing import cast

_CUTOFF = 0.5
# Bounds of what is compared: the value may be anyone's text, and a split has 100,000 task ids.
_LONGEST, _MOST = 200, 2000


def nearest(value: object, choices: Iterable[str], *, other_names: Mapping[str, str] | None = None) -> str | None:
    """The choice that somebody who wrote `value` most likely meant; None where none is near.

    Case, dashes and underscores do not count, and a choice of several parts is also known by its last one, without its
    version: ``Household`` is near ``sdar/Household-v0``.

    Args:
        value: What came.
        choices: What there is.
        other_names: What else choices are called -> the choice.
    """
    wanted = _plain(str(value)[:_LONGEST])
    listed = list(choices)[:_MOST]
    other = {_plain(name): choice for name, choice in (other_names or {}).items()}
    if other.get(wanted) in listed:
        return other[wanted]
    forms: dict[str, str] = {}
    for choice in listed:
        forms.setdefault(_plain(choice), choice)
    for choice in listed:
        if "/" in choice:
            forms.setdefault(_plain(re.sub(r"-v\d+$", "", choice.rpartition("/")[2])), choice)
    found = difflib.get_close_matches(wanted, forms, n=1, cutoff=_CUTOFF)
    return forms[found[0]] if found else None


def _plain(name: str) -> str:
    """A name without what people mix up."""
    return name.strip().lower().lstrip("-").replace("-", "_")


def unknown_choice(
    kind: str, value: object, choices: Iterable[str], where: str, *, other_names: Mapping[str, str] | None = None
) -> ValueError:
    """Build (not raise) the error for a name that is not among `choices`.

    Args:
        kind: What the name stands for, e.g. ``"split"``.
        value: What came.
        choices: What was expected.
        where: The thing that was asked, e.g. an environment id or a file name.
        other_names: What else choices are called, as for `nearest`.
    """
    listed = list(choices)
    meant = nearest(value, listed, other_names=other_names)
    hint = f'; the nearest is "{meant}"' if meant else ""
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


def require_number(
    name: str, value: object, where: str, *, low: float = -math.inf, high: float = math.inf, whole: bool = False
) -> None:
    """Require a finite number from `low` to `high`, with `whole` an integer; True and False are none.

    Raises:
        ValueError: It is not; the message says what was expected. A text of digits is refused too: as a seed it would
            silently stand for another world than the number.
    """
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ValueError(f"{where} expects {name} to be a {'whole ' if whole else ''}number, got {repr(value)[:100]}")
    number = cast(float, value)  # any kind of number compares with one
    if not low <= number <= high or math.isinf(number):
        bounds = "to be finite" if math.isinf(low) else f">= {low:g}" if math.isinf(high) else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{where} expects {name} {bounds}, got {value}")


def require_bool(name: str, value: object, where: str) -> None:
    """Require True or False.

    Raises:
        ValueError: It is neither; any text would otherwise count as True.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{where} expects {name} to be True or False, got {repr(value)[:100]}")
