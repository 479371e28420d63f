"""A study in parts: a size at a time, tuned and run where there is room for it; and models, each with a start."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import save_model
from study_results import make_result

from trainers.cli import main
from trainers.study.analysis import reference_of
from trainers.study.archive import export_study, read_archive
from trainers.study.jobs import jobs_of
from trainers.study.merging import merge_studies
from trainers.study.parts import arms_at, jobs_at
from trainers.study.plain_json import decode, read_json
from trainers.study.plan import make_plan, read_plan
from trainers.study.plan_records import Job, Plan, StudyError
from trainers.study.records import load_study, save_record
from trainers.study.result_records import Tuned, TunedArm, Warm
from trainers.study.runner import State, Task, tasks_of
from trainers.study.study_dir import prepare
from trainers.study.tuning import choose, save_tuned, trial_jobs, untuned
from trainers.study.worker import run_warm_start

SMALL, LARGE = {"small": {}}, {"large": {"warm_start.model.hidden_size": 128}}
CONTENT: dict[str, Any] = {
    "env_id": "sdar/Household-v0",
    "seeds": [0],
    "reference": "grpo[size=small]",
    "arms": [
        {"method": "grpo", "tuned": "grpo-small", "axes": {"size": SMALL}},
        {"method": "sdar", "axes": {"size": SMALL}},
        {
            "method": "constant-gate",
            "axes": {"size": SMALL},
            "derive": {"gate_constant": {"arm": "sdar", "figure": "distill/weight", "same_point": True}},
        },
        {"method": "grpo", "tuned": "grpo-small", "axes": {"size": SMALL, "kl": {"strong": {"beta": 0.2}}}},
        {"method": "sdar", "axes": {"size": SMALL, "kl": {"strong": {"beta": 0.2}}}},
        {"method": "grpo", "tuned": "grpo-large", "axes": {"size": LARGE}},
        {"method": "sdar", "axes": {"size": LARGE}},
    ],
    "tuning": {
        "seeds": [7],
        "iterations": 5,
        "configurations": {
            "grpo-small": [{"learning_rate": 1e-3}, {"learning_rate": 2e-3}],
            "grpo-large": [{"learning_rate": 1e-4}, {"learning_rate": 2e-4}],
        },
    },
}


def plan(**changes: Any) -> Plan:
    return make_plan({**CONTENT, **changes}, "here")


def keys(*points: str) -> list[str]:
    return [arm.key for arm in arms_at(plan(), points)]


def finish(path: Path, job: Job, rate: float, folder: str = "jobs") -> None:
    """A result that nobody ran, in the place of a job's."""
    made = make_result(job.arm.key, job.seed, [0.1] + [rate] * 100)
    made = dataclasses.replace(made, key=job.key, warm=Warm(str(job.warm_key), 0.1, 0.5, 400), config=dict(job.config))
    (path / folder / job.key).mkdir(parents=True, exist_ok=True)
    save_record(path / folder / job.key / "result.json", made)


def tuned(**rates: float) -> Tuned:
    return Tuned(5, (7,), {f"grpo-{size}": TunedArm({"learning_rate": rate}, ()) for size, rate in rates.items()})


# --- which arms, which jobs ---


def test_a_part_is_the_arms_at_a_point_and_points_of_one_axis_add_up() -> None:
    assert keys() == [arm.key for arm in plan().arms]
    assert keys("size=large") == ["grpo[size=large]", "sdar[size=large]"]
    assert keys("size=small", "kl=strong") == ["grpo[size=small,kl=strong]", "sdar[size=small,kl=strong]"]
    assert keys("size=small", "size=large") == keys()
    assert keys("kl=strong") == keys("size=small", "kl=strong")  # who is not on an axis stands at none of its points
    assert keys("size=large", "kl=") == keys("size=large") and len(keys("size=small", "kl=")) == 3
    assert keys("size=small", "kl=", "kl=strong") == keys("size=small")


