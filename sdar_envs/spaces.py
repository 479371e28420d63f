"""Free text as a Gymnasium space: bounded in length, not in alphabet.

Gymnasium's own `Text` promises a character set, and a page with one accented letter breaks the promise. `FreeText`
promises only that the value is a `str` of bounded length. It is not flattenable. Vectors of environments work in one
process and in several, with shared memory too: what they show is a tuple of plain strings.
"""

from __future__ import annotations

import multiprocessing
import string
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gymnasium.spaces import Space
from gymnasium.vector.utils import (
    create_empty_array,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)

_PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


class FreeText(Space[str]):
    """All strings of at most `max_length` characters.

    Args:
        max_length: Longest string, in characters.
        samples: What `sample` draws from; without it, random printable ASCII of up to 64 characters.
        seed: Seed of `sample`.

    Raises:
        ValueError: `max_length` is negative, or a sample is not in the space.
    """

    def __init__(self, max_length: int, *, samples: Sequence[str] = (), seed: int | None = None) -> None:
        if max_length < 0:
            raise ValueError(f"FreeText expects max_length >= 0, got {max_length}")
        self.max_length = int(max_length)
        self.samples = tuple(samples)
        for sample in self.samples:
            if not self.contains(sample):
                raise ValueError(f"FreeText({max_length}) expects samples of its own, got {sample!r:.80}")
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed-size array form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw a string with the space's own generator; masks have no meaning for free text.

        Raises:
            ValueError: A mask or probability was given.
        """
        if mask is not None or probability is not None:
            raise ValueError("FreeText.sample expects neither mask nor probability: free text has no enumerable values")
        if self.samples:
            return self.samples[int(self.np_random.integers(len(self.samples)))]
        length = int(self.np_random.integers(min(64, self.max_length) + 1))
        return "".join(_PRINTABLE[i] for i in self.np_random.integers(len(_PRINTABLE), size=length))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a `str` within the length bound."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Strings are JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """Inverse of `to_jsonable`."""
        return [str(x) for x in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText) and (self.max_length, self.samples) == (other.max_length, other.samples)

    def __hash__(self) -> int:
        return hash((self.max_length, self.samples))

    def __repr__(self) -> str:
        return f"FreeText({self.max_length})"


# In shared memory a text is a row: its length in bytes, and its UTF-8, which takes at most four bytes a character.
_LENGTH = struct.Struct("=q")
_MOST_BYTES = 4


def _row_size(space: FreeText) -> int:
    return _LENGTH.size + _MOST_BYTES * space.max_length


class SharedTexts(tuple[str, ...]):
    """The texts that stand in shared memory at present, as a tuple of plain strings.

    Gymnasium makes one such view and hands it out after every step: itself with ``copy=False``, where it goes on
    showing what is newest, and otherwise a copy, which is an ordinary tuple.
    """

    _memory: Any
    _size: int

    def __new__(cls, memory: Any, count: int, size: int) -> SharedTexts:
        """View `count` rows of `size` bytes each."""
        view = super().__new__(cls, [""] * count)
        view._memory, view._size = memory, size
        return view

    def _now(self) -> tuple[str, ...]:
        held = memoryview(self._memory.get_obj()).cast("B")
        texts = []
        for start in range(0, self._size * len(self), self._size):
            (length,) = _LENGTH.unpack_from(held, start)
            first = start + _LENGTH.size
            texts.append(bytes(held[first : first + length]).decode("utf-8", "surrogatepass"))
        return tuple(texts)

    def __getitem__(self, place: Any) -> Any:
        return self._now()[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._now())

    def __contains__(self, text: object) -> bool:
        return text in self._now()

    def __eq__(self, other: object) -> bool:
        return self._now() == (other._now() if isinstance(other, SharedTexts) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._now())

    def __add__(self, other: Any) -> Any:
        return self._now() + tuple(other)

    def __repr__(self) -> str:
        return repr(self._now())

    def index(self, *arguments: Any) -> int:
        """As of a tuple."""
        return self._now().index(*arguments)

    def count(self, text: Any) -> int:
        """As of a tuple."""
        return self._now().count(text)

    def __copy__(self) -> tuple[str, ...]:
        return self._now()

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return self._now()

    def __reduce__(self) -> Any:
        return tuple, (list(self._now()),)


@create_empty_array.register(FreeText)
def _create_empty_texts(space: FreeText, n: int = 1, fn: Callable[..., Any] | None = None) -> tuple[str, ...]:
    return ("",) * n


@create_shared_memory.register(FreeText)
def _create_shared_texts(space: FreeText, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array("B", n * _row_size(space))


@read_from_shared_memory.register(FreeText)
def _read_shared_texts(space: FreeText, shared_memory: Any, n: int = 1) -> tuple[str, ...]:
    return SharedTexts(shared_memory, n, _row_size(space))


@write_to_shared_memory.register(FreeText)
def _write_shared_text(space: FreeText, index: int, value: str, shared_memory: Any) -> None:
    if not isinstance(value, str) or len(value) > space.max_length:
        raise ValueError(f"FreeText({space.max_length}) expects a str within its length, got {value!r:.80}")
    encoded = value.encode("utf-8", "surrogatepass")
    start = index * _row_size(space)
    row = memoryview(shared_memory.get_obj()).cast("B")
    _LENGTH.pack_into(row, start, len(encoded))
    first = start + _LENGTH.size
    row[first : first + len(encoded)] = encoded
