"""`sdar study`: its subcommands, and the old form, which is carried out by the commands that it points to."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from study_results import make_result

from trainers.cli import command_parser, main
from trainers.cli.flags import point_out
from trainers.cli.study.old_form import new_commands, parser_of_the_old_form
from trainers.cli.study.subcommands import SUBCOMMANDS, subcommand_parser
from trainers.study.archive import export_study
from trainers.study.plan import make_plan
from trainers.study.records import save_record
from trainers.study.result_records import Warm
from trainers.study.study_dir import prepare

CONTENT: dict[str, Any] = {"env_id": "sdar/Household-v0", "seeds": 2, "arms": ["grpo", "sdar"], "hypotheses": []}
MOMENT = re.compile(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
ADDED = "table.json", "results.csv", "report.md"


@pytest.fixture(autouse=True)
def _nothing_is_pointed_out_yet() -> Iterator[None]:
    point_out.cache_clear()
    yield
    point_out.cache_clear()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose four runs are all there, though nobody ran them."""
    path = tmp_path_factory.mktemp("studies") / "finished"
    _, jobs = prepare(path, make_plan({**CONTENT, "name": "finished"}, "here"))
    for job in jobs.values():
        made = make_result(job.arm.key, job.seed, [0.1, 0.2 + 0.1 * job.seed, 0.3], test="01" * 30, start="0" * 60)
        place = path / "jobs" / job.key
        save_record(place / "result.json", _named(made, job))
    return path


def _named(result: Any, job: Any) -> Any:
    warm = Warm(str(job.warm_key), 0.1, 0.5, 400)
    return dataclasses.replace(result, key=job.key, warm=warm, config=dict(job.config))


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file but the locks; when a plan was made or changed is taken out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): MOMENT.sub(b"", path.read_bytes()) for path in files}


# --- subcommands ---


def test_without_a_subcommand_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for words, status in (([], 2), (["--help"], 0)):
        assert main(["study", *words]) == status
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown and known.summary in shown for name, known in SUBCOMMANDS.items())


def test_an_unknown_subcommand_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "rnu", "x"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and '"run"' in said


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help_whose_examples_it_reads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: sdar study {name} " in shown
    for words in SUBCOMMANDS[name].examples:
        assert f"sdar study {name} {words}" in shown
        assert command_parser("study")[0].parse_args([name, *shlex.split(words)]).subcommand == name


def test_a_subcommand_takes_no_option_that_it_does_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["table", "x", "--jobs", "2"], ["show", "x", "--amend"], ["export", "x", "y", "--methods", "grpo"]):
        assert main(["study", *words]) == 2
        assert "unrecognized argument" in capsys.readouterr().err


def test_the_old_name_of_an_axis_is_pointed_out_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        options = subcommand_parser("show").parse_args(["x", "--stale", "0.1,0.2"])
        assert options.corrupted == "0.1,0.2"
    assert capsys.readouterr().err == "sdar study show: --stale is called --corrupted now\n"


