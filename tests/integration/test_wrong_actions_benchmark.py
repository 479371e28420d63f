"""The stored measurements of wrong actions: printed, drawn and added to without a run."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    import benchmarks.wrong_actions

    return benchmarks.wrong_actions


@pytest.fixture
def stored(benchmark: ModuleType) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(benchmark.DATA.read_text("utf-8"))
    return read


def call(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["wrong_actions", *map(str, words)])
    benchmark.main()


def test_the_picture_of_the_page_is_what_the_stored_measurements_draw(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(benchmark, monkeypatch, "--json", "--draw", tmp_path / "drawn.svg")
    assert json.loads(capsys.readouterr().out)["benchmark"] == "wrong_actions"
    drawn = (tmp_path / "drawn.svg").read_text("utf-8")
    assert drawn == (ROOT / "docs" / "images" / "wrong-actions.svg").read_text("utf-8")


def test_the_page_has_the_area_of_every_world_context_and_reader(benchmark: ModuleType, stored: dict[str, Any]) -> None:
    page = " ".join((ROOT / "docs" / "wrong-actions.md").read_text("utf-8").split())
    for found in stored.values():
        for _, _, area in benchmark.drawn(found):
            assert benchmark.area_text(area) in page


def test_without_a_context_nothing_is_known_in_any_world(benchmark: ModuleType, stored: dict[str, Any]) -> None:
    for found in stored.values():
        for contexts in found["readers"].values():
            areas = contexts["none"][benchmark.kind_of(found)]["areas"]
            assert {area["value"] for area in areas.values()} == {0.5}


def test_a_measurement_is_added_in_the_place_of_an_older_one_and_keeps_the_cells(
    benchmark: ModuleType, stored: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, written = tmp_path / "data.json", tmp_path / "written.json"
    world = next(iter(stored.values()))
    own = copy.deepcopy(world["readers"])
    readers = {"run, untrained": own["untrained"], "run": own["trained"]}
    for contexts in readers.values():
        for said in contexts.values():
            for kind in {"detour", "loss"} & set(said):
                said[kind]["by_turn"] = {benchmark.MEASURE: said[kind]["by_turn"]}
    found = {**world, "player": "run, untrained", "readers": readers}
    written.write_text(json.dumps({name: value for name, value in found.items() if name != "corrupted"}))
    words = ["--data", data, "--add", written, "--world", "A & B"]
    with pytest.raises(SystemExit, match="first"):
        call(benchmark, monkeypatch, *words, "--corrupted")
    call(benchmark, monkeypatch, *words)
    call(benchmark, monkeypatch, *words, "--corrupted")
    call(benchmark, monkeypatch, *words, "--draw", tmp_path / "drawn.svg")
    added = json.loads(data.read_text())["A & B"]
    assert added["readers"] == world["readers"] and added["corrupted"] == world["readers"]
    assert "A &amp; B" in (tmp_path / "drawn.svg").read_text()


def test_other_readers_than_a_run_and_its_beginning_are_refused(benchmark: ModuleType) -> None:
    with pytest.raises(SystemExit, match="untrained"):
        benchmark.normalised({"player": "a", "readers": {"a": {}, "b": {}}})


def test_the_picture_names_what_it_shows(benchmark: ModuleType, stored: dict[str, Any]) -> None:
    drawn = benchmark.picture(stored)
    assert len(re.findall("<circle", drawn)) == 2 + sum(len(list(benchmark.drawn(found))) for found in stored.values())
    assert all(f">{world}</text>" in drawn for world in stored)


def test_the_picture_begins_with_the_world_whose_statements_mark_best(
    benchmark: ModuleType, stored: dict[str, Any]
) -> None:
    areas = {
        name: found["readers"]["untrained"]["skill"][benchmark.kind_of(found)]["areas"]["whole action"]["value"]
        for name, found in stored.items()
    }
    drawn = re.findall(r'<text class="name" x="10" y="\d+">([^<]*)</text>', benchmark.picture(stored))
    assert drawn[len(benchmark.TITLE) :] == sorted(areas, key=areas.__getitem__, reverse=True)


def test_the_picture_counts_the_episodes_with_a_wrong_action(benchmark: ModuleType) -> None:
    seller = {"loss": {"first": {"-1": 20, "0": 173, "1": 7}}}
    assert (
        benchmark.counts_of({"episodes": 200, "readers": {"untrained": {"plan": seller}}}) == "first loss in 180 of 200"
    )
    never_right = {"detour": {"first": {"0": 9}}}
    found = {"episodes": 9, "readers": {"untrained": {"plan": {}, "skill": never_right}}}
    assert benchmark.counts_of(found) == "first detour in 9 of 9"


def test_a_phone_shrinks_the_picture_to_no_less_than_ten_pixels(benchmark: ModuleType, stored: dict[str, Any]) -> None:
    drawn = benchmark.picture(stored)
    (width,) = re.findall(r'viewBox="0 0 (\d+) ', drawn)
    sizes = [int(size) for size in re.findall(r"(?:font|font-size): ?(\d+)px", drawn)]
    assert len(sizes) == 2
    assert min(sizes) * 340 / int(width) >= 10  # 340 pixels are what the site leaves on a phone of 375
