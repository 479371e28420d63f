"""Plans and jobs: axes multiply arms, arms of a seed share what they must, and a key names what a result depends on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from trainers.cli.study.actions import run_jobs
from trainers.cli.study.planning import listed_seeds, plan_of, read_seeds
from trainers.cli.study.subcommands import subcommand_parser
from trainers.cli.terminal import make_console
from trainers.config import SDARConfig
from trainers.options.convert import merge
from trainers.study.archive import read_archive
from trainers.study.jobs import given_options, jobs_of
from trainers.study.plain_json import DamagedFileError, decode, encode, read_json, write_json
from trainers.study.plan import make_plan, plan_names, read_plan
from trainers.study.plan_records import Derived, Plan, StudyError
from trainers.study.result_records import Trial, Tuned, TunedArm
from trainers.study.runner import State
from trainers.study.study_dir import prepare
from trainers.study.tuning import trial_jobs

ROOT = Path(__file__).parents[2]
CONTENT: dict[str, Any] = {"env_id": "sdar/Household-v0", "seeds": 2, "arms": ["grpo", "sdar"]}


def plan(**changes: Any) -> Plan:
    return make_plan({**CONTENT, **changes}, "here")


def asking(arm: str, endpoint: str) -> dict[str, Any]:
    return {"id": "H", "statement": "", "claims": [{"name": "c", "terms": [{"arm": arm, "endpoint": endpoint}]}]}


def flags(*words: str) -> Plan:
    return plan_of(subcommand_parser("run").parse_args(["studies/x", *words]))


# --- plans ---


@pytest.mark.parametrize("name", plan_names())
def test_every_plan_of_the_suite_can_be_run(name: str) -> None:
    found = read_plan(name)
    arms = tuple(dataclasses.replace(arm, seeds=None) for arm in found.arms)
    assert len(jobs_of(dataclasses.replace(found, seeds=found.seeds[:1], arms=arms))) == len(arms)
    held = decode(Plan, encode(found), name)
    assert encode(held) == encode(found)


def test_the_published_plan_has_five_hypotheses_with_ten_seeds_and_tunes_fairly_on_others() -> None:
    found = read_plan("household")
    assert [hypothesis.id for hypothesis in found.hypotheses] == ["H1", "H2", "H3", "H4", "H5"]
    asked = {term.arm for h in found.hypotheses for claim in h.claims for term in claim.terms}
    assert all(found.seeds_of(found.arm(arm)) == tuple(range(10)) for arm in asked)
    assert found.tuning is not None
    assert {len(listed) for listed in found.tuning.configurations.values()} == {6}
    assert set(found.tuning.configurations) == {
        *("grpo", "grpo+opsd", "grpo+rkl", "opsd", "rlsd", "skill-sd"),
        *("sdar", "sdar-centred", "gated-rkl", "context-distillation"),
    }
    assert len(trial_jobs(found)) == 60 and not set(found.tuning.seeds) & set(found.seeds)
    assert found.arm("constant-gate").derived == {"gate_constant": Derived("sdar", "distill/weight")}


@pytest.mark.parametrize(
    ("name", "shared"), [("household-hidden", 10), ("household-warm", 10), ("household-strength", 30)]
)
def test_the_plans_around_the_published_one_share_its_runs(name: str, shared: int) -> None:
    """With the values that its tuning chose; --reuse then takes these runs over."""
    archive = read_archive(ROOT / "docs" / "studies" / "household.jsonl.gz")
    published = {job.key for job in jobs_of(read_plan("household"), archive.tuned).values()}
    assert len({job.key for job in jobs_of(read_plan(name)).values()} & published) == shared


def test_a_variant_is_confirmed_as_it_was_run_on_seeds_that_nothing_has_used() -> None:
    archive = read_archive(ROOT / "docs" / "studies" / "household.jsonl.gz")
    published, fresh = read_plan("household"), read_plan("household-confirm")
    annealed = read_plan("household-anneal")
    assert annealed.tuning is not None and published.tuning is not None
    assert not {*fresh.seeds} & {*published.seeds, *published.tuning.seeds}
    assert not {*annealed.seeds} & {*fresh.seeds, *published.seeds, *published.tuning.seeds, *annealed.tuning.seeds}
    arms = tuple(dataclasses.replace(arm, seeds=None) for arm in published.arms)
    moved = jobs_of(dataclasses.replace(published, seeds=fresh.seeds, arms=arms), archive.tuned)
    assert {job.key for job in jobs_of(fresh).values()} <= {job.key for job in moved.values()}


def test_the_plan_about_the_kl_shares_the_runs_at_the_tuned_one_with_the_confirmation() -> None:
    confirmed = {job.key for job in jobs_of(read_plan("household-confirm")).values()}
    assert len({job.key for job in jobs_of(read_plan("household-kl")).values()} & confirmed) == 2 * 8


def test_axes_multiply_arms_but_a_student_without_a_teacher_is_not_repeated_on_the_teachers_axes() -> None:
    found = plan(axes={"privilege": ["skill", "none"], "stale": [0.0, 0.5]})
    assert [arm.key for arm in found.arms] == [
        *("grpo[stale=0.0]", "grpo[stale=0.5]"),
        *("sdar[privilege=skill,stale=0.0]", "sdar[privilege=skill,stale=0.5]"),
        *("sdar[privilege=none,stale=0.0]", "sdar[privilege=none,stale=0.5]"),
    ]
    last = found.arms[-1]
    assert last.overrides == {"privilege": "none", "env_kwargs": {"stale": 0.5}}
    assert last.coordinates == {"privilege": "none", "stale": 0.5}
    assert found.reference == "grpo[stale=0.0]"


def test_the_warm_start_can_be_an_axis() -> None:
    found = plan(axes={"warm_start.student_high": [0.2, 0.6]})
    assert [arm.warm_start for arm in found.arms][:2] == [{"student_high": 0.2}, {"student_high": 0.6}]
    keys = {job.arm.key: job.warm_key for job in jobs_of(found).values() if job.seed == 0}
    assert keys["grpo[student_high=0.2]"] == keys["sdar[student_high=0.2]"] != keys["sdar[student_high=0.6]"]


def test_a_study_warms_models_up_as_its_preset_says_unless_the_plan_does() -> None:
    assert read_plan("pair").warm_start == {"student_high": 0.55}
    assert read_plan("haggle").warm_start == {"min_steps": 50, "gate_every": 50, "decay_steps": 50}
    assert plan(env_id="sdar/Pair-v0", warm_start={"student_high": 0.4}).warm_start == {"student_high": 0.4}


def test_an_axis_can_have_named_points_of_several_options() -> None:
    weak = {"warm_start.min_steps": 100, "warm_start.teacher_lead": 0.1}
    found = plan(axes={"strength": {"weak": weak, "standard": {}}})
    arms = {arm.key: arm for arm in found.arms}
    assert arms["grpo[strength=weak]"].warm_start == {"min_steps": 100, "teacher_lead": 0.1}
    assert arms["sdar[strength=standard]"].warm_start == {}
    assert arms["sdar[strength=weak]"].coordinates == {"strength": "weak"}


def test_a_presets_coefficient_scales_published_ones_of_its_order_and_leaves_others() -> None:
    found = plan(arms=["sdar", "skill-sd", "opsd-full", "rlsd", "grpo"])
    defaults = {arm.key: arm.defaults for arm in found.arms}
    assert defaults["sdar"] == {"distill_coef": 0.3} and defaults["skill-sd"] == {"distill_coef": 0.03}
    assert not (defaults["opsd-full"] or defaults["rlsd"] or defaults["grpo"])
    given = plan(common={"distill_coef": 0.2})
    assert all(job.config["distill_coef"] == 0.2 for job in jobs_of(given).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["grp"]}, 'the nearest is "grpo"'),
        ({"arms": ["grpo", "grpo"]}, "got 'grpo' twice"),
        ({"seeds": [0, 0]}, "different numbers"),
        ({"armz": []}, 'the nearest is "arms"'),
        ({"reference": "opsd"}, "unknown reference"),
        ({"arms": [{"method": "grpo", "derive": {"gate_constant": {"arm": "sdar", "figure": "x"}}}]}, "unknown arm"),
        ({"tuning": {"seeds": [9], "configurations": {"grpo": [{}], "sdar": [{}, {}]}}}, "as many configurations"),
        ({"hypotheses": [asking("sdar", "aera")]}, 'the nearest is "area"'),
        ({"hypotheses": [asking("sdr", "area")]}, 'the nearest is "sdar"'),
        ({"hypotheses": [asking("sdar", "valid_tokens")]}, "bounded by another run: name its arm, reference: ARM"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_said_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_options_that_no_run_accepts_name_their_arm() -> None:
    with pytest.raises(StudyError, match=r"arm 'sdar', seed 0: .*learning_rte"):
        jobs_of(plan(arms=["grpo", {"method": "sdar", "set": {"learning_rte": 1}}]))


def test_a_study_needs_the_figures_of_every_iteration() -> None:
    with pytest.raises(StudyError, match=r"arm 'grpo', seed 0: logging_steps: .* got 5"):
        jobs_of(plan(common={"logging_steps": 5}))


# --- jobs ---


def test_within_a_seed_arms_share_world_and_warm_start_and_across_seeds_they_do_not() -> None:
    arms = ["grpo", "sdar", {"method": "sdar", "key": "wrong", "set": {"privilege": "wrong_skill"}}]
    jobs = jobs_of(plan(arms=arms))
    for seed in (0, 1):
        own = [job for (_, s), job in jobs.items() if s == seed]
        assert len({job.warm_key for job in own}) == 1 and len({job.key for job in own}) == 3
        for job in own:
            kwargs = job.config["env_kwargs"]
            assert (kwargs["world_seed"], kwargs["stale_seed"], job.config.get("seed", 0)) == (seed, seed, seed)
    assert jobs["grpo", 0].warm_key != jobs["grpo", 1].warm_key


def test_what_a_student_reads_moves_its_warm_start() -> None:
    jobs = jobs_of(plan(arms=["grpo", {"method": "grpo", "key": "habit", "set": {"env_kwargs.instruction": "habit"}}]))
    assert jobs["grpo", 0].warm_key != jobs["habit", 0].warm_key


def test_arms_that_compute_the_same_share_a_job() -> None:
    found = plan(arms=["sdar", {"method": "sdar", "key": "again", "set": {"privilege": "skill"}}])
    jobs = jobs_of(found)
    assert jobs["sdar", 0].key == jobs["again", 0].key


def test_the_key_moves_with_what_moves_results_and_with_nothing_else() -> None:
    key = jobs_of(plan())["sdar", 0].key
    assert jobs_of(plan(common={"save_steps": 3, "device": "cpu", "log_privileged": True}))["sdar", 0].key == key
    for changes in ({"learning_rate": 1e-4}, {"max_steps": 10}, {"eval_episodes": 50}, {"env_kwargs": {"stale": 0.1}}):
        assert jobs_of(plan(common=changes))["sdar", 0].key != key
    assert jobs_of(plan(warm_start={"max_steps": 500}))["sdar", 0].key != key


def test_an_option_that_a_later_version_adds_moves_no_key() -> None:
    assert given_options(SDARConfig()) == {}
    assert given_options(SDARConfig(beta=0.5, seed=3)) == {"beta": 0.5, "seed": 3}


def test_a_derived_option_makes_the_job_wait_for_the_paired_one() -> None:
    constant = {"method": "constant-gate", "derive": {"gate_constant": {"arm": "sdar", "figure": "distill/weight"}}}
    jobs = jobs_of(plan(arms=["sdar", constant]))
    for seed in (0, 1):
        assert jobs["constant-gate", seed].depends == {"sdar": jobs["sdar", seed].key}
    faster = jobs_of(plan(arms=["sdar", constant], common={"learning_rate": 1e-4}))
    assert faster["constant-gate", 0].key != jobs["constant-gate", 0].key


def test_tuned_values_stand_between_the_defaults_and_what_an_arm_is_set_to() -> None:
    arms = ["grpo", "sdar", {"method": "sdar", "key": "low", "tuned": "sdar", "set": {"distill_coef": 0.05}}]
    found = plan(arms=arms, tuned={"sdar": {"distill_coef": 1.0, "beta": 0.03}})
    jobs = jobs_of(found)
    assert (jobs["sdar", 0].config["distill_coef"], jobs["sdar", 0].config["beta"]) == (1.0, 0.03)
    assert (jobs["low", 0].config["distill_coef"], jobs["low", 0].config["beta"]) == (0.05, 0.03)
    assert jobs["grpo", 0].config["beta"] == 0.1
    trial = Trial({"beta": 0.2}, 0.5, {}, ())
    chosen = Tuned(30, (9,), {"sdar": TunedArm(trial.overrides, (trial,))})
    assert jobs_of(found, chosen)["sdar", 0].config["beta"] == 0.2


def test_trials_run_to_b_on_seeds_of_their_own_and_read_no_test() -> None:
    tuning = {"seeds": [7], "iterations": 5, "configurations": {"sdar": [{"beta": 0.2}, {"beta": 0.1}]}}
    trials = trial_jobs(plan(tuning=tuning))
    assert list(trials) == [("sdar", 0), ("sdar", 1)]
    for index, beta in enumerate((0.2, 0.1)):
        job = trials["sdar", index][7]
        assert job.arm.role == "trial" and job.seed == 7
        assert (job.config["max_steps"], job.config["test_episodes"], job.config["beta"]) == (5, 0, beta)
    with pytest.raises(StudyError, match=r"seeds of its own.*shared: \[1\]"):
        trial_jobs(plan(tuning={**tuning, "seeds": [1]}))


# --- flags ---


def test_flags_make_the_default_study() -> None:
    found = flags()
    assert [arm.key for arm in found.arms] == ["grpo", "opsd", "grpo+opsd", "rlsd", "skill-sd", "sdar"]
    assert found.seeds == (0, 1, 2, 3, 4) and found.common["env_kwargs"] == {"size": "small", "stale": 0.25}
    assert (found.budget, found.common["max_steps"]) == (30, 60)
    # The questions of the published study that these arms can answer.
    assert [hypothesis.id for hypothesis in found.hypotheses] == ["H1", "H5"]


def test_several_values_of_a_flag_make_an_axis() -> None:
    words = ["--methods", "grpo,sdar", "--privilege", "skill,none", "--set", "distill_coef=0.1,0.3", "beta=0.05"]
    found = flags(
        *words, "--warm-start", "min_steps=200", "--corrupted", "0.5", "--seeds", "3,5-6", "--iterations", "10"
    )
    assert len(found.arms) == 1 + 4 and found.common["beta"] == 0.05 and found.warm_start == {"min_steps": 200}
    assert found.arms[1].coordinates == {"privilege": "skill", "stale": 0.5, "distill_coef": 0.1}
    assert (found.seeds, found.budget) == ((3, 5, 6), 5)


def test_seeds_are_a_number_a_list_or_a_range() -> None:
    assert (read_seeds("3"), read_seeds("0,4"), read_seeds("10-12")) == ([0, 1, 2], [0, 4], [10, 11, 12])
    assert (listed_seeds("3"), listed_seeds("0,4-5")) == ([3], [0, 4, 5])  # --only-seeds 3 is seed 3
    with pytest.raises(ValueError, match="got 'a'"):
        read_seeds("a")


# --- the directory ---


def test_arms_and_seeds_can_be_added_to_a_study_with_results_and_nothing_else_changes_unsaid(tmp_path) -> None:
    path = tmp_path / "study"
    first, jobs = prepare(path, plan())
    write_json(path / "jobs" / jobs["grpo", 0].key / "result.json", {})
    more, _ = prepare(path, plan(arms=["grpo", "sdar", "opsd"], seeds=3))
    assert more.planned_at == first.planned_at and len(more.amended) == 1 and "arms, seeds" in more.amended[0]
    with pytest.raises(StudyError, match="with other common, budget: they stand before the runs"):
        prepare(path, plan(common={"max_steps": 10}))
    with pytest.raises(StudyError, match="other hypotheses"):
        prepare(path, plan(hypotheses=[]))
    amended, _ = prepare(path, plan(hypotheses=[]), amend=True)
    assert "hypotheses" in amended.amended[-1]


def test_a_folder_that_is_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="not empty and holds no study"):
        prepare(tmp_path, plan())


def test_a_kill_while_a_study_is_laid_out_leaves_one_that_goes_on(tmp_path, monkeypatch) -> None:
    path = tmp_path / "study"
    path.mkdir()
    (path / ".study.json.1.tmp").write_text('{"half')
    with monkeypatch.context() as patched:
        patched.setattr("trainers.study.study_dir.write_jobs", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(path, plan())
    _, jobs = prepare(path, plan())
    assert all((path / "jobs" / job.key / "job.json").is_file() for job in jobs.values())


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a.json", {"a": 2})
    assert read_json(tmp_path / "a.json") == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_only_seeds_of_the_report_do_not_thin_out_the_tuning(tmp_path, monkeypatch) -> None:
    tuning = {"seeds": [7, 8], "iterations": 5, "configurations": {"sdar": [{"beta": 0.2}]}}
    trials = [job for jobs in trial_jobs(plan(tuning=tuning)).values() for job in jobs.values()]
    asked = []

    def run_tasks(tasks, board, *, at_once):
        asked.extend(task.seed for task in tasks if not task.name.startswith("warm-"))
        return State({})

    monkeypatch.setattr("trainers.study.runner.run_tasks", run_tasks)
    for words, wanted in (("0-1", [7, 8]), ("8", [8])):
        asked.clear()
        options = subcommand_parser("tune").parse_args([str(tmp_path), "--only-seeds", words])
        assert run_jobs(make_console(), tmp_path, "trials", trials, options) == 0 and asked == wanted


def test_records_name_the_place_that_is_damaged(tmp_path) -> None:
    content = encode(plan())
    with pytest.raises(DamagedFileError, match=r"study: .*unknown: nmae, missing: name"):
        decode(Plan, {**{k: v for k, v in content.items() if k != "name"}, "nmae": "x"}, "study")
    with pytest.raises(DamagedFileError, match=r"study.seeds\[1\]: expected int, got 'two'"):
        decode(Plan, {**content, "seeds": [1, "two"]}, "study")
    (tmp_path / "a.json").write_text('{"area": NaN}')
    with pytest.raises(DamagedFileError, match="NaN"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["haggle", "pair"])
def test_no_claim_of_a_study_of_games_rests_on_self_play_alone(name: str) -> None:
    found = read_plan(name)
    assert found.opponents is not None and len(found.seeds) == 10 and found.common["roles"] == ["both"]
    for hypothesis in found.hypotheses:
        for claim in hypothesis.claims:
            assert any(term.endpoint.startswith("fixed_") for term in claim.terms), claim.name
    arms = {arm.key: arm for arm in found.arms}
    assert set(arms) == {"start", "grpo", "rae", "sdar", "constant-gate", "sdar-wrong"}
    # As many games per iteration without groups as with them.
    options = [merge(found.common, arm.overrides) for arm in arms.values()]
    assert len({each["tasks_per_step"] * each["num_generations"] for each in options}) == 1
    # All arms of a seed begin with the same weights.
    assert len({job.warm_key for job in jobs_of(found).values() if job.seed == 0}) == 1
