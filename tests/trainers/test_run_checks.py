"""The files of a finished run are not believed: hashes are checked, and figures against what they are of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_run import write_run

from trainers.cli import main
from trainers.report.run_checks import check_run
from trainers.report.write import write_report


def change(file: Path, how: Callable[[Any], Any]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    how(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_of_a_run_as_it_was_written_nothing_is_wrong_or_missing(tmp_path: Path) -> None:
    found = check_run(write_run(tmp_path / "run"))
    assert (found.wrong, found.missing, found.sentences()) == ((), (), ())


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("panels/test.json", lambda c: c["task_ids"].pop(), "panels/test.json: the evaluation set was changed after"),
        ("panels/test.json", lambda c: c.update(temperature=0.5), "the evaluation set was changed after"),
        ("config.yaml", lambda c: c.update(learning_rate=0.1), "config.yaml is not the configuration of this run"),
        ("config.yaml", lambda c: c.update(no_option=1), "the configuration cannot be checked"),
        ("run.json", lambda c: c.update(digest="0"), "config.yaml is not the configuration of this run"),
        (
            "summary.json",
            lambda c: c["after"].update(success_rate=0.99),
            "summary.json, after: the success rate 99.0 % is outside its own interval, 36.4 to 63.6",
        ),
        (
            "summary.json",
            lambda c: c["after"].update(success_rate=0.6),
            "summary.json, after: the success rate 60.0 % is not 24 of 48 episodes",
        ),
        (
            "summary.json",
            lambda c: c["before"].update(ci95=[0.0, 0.9]),
            "before: the interval 0.0 to 90.0 is not that of 8 of 48 episodes, 8.7 to 29.6",
        ),
        ("summary.json", lambda c: c["after"].update(success_rate=7), "the success rate 7 is none"),
        (
            "summary.json",
            lambda c: c["after"]["by_task_type"]["heat"].update(success_rate=0.9),
            "summary.json, after, heat: the success rate 90.0 %",
        ),
        (
            "summary.json",
            lambda c: c["teacher"]["after"].update(success_rate=1.0),
            "privileged prompt after: the success rate 100.0 % is outside its own interval",
        ),
        (
            "summary.json",
            lambda c: c["after"].update(panel_hash="f" * 64),
            "after: it was measured on the evaluation set ffffffffffff, and panels/ has",
        ),
    ],
)
def test_what_was_changed_is_said_by_report_and_by_recorded_evaluations(
    tmp_path: Path, name: str, how: Callable[[Any], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", iterations=2)
    assert main(["eval", str(run), "--recorded"]) == 0
    change(run / name, how)
    assert any(said in sentence for sentence in check_run(run).wrong)
    capsys.readouterr()
    if name == "summary.json":
        assert main(["eval", str(run), "--recorded"]) == 1
        shown = " ".join(capsys.readouterr().out.split())
        assert "WARNING" in shown and "do not go together" in shown
    written = write_report(run, images=False)
    assert any(said in note for note in written.notes)
    assert "do not go together" in written.files[0].read_text(encoding="utf-8")


def test_a_summary_that_states_other_wins_than_the_log_of_episodes_is_found(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", iterations=2)
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = [line for line in lines if line["phase"] == "test" and line["iteration"] == 2]
    more = [{**line, "task_id": f"test:{number + 24:06d}", "success": False} for number, line in enumerate(logged)]
    with (run / "episodes.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in more)
    wins = sum(line["success"] for line in logged)
    assert wins != 24  # as the summary has it
    assert check_run(run).wrong == (
        f"summary.json, after: 24 of 48 episodes are stated as won, and episodes.jsonl has {wins}",
    )


@pytest.mark.parametrize("name", ["metrics.jsonl", "episodes.jsonl"])
def test_a_missing_log_is_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", iterations=2)
    (run / name).unlink()
    assert check_run(run).missing == (f"{name} is missing: what was made of it cannot be checked",)
    assert any(name in note for note in write_report(run, images=False).notes)
    assert main(["eval", str(run), "--recorded"]) == 0
    assert name in capsys.readouterr().out


def test_a_run_whose_sets_are_gone_says_that_rates_cannot_be_checked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", iterations=2)
    (run / "panels" / "test.json").unlink()
    assert any("panels/ has no evaluation set" in said for said in check_run(run).missing)
