"""Drills find what they look for, add up, and end within their bounds; a short form of each passes.

What is found when something is broken on purpose is in `test_drill_controls.py`. Some 20 CPU seconds in all, of which a
third are imports.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from breaking_envs import GoneEnv
from scripted_agents import ParityWorld

from sdar_envs.files import write_file
from trainers.cli import main
from trainers.drills import faults, hostile, resume, servers
from trainers.drills.catalogue import DRILLS, run_drill
from trainers.drills.small_run import STEPS, DrillSubject, Ended, SmallRun, wait
from trainers.drills.tally import Tally, markdown_table, read_records

SUBJECT = DrillSubject(ParityWorld, workers=0)


# --- counting ---


def test_records_of_several_calls_add_up_and_go_on_where_the_last_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def rounds(subject: DrillSubject, seed: int) -> Any:
        for number in itertools.count(seed):
            seen.append(number)
            tally = Tally("hostile", subject.name, rounds=1)
            tally.count("even" if number % 2 == 0 else "odd", *(("lost", "why") if number == 3 else ()))
            yield tally

    monkeypatch.setattr(hostile, "drill_hostile", rounds)
    mine, total = run_drill("hostile", SUBJECT, tries=3, records=tmp_path)
    assert (mine.tries, total.tries, mine.passed) == (3, 3, True)
    mine, total = run_drill("hostile", SUBJECT, tries=2, records=tmp_path)
    assert seen == [0, 1, 2, 3, 4]
    assert (mine.tries, mine.lost, total.tries, total.lost, total.kinds) == (2, 1, 5, 1, {"even": 3, "odd": 2})
    assert not total.passed and total.examples == ["lost: odd: why"]
    table = markdown_table(read_records(tmp_path).values())
    assert "| hostile | scripted_agents:ParityWorld | 5 | 4 | 1 | 0 |" in table
    assert main(["drill", "table", "--records", str(tmp_path)]) == 1


def test_a_call_ends_when_its_minutes_are_over_and_has_done_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(subject: DrillSubject, seed: int) -> Any:
        while True:
            tally = Tally("hostile", rounds=1)
            tally.count("x")
            yield tally

    monkeypatch.setattr(hostile, "drill_hostile", rounds)
    assert run_drill("hostile", SUBJECT, tries=10**9, minutes=1e-9)[0].tries == 1


def test_a_drill_in_which_nothing_was_tried_has_not_passed() -> None:
    assert not Tally("x").passed


def test_a_folder_with_something_else_in_it_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "other.json", "[]")
    with pytest.raises(ValueError, match=r"other\.json: expected a record of sdar drill"):
        read_records(tmp_path)


@pytest.mark.parametrize("words", [["nothing"], ["table"], ["hostile", "--tries", "0"], ["hostile", "--minutes", "-1"]])
def test_mistakes_of_the_caller_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- each drill, in short ---


def test_every_drill_of_the_table_can_be_loaded() -> None:
    assert all(callable(entry.load()) for entry in DRILLS.values())
    assert set(DRILLS) == {"resume", "faults", "hostile", "corrupt", "servers", "leaks"}


def test_hostile_text_is_a_step_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hostile.json"
    assert main(["drill", "hostile", "--tries", "200", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["passed"] and found["kinds"]["action"] == 200 and found["kinds"]["text"] == 10
    assert "0 lost, 0 silent" in capsys.readouterr().out


def test_faults_of_an_environment_cost_no_episode_that_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "EPISODES", 4)
    mine, _ = run_drill("faults", DrillSubject(ParityWorld, workers=2), tries=4)
    assert mine.passed and mine.tries == 4, mine.examples
    assert sum(mine.kinds.values()) >= 4


def test_honest_clients_get_their_answers_while_others_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("faiss")
    for name, few in (("REQUESTS", 40), ("VISITS", 3), ("CLIENTS", 4), ("ATTACKERS", 4)):
        monkeypatch.setattr(servers, name, few)
    mine, _ = run_drill("servers", SUBJECT, tries=1)
    assert mine.passed, mine.examples
    assert (mine.kinds["search"], mine.kinds["visit"]) == (40, 4)
    assert any(kind.startswith("attack: ") for kind in mine.kinds)


def test_a_killed_run_comes_to_the_same_bytes_and_a_different_one_is_found(tmp_path: Path) -> None:
    mine, _ = run_drill("resume", SUBJECT, tries=2, minutes=9)
    assert mine.passed, mine.examples
    run = SmallRun(SUBJECT, tmp_path)
    assert run.run("one").status == 0
    peace = run.outcome("one")
    assert {"metrics", "episodes", "model.safetensors", "optimizer.safetensors"} <= set(peace)
    assert len(peace["metrics"]) == STEPS + 1
    assert wait(run.start_anew("two")).status == 0, run.said("two")
    assert run.outcome("two") == peace
    (tmp_path / "one").rename(tmp_path / "killed")
    for change, outcome in ((lambda: None, "survived"), (lambda: peace.update(metrics=[]), "silent")):
        change()
        tally = Tally("resume")
        resume._judge(run, Ended(0, 1.0), "x", peace, tally)
        assert getattr(tally, outcome) == 1
    tally = Tally("resume")
    resume._judge(run, Ended(1, 1.0), "x", peace, tally)
    assert tally.lost == 1


def test_an_environment_that_cannot_be_made_is_one_error() -> None:
    with pytest.raises(Exception, match="GoneEnv"):
        run_drill("resume", DrillSubject(GoneEnv, workers=1), tries=1)


def test_planted_secrets_stay_where_they_belong() -> None:
    mine, _ = run_drill("leaks", DrillSubject("sdar/Household-v0", {"size": "small"}, 0), tries=60, minutes=9)
    assert mine.passed, mine.examples
    assert mine.kinds["output, with an exception"] == 2 and mine.rounds == 2


def test_a_subject_without_a_privileged_side_cannot_leak() -> None:
    class Plain(ParityWorld):
        def reset(self, **words: Any) -> Any:
            observation, info = super().reset(**words)
            return observation, {key: value for key, value in info.items() if key != "privileged"}

    with pytest.raises(ValueError, match="nothing that could leak"):
        run_drill("leaks", DrillSubject(Plain, workers=0), tries=1)


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_drill("corrupt", SUBJECT, tries=1)
    assert not list(tmp_path.iterdir())
