"""From values to places: ticks at round numbers, text of numbers, labels that do not lie on one another. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from ``low .. high`` to ``start .. end`` (pixels), with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def make_scale(
    values: Sequence[float],
    start: float,
    end: float,
    *,
    low: float | None = None,
    high: float | None = None,
    integer: bool = False,
    ticks: int = 5,
) -> Scale:
    """A scale that shows all finite `values`, and `low` and `high` where they are given, and ends at ticks.

    Args:
        values: What is shown.
        start: Place of the lower end.
        end: Place of the upper end.
        low: Shown at least, and exactly the lower end where no value lies below.
        high: Likewise the upper end.
        integer: Whether ticks are whole numbers.
        ticks: About how many.
    """
    finite = [value for value in values if math.isfinite(value)]
    bottom = min([*finite, *([] if low is None else [low])], default=0.0)
    top = max([*finite, *([] if high is None else [high])], default=1.0)
    if top <= bottom:
        spare = abs(bottom) * 0.1 or 1.0
        bottom, top = (bottom, top + spare) if low is not None and bottom >= low else (bottom - spare, top + spare)
    step = tick_step(top - bottom, ticks, integer=integer)
    if bottom != low:
        bottom = math.floor(bottom / step + 1e-9) * step
    if top != high:
        top = math.ceil(top / step - 1e-9) * step
    first = math.ceil(bottom / step - 1e-9)
    last = math.floor(top / step + 1e-9)
    return Scale(bottom, top, start, end, tuple(_round(index * step) for index in range(first, last + 1)))


def tick_step(span: float, ticks: int = 5, *, integer: bool = False) -> float:
    """The round step (1, 2, 2.5 or 5 times a power of ten) that cuts `span` into about `ticks` parts."""
    rough = max(span / max(ticks, 1), 1.0 if integer else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [factor * power for factor in (*STEPS, 10 * STEPS[0])]
    return next(step for step in steps if step >= rough * (1 - 1e-9) and not (integer and step % 1))


def _round(value: float) -> float:
    # Multiples of 0.1 and the like, without the dust of binary fractions.
    return float(f"{value:.12g}")


def number_text(value: float) -> str:
    """A number as a reader wants it: thousands with commas, no trailing zeros, four significant digits."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "0" if float(text.replace(",", "")) == 0 else with_minus(text)


def fixed_text(value: float, *, digits: int, sign: str = "") -> str:
    """A number with as many decimals as its neighbours, and no negative zero; `sign` is ``+`` to show it always."""
    return with_minus(f"{round(value, digits) + 0.0:{sign},.{digits}f}")


def with_minus(text: str) -> str:
    """The text of a number with a minus sign instead of a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near those `wanted` that are at least `gap` apart and inside ``low .. high``, in the same order.

    Where there is not enough room for all, the gap shrinks to what there is.

    Args:
        wanted: Where each label would be best.
        gap: Distance between neighbours.
        low: Lower bound.
        high: Upper bound.
    """
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], index))
    if len(order) > 1:
        gap = min(gap, (high - low) / (len(order) - 1))
    # Blocks of labels that touch, each as near as it can be to what its members want: (first wish of the block, size).
    blocks: list[tuple[list[float], int]] = []
    for index in order:
        block = [min(max(wanted[index], low), high)]
        blocks.append((block, 1))
        while len(blocks) > 1 and _top(blocks[-2], gap, low, high) + gap > _bottom(blocks[-1], gap, low, high):
            (upper, _), (lower, _) = blocks.pop(), blocks.pop()
            blocks.append(([*lower, *upper], len(lower) + len(upper)))
    places = [0.0] * len(wanted)
    position = 0
    for block_of in blocks:
        bottom = _bottom(block_of, gap, low, high)
        for step in range(block_of[1]):
            places[order[position]] = bottom + step * gap
            position += 1
    return places


def _bottom(block: tuple[list[float], int], gap: float, low: float, high: float) -> float:
    wishes, size = block
    best = sum(wish - step * gap for step, wish in enumerate(wishes)) / size
    return min(max(best, low), high - (size - 1) * gap)


def _top(block: tuple[list[float], int], gap: float, low: float, high: float) -> float:
    return _bottom(block, gap, low, high) + (block[1] - 1) * gap


# Advance widths of a sans serif at 1 em, by class of character: enough to reserve room, never to place text.
_WIDTHS = {**dict.fromkeys("iljtfr.,:;|!'()[] ", 0.36), **dict.fromkeys("mwMW%@", 0.95), **dict.fromkeys("+-=<>", 0.7)}


def text_width(text: str, size: float) -> float:
    """About how wide a text is, in pixels."""
    return size * sum(_WIDTHS.get(letter, 0.72 if letter.isupper() else 0.61) for letter in text)
