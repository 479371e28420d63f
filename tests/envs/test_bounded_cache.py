"""What is remembered of texts is bounded in bytes, whatever their length, and changes no result."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.bounded_cache import BoundedCache, remembered, size_of
from sdar_envs.webshop import store
from sdar_envs.webshop.analysis import _short_term, _term, term_of
from sdar_envs.webshop.generator import generate
from sdar_envs.webshop.pages import Page, PageKind, Segment


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


def test_a_dataclass_counts_with_what_its_fields_hold() -> None:
    assert size_of(Page(PageKind.ITEM, (), ())) < size_of(Page(PageKind.ITEM, (Segment("x" * 5000),), ())) - 5000


@given(st.lists(st.text(max_size=60), max_size=60))
def test_a_remembered_function_gives_the_same_and_holds_no_more_than_its_bytes(texts: list[str]) -> None:
    calls: list[str] = []

    @remembered(1 << 14)
    def doubled(text: str) -> str:
        calls.append(text)
        return text * 2

    for text in texts:
        assert doubled(text) == text * 2
        assert doubled.remembers.bytes <= 1 << 14  # type: ignore[attr-defined]
    if sum(2 * size_of(text * 2) + 200 for text in set(texts)) < 1 << 14:
        assert len(calls) == len(set(texts))


def test_a_store_that_is_asked_ever_new_things_stays_within_bytes(monkeypatch: Any) -> None:
    monkeypatch.setattr(store, "_KEPT", 1 << 16)
    goods = generate("small", "train", num_products=60).store
    shop = goods.variant(show_attributes=not goods.show_attributes, strict_options=False)
    for number in range(400):
        shop.results_page(f"red shirt {number} " + "long " * 50, 1)
        assert max(each.remembers.bytes for each in (shop.hits, shop.results_page)) <= 1 << 16  # type: ignore[attr-defined]
    assert shop.results_page("red shirt", 1) == goods.results_page("red shirt", 1)


def test_a_long_word_is_searched_for_and_not_remembered() -> None:
    word = "shirts" * 20
    before = _short_term.cache_info().currsize
    assert term_of(word) == _term(word)
    assert _short_term.cache_info().currsize == before
