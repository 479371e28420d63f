"""The measuring that all benchmarks share, with a clock of our own, so that nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # Benchmarks are part of the checkout, not of the installed packages.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks import measure

    return measure


def test_rivals_run_in_alternating_order_after_their_warm_ups_and_the_median_counts(measuring: ModuleType) -> None:
    ran: list[str] = []
    now = [0.0]
    costs = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([9.0, 4.0, 4.0, 4.0])}

    def work(name: str) -> None:
        ran.append(name)
        now[0] += next(costs[name])

    works = {name: lambda name=name: work(name) for name in ("a", "b")}
    timings = measuring.measure(works, repeats=3, warmups=1, clock=lambda: now[0])
    assert ran == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert timings["a"].seconds == (1.0, 5.0, 2.0)
    assert timings["a"].median == 2.0
    assert timings["a"].spread == 2.0
    assert timings["b"].rate(12) == 3.0
    with pytest.raises(ValueError, match="at least 1 repeat, got 0"):
        measuring.measure(works, repeats=0)


def test_a_table_is_markdown_with_numbers_to_the_right(measuring: ModuleType) -> None:
    text = measuring.table(["name", "steps/s"], [["native", 12345.6], ["other", 0.25]])
    assert text.splitlines() == [
        "| name   | steps/s |",
        "| ------ | ------: |",
        "| native |  12,346 |",
        "| other  |    0.25 |",
    ]


def test_json_output_is_one_object_with_the_machine_beside_the_figures(
    measuring: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    measuring.emit("scoring", {"ratio": 1.5}, ["never printed"], as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["benchmark"] == "scoring"
    assert printed["figures"] == {"ratio": 1.5}
    assert printed["machine"]["cores"] >= 1
    measuring.emit("scoring", {}, ["a table"], as_json=False)
    assert capsys.readouterr().out.startswith("a table\n\npython ")