def test_reuse_takes_runs_over_and_runs_nothing(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "again"
    _, jobs = prepare(path, make_plan(CONTENT, "here"))
    assert main(["study", "reuse", str(path), str(finished)]) == 0
    assert all((path / "jobs" / job.key / "result.json").is_file() for job in jobs.values())
    assert not (path / "table.json").exists()


# --- the old form ---


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--table"], ["table D"]),
        (["--export", "F"], ["export D F"]),
        (["--export", "F", "--table"], ["export D F"]),
        (["--merge", "A", "--table"], ["merge D A --table"]),
        (
            ["--merge", "A", "--export", "F", "--cache-dir", "C"],
            ["merge D A --cache-dir C", "export D F --cache-dir C"],
        ),
        (["--dry-run", "--plan", "household"], ["show D --plan household"]),
        (["--tune", "--plan", "household", "--amend"], ["tune D --plan household --amend"]),
        (["--merge", "A", "B", "--only-seeds", "5-9"], ["run D --only-seeds 5-9 --merge A B"]),
        (["--plan", "household-warm", "--reuse", "A"], ["run D --plan household-warm --reuse A"]),
        (["--vary", "a=1", "--set", "b=2,3", "--stale", "0.5"], ["run D --corrupted 0.5 --set a=1 b=2,3"]),
        (["--set", "-x=1", "--cache-dir=-c"], None),
        ([], ["run D"]),
    ],
    ids=lambda value: " ".join(value or ["-"]),
)
def test_each_old_form_points_to_the_commands_of_today(
    old: list[str], new: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if new is None:
        assert main(["study", "--output-dir", "D", *old]) == 2  # argparse took no such word then, either
        return
    options = command_parser("study")[0].parse_args(["--output-dir", "D", *old])
    assert options.subcommand is None
    assert [" ".join(words) for words in new_commands(options)] == new
    assert capsys.readouterr().err == ""


FLAGS: dict[str, list[str]] = {
    "planning": ["--env", "sdar/Household-v0", "--methods", "grpo,sdar", "--seeds", "0,3-4", "--iterations", "-1"],
    "axes": ["--privilege", "skill,none", "--stale", "0.1", "--set", "beta=0.1,0.2", "--warm-start", "a=[1,2]"],
    "plan": ["--plan", "my plan.yaml"],
    "merge": ["--merge", "a b", "c"],
    "reuse": ["--reuse", "d"],
    "export": ["--export", "e.gz"],
    "runs": ["--jobs", "3", "--only-seeds", "5", "--cache-dir", "-odd", "--keep-episodes"],
    **{flag: [flag] for flag in ("--table", "--tune", "--amend", "--dry-run")},
}


def test_whatever_the_old_form_reads_the_new_commands_read_alike() -> None:
    """Every pair of groups of flags and 300 larger draws: no command has another value for what it reads."""
    draw = random.Random(0)
    chosen = [set(pair) for pair in itertools.combinations(FLAGS, 2)]
    chosen += [{name for name in FLAGS if draw.random() < 0.4} for _ in range(300)]
    read = 0
    for names in chosen:
        words = [word for name in FLAGS if name in names for word in FLAGS[name]]
        words = [f"--cache-dir={word}" if word == "-odd" else word for word in words if word != "--cache-dir"]
        old = parser_of_the_old_form().parse_args(["--output-dir", "the study", *words])
        try:
            commands = new_commands(old)
        except (RuntimeError, ValueError):
            assert (old.reuse or names & {"planning", "axes", "plan"} or old.merge) and (
                old.table or old.export or old.dry_run
            )
            continue
        for command in commands:
            new = vars(subcommand_parser(command[0]).parse_args(shlex.split(shlex.join(command[1:]))))
            asked_last = command is commands[-1]
            for name, value in new.items():
                if name != "subcommand" and (asked_last or name != "table"):
                    assert value == getattr(old, name), (words, command, name)
            read += 1
    assert read > 150


def test_what_never_went_together_is_refused_as_before(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--reuse", "x", "--table"], "leave out --table"),
        (["--table", "--methods", "grpo", "--set", "a=1"], "leave out --methods, --set"),
        (["--merge", "x", "--dry-run"], "--merge writes"),
    ):
        assert main(["study", "--output-dir", str(finished), *words]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--table"], ["table DIR"]),
        ([], ["run DIR"]),
        (["--dry-run"], ["show DIR"]),
        (["--dry-run", "--methods", "grpo,opsd"], ["show DIR --methods grpo,opsd"]),
        (["--merge", "OTHER", "--table"], ["merge DIR OTHER --table"]),
        (["--merge", "FILE"], ["run DIR --merge FILE"]),
        (["--plan", "PLAN", "--merge", "FILE"], ["run DIR --plan PLAN --merge FILE"]),
        (["--plan", "PLAN", "--reuse", "FILE"], ["run DIR --plan PLAN --reuse FILE"]),
        (["--export", "DIR/kept.gz"], ["export DIR DIR/kept.gz"]),
        (["--merge", "FILE", "--export", "DIR/kept.gz"], ["merge DIR FILE", "export DIR DIR/kept.gz"]),
        (["--methods", "grpo", "--seeds", "1"], ["run DIR --methods grpo --seeds 1"]),  # drops results: refused
        (["--tune"], ["tune DIR"]),  # has no tuning: refused
    ],
    ids=lambda value: " ".join(value) or "-",
)
@pytest.mark.parametrize("held", [True, False], ids=["a study is there", "nothing is there"])
def test_an_old_form_and_its_new_one_come_to_the_same_files_and_status(
    old: list[str],
    new: list[str],
    held: bool,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainers.study.runner import State

    monkeypatch.setattr("trainers.study.runner.run_tasks", lambda *_, **__: State({}))  # what is missing stays missing
    file, plan = tmp_path / "file.jsonl.gz", tmp_path / "plan.yaml"
    export_study(finished, file)
    plan.write_text(json.dumps({**CONTENT, "name": "finished", "seeds": 3}))  # JSON is YAML
    ends = []
    for form in ("old", "new"):
        path = tmp_path / form / "study"
        if held:
            shutil.copytree(finished, path)
        places = {"DIR": str(path), "OTHER": str(finished), "FILE": str(file), "PLAN": str(plan)}

        def filled(words: list[str], places: dict[str, str] = places) -> list[str]:
            return [places.get(word, word.replace("DIR/", f"{places['DIR']}/")) for word in words]

        if form == "old":
            status = main(["study", "--output-dir", str(path), *filled(old)])
        else:
            status = next((end for line in new if (end := main(["study", *filled(line.split())]))), 0)
        ends.append((status, files_of(path) if path.exists() else {}))
        said = capsys.readouterr()
        pointed = [line for line in said.err.splitlines() if "old form" in line]
        assert len(pointed) == (form == "old")
        if form == "old":
            assert shlex.split(pointed[0].split("`")[1]) == shlex.split(
                " && ".join(shlex.join(["sdar", "study", *filled(line.split())]) for line in new)
            )
    assert ends[0] == ends[1]
    if held and ends[0][0] == 0 and "--dry-run" not in old and "--export" not in old:
        assert set(ADDED) <= set(ends[0][1])
