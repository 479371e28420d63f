"""A study of seconds: jobs that can be killed, shared and merged, and a table that does not show it.

Invariants only: with models this small and runs this short, no method is better than another.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import ENV_ID, save_random_model

from trainers.evaluation.evaluation_set import EvaluationSet
from trainers.study import load_study
from trainers.study import worker as execute
from trainers.study.analysis import untimed_table
from trainers.study.archive import export_study
from trainers.study.merging import merge_studies, untimed
from trainers.study.plain_json import encode, read_json
from trainers.study.plan import make_plan
from trainers.study.plan_records import Plan, StudyError
from trainers.study.records import Study
from trainers.study.study_dir import prepare
from trainers.study.table_files import write_table
from trainers.study.table_records import Table
from trainers.study.worker import JobLocked, is_locked, locked, run_job

# Two iterations of two groups of two short episodes, and panels of eight.
COMMON = {
    "env_kwargs": {"size": "small", "horizon": 3, "stale": 0.5},
    **{"max_steps": 2, "tasks_per_step": 2, "num_generations": 2, "num_mini_batches": 1},
    **{"eval_steps": 1, "eval_episodes": 8, "test_episodes": 8, "save_steps": 1},
}
CONSTANT = {
    "method": "constant-gate",
    "role": "control",
    "derive": {"gate_constant": {"arm": "sdar", "figure": "distill/weight"}},
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a job's own process; and a forked child cannot use the threads of its parent."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model"))


def plan_with(model: Path, **changes: Any) -> Plan:
    content = {"env_id": ENV_ID, "preset": "household-tiny", "model": str(model), "common": COMMON, "seeds": 2}
    return make_plan({**content, "arms": ["grpo", "sdar"], **changes}, "here")


def run_all(path: Path, *, only: int | None = None) -> None:
    """Run the jobs of a study here, in an order that serves those that wait for others."""
    for job in sorted(load_study(path).jobs.values(), key=lambda job: len(job.depends)):
        if only is None or job.seed == only:
            run_job(path, "jobs", job.key)


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "whole"
    prepare(path, plan_with(model, arms=["grpo", "sdar", CONSTANT]))
    run_all(path)
    write_table(path)
    return path


@pytest.fixture(scope="module")
def study(finished: Path) -> Study:
    return load_study(finished)


def table_of(path: Path) -> dict[str, Any]:
    table: Table = write_table(path)
    return untimed_table(table)


# --- what a seed is ---


def test_arms_of_a_seed_begin_alike_and_are_measured_on_the_same_panels(study: Study) -> None:
    for seed in (0, 1):
        own = [result for result in study.results if result.seed == seed]
        assert len(own) == 3 and len({result.initial_weights for result in own}) == 1
        assert len({(r.before.panel_hash, r.before.outcomes, r.before.claims) for r in own if r.before}) == 1
        assert len({json.dumps(encode(result.curve[0].overall)) for result in own}) == 1
    panels = {result.after.panel_hash for result in study.results if result.after}
    assert len(panels) == 2  # each seed has a house of its own
    for result in study.results:
        watched = EvaluationSet.load(study.run_dir(result) / "panels" / "valid.json")
        assert (result.watched_hash, len(watched.task_ids)) == (watched.hash, result.curve[0].overall.n)


def test_a_result_counts_every_episode_once(study: Study) -> None:
    for result in study.results:
        assert [point.iteration for point in result.curve] == [0, 1, 2]
        assert [point.episodes for point in result.curve] == [0, 4, 8]
        assert [point.iteration for point in result.training] == [1, 2]
        tokens = [point.tokens or 0 for point in result.curve]
        assert tokens[0] == 0 < tokens[1] < tokens[2] == result.cost.tokens
        for point in result.curve:
            assert point.overall.n == 8 == point.fresh.n + point.stale.n
            assert sum(count.n for count in point.by_task_type.values()) == 8
        assert result.after is not None and len(result.after.outcomes) == len(result.after.claims) == 8
        assert "s" in result.after.claims and "f" in result.after.claims
        seconds = [point.cpu_seconds for point in result.training]
        assert 0 < seconds[0] < seconds[1] == pytest.approx(result.cost.cpu_seconds, abs=0.01)


def test_the_constant_gate_is_the_mean_gate_of_the_paired_run(study: Study) -> None:
    for sdar, constant in zip(study.of("sdar"), study.of("constant-gate"), strict=True):
        assert sdar.seed == constant.seed
        assert constant.config["gate_constant"] == sdar.means["distill/weight"]
        assert 0 < sdar.means["distill/weight"] < 1
    assert len({constant.config["gate_constant"] for constant in study.of("constant-gate")}) == 2


def test_a_finished_job_keeps_what_a_reader_looks_at(study: Study) -> None:
    for result in study.results:
        run = study.run_dir(result)
        assert not (run / "checkpoints").exists() and (run / "metrics.jsonl").is_file()
        kept = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
        assert {record["phase"] for record in kept} == {"train", "test"}
        assert all("tokens" in record["turns"][0] for record in kept if record["phase"] == "train")


def test_the_table_is_whole_and_has_verdicts(finished: Path, study: Study) -> None:
    assert study.table is not None and study.table.complete
    assert [verdict.id for verdict in study.table.verdicts] == ["H1", "H5"]
    assert all(v.provisional and v.verdict in ("supported", "refuted", "undecided") for v in study.table.verdicts)
    assert {contrast.seeds for contrast in study.table.contrasts} == {(0, 1)}
    lines = (finished / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 2 * 3  # arms, seeds, moments


def test_methods_measured_behind_the_privileged_prompt_say_so_and_every_episode_played_counts(
    model: Path, tmp_path: Path
) -> None:
    resampling = {"method": "grpo", "key": "resampling", "set": {"dynamic_sampling": 2}}
    prepare(tmp_path / "study", plan_with(model, arms=["skill-prompt", "skill-grpo", resampling], seeds=1))
    run_all(tmp_path / "study")
    prompted, both, resampled = load_study(tmp_path / "study").results
    assert prompted.view == "privileged" and [point.episodes for point in prompted.curve] == [0]
    assert both.view == "plain" and both.after_privileged is not None and both.after_privileged.overall.n == 8
    # Returns are all equal here, so that every group gives way twice: three times as many episodes.
    assert [point.episodes for point in resampled.curve] == [0, 12, 24]
    assert resampled.curve[-1].tokens == resampled.cost.tokens > 0


# --- interruptions ---


def test_a_study_of_a_preset_that_evaluates_only_later_has_no_start_and_all_the_rest(
    model: Path, tmp_path: Path
) -> None:
    common = {**COMMON, "eval_before": False}
    prepare(tmp_path, plan_with(model, arms=["grpo"], seeds=1, common=common))
    run_all(tmp_path)
    (result,) = load_study(tmp_path).results
    assert result.view == "plain" and result.before is None
    assert result.after is not None and result.after.overall.n == 8
    assert [point.iteration for point in result.curve] == [1, 2]
    write_table(tmp_path)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("run.json", marks=pytest.mark.slow),
        "checkpoints/step-00000001/manifest.json",
        pytest.param("checkpoints/step-00000002/manifest.json", marks=pytest.mark.slow),
        pytest.param("summary.json", marks=pytest.mark.slow),
    ],
)
def test_a_job_that_was_killed_comes_to_the_same_result(
    finished: Path, study: Study, tmp_path: Path, moment: str
) -> None:
    result = study.of("sdar")[0]
    path = tmp_path / "study"
    shutil.copytree(finished / "jobs" / result.key, path / "jobs" / result.key, ignore=shutil.ignore_patterns("run"))
    place = path / "jobs" / result.key
    (place / "result.json").unlink()
    child = os.fork()
    if child == 0:  # pragma: no cover - ends by a signal
        try:
            run_job(path, "jobs", result.key)
        finally:
            os._exit(1)
    while not (place / "run" / moment).exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the job ended before it could be killed"
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not (place / "result.json").exists() and not is_locked(place / ".lock")
    run_job(path, "jobs", result.key)
    assert untimed(read_json(place / "result.json")) == untimed(
        read_json(finished / "jobs" / result.key / "result.json")
    )


def test_a_job_that_another_process_has_is_left_to_it(finished: Path, study: Study) -> None:
    key = study.results[0].key
    with locked(finished / "jobs" / key / ".lock"):
        assert is_locked(finished / "jobs" / key / ".lock")
        with pytest.raises(JobLocked):
            run_job(finished, "jobs", key)
    assert not is_locked(finished / "jobs" / key / ".lock")


def test_a_job_whose_paired_result_is_missing_says_so(finished: Path, study: Study, tmp_path: Path) -> None:
    key = study.of("constant-gate")[0].key
    shutil.copytree(finished / "jobs" / key, tmp_path / "jobs" / key)
    (tmp_path / "jobs" / key / "result.json").unlink()
    with pytest.raises(StudyError, match="takes gate_constant from sdar, whose result is not there"):
        run_job(tmp_path, "jobs", key)


def test_a_run_that_would_begin_with_other_weights_than_its_pair_is_refused_before_it_is_trained(
    finished: Path, study: Study, tmp_path: Path
) -> None:
    key = study.of("sdar")[0].key
    shutil.copytree(finished / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("run"))
    (tmp_path / "jobs" / key / "result.json").unlink()
    other = tmp_path / "jobs" / study.of("grpo")[0].key / "result.json"
    other.write_text(json.dumps({**read_json(other), "initial_weights": "of another machine"}))
    with pytest.raises(StudyError, match="seed 0: grpo is finished and began with other weights than sdar would"):
        run_job(tmp_path, "jobs", key)
    assert not (tmp_path / "jobs" / key / "run" / "metrics.jsonl").exists()


def test_a_result_says_which_code_it_was_made_with(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = {result.versions["commit"] for result in study.results}
    assert all(commits) and study.table is not None and set(study.table.software["commit"]) == commits


def test_a_job_that_went_on_with_other_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for commit in ("first", "first", "second"):
        monkeypatch.setattr(execute, "software", lambda commit=commit: {"commit": commit})
        known = execute._note_commit(tmp_path / "commits.txt")
    assert known == ["first", "second"]


# --- several machines ---


def test_halves_that_ran_apart_merge_to_the_table_of_the_whole(finished: Path, tmp_path: Path) -> None:
    halves = [tmp_path / name for name in ("first", "second")]
    for seed, half in enumerate(halves):
        shutil.copytree(finished, half)
        for result in load_study(half).results:
            if result.seed != seed:
                (half / "jobs" / result.key / "result.json").unlink()
    assert len(load_study(halves[0]).results) == 3
    assert merge_studies(halves[0], [halves[1]]).results == 3
    assert table_of(halves[0]) == table_of(finished)
    assert merge_studies(halves[0], [halves[1]]).results == 0


def test_what_a_killed_merge_leaves_is_no_part_of_the_study(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "study"
    shutil.copytree(finished, path)
    (path / "jobs" / ".merging-x").mkdir()
    (path / "jobs" / ".merging-x" / "job.json").write_text("{")
    (path / "jobs" / ".merging-x" / "result.json").write_text('{"half')
    assert table_of(path) == table_of(finished)


def test_a_finished_study_fits_into_a_file(finished: Path, tmp_path: Path) -> None:
    export_study(finished, tmp_path / "study.jsonl.gz")
    merge_studies(tmp_path / "again", [tmp_path / "study.jsonl.gz"])
    assert write_table(tmp_path / "again") == load_study(finished).table
    assert (tmp_path / "study.jsonl.gz").stat().st_size < 20_000 * 6


def test_results_that_contradict_each_other_are_refused(finished: Path, study: Study, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    path = other / "jobs" / study.results[0].key / "result.json"
    content = read_json(path)
    content["curve"][1]["overall"]["wins"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(StudyError, match=r"result\.json: the result was changed after it was written"):
        merge_studies(finished, [other])
    del content["checksum"]  # as a version that wrote none would have it
    path.write_text(json.dumps(content))
    with pytest.raises(StudyError, match=r"contradicts .* in curve"):
        merge_studies(finished, [other])


def test_another_study_is_not_merged(finished: Path, model: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "other", plan_with(model, common={**COMMON, "beta": 0.5}))
    with pytest.raises(StudyError, match=r"is another study than .* it differs in common"):
        merge_studies(finished, [tmp_path / "other"])


# --- end to end ---


@pytest.mark.slow
def test_a_study_interrupted_and_started_again_gives_the_same_table(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "study"
    prepare(path, dataclasses.replace(load_study(finished).plan))
    command = [sys.executable, "-m", "trainers", "study", "--output-dir", str(path), "--jobs", "2"]

    def jobs_running() -> int:
        return sum(is_locked(lock) for lock in path.glob("jobs/*/.lock"))

    for word in (signal.SIGINT, signal.SIGKILL):
        runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any(path.glob("jobs/*/run/metrics.jsonl")) or not jobs_running():
            assert runner.poll() is None, "the study ended before it could be interrupted"
            time.sleep(0.05)
        runner.send_signal(word)
        assert runner.wait(120) in (130, -signal.SIGKILL)
        while jobs_running():  # the jobs of a killed runner save their iteration and end
            time.sleep(0.05)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert table_of(path) == table_of(finished)
