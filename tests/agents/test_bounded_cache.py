"""What is remembered of texts is bounded in bytes, whatever their length, and changes no result."""

from __future__ import annotations

import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tiny_models import CHATML, make_tokenizer

from agents import rendering
from agents.bounded_cache import BoundedCache, size_of
from agents.rendering import ChatRenderer


@given(st.lists(st.tuples(st.integers(0, 30), st.text(max_size=40)), max_size=60))
def test_it_holds_no_more_than_its_bytes_and_never_a_wrong_value(puts: list[tuple[int, str]]) -> None:
    cache: BoundedCache[int, str] = BoundedCache(2000)
    latest: dict[int, str] = {}
    for key, text in puts:
        assert cache.put(key, text) == text
        latest[key] = text
        assert cache.bytes <= cache.most
        for known, value in latest.items():
            assert cache.get(known) in (None, value)
    assert cache.bytes == sum(size for _, size in cache._kept.values())


def test_the_oldest_is_forgotten_first_and_what_is_too_large_is_not_kept() -> None:
    cache: BoundedCache[int, str] = BoundedCache(3000)
    for key in range(20):
        cache.put(key, "x" * 100)
    assert cache.get(0) is None and cache.get(19) == "x" * 100 and 8 < len(cache) < 20
    assert cache.put(20, "x" * 1000) == "x" * 1000
    assert cache.get(20) is None and cache.get(19) is not None


def test_sizes_count_texts_numbers_and_what_is_in_containers() -> None:
    assert size_of("x" * 1000) > 1000
    assert size_of(tuple(range(1000, 2000))) > 36_000
    assert size_of({"a": ["x" * 1000, ("y" * 1000,)]}) > 2000


def test_a_renderers_memory_does_not_grow_with_the_texts_that_it_meets(monkeypatch: Any) -> None:
    for name in ("_TEXT_BYTES", "_SHAPE_BYTES", "_DECODED_BYTES"):
        monkeypatch.setattr(rendering, name, 1 << 16)
    renderer = ChatRenderer(make_tokenizer(CHATML))
    first = renderer.begin([{"role": "user", "content": "go to fridge 0"}])

    def meet(start: int) -> None:
        for number in range(start, start + 300):
            ids = renderer.begin([{"role": "user", "content": f"go to fridge {number} " + "open fridge 1. " * 20}])
            renderer.decode([*ids[:40], number])

    meet(0)
    tracemalloc.start()
    try:
        meet(1000)
        assert tracemalloc.get_traced_memory()[0] < 3 * (1 << 16)
    finally:
        tracemalloc.stop()
    assert renderer.begin([{"role": "user", "content": "go to fridge 0"}]) == first