@pytest.mark.parametrize(
    ("word", "said"),
    [("large", "AXIS=POINT"), ("sise=large", 'the nearest is "size"'), ("size=larg", 'the nearest is "large"')],
)
def test_a_part_that_there_is_not_is_refused_with_those_that_there_are(word: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        arms_at(plan(), [word])


def test_a_job_brings_the_jobs_that_it_waits_for() -> None:
    found = plan()
    jobs = jobs_of(found)
    alone = jobs_at(jobs, [found.arm("constant-gate[size=small]")])
    assert [job.arm.key for job in alone] == ["sdar[size=small]", "constant-gate[size=small]"]
    assert len(jobs_at(jobs, found.arms)) == len(jobs)


def test_an_axis_of_one_point_that_sets_nothing_names_every_arm_on_it() -> None:
    assert plan().arms[0].key == "grpo[size=small]" and plan().arms[0].coordinates == {"size": "small"}


def test_an_arm_is_compared_with_the_reference_that_shares_most_with_it() -> None:
    found = plan()
    assert reference_of(found, found.arm("sdar[size=small,kl=strong]")) == "grpo[size=small,kl=strong]"
    assert reference_of(found, found.arm("sdar[size=small]")) == "grpo[size=small]"
    assert reference_of(found, found.arm("sdar[size=large]")) == "grpo[size=large]"


# --- tuned in parts ---


def test_a_part_is_tuned_alone_and_the_rest_says_that_it_is_not(tmp_path: Path) -> None:
    found = plan()
    rates = {0: 0.2, 1: 0.6}
    for (name, index), jobs in trial_jobs(found).items():
        if name == "grpo-large":
            finish(tmp_path, jobs[7], rates[index], "trials")
    chosen = choose(found, tmp_path / "trials", {"grpo-large"})
    assert {name: arm.overrides for name, arm in chosen.arms.items()} == {"grpo-large": {"learning_rate": 2e-4}}
    assert untuned(found, chosen, found.arms) == ["grpo-small"]
    assert untuned(found, chosen, arms_at(found, ["size=large"])) == []
    with pytest.raises(StudyError, match="grpo-small: not one configuration came to its end"):
        choose(found, tmp_path / "trials")


def test_parts_that_were_tuned_and_run_apart_come_together(tmp_path: Path) -> None:
    for size, rate in (("small", 2e-3), ("large", 1e-4)):
        path = tmp_path / size
        prepare(path, plan(), job_files=False)
        save_tuned(path, tuned(**{size: rate}))
        found, jobs = prepare(path, plan())
        for job in jobs_at(jobs, arms_at(found, [f"size={size}"])):
            finish(path, job, 0.3)
    merged = merge_studies(tmp_path / "small", [tmp_path / "large"])
    study = load_study(tmp_path / "small")
    assert (merged.results, merged.left, len(study.results)) == (2, 0, 7)
    assert study.tuned is not None and set(study.tuned.arms) == {"grpo-small", "grpo-large"}
    rates = [
        study.jobs[study.plan.jobs[f"grpo[size={size}]"]["0"]].config["learning_rate"] for size in ("small", "large")
    ]
    assert rates == [2e-3, 1e-4]


def test_a_part_that_was_run_before_it_was_tuned_does_not_take_anothers_values(tmp_path: Path) -> None:
    for name, values in (("own", {"small": 2e-3}), ("theirs", {"large": 1e-4})):
        prepare(tmp_path / name, plan(), job_files=False)
        save_tuned(tmp_path / name, tuned(**values))
        prepare(tmp_path / name, plan())
    _, jobs = prepare(tmp_path / "own", plan())
    finish(tmp_path / "own", jobs["grpo[size=large]", 0], 0.3)  # with the default rate
    with pytest.raises(StudyError, match="have other learning_rate"):
        merge_studies(tmp_path / "own", [tmp_path / "theirs"])
    held = load_study(tmp_path / "own").tuned
    assert held is not None and set(held.arms) == {"grpo-small"}


def test_the_command_tunes_and_runs_a_part_and_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With runs that nobody makes: the second rate does better, so that it is chosen."""
    path = tmp_path / "study"
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(CONTENT))

    def run_tasks(tasks: list[Task], board: Any, *, at_once: int) -> State:
        for task in tasks:
            if not task.name.startswith("warm-"):
                folder = task.arguments[1]
                job = decode(Job, read_json(path / folder / task.name / "job.json"), task.name)
                finish(path, job, 0.2 + 1000 * job.config["learning_rate"], folder)
        return State({})

    monkeypatch.setattr("trainers.study.runner.run_tasks", run_tasks)
    assert main(["study", "tune", str(path), "--plan", str(tmp_path / "plan.yaml"), "--only", "size=large"]) == 0
    study = load_study(path)
    assert study.tuned is not None and set(study.tuned.arms) == {"grpo-large"}
    assert {result.arm: result.config["learning_rate"] for result in study.results} == {
        "grpo[size=large]": 2e-4, "sdar[size=large]": 7e-4,
    }  # fmt: skip
    assert main(["study", "run", str(path), "--only", "size=small", "kl=strong"]) == 0
    assert "not tuned: grpo-small." in " ".join(capsys.readouterr().out.split())
    assert len(load_study(path).results) == 4


def test_a_warm_start_is_made_only_where_a_run_is_missing(tmp_path: Path) -> None:
    """A merged study has results without the models that they began from."""
    _, jobs = prepare(tmp_path, plan(seeds=2))

    def warm() -> set[str]:
        tasks = tasks_of(tmp_path, "jobs", list(jobs.values()))
        assert [task.name for task in tasks][-len(jobs) :] == [job.key for job in jobs.values()]
        return {task.name for task in tasks} - {job.key for job in jobs.values()}

    needed = {seed: {f"warm-{job.warm_key}" for (_, own), job in jobs.items() if own == seed} for _, seed in jobs}
    first, *others = needed
    assert others and warm() == set().union(*needed.values())
    for (_, seed), job in jobs.items():
        if seed == first:
            finish(tmp_path, job, 0.3)
    assert warm() == set().union(*(needed[seed] for seed in others))
    result = tmp_path / "jobs" / jobs["grpo[size=large]", first].key / "result.json"
    result.write_text('{"half')
    again = warm()
    assert f"warm-{jobs['grpo[size=large]', first].warm_key}" in again and not result.exists()


# --- pretrained models ---

WARM = {
    "demonstrations": 8, "min_steps": 2, "gate_every": 1, "decay_steps": 1, "max_steps": 4, "gate_episodes": 1,
    "malformed_high": 1.0, "student_low": 0.0, "teacher_lead": -2.0,
}  # fmt: skip
PRETRAINED: dict[str, Any] = {
    "env_id": "sdar/Household-v0",
    "preset": "household-smollm2",
    "seeds": [0, 1],
    "arms": ["grpo", "sdar"],
    "common": {"env_kwargs": {"horizon": 3}, "max_prompt_length": 2000, "teacher_budget": 300},
}


def test_a_model_of_a_study_has_a_warm_start_per_seed_where_the_plan_asks_for_one(tmp_path: Path) -> None:
    first, second = (str(save_model(tmp_path / name)) for name in ("first", "second"))
    content = {**PRETRAINED, "model": first}
    assert all(job.warm_key is None and job.model == first for job in jobs_of(make_plan(content, "here")).values())
    content |= {"warm_start": WARM, "axes": {"size": {"one": {}, "two": {"model": second}}}}
    jobs = jobs_of(make_plan(content, "here"))
    for size, model in (("one", first), ("two", second)):
        assert {jobs[f"{name}[size={size}]", 0].model for name in ("grpo", "sdar")} == {model}
        assert jobs[f"grpo[size={size}]", 0].warm_key == jobs[f"sdar[size={size}]", 0].warm_key
    assert len({job.warm_key for job in jobs.values()}) == 4  # two models, two seeds
    assert len({job.key for job in jobs.values()}) == 8
    with pytest.raises(StudyError, match="teacher_led"):
        jobs_of(make_plan({**content, "warm_start": {"teacher_led": 0.1}}, "here"))
    with pytest.raises(ValueError, match="the study has none of its own"):
        make_plan({**content, "model": None}, "here")


def test_a_job_warms_its_pretrained_model_up_and_finds_it_again(tmp_path: Path) -> None:
    path, model = tmp_path / "study", save_model(tmp_path / "model")
    _, jobs = prepare(path, make_plan({**PRETRAINED, "model": str(model), "warm_start": WARM, "seeds": [0]}, "here"))
    job = jobs["sdar", 0]
    run_warm_start(path, "jobs", job.key)
    made = path / "warm-start" / str(job.warm_key)
    assert (made / "model.safetensors").is_file()
    written = (made / "warm_start.json").stat().st_mtime_ns
    run_warm_start(path, "jobs", jobs["grpo", 0].key)  # shares it
    assert (made / "warm_start.json").stat().st_mtime_ns == written
    # Other weights under the same name are not what was planned.
    save_model(model, positions=1024)
    with pytest.raises(StudyError, match=f"the model {model} is another"):
        run_warm_start(path, "jobs", job.key)


def test_warm_models_that_are_too_large_for_one_file_stay_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study"
    _, jobs = prepare(path, plan())
    job = jobs["grpo[size=small]", 0]
    finish(path, job, 0.3)
    folder = path / "warm-start" / str(job.warm_key)
    folder.mkdir(parents=True)
    (folder / "warm_start.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 1000)
    export_study(path, tmp_path / "whole.gz")
    assert list(read_archive(tmp_path / "whole.gz").warm) == [job.warm_key]
    monkeypatch.setattr("trainers.study.archive.MOST_WARM_BYTES", 1001)
    export_study(path, tmp_path / "without.gz")
    assert not read_archive(tmp_path / "without.gz").warm


# --- the ladder ---


def test_the_ladder_has_the_arms_and_seeds_that_were_asked_for_at_each_size() -> None:
    found = read_plan("ladder")
    base = {
        size: [arm for arm in arms_at(found, [f"size={size}"]) if set(arm.coordinates) == {"size"}] for size in SIZES
    }
    five = {"grpo", "sdar", "rlcsd", "constant-gate", "sdar-wrong"}
    assert {size: {arm.key.partition("[")[0] for arm in arms} for size, arms in base.items()} == {
        "0.2m": five, "1m": five, "5m": {"grpo", "sdar", "sdar-wrong"},
    }  # fmt: skip
    assert {size: {len(found.seeds_of(arm)) for arm in arms} for size, arms in base.items()} == {
        "0.2m": {5}, "1m": {5}, "5m": {3},
    }  # fmt: skip


SIZES = ("0.2m", "1m", "5m")


def test_every_claim_of_the_ladder_has_three_seeds_that_all_its_arms_share() -> None:
    found = read_plan("ladder")
    for hypothesis in found.hypotheses:
        for claim in (*hypothesis.claims, *hypothesis.secondary):
            seeds = [set(found.seeds_of(found.arm(term.arm))) for term in claim.terms]
            assert len(set.intersection(*seeds)) >= 3, claim.name
    assert found.tuning is not None and not {*found.tuning.seeds} & {*found.seeds}
    assert {arm.tuned for arm in found.arms} == {*found.tuning.configurations}


def test_the_ladder_changes_one_thing_at_a_time() -> None:
    found = read_plan("ladder")
    for arm in found.arms:
        others = set(arm.coordinates) - {"size"}
        assert len(others) <= 1, arm.key
        twin = next(
            a for a in found.arms if a.method == arm.method and a.coordinates == {"size": arm.coordinates["size"]}
        )
        if others:
            assert arm.warm_start == twin.warm_start and arm.tuned == twin.tuned, arm.key
            assert reference_of(found, arm) in (found.reference, f"grpo{arm.key.removeprefix(arm.method)}") or (
                arm.coordinates.get("teacher") == "correct"
            )


def test_arms_of_a_size_and_seed_begin_with_the_same_weights_and_sizes_with_others() -> None:
    found = read_plan("ladder")
    jobs = jobs_of(
        dataclasses.replace(found, seeds=(400,), arms=tuple(dataclasses.replace(a, seeds=None) for a in found.arms))
    )
    starts: dict[str, set[str | None]] = {}
    for (_, _), job in jobs.items():
        if "house" not in job.arm.coordinates:
            starts.setdefault(str(job.arm.coordinates["size"]), set()).add(job.warm_key)
    assert [len(starts[size]) for size in SIZES] == [1, 1, 1] and len(set.union(*starts.values())) == 3


def test_only_is_refused_by_the_command_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "run", str(tmp_path / "x"), "--plan", "ladder", "--only", "size=7m"]) == 2
    assert "0.2m, 1m, 5m" in capsys.readouterr().err
