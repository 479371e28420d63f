"""A study in one file, and results that change hands: nothing gets lost, and nothing is taken that does not fit."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from study_results import make_result

from trainers.cli import main
from trainers.study import load_study
from trainers.study.archive import export_study, read_archive
from trainers.study.merging import merge_studies, reuse_results
from trainers.study.plain_json import encode, read_json
from trainers.study.plan import make_plan
from trainers.study.plan_records import Job, Plan, StudyError
from trainers.study.records import save_record
from trainers.study.result_records import Trial, Tuned, TunedArm, Warm
from trainers.study.software import commit_of
from trainers.study.study_dir import prepare
from trainers.study.table_files import markdown, write_table
from trainers.study.tuning import save_tuned

CONTENT: dict[str, Any] = {"env_id": "sdar/Household-v0", "seeds": 2, "arms": ["grpo", "sdar"]}
TUNED = Tuned(30, (9,), {"sdar": TunedArm({"beta": 0.2}, (Trial({"beta": 0.2}, 0.5, {"9": 0.5}, ("trial",)),))})
SDAR_TUNED = {**CONTENT, "arms": ["grpo", {"method": "sdar", "tuned": "sdar"}]}


def plan(**changes: Any) -> Plan:
    return make_plan({**CONTENT, **changes}, "here")


def finish(path: Path, job: Job, *, folder: str = "jobs", **changes: Any) -> None:
    """A result that nobody ran, in the place of a job's."""
    made = make_result(job.arm.key, job.seed, [0.1, 0.2 + 0.1 * job.seed, 0.3], test="01" * 30, start="0" * 60)
    fields = {"key": job.key, "warm": Warm(str(job.warm_key), 0.1, 0.5, 400), "config": dict(job.config)}
    (path / folder / job.key).mkdir(parents=True, exist_ok=True)
    save_record(path / folder / job.key / "result.json", dataclasses.replace(made, **{**fields, **changes}))


def warm_models(path: Path, jobs: dict[tuple[str, int], Job], content: bytes = b"\x00weights") -> None:
    for key in {str(job.warm_key) for job in jobs.values()}:
        (path / "warm-start" / key).mkdir(parents=True)
        (path / "warm-start" / key / "warm_start.json").write_text("{}")
        (path / "warm-start" / key / "model.safetensors").write_bytes(content)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole"
    path.mkdir()
    save_tuned(path, TUNED)
    _, jobs = prepare_beside(path, make_plan(SDAR_TUNED, "here"))
    warm_models(path, jobs)
    for job in jobs.values():
        finish(path, job)
    finish(path, dataclasses.replace(jobs["sdar", 0], key="trial"), folder="trials")
    return path


def prepare_beside(path: Path, asked: Plan) -> tuple[Plan, dict[tuple[str, int], Job]]:
    """A study whose tuning is done: its first plan, then the plan with what was chosen."""
    tuned = (path / "tuned.json").read_bytes()
    (path / "tuned.json").unlink()
    prepare(path, asked, job_files=False)
    (path / "tuned.json").write_bytes(tuned)
    return prepare(path, asked)


# --- the round trip ---


def test_the_table_from_the_exported_file_is_the_originals(whole: Path, tmp_path: Path) -> None:
    table = write_table(whole)
    assert table.complete and table.arms[1].overrides["beta"] == 0.2
    file, again = tmp_path / "kept" / "study.jsonl.gz", tmp_path / "again"
    assert main(["study", "export", str(whole), str(file)]) == 0
    assert main(["study", "merge", str(again), str(file), "--table"]) == 0
    assert load_study(again).table == table
    for name in ("results.csv", "report.md", "study.json", "tuned.json"):
        assert (again / name).read_text() == (whole / name).read_text()
    before, after = load_study(whole), load_study(again)
    assert (after.plan, after.results, after.trials, after.tuned) == (
        *(before.plan, before.results, before.trials, before.tuned),
    )


