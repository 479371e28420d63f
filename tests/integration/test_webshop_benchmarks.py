"""The benchmarks of the store run at a tiny size and count what they say; nothing here looks at how fast."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def figures_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.syspath_prepend(str(ROOT))

    def run(module: str, *words: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [module, *map(str, words), "--json"])
        importlib.import_module(f"benchmarks.{module}").main()
        printed = json.loads(capsys.readouterr().out)
        assert printed["benchmark"] == module
        figures: dict[str, Any] = printed["figures"]
        return figures

    return run


def test_steps_resets_searches_and_stores_of_each_size_are_measured(figures_of: Run) -> None:
    figures = figures_of("webshop", "--steps", 60, "--products", "100,200", "--repeats", 1)
    stores = [name for name in figures if "privileged" in name]
    assert len(stores) == 4
    for name in stores:
        assert figures[name]["steps_per_second"] > 0 and figures[name]["reset_us"] > 0
        assert 0.05 < figures[name]["share_of_searches"] < 0.6
    small, large = figures["100 products"], figures["200 products"]
    assert small["build_s"] > small["index_s"] > 0 and small["query_ms"] > 0
    assert large["index_mb"] > small["index_mb"] > 0


def test_scripted_players_are_ordered_by_what_they_know(figures_of: Run) -> None:
    figures = figures_of("webshop_shoppers", "--sizes", "small", "--tasks", 70)["small"]
    players = {name: entry["success"] for name, entry in figures.items() if isinstance(entry, dict)}
    assert players["plan"] == 1.0 == figures["plan"]["score"]
    assert players["random clicks and searches"] == players["first hit of the whole request"] == 0.0
    for reads in ("shopper", "shopper that reads"):
        assert 0.0 < players[f"{reads}, no law"] < players[f"{reads}, the skill lines"] - 0.4
    stale = players["shopper that reads, 30% stale"]
    assert players["shopper that reads, no law"] < stale < players["shopper that reads, the skill lines"]
