"""The leaderboard: rows are rebuilt from outcomes, what does not match is refused, and only intervals order."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leaderboard_order import boards_with_an_order
from trainers.cli import main
from trainers.evaluation.evaluation_set import EvaluationSet, make_evaluation_set
from trainers.referee.leaderboard.from_study import entries_of
from trainers.referee.leaderboard.page import can_be_ordered, page_with, table
from trainers.referee.leaderboard.ranks import MIN_SEEDS, Place, above, paired_difference, paired_p, places
from trainers.referee.leaderboard.reading import (
    outcome_bytes,
    read_board,
    read_boards,
    read_entry,
    read_outcomes,
    read_protocol,
    stated_rate,
)
from trainers.referee.leaderboard.records import Entry, LeaderboardError, Protocol, SeedRun, StatedRate
from trainers.study.archive import read_archive
from trainers.study.plain_json import encode, write_json

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "docs" / "leaderboard"
TASKS = tuple(f"test:{index:06d}" for index in range(4))
SEEDS = range(6)


def evaluation_set(seed: int) -> EvaluationSet:
    """Four tasks of a world that nothing plays."""
    return EvaluationSet("Toy-v0", {"world_seed": seed}, "test", TASKS, None, 0.4, 64, "1")


def write_protocol(folder: Path) -> None:
    """A protocol of six seeds."""
    folder.mkdir()
    sets = {str(seed): {**(one := evaluation_set(seed)).content(), "hash": one.hash} for seed in SEEDS}
    starts = {str(seed): f"start-{seed}" for seed in SEEDS}
    protocol = Protocol(folder.name, "Toy", "Success.", "none", 64, "grpo", "abc", sets, starts, open=True)
    write_json(folder / "protocol.json", encode(protocol))


def write_entry(folder: Path, method: str, won: Callable[[int, int], bool], **changes: Any) -> Path:
    """An entry whose task `index` of `seed` is won where `won` says so; returns its file."""
    outcomes = {seed: {task: won(seed, index) for index, task in enumerate(TASKS)} for seed in SEEDS}
    packed = outcome_bytes(outcomes)
    (folder / f"{method}.outcomes.jsonl.gz").write_bytes(packed)
    runs = {str(seed): SeedRun(evaluation_set(seed).hash, f"start-{seed}", 1000, 2.0) for seed in SEEDS}
    entry = Entry(
        protocol=folder.name,
        method=method,
        label=method,
        description="A toy.",
        repository="nowhere",
        commit="abc",
        runs=runs,
        outcomes=f"{method}.outcomes.jsonl.gz",
        outcomes_sha256=hashlib.sha256(packed).hexdigest(),
        success=stated_rate({seed: sum(tasks.values()) / len(TASKS) for seed, tasks in outcomes.items()}),
    )
    file = folder / f"{method}.json"
    write_json(file, encode(dataclasses.replace(entry, **changes)))
    return file


def change(file: Path, **changes: Any) -> None:
    """Alter fields of a JSON file; a dotted name leads inside."""
    content = json.loads(file.read_text())
    for name, value in changes.items():
        *way, last = name.split("__")
        inner = content
        for step in way:
            inner = inner[step]
        inner[last] = value
    file.write_text(json.dumps(content))


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A folder with a protocol and two entries: grpo wins a half of every seed, better three of four."""
    folder = tmp_path / "toy"
    write_protocol(folder)
    write_entry(folder, "grpo", lambda seed, index: index < 2)
    write_entry(folder, "better", lambda seed, index: index < 3)
    return folder


