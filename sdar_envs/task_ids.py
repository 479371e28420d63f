"""Task ids of worlds that number their tasks: a split and a number, such as ``train:000123``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

from .choices import require_choice


class NumberedTaskIds(Sequence[str]):
    """The ids of some numbers of a split, each made when it is asked for: 100,000 tasks take no room."""

    def __init__(self, split: str, numbers: Sequence[int]) -> None:
        self.split = split
        self._numbers = numbers

    @classmethod
    def in_turn(cls, split: str, count: int, kinds: Sequence[str], kind: str | None = None) -> NumberedTaskIds:
        """The first `count` tasks of a split whose kinds come in turn; with `kind`, those of one of them.

        Raises:
            ValueError: There is no such kind.
        """
        if kind is None:
            return cls(split, range(count))
        return cls(split, range(kinds.index(kind), count, len(kinds)))

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [task_id(self.split, number) for number in self._numbers[index]]
        return task_id(self.split, self._numbers[index])

    def __contains__(self, value: object) -> bool:
        split, _, digits = str(value).partition(":")
        if split != self.split or not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
            return False
        number = int(digits)
        return value == task_id(split, number) and number in self._numbers

    def __repr__(self) -> str:
        return f"<{len(self)} task ids, {self[0]} to {self[-1]}>" if len(self) else "<0 task ids>"


def task_id(split: str, number: int) -> str:
    """The id of a number; of six digits, or more where there are that many tasks."""
    return f"{split}:{number:06d}"


def parse_task_id(value: str, sizes: Mapping[str, int | None], where: str) -> tuple[str, int]:
    """Split ``train:000123`` into its split and number.

    Args:
        value: The id.
        sizes: How many tasks each split numbers; None where that is asked elsewhere.
        where: Who asks, for messages.

    Raises:
        ValueError: It is no id of these splits.
    """
    split, colon, digits = value.partition(":")
    if not colon:
        split = next(iter(sizes))  # for the example
    require_choice("split in task id", split, sizes, where)
    size = sizes[split]
    numbered = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
    if not numbered or value != task_id(split, int(digits)) or (size is not None and int(digits) >= size):
        below = "" if size is None else f", with a number below {size:,}"
        raise ValueError(f'{where} expects a task id such as "{split}:000123"{below}, got {value[:100]!r}')
    return split, int(digits)


_MOST_DIGITS = 12