def test_pool_takes_directories_and_exported_files_and_says_what_each_arm_leads_by(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, fresh = tmp_path / "whole.jsonl.gz", tmp_path / "fresh"
    export_study(whole, file)
    fresh.mkdir()
    save_tuned(fresh, TUNED)
    _, jobs = prepare_beside(fresh, make_plan({**SDAR_TUNED, "seeds": [5, 6, 7]}, "here"))
    for job in jobs.values():
        rates = [0.1, 0.2, 0.5] if job.arm.key == "grpo" else [0.1, 0.4, 0.5]
        finish(fresh, job, curve=make_result(job.arm.key, job.seed, rates).curve)
    assert main(["study", "pool", str(file), str(fresh)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    # Two seeds without a difference and three of 20 points at the first iteration: 12, with a deviation of 10.95.
    assert "arm less 1 2" in lines
    assert "sdar grpo +12.0 (-1.6 to +25.6) +0.0 (+0.0 to +0.0)" in lines
    assert any(line.startswith("sdar grpo 5 ") for line in lines)  # seeds


def test_the_same_study_makes_the_same_bytes_and_a_finished_one_carries_no_weights(whole: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.gz", tmp_path / "b.gz"
    assert export_study(whole, first).warm == {}
    merge_studies(tmp_path / "again", [first])
    export_study(tmp_path / "again", second)
    assert first.read_bytes() == second.read_bytes()


def test_a_study_goes_on_from_its_file_with_the_weights_of_seeds_that_are_half_done(tmp_path: Path) -> None:
    path, file, there = tmp_path / "here", tmp_path / "half.gz", tmp_path / "there"
    asked, jobs = prepare(path, plan(seeds=3))
    warm_models(path, jobs)
    for place in (("grpo", 0), ("sdar", 0), ("grpo", 1)):  # seed 0 is done, 1 is half done, 2 has not begun
        finish(path, jobs[place])
    half = str(jobs["grpo", 1].warm_key)
    assert set(export_study(path, file).warm) == {half}
    merged = merge_studies(there, [file])
    assert (merged.results, merged.warm_starts, merged.left) == (3, 1, 0)
    assert (there / "warm-start" / half / "model.safetensors").read_bytes() == b"\x00weights"
    again, laid_out = prepare(there, asked)
    assert again.jobs == load_study(path).plan.jobs and again.amended == ()
    missing = {place for place, job in laid_out.items() if not (there / "jobs" / job.key / "result.json").is_file()}
    assert missing == {("sdar", 1), ("grpo", 2), ("sdar", 2)}
    assert (there / "jobs" / jobs["sdar", 1].key / "job.json").is_file()


def test_an_export_says_which_weights_it_could_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, jobs = prepare(tmp_path / "here", plan(seeds=1))
    finish(tmp_path / "here", jobs["grpo", 0])
    assert main(["study", "export", str(tmp_path / "here"), str(tmp_path / "x.gz")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"without warm starts {jobs['grpo', 0].warm_key}" in said and "another machine may not be able" in said


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def pack(file: Path, records: list[dict[str, Any]]) -> None:
    file.write_bytes(gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records)))


def test_a_damaged_or_hostile_file_is_refused_with_its_name(whole: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.gz"
    export_study(whole, file)
    good, content = file.read_bytes(), lines_of(file)
    for damaged in (b"", b"plain text", good[: len(good) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(StudyError, match=r"study.gz: expected a study as sdar study export writes it"):
            read_archive(file)
    for name in ("../../evil", "/etc/x", ".lock", ""):
        pack(file, [content[0], {"kind": "warm", "key": "k", "files": {name: ""}}])
        with pytest.raises(StudyError, match="expected a plain name"):
            read_archive(file)
        pack(file, [content[0], {"kind": "jobs", "result": {**content[2]["result"], "key": name}}])
        with pytest.raises(StudyError, match="expected a plain name"):
            read_archive(file)
    pack(file, content[1:])
    with pytest.raises(StudyError, match="expected the plan of a study in format 1, got 'tuned'"):
        read_archive(file)


def test_a_result_that_was_changed_is_refused_in_the_folder_and_in_the_file(whole: Path, tmp_path: Path) -> None:
    file, again = tmp_path / "study.gz", tmp_path / "again"
    export_study(whole, file)
    merge_studies(again, [file])
    path = next((again / "jobs").glob("*/result.json"))
    good = path.read_text()
    path.write_text(good.replace('"wins": ', '"wins": 1', 1))
    with pytest.raises(StudyError, match=r"result\.json: the result was changed after it was written"):
        load_study(again)
    path.write_text(good)
    load_study(again)
    content = lines_of(file)
    content[2]["result"]["initial_weights"] = "of another model"
    pack(file, content)
    with pytest.raises(StudyError, match="line 3: the result was changed after it was written"):
        read_archive(file)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"kind":"jobs","result":[' + b"[]," * 8_000_000 + b"[]]}", "at most 16,777,216 characters, got more"),
        (b'{"kind":"jobs","result":[' + b"[]," * 2_600_000 + b"[]]}", "values, got about"),
        (b'{"kind":"jobs","result":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested at most 64 deep"),
        (b'{"kind":"jobs","result":' + b"[" * 500 + b"]" * 500 + b"}", "nested at most 64 deep"),
        (b'{"kind":"jobs","result":NaN}', "NaN is no JSON"),
    ],
    ids=["long", "many", "deep", "deeper than ours", "no number"],
)
def test_a_small_file_takes_little_memory_and_no_stack(whole: Path, tmp_path: Path, line: bytes, said: str) -> None:
    file = tmp_path / "study.gz"
    export_study(whole, file)
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + line + b"\n", 1))
    tracemalloc.start()
    try:
        with pytest.raises(StudyError, match=f"study.gz: expected a study.*{said}"):
            read_archive(file)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


# --- what is taken, and what is not ---


def test_the_tuned_values_of_another_machine_come_with_its_results(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "second"
    prepare(path, make_plan(SDAR_TUNED, "here"))  # laid out with documented defaults
    assert merge_studies(path, [whole]).results == 5
    assert load_study(path).tuned == TUNED and write_table(path).complete


def test_an_arm_is_called_tuned_only_where_there_are_values(whole: Path, tmp_path: Path) -> None:
    asked = make_plan(SDAR_TUNED, "here")
    assert [row.tuned for row in write_table(whole).arms] == [None, "sdar"]
    prepare(tmp_path / "untuned", asked)
    assert [row.tuned for row in write_table(tmp_path / "untuned").arms] == [None, None]


def test_the_terminal_says_where_no_arm_was_tuned(whole: Path, tmp_path: Path, capsys: Any) -> None:
    prepare(tmp_path / "untuned", make_plan(SDAR_TUNED, "here"))
    for path, untuned in [(whole, False), (tmp_path / "untuned", True)]:
        assert main(["study", "table", str(path)]) == 0
        assert ("not tuned: no arm was tuned" in " ".join(capsys.readouterr().out.split())) is untuned


def test_results_with_other_tuned_values_are_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "second"
    _, jobs = prepare(path, make_plan(SDAR_TUNED, "here"))
    finish(path, jobs["sdar", 0])
    with pytest.raises(StudyError, match=r"has tuned values, and .*second has results without"):
        merge_studies(path, [whole])
    with pytest.raises(StudyError, match=r"mean other runs by sdar, seed 0; sdar, seed 1: their options, tuned values"):
        merge_studies(whole, [path])
    other = Tuned(30, (9,), {"sdar": TunedArm({"beta": 0.7}, ())})
    (path / "jobs" / jobs["sdar", 0].key / "result.json").unlink()
    save_tuned(path, other)
    with pytest.raises(StudyError, match="were tuned to other values of sdar"):
        merge_studies(path, [whole])


def test_results_of_arms_that_the_plan_lacks_are_left_and_counted(tmp_path: Path) -> None:
    prepare(tmp_path / "small", plan())
    _, jobs = prepare(tmp_path / "large", plan(arms=["grpo", "sdar", "opsd"]))
    for job in jobs.values():
        finish(tmp_path / "large", job)
    merged = merge_studies(tmp_path / "small", [tmp_path / "large"])
    assert (merged.results, merged.left) == (4, 2)


def test_arms_of_a_seed_that_began_elsewhere_with_other_weights_are_not_merged(tmp_path: Path) -> None:
    for name, arm, weights in (("one", "grpo", "a"), ("two", "sdar", "b")):
        _, jobs = prepare(tmp_path / name, plan(seeds=1))
        finish(tmp_path / name, jobs[arm, 0], initial_weights=weights)
    with pytest.raises(StudyError, match="seed 0: grpo and sdar began with different weights"):
        merge_studies(tmp_path / "one", [tmp_path / "two"])
    assert len(load_study(tmp_path / "one").results) == 1


# --- what finished results forbid ---


def test_results_that_would_count_no_more_are_not_dropped_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "study"
    _, jobs = prepare(path, plan(tuned={"sdar": {"beta": 0.2}}))
    for job in jobs.values():
        finish(path, job)
    for changes, message in (
        ({"tuned": {"sdar": {"beta": 0.9}}}, r"2 finished results have other beta \(sdar, seed 0; sdar, seed 1\)"),
        ({"arms": ["grpo", {"method": "sdar", "set": {"gate_beta": 2.0}}]}, "have other gate_beta"),
        ({"seeds": 1}, r"2 finished results are not in the plan \(grpo, seed 1; sdar, seed 1\)"),
    ):
        with pytest.raises(StudyError, match=message):
            prepare(path, plan(**{"tuned": {"sdar": {"beta": 0.2}}, **changes}))
    amended, _ = prepare(path, plan(tuned={"sdar": {"beta": 0.9}}), amend=True)
    assert any("2 finished results have other beta" in note for note in amended.amended)


def test_another_version_of_torch_is_named_before_a_study_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study"
    _, jobs = prepare(path, plan())
    finish(path, jobs["grpo", 0], versions={"torch": "1.0", "transformers": None})
    monkeypatch.setattr("torch.__version__", "9.9")
    with pytest.raises(StudyError, match=r"1 finished results have other torch \(1.0, now "):
        prepare(path, plan())


# --- which code it was ---


def git(folder: Path, *words: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", str(folder), *named, *words], capture_output=True, text=True, check=True).stdout


def test_the_commit_of_the_code_is_marked_where_the_code_has_changes(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "trainers").mkdir(parents=True)
    (root / "trainers" / "a.py").write_text("1")
    assert commit_of(root) is None
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    head = git(root, "rev-parse", "HEAD").strip()
    assert commit_of(root) == head
    (root / "notes.txt").write_text("mine")
    assert commit_of(root) == head
    (root / "trainers" / "a.py").write_text("2")
    assert commit_of(root) == f"{head} with changes"
    assert commit_of(root / "trainers") is None  # a package inside somebody's repository


def test_results_of_several_commits_in_one_table_are_said(whole: Path) -> None:
    study = load_study(whole)
    assert "**Mixed**" not in markdown(study, write_table(whole))
    path = study.job_dir(study.results[0].key) / "result.json"
    path.write_text(json.dumps({**read_json(path), "versions": {"commit": "abc, then def", "torch": "2"}}))
    table = write_table(whole)
    assert table.software["commit"] == {"abc, then def": 1, "unknown": 3}
    assert "results were made with 2 values of commit: 1 with abc, then def, 3 with unknown" in markdown(study, table)
    assert encode(table)["software"]["torch"] == {"2": 1, "unknown": 3}


# --- a study around another ---

AROUND: dict[str, Any] = {
    **CONTENT,
    "name": "around",
    "reference": "grpo[size=small]",
    "axes": {"size": {"small": {}, "medium": {"env_kwargs.size": "medium"}}},
    "tuned": {"sdar": {"beta": 0.2}},
    "hypotheses": [],
}


def test_a_study_around_another_takes_the_runs_that_are_its_own_and_nothing_else(whole: Path, tmp_path: Path) -> None:
    path, file = tmp_path / "around", tmp_path / "whole.jsonl.gz"
    _, jobs = prepare(path, make_plan(AROUND, "here"))
    export_study(whole, file)
    for other in (whole, file):
        taken = reuse_results(path, [other])
        assert (taken.results, taken.left) == ((4, 0) if other == whole else (0, 0))
    finished = {place for place, job in jobs.items() if (path / "jobs" / job.key / "result.json").is_file()}
    assert finished == {(f"{arm}[size=small]", seed) for arm in ("grpo", "sdar") for seed in (0, 1)}
    study = load_study(path)
    assert study.tuned is None and study.trials == ()
    assert {(result.arm, result.coordinates["size"]) for result in study.results} == {
        *(("grpo[size=small]", "small"), ("sdar[size=small]", "small")),
    }
    table = write_table(path)
    values = {row.key: row.values["area"] for row in table.arms if row.seeds}
    original = {row.key: row.values["area"] for row in write_table(whole).arms}
    assert values == {f"{arm}[size=small]": original[arm] for arm in ("grpo", "sdar")}
    wanted = {str(job.warm_key) for (arm, _), job in jobs.items() if "small" in arm}
    assert {place.name for place in (path / "warm-start").iterdir()} == wanted


def test_runs_with_other_settings_are_not_taken(whole: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "around", make_plan({**AROUND, "tuned": {"sdar": {"beta": 0.3}}}, "here"))
    taken = reuse_results(tmp_path / "around", [whole])
    assert (taken.results, taken.left) == (2, 2)


def test_runs_that_began_with_other_weights_than_those_here_are_not_reused(whole: Path, tmp_path: Path) -> None:
    _, jobs = prepare(tmp_path / "around", make_plan(AROUND, "here"))
    finish(tmp_path / "around", jobs["grpo[size=small]", 1], initial_weights="of another machine")
    with pytest.raises(StudyError, match=r"seed 1: .* began with different weights"):
        reuse_results(tmp_path / "around", [whole])


@pytest.mark.parametrize("word", ["--table", "--dry-run"])
def test_runs_are_not_reused_where_nothing_is_written(word: str, whole: Path, capsys: Any) -> None:
    assert main(["study", "--output-dir", str(whole), "--reuse", str(whole), word]) != 0
    assert "leave out --table" in " ".join(capsys.readouterr().err.split())


def test_a_study_whose_runs_are_all_to_be_had_runs_none(whole: Path, tmp_path: Path, capsys: Any) -> None:
    plan_file = tmp_path / "again.yaml"
    plan_file.write_text(json.dumps({**CONTENT, "tuned": AROUND["tuned"], "hypotheses": []}))  # JSON is YAML
    path = tmp_path / "again"
    assert main(["study", "run", str(path), "--plan", str(plan_file), "--reuse", str(whole)]) == 0
    assert "4 finished jobs" in " ".join(capsys.readouterr().out.split())
    table = load_study(path).table
    assert table is not None and table.complete
