"""Curating: every filter with its count, nothing of evaluations, nothing privileged, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_runs import ENV, SECRET, episode, golden_episodes, packed, write_run

from trainers.cli import main
from trainers.offline import filters
from trainers.offline.curate import curate
from trainers.offline.filters import MeanRange, Rules, choose
from trainers.offline.stored import StoredEpisodesError, read_curated, read_log

BEST = Rules(MeanRange.read("0<mean<1"), correct=True, per_task=2, near_duplicates=2)
GOLDEN = "5ab0541d7c952a1f30f8e8ad262489b8541f9af6b8223b7881f40f3489230037"
# Of 48 training episodes; the first four counts are those of the outcomes that the episodes were made with.
GOLDEN_THROWN = {
    filters.NOT_TRAINING: 16,
    filters.MEAN_LOW: 8,
    filters.MEAN_HIGH: 12,
    filters.LOST: 14,
    filters.BEYOND_TASK: 4,
    filters.BEYOND_SHAPE: 4,
}


def kept(folder: Path, episodes: list[dict[str, Any]], rules: Rules, **run: Any) -> tuple[list[str], dict[str, int]]:
    """What is kept of these episodes, as task and member, and the counts that are not 0."""
    log = write_run(folder / "run", episodes, **run) / "episodes.jsonl"
    evaluated = {(ENV, task) for task in run.get("evaluated", ())}
    choice = choose(read_log(log), rules, evaluated)
    assert len(choice.kept) + sum(choice.thrown.values()) == choice.read == len(episodes)
    names = [f"{each.task[1]} {each.order[4]}" for each in choice.kept]
    return names, {reason: count for reason, count in choice.thrown.items() if count}


def test_64_episodes_give_the_same_bytes_as_ever(tmp_path: Path) -> None:
    done = curate([write_run(tmp_path / "run", golden_episodes())], BEST, tmp_path / "out")
    content = (tmp_path / "out" / "episodes.jsonl").read_bytes()
    assert done.choice.read == 64
    assert {reason: count for reason, count in done.choice.thrown.items() if count} == GOLDEN_THROWN
    assert hashlib.sha256(content).hexdigest() == GOLDEN


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_neither_the_order_of_lines_nor_that_of_runs_matters(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = golden_episodes()
    folder = tmp_path_factory.mktemp("orders")
    curate([write_run(folder / "a" / "rooms", lines)], BEST, folder / "one")
    mixed = data.draw(st.permutations(lines))
    runs = [
        write_run(folder / "b" / "rooms", [each for each in mixed if each["iteration"] % 2]),
        write_run(folder / "c" / "rooms", [each for each in mixed if not each["iteration"] % 2]),
    ]
    curate(data.draw(st.permutations(runs)), BEST, folder / "two")
    assert (folder / "one" / "episodes.jsonl").read_bytes() == (folder / "two" / "episodes.jsonl").read_bytes()


def test_evaluations_are_refused_whatever_is_asked(tmp_path: Path) -> None:
    phases = ["train", "valid", "test", "valid_privileged", "teacher", "anything"]
    lines = [episode(phase=phase, member=number) for number, phase in enumerate(phases)]
    assert kept(tmp_path, lines, Rules()) == (["train:0 0"], {filters.NOT_TRAINING: 5})


def test_a_training_episode_of_an_evaluated_task_is_refused(tmp_path: Path) -> None:
    lines = [episode(), episode(task_id="train:1", group=1)]
    found = kept(tmp_path, lines, Rules(), evaluated=["train:1"])
    assert found == (["train:0 0"], {filters.EVALUATED: 1})
    seat = choose(read_log(tmp_path / "run" / "episodes.jsonl"), Rules(), {(ENV.upper(), "train:1")})
    assert seat.thrown[filters.EVALUATED] == 1  # a game's tasks are evaluated in a seat of it


def test_of_a_game_the_best_of_each_seat_are_kept(tmp_path: Path) -> None:
    lines = [episode(member=number, role=role) for number, role in enumerate(["cook", "cook", "runner"])]
    names, counts = kept(tmp_path, lines, Rules(per_task=1))
    assert names == ["train:0 0", "train:0 2"] and counts == {filters.BEYOND_TASK: 1}


def test_what_can_be_no_data_is_counted_by_its_reason(tmp_path: Path) -> None:
    lines = [
        episode(member=0),
        episode(member=1, view="privileged", tokens=False),
        episode(member=2, stop_reason="failed", success=False),
        episode(member=3, tokens=False),
        episode(member=0),
    ]
    counts = {filters.PRIVILEGED: 1, filters.BROKEN: 1, filters.NO_TOKENS: 1, filters.TWICE: 1}
    assert kept(tmp_path, lines, Rules()) == (["train:0 0"], counts)


def group(number: int, won: list[bool]) -> list[dict[str, Any]]:
    return [
        episode(["open box"] * (1 + member), success=success, group=number, member=member, task_id=f"train:{number}")
        for member, success in enumerate(won)
    ]


def test_groups_that_always_or_never_succeed_say_nothing(tmp_path: Path) -> None:
    lines = [*group(0, [True, True]), *group(1, [False, False, False]), *group(2, [True, False])]
    rules = Rules(keep=MeanRange.read("0<mean<1"))
    assert kept(tmp_path, lines, rules) == (["train:2 0", "train:2 1"], {filters.MEAN_HIGH: 2, filters.MEAN_LOW: 3})


def test_a_broken_member_is_not_counted_in_its_groups_mean(tmp_path: Path) -> None:
    lines = [*group(0, [True, True]), episode(member=2, success=False, stop_reason="failed")]
    found = kept(tmp_path, lines, Rules(keep=MeanRange.read("mean<1")))
    assert found == ([], {filters.MEAN_HIGH: 2, filters.BROKEN: 1})


def test_only_successes(tmp_path: Path) -> None:
    assert kept(tmp_path, group(0, [True, False, False]), Rules(correct=True)) == (["train:0 0"], {filters.LOST: 2})


def test_only_what_was_rewarded_highly_and_was_short(tmp_path: Path) -> None:
    lines = [
        episode(["a"], member=0, **{"return": 0.2}),
        episode(["a", "b", "c"], member=1),
        episode(["a", "b"], member=2),
    ]
    counts = {filters.POOR: 1, filters.LONG: 1}
    assert kept(tmp_path, lines, Rules(min_return=0.5, max_turns=2)) == (["train:0 2"], counts)


def test_the_best_of_a_task_are_kept_by_return_then_by_fewest_turns(tmp_path: Path) -> None:
    lines = [
        episode(["a", "b"], member=0),
        episode(["a", "b", "c"], member=1),
        episode(["a"], member=2, **{"return": 0.5}),
        episode(["a", "b"], member=3, group=1),  # the same task in another group
        episode(["a"], member=4, task_id="train:1", group=2),
    ]
    names, counts = kept(tmp_path, lines, Rules(per_task=2))
    assert names == ["train:0 0", "train:0 3", "train:1 4"] and counts == {filters.BEYOND_TASK: 2}


def test_actions_that_differ_in_numbers_alone_are_near_duplicates(tmp_path: Path) -> None:
    lines = [
        episode(["open drawer 1", "take coin"], member=0),
        episode(["open drawer 22", "take coin"], member=1, task_id="train:1"),
        episode(["Open Drawer 3", "take coin"], member=2, task_id="train:2"),
        episode(["open cabinet 1", "take coin"], member=3, task_id="train:3"),
        episode(["open drawer 1", "take coin"], member=4, task_type="key"),
    ]
    names, counts = kept(tmp_path, lines, Rules(near_duplicates=1))
    assert names == ["train:0 0", "train:3 3", "train:0 4"] and counts == {filters.BEYOND_SHAPE: 2}


def test_nothing_privileged_is_in_any_file(tmp_path: Path) -> None:
    curate([write_run(tmp_path / "run", golden_episodes())], BEST, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        text = path.read_text()
        assert SECRET not in text and "claim_ids" not in text and '"privileged"' not in text and '"stale"' not in text
    for record in read_curated(tmp_path / "out"):
        assert not {"tokens", "privileged"} & set(record["turns"][0])


@pytest.mark.parametrize(
    ("text", "low", "inside", "high"), [("0<mean<1", 0.0, 0.5, 1.0), ("0.25<=mean<0.5", 0.2, 0.25, 0.5)]
)
def test_a_range_is_read_as_it_is_written(text: str, low: float, inside: float, high: float) -> None:
    found = MeanRange.read(text)
    assert [found.reason(mean) for mean in (low, inside, high)] == [filters.MEAN_LOW, None, filters.MEAN_HIGH]
    assert Rules(keep=found).described()["keep"] == text
    assert MeanRange.read("mean<=0.5").reason(0.5) is None and MeanRange.read(" 0 < mean ").reason(1.0) is None


@pytest.mark.parametrize("text", ["mean", "0>mean", "0<mean<one", "success<1", ""])
def test_another_range_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='"0<mean<1"'):
        MeanRange.read(text)


def test_the_command_says_what_was_thrown_away_and_refuses_to_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", golden_episodes())
    words = ["curate", str(run), "--keep", "0<mean<1", "--correct", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"{filters.NOT_TRAINING}" in said and "16" in said and "kept" in said
    thrown = json.loads((tmp_path / "out" / "thrown.json").read_text())
    assert thrown["thrown"][filters.NOT_TRAINING] == 16 and thrown["rules"] == {"correct": True, "keep": "0<mean<1"}
    card = (tmp_path / "out" / "card.md").read_text()
    assert "made-up/Rooms-v0" in card and "Nothing privileged" in card and "| did not succeed |" in card
    assert main(words) == 2 and "there already" in capsys.readouterr().err
    assert main([*words[:2], "--keep", "mean", "--out", str(tmp_path / "x")]) == 2
    assert "0<mean<1" in capsys.readouterr().err


def test_what_keeps_nothing_names_the_remedy(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sample", [episode(tokens=False)])
    with pytest.raises(StoredEpisodesError, match="--log-tokens all"):
        curate([run], Rules(), tmp_path / "out")
    run = write_run(tmp_path / "lost", [episode(success=False)])
    with pytest.raises(StoredEpisodesError, match=r"did not succeed 1.*milder"):
        curate([run], Rules(correct=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ids_of_two_tokenizers_are_not_mixed(tmp_path: Path) -> None:
    other = {**episode()["policy"], "tokenizer": "u"}
    run = write_run(tmp_path / "run", [episode(), episode(member=1, policy=other)])
    with pytest.raises(StoredEpisodesError, match="one tokenizer, got 2"):
        curate([run], Rules(), tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{broken}\n", "expected a JSON record"),
        ('{"schema": "else"}\n', "of schema sdar/episode/1"),
        (json.dumps({**episode(), "iteration": "first"}) + "\n", "expected an episode"),
        (json.dumps({**episode(), "packed": packed([((1,), (2,))])}) + "\n", "tokens of 2 turns, got 1"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    run = write_run(tmp_path / "run", [episode()])
    with (run / "episodes.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(StoredEpisodesError, match=f"byte \\d+.*{expected}"):
        curate([run], Rules(), tmp_path / "out")


def test_a_last_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [episode()])
    with (run / "episodes.jsonl").open("a") as file:
        file.write(json.dumps(episode(member=1))[:100])
    assert len(curate([run], Rules(), tmp_path / "out").choice.kept) == 1