def test_a_row_is_what_its_outcomes_say(board: Path) -> None:
    rows = {row.entry.method: row for row in read_board(board).rows}
    assert rows["grpo"].rates == dict.fromkeys(SEEDS, 0.5)
    assert (rows["better"].wins, rows["better"].episodes) == (18, 24)
    assert rows["better"].entry.success == StatedRate(0.75, 0.75, 0.75)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs__3__evaluation_set": "0" * 64}, "results on another set do not compare"),
        ({"runs__3__start": "another"}, "paired by a common start"),
        ({"success__mean": 0.6}, "state what the outcomes give"),
        ({"success__low": 0.1}, "state what the outcomes give"),
        ({"protocol": "other"}, "expected the protocol 'toy'"),
        ({"method": "Grpo"}, "expected the method's name to be the file's"),
        ({"outcomes": "../toy/grpo.outcomes.jsonl.gz"}, "in a file beside it"),
        ({"runs__3__cpu_seconds": -1.0}, "costs of at least 0"),
        ({"runs": {}}, "at least one seed"),
        ({"surprise": 1}, "unknown: surprise"),
        ({"format": 2}, "expected format 1, got 2"),
    ],
)
def test_an_entry_that_contradicts_its_protocol_or_its_outcomes_is_refused(
    board: Path, changes: dict[str, Any], message: str
) -> None:
    change(board / "grpo.json", **changes)
    with pytest.raises(LeaderboardError, match=message):
        read_board(board)


