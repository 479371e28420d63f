"""Numbers as the report says them. Rates come in [0, 1] and are said in per cent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .scales import with_minus


def percent(rate: float | None) -> str:
    """``42.3``; ``-`` when it is unknown."""
    return "-" if rate is None else f"{100 * rate:.1f}"


def percent_range(bounds: Sequence[float] | None) -> str:
    """``38.1 to 46.6``; empty when it is unknown."""
    return with_minus(f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}") if bounds else ""


def points(difference: float | None) -> str:
    """A difference of rates in points, with its sign: ``+3.1``."""
    # Rounded first: binary fractions must not make two places of one report disagree by a tenth, nor say -0.0.
    return "-" if difference is None else with_minus(f"{round(100 * difference, 6) + 0.0:+.1f}")


def points_range(bounds: Sequence[float] | None) -> str:
    """From the lower to the upper bound; empty when it is unknown."""
    return f"{points(bounds[0])} to {points(bounds[1])}" if bounds else ""


def plain_value(value: Any) -> str:
    """A configuration's value on one line."""
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def facts_of(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values for a list of facts."""
    return tuple((str(name), plain_value(value)) for name, value in values.items())
