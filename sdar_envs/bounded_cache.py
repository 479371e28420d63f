"""A memory of results that is bounded in bytes: texts of worlds may be long, and a run meets ever new ones."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
P = ParamSpec("P")

_ENTRY = 120  # bytes that a dictionary takes for an entry, about
_INT = 36  # of a number in a tuple or list, with its place there


class BoundedCache(Generic[Key, Value]):
    """Results by key. What is too much is forgotten, the oldest first.

    Args:
        most: Bytes that keys and results may take, as far as they can be counted.
        share: A result that alone takes more than this part of them is not kept.
    """

    def __init__(self, most: int, share: float = 0.125) -> None:
        self.most = most
        self._largest = share * most
        self.bytes = 0
        self._kept: dict[Key, tuple[Value, int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The result of a key; None where there is none."""
        kept = self._kept.get(key)
        return None if kept is None else kept[0]

    def put(self, key: Key, value: Value) -> Value:
        """Keep a result; returns it."""
        size = _ENTRY + size_of(key) + size_of(value)
        if (before := self._kept.pop(key, None)) is not None:
            self.bytes -= before[1]
        if size > self._largest:
            return value
        while self._kept and self.bytes + size > self.most:
            self.bytes -= self._kept.pop(next(iter(self._kept)))[1]
        self._kept[key] = (value, size)
        self.bytes += size
        return value


def remembered(most: int) -> Callable[[Callable[P, Value]], Callable[P, Value]]:
    """Remember the results of a pure function of hashable, positional arguments; None is not remembered.

    `functools.lru_cache` counts results, whose texts may have any length.

    Args:
        most: Bytes, as for `BoundedCache`.
    """

    def decorate(function: Callable[P, Value]) -> Callable[P, Value]:
        cache: BoundedCache[Any, Value] = BoundedCache(most)
        lock = threading.Lock()  # servers answer in several threads

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Value:
            assert not kwargs, "arguments are part of the key by their position"
            known = cache.get(args)
            if known is None:
                known = function(*args, **kwargs)
                with lock:
                    cache.put(args, known)
            return known

        call.remembers = cache  # type: ignore[attr-defined]
        return call

    return decorate


def size_of(value: Any) -> int:
    """Bytes of a value, about: texts, numbers, and containers and dataclasses of them.

    What several hold is counted for each.
    """
    if isinstance(value, tuple | list):
        own = sys.getsizeof(value)
        if value and type(value[0]) is int and type(value[-1]) is int:
            return own + _INT * len(value)
        return own + sum(map(size_of, value))
    if isinstance(value, Mapping):
        return sys.getsizeof(value) + sum(size_of(key) + size_of(each) for key, each in value.items())
    own = sys.getsizeof(value)
    fields = getattr(type(value), "__dataclass_fields__", None)
    return own if fields is None else own + sum(size_of(getattr(value, name)) for name in fields)