def test_an_outcome_that_was_altered_is_refused_even_where_the_hash_is_made_new(board: Path) -> None:
    file = board / "grpo.outcomes.jsonl.gz"
    outcomes: dict[int, dict[str, bool]] = {}
    for seed, task, success in read_outcomes(file):
        outcomes.setdefault(seed, {})[task] = success or (seed, task) == (2, TASKS[3])
    file.write_bytes(outcome_bytes(outcomes))
    with pytest.raises(LeaderboardError, match="changed after the entry was written"):
        read_board(board)
    change(board / "grpo.json", outcomes_sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(LeaderboardError, match="state what the outcomes give"):
        read_board(board)


@pytest.mark.parametrize(
    ("drop", "add", "message"),
    [
        (TASKS[1], None, f"missing: {TASKS[1]}; unknown: none"),
        (None, "test:000009", "missing: none; unknown: test:000009"),
    ],
)
def test_a_task_that_is_missing_or_unknown_is_named(
    board: Path, drop: str | None, add: str | None, message: str
) -> None:
    outcomes = {seed: dict.fromkeys(TASKS, True) for seed in SEEDS}
    if drop:
        del outcomes[4][drop]
    if add:
        outcomes[4][add] = True
    packed = outcome_bytes(outcomes)
    (board / "grpo.outcomes.jsonl.gz").write_bytes(packed)
    change(board / "grpo.json", outcomes_sha256=hashlib.sha256(packed).hexdigest())
    with pytest.raises(LeaderboardError, match=message):
        read_board(board)


def test_a_task_that_was_played_twice_is_refused(board: Path) -> None:
    packed = outcome_bytes({0: dict.fromkeys(TASKS, True)}) * 2  # gzip members follow one another
    (board / "grpo.outcomes.jsonl.gz").write_bytes(packed)
    change(board / "grpo.json", outcomes_sha256=hashlib.sha256(packed).hexdigest())
    with pytest.raises(LeaderboardError, match="is there twice"):
        read_board(board)


@pytest.mark.parametrize("content", [b"", b"no gzip", outcome_bytes({0: {"a": True}})[:-9]])
def test_a_damaged_file_of_outcomes_is_one_error(board: Path, content: bytes) -> None:
    (board / "grpo.outcomes.jsonl.gz").write_bytes(content)
    change(board / "grpo.json", outcomes_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(LeaderboardError):
        read_board(board)


def test_a_set_of_a_protocol_that_was_altered_is_refused(board: Path) -> None:
    change(board / "protocol.json", sets__2__temperature=0.9)
    with pytest.raises(LeaderboardError, match=r"seed 2 states the hash .* changed after it was written"):
        read_board(board)


def test_every_mistake_of_a_folder_is_named_at_once(board: Path) -> None:
    change(board / "grpo.json", runs__3__start="another")
    change(board / "better.json", success__mean=0.1)
    with pytest.raises(LeaderboardError) as caught:
        read_boards(board.parent)
    assert "grpo.json" in str(caught.value) and "better.json" in str(caught.value)


def test_a_constant_difference_is_told_apart_and_equal_rows_tie() -> None:
    rates = {"a": dict.fromkeys(range(5), 0.5), "b": dict.fromkeys(range(5), 0.75), "c": dict.fromkeys(range(5), 0.5)}
    ordered = above(rates)
    assert ordered == {("b", "a"), ("b", "c")}
    assert places(list(rates), ordered) == {"a": Place(2, 3), "b": Place(1, 1), "c": Place(2, 3)}


def test_student_s_p_of_paired_differences_is_that_of_the_table() -> None:
    # Differences of 1 to 5 points: mean 3, deviation sqrt(2.5), t = 3 / sqrt(2.5 / 5) = 4.2426 with 4 degrees.
    left = {seed: 0.5 + 0.01 * (seed + 1) for seed in range(5)}
    right = dict.fromkeys(range(5), 0.5)
    p = paired_p(left, right)
    assert p is not None and math.isclose(p, 0.013236, rel_tol=1e-3)
    assert paired_difference(left, right).n == 5


def test_rows_with_too_few_seeds_in_common_are_not_ordered() -> None:
    few = range(MIN_SEEDS - 1)
    assert paired_p(dict.fromkeys(few, 1.0), dict.fromkeys(few, 0.0)) is None
    # Ten seeds each, but only four that both have.
    assert paired_p(dict.fromkeys(range(10), 1.0), dict.fromkeys(range(6, 16), 0.0)) is None


@given(st.lists(st.lists(st.integers(0, 20), min_size=6, max_size=6), min_size=2, max_size=5))
def test_ranks_never_contradict_an_order_and_leave_room_for_every_row(wins: list[list[int]]) -> None:
    rates = {f"row{row}": {seed: count / 20 for seed, count in enumerate(counts)} for row, counts in enumerate(wins)}
    ordered = above(rates)
    found = places(list(rates), ordered)
    for better, worse in ordered:
        assert (worse, better) not in ordered
        assert found[better].best < len(rates) and found[worse].best > 1
    for place in found.values():
        assert 1 <= place.best <= place.worst <= len(rates)


def test_boards_without_an_effect_are_seldom_ordered_and_a_large_effect_nearly_always() -> None:
    # 5 % of 200 is 10; 20 or more would have a chance of 0.3 %.
    assert boards_with_an_order(200, 6, 10) < 20
    assert boards_with_an_order(50, 6, 10, effect=0.08) > 45


def test_rows_of_the_same_range_are_in_the_order_of_their_names_whatever_their_means(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    write_protocol(folder)
    write_entry(folder, "grpo", lambda seed, index: index < 2)
    write_entry(folder, "zero", lambda seed, index: index < 2 + (seed == 0))
    write_entry(folder, "alpha", lambda seed, index: index < 2 - (seed == 0))
    lines = [
        line
        for line in table(read_board(folder)).splitlines()
        if line.startswith("| 1\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}3")
    ]
    assert [line.split(" | ")[1] for line in lines] == ["alpha", "grpo", "zero"]


def test_a_row_that_reads_privileged_context_is_shown_and_ordered_with_nothing(board: Path) -> None:
    write_entry(board, "cheat", lambda seed, index: True, reads_privileged=True)
    read = read_board(board)
    assert [row.entry.method for row in read.rows if not can_be_ordered(row)] == ["cheat"]
    lines = table(read).splitlines()
    assert lines[-1].startswith("| reads privileged context | cheat |")
    assert "| 1 | better |" in table(read) and "| 2 | grpo |" in table(read)


def test_accelerators_have_a_column_where_a_run_has_used_one(board: Path) -> None:
    assert "GPU-seconds" not in table(read_board(board))
    change(board / "better.json", runs__0__gpu_seconds=60.0)
    (row,) = [line for line in table(read_board(board)).splitlines() if " | better | " in line]
    assert "GPU-seconds" in table(read_board(board)) and " | 2 | 10 | " in row  # means over six seeds


def test_the_page_keeps_its_prose_and_takes_its_tables_from_the_files(board: Path) -> None:
    text = "before\n<!-- board toy -->\nold\n<!-- end board -->\nafter\n"
    made = page_with(text, [read_board(board)])
    assert made.startswith("before\n") and made.endswith("after\n") and "old" not in made
    assert "+25.0 (+25.0 to +25.0)" in made.replace("\N{NO-BREAK SPACE}", " ")
    assert page_with(made, [read_board(board)]) == made
    with pytest.raises(LeaderboardError, match="one mark"):
        page_with("nothing", [read_board(board)])


def test_the_commands_check_and_rate_and_notice_an_old_page(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = board.parent
    assert main(["leaderboard", "check", str(folder)]) == 0
    assert "toy: 2 entries and 48 outcomes" in capsys.readouterr().out
    (folder / "boards.md").write_text("<!-- board toy -->\n<!-- end board -->\n")
    assert main(["leaderboard", "page", str(folder), "--check"]) == 1
    assert main(["leaderboard", "page", str(folder)]) == 0
    assert main(["leaderboard", "page", str(folder), "--check"]) == 0
    capsys.readouterr()
    assert main(["leaderboard", "rate", str(board / "grpo.outcomes.jsonl.gz")]) == 0
    stated = json.loads(capsys.readouterr().out)
    entry = json.loads((board / "grpo.json").read_text())
    assert stated == {"success": entry["success"], "outcomes_sha256": entry["outcomes_sha256"]}
    change(board / "grpo.json", runs__0__start="another")
    assert main(["leaderboard", "check", str(folder)]) == 2
    assert "paired by a common start" in capsys.readouterr().err


# The published boards.


def test_the_published_boards_match_their_files_and_the_page_is_what_they_give() -> None:
    boards = read_boards(PUBLISHED)
    assert {board.protocol.name for board in boards} == {"household-tiny", "haggle-tiny", "pair-tiny"}
    page = (PUBLISHED / "boards.md").read_text(encoding="utf-8")
    assert page_with(page, boards) == page
    assert sum(file.stat().st_size for file in PUBLISHED.rglob("*")) < 5_000_000


@pytest.mark.parametrize(
    ("name", "study"), [("haggle-tiny", "haggle"), ("pair-tiny", "pair"), ("household-tiny", "household")]
)
def test_our_rows_are_those_of_the_published_studies(name: str, study: str) -> None:
    protocol, sets = read_protocol(PUBLISHED / name / "protocol.json")
    made = entries_of(read_archive(ROOT / "docs" / "studies" / f"{study}.jsonl.gz").jobs, protocol, sets)
    files = {path.stem for path in (PUBLISHED / name).glob("*.json")} - {"protocol"}
    assert {method for method, _, _ in made} == files
    for method, entry, packed in made:
        assert (PUBLISHED / name / entry.outcomes).read_bytes() == packed
        assert read_entry(PUBLISHED / name / f"{method}.json", protocol, sets).entry == entry


@pytest.mark.parametrize("name", ["haggle-tiny", "pair-tiny"])
def test_the_sets_of_open_boards_are_those_of_the_worlds_as_they_are(name: str) -> None:
    protocol, sets = read_protocol(PUBLISHED / name / "protocol.json")
    assert protocol.open
    for seed in (0, max(sets)):
        stated = sets[seed]
        made = make_evaluation_set(
            stated.env_id,
            stated.env_kwargs,
            stated.split,
            len(stated.task_ids),
            max_turns=stated.max_turns,
            temperature=stated.temperature,
            sampler_batch=stated.sampler_batch,
        )
        assert made.hash == stated.hash


def test_the_schema_has_every_field_of_an_entry_and_requires_those_without_a_default() -> None:
    schema = json.loads((PUBLISHED / "entry.schema.json").read_text())
    for wanted, part in (
        (Entry, schema),
        (SeedRun, schema["properties"]["runs"]["additionalProperties"]),
        (StatedRate, schema["properties"]["success"]),
    ):
        fields = {field.name: field for field in dataclasses.fields(wanted)}
        assert set(part["properties"]) == set(fields)
        assert set(part["required"]) == {n for n, f in fields.items() if f.default is dataclasses.MISSING}
        assert part["additionalProperties"] is False
