"""The benchmarks of retrieval run at a tiny size and count what they say; nothing here looks at how fast."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("faiss")

ROOT = Path(__file__).parents[2]

Run = Callable[..., dict[str, Any]]


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def figures_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(module: str, *words: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [module, *map(str, words), "--json"])
        importlib.import_module(f"benchmarks.{module}").main()
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert printed["benchmark"] == module
        figures: dict[str, Any] = printed["figures"]
        return figures

    return run


def test_the_default_encoder_reaches_its_recall_and_a_narrow_graph_loses_some_of_it(figures_of: Run):
    encoders = figures_of("searchqa_encoder", "--size", "small", "--worlds", 1, "--dims", 256, 512)["encoders"]
    assert encoders["512 dimensions, exact"]["recall_lowest"] >= 0.95
    exact, *graphs = [figures["recall_mean"] for name, figures in encoders.items() if name.startswith("512")]
    assert len(graphs) == 4 and all(0.5 < share <= exact + 0.02 for share in graphs)


@pytest.mark.slow
def test_every_request_to_the_server_is_counted_as_right(figures_of: Run):
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    figures = figures_of("searchqa_server", "--requests", 60, "--clients", 4)
    assert (figures["right"], figures["wrong"], figures["lost"]) == (60, 0, 0)
    assert figures["searches"] > 60 and figures["first_failure"] == ""


@pytest.mark.slow
def test_a_wrong_and_a_missing_answer_are_counted_and_fail_the_benchmark(
    figures_of: Run, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    module = importlib.import_module("benchmarks.searchqa_server")
    expected = module.expected_answers
    monkeypatch.setattr(module, "expected_answers", lambda queries: {query: [] for query in expected(queries)})
    with pytest.raises(SystemExit, match="20 wrong, 0 lost: request "):
        figures_of("searchqa_server", "--requests", 20, "--clients", 2)
    tally = module.Tally()
    module.client(module.free_port(), range(3), ["a", "b"], {}, tally)  # nobody listens there
    assert (tally.right, tally.wrong, tally.lost) == (0, 0, 3) and "refused" in tally.first_failure


@pytest.mark.slow
def test_patterns_of_searching_are_compared_on_the_same_searches(figures_of: Run):
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    figures = figures_of("searchqa", "--environments", 4, "--rounds", 1, "--rows", 2_000, "--repeats", 1)
    assert len(figures["searches_per_cpu_second"]) >= 4 and min(figures["searches_per_cpu_second"].values()) > 0
    files = figures["files"]
    assert files["rows"] == 2_000 and files["index_bytes"] == 45 + 2_000 * 256 * 4


@pytest.mark.parametrize("size", ["small", pytest.param("full", marks=pytest.mark.slow)])
def test_scripted_players_are_ordered_by_what_they_know(size: str, figures_of: Run):
    figures = figures_of("searchqa_searchers", "--size", size, "--tasks", 80)
    overall = {name: player["overall"] for name, player in figures.items() if isinstance(player, dict)}
    assert overall["expert"] == 1.0
    assert overall["searcher, the skill lines"] > overall["searcher, no law"] + 0.2
    assert max(overall["the question as the query"], overall["commonest answer of training"]) < 0.2
    assert figures["the question as the query"]["multi_hop"] <= 0.05
