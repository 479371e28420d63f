"""One option of a run: its default, range, choices, help, and when it is read, in one place.

An option group is a frozen dataclass whose fields are made by `option`. It can stand alone (a formula takes the group
that it reads), or be joined with others (`joined.Options`); either way its values are converted and checked when it is
made.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sdar_envs.choices import require_choice

from .convert import convert
from .reading import Condition

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers an option accepts: from `low` (exclusive where `above`) to `high`, both inclusive otherwise."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        lower = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        return lower if math.isinf(self.high) else f"{lower} and at most {self.high:g}"


def option(
    default: Any,
    text: str,
    *,
    group: str,
    low: float | None = None,
    above: float | None = None,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    maths: bool = True,
    read: tuple[Condition, ...] = (),
    make: Callable[[], Any] | None = None,
    omit_at_default: bool = False,
) -> Any:
    """A dataclass field with everything about an option in its metadata.

    Args:
        default: Its value where none is given.
        text: What it means, as ``--help`` shows it.
        group: Its heading in ``--help``.
        low: Smallest number that is accepted; `above` is the same with the number itself refused.
        above: See `low`.
        high: Largest number that is accepted.
        choices: The words that are accepted; an empty tuple accepts any.
        maths: Whether it changes what a run computes, so that it is part of the digest.
        read: When it is read; a run reports options that were set and are not read.
        make: Makes a default that must not be shared, instead of `default`.
        omit_at_default: Whether the digest leaves it out while it has its default. For options that were added after
            digests had been written: their default is what runs computed before there was a choice.
    """
    accepted = None
    if above is not None:
        accepted = Range(above, high, above=True)
    elif low is not None:
        accepted = Range(low, high)
    metadata = {
        "help": text,
        "group": group,
        "range": accepted,
        "choices": choices,
        "maths": maths,
        "read": read,
        "omit_at_default": omit_at_default,
    }
    return field(default_factory=make, metadata=metadata) if make else field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class OptionGroup:
    """Base of all groups: converts and checks every field when it is made.

    Raises:
        ValueError: A value is out of range or not among its choices; the message says which values are accepted.
        TypeError: A value has the wrong type.
    """

    def __post_init__(self) -> None:
        name = type(self).__name__
        hints = typing.get_type_hints(type(self))
        # Options without a value whose type knows no None get theirs from the others.
        for each in fields(self):
            if getattr(self, each.name) is not None or type(None) in typing.get_args(hints[each.name]):
                self._convert(each.name, hints[each.name])
        given = {each.name for each in fields(self) if getattr(self, each.name) is not None}
        self.fill()
        filled = (each.name for each in fields(self) if each.name not in given and getattr(self, each.name) is not None)
        object.__setattr__(self, "_filled", frozenset(filled))
        for each in fields(self):
            if getattr(self, each.name) is None:
                self._convert(each.name, hints[each.name])
            value = getattr(self, each.name)
            if each.metadata["choices"]:
                require_choice(each.name, value, each.metadata["choices"], name)
        for each in fields(self):
            accepted, value = each.metadata["range"], getattr(self, each.name)
            if accepted is not None and value is not None and value not in accepted:
                raise ValueError(f"{name}.{each.name}: expected {accepted}, got {value!r}")
        self.check()

    def _convert(self, name: str, hint: Any) -> None:
        object.__setattr__(self, name, convert(getattr(self, name), hint, f"{type(self).__name__}.{name}"))

    def was_given(self, name: str) -> bool:
        """Whether an option has its value from whoever made this, and not from `fill`."""
        return name not in self.__dict__["_filled"]

    def fill(self) -> None:
        """Give options whose default depends on other options their value; those are converted already."""

    def check(self) -> None:
        """Refuse values that do not go together; a group extends it and calls the next one's."""


def options_of(group: type[OptionGroup]) -> Mapping[str, dataclasses.Field[Any]]:
    """The options of a group by name."""
    return {each.name: each for each in fields(group)}
