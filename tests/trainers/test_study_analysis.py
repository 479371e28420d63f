"""What a study says about its arms: paired by seed, by rules that stand before the runs."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_results import make_plan, make_result, make_study

from trainers.cli.study.planning import listed_seeds
from trainers.report.study_document import study_document, study_view
from trainers.study.analysis import analyse, contrasts_of, reference_of, untimed_table
from trainers.study.collapse import collapses_of
from trainers.study.endpoints import contrast, endpoint, task_outcomes
from trainers.study.jobs import default_options
from trainers.study.plain_json import decode, encode
from trainers.study.plan_records import Arm, Claimed, Derived, Hypothesis, StudyError, Term
from trainers.study.pooling import pool
from trainers.study.records import Study
from trainers.study.result_records import Trial
from trainers.study.table_files import csv_text, markdown, seed_ranges
from trainers.study.table_records import Table
from trainers.study.tuning import best
from trainers.study.verdicts import judge_claim

BUDGET = 20.0  # two iterations of ten episodes


def gain(name: str = "gain", endpoint: str = "area", **changes: object) -> Claimed:
    return Claimed(name, (Term("sdar", endpoint), Term("grpo", endpoint, -1.0)), **changes)  # type: ignore[arg-type]


def study_of(differences: list[float], claim: Claimed | None = None, **plan: object):
    """GRPO level at 0.5; SDAR level at 0.5 plus the difference of its seed."""
    results = []
    for seed, difference in enumerate(differences):
        results.append(make_result("grpo", seed, [0.5, 0.5, 0.5]))
        results.append(make_result("sdar", seed, [0.5 + difference] * 3))
    hypothesis = Hypothesis("H1", "faster", (claim or gain(),))
    return make_study(make_plan(["grpo", "sdar"], len(differences), [hypothesis], **plan), results)


def verdict_of(differences: list[float], claim: Claimed | None = None):
    [verdict] = analyse(study_of(differences, claim)).verdicts
    return verdict


# --- verdicts ---


def test_a_gain_in_every_one_of_eight_seeds_is_supported_with_a_p_value() -> None:
    verdict = verdict_of([0.10, 0.12, 0.08, 0.11, 0.09, 0.10, 0.13, 0.07])
    assert verdict.verdict == "supported" and not verdict.provisional
    assert verdict.p == verdict.p_holm == pytest.approx(2 / 2**8)


def test_the_same_gain_in_five_seeds_is_provisional_and_has_none() -> None:
    verdict = verdict_of([0.10, 0.12, 0.08, 0.11, 0.09])
    assert verdict.verdict == "supported" and verdict.provisional and verdict.p is None


def test_provisional_hypotheses_pay_for_each_other_by_t_tests() -> None:
    """Student's t is .03 / (.02 / sqrt 5), so p = .0284: enough for a hypothesis alone, too much for each of two."""
    differences = [0.05, 0.01, 0.03, 0.05, 0.01]
    alone = verdict_of(differences)
    assert alone.verdict == "supported" and alone.p_holm is None and alone.reason.endswith("seeds) 0.028")
    study = study_of(differences)
    both = [Hypothesis("H1", "faster", (gain(),)), Hypothesis("H2", "again", (gain("again"),))]
    judged = analyse(make_study(make_plan(["grpo", "sdar"], 5, both), study.results)).verdicts
    assert [verdict.verdict for verdict in judged] == ["undecided", "undecided"]
    assert judged[0].reason.endswith("seeds) 0.057")


def test_an_interval_that_excludes_the_smallest_gain_refutes() -> None:
    assert verdict_of([0.0, 0.01, -0.01, 0.0, 0.01, -0.01, 0.0, 0.01]).verdict == "refuted"
    assert verdict_of([-0.1, -0.12, -0.08, -0.11, -0.09]).verdict == "refuted"


def test_a_wide_interval_decides_nothing() -> None:
    assert verdict_of([0.3, -0.2, 0.1, 0.2, -0.1]).verdict == "undecided"


def test_one_seed_and_seeds_that_are_all_equal_decide_nothing() -> None:
    one = verdict_of([0.3])
    assert one.verdict == "undecided" and ": +0.300 in 1 paired seed, no interval; " in one.reason
    assert verdict_of([0.3, 0.3, 0.3]).verdict == "undecided"


def test_only_a_study_of_the_tiny_model_is_a_sign_at_its_scale() -> None:
    study = study_of([0.3, 0.1])
    tiny = markdown(study, analyse(study))
    assert "paired by seed. A tiny model that was taught" in tiny
    pretrained = make_study(dataclasses.replace(study.plan, model="smollm2"), study.results)
    said = markdown(pretrained, analyse(pretrained))
    assert "tiny" not in said and "paired by seed.\n" in said
    assert "tiny model" in study_document(study_view(study)).lead
    assert "tiny model" not in study_document(study_view(pretrained)).lead


def test_an_interval_as_wide_as_the_rounding_of_sums_decides_nothing() -> None:
    results = {
        "grpo": {seed: make_result("grpo", seed, [rate] * 3) for seed, rate in enumerate((0.3, 0.4))},
        "sdar": {seed: make_result("sdar", seed, [rate] * 3) for seed, rate in enumerate((0.4, 0.5))},
    }
    found = contrast(gain(), results, BUDGET)
    assert found.differences[0] != found.differences[1]  # 0.4 - 0.3 and 0.5 - 0.4
    assert judge_claim(found, None) == "undecided"


def test_a_claim_of_less_than_a_bound_is_judged_on_its_own_side() -> None:
    claim = gain(direction="less", bound=0.05, smallest=0.0)
    assert verdict_of([0.0, 0.01, -0.01, 0.02, 0.0], claim).verdict == "supported"
    assert verdict_of([0.20, 0.22, 0.19, 0.21, 0.2], claim).verdict == "refuted"
    assert verdict_of([0.0, 0.1, 0.05, 0.02, 0.09], claim).verdict == "undecided"


def test_a_hypothesis_of_two_claims_needs_both_and_falls_with_one() -> None:
    def judged(other: Claimed) -> str:
        study = study_of([0.06, 0.16, 0.04, 0.15, 0.09])
        plan = make_plan(["grpo", "sdar"], 5, [Hypothesis("H", "both", (gain(), other))])
        [verdict] = analyse(make_study(plan, study.results)).verdicts
        return verdict.verdict

    assert judged(gain("again")) == "supported"
    assert judged(gain("by half", bound=0.1)) == "undecided"
    assert judged(gain("by much", bound=0.5)) == "refuted"


def test_holm_makes_a_second_hypothesis_pay_for_the_first() -> None:
    study = study_of([0.10, 0.12, 0.08, 0.11, 0.09, 0.10, 0.13, 0.07])
    both = [Hypothesis("H1", "faster", (gain(),)), Hypothesis("H2", "again", (gain("again"),))]
    first, second = analyse(make_study(make_plan(["grpo", "sdar"], 8, both), study.results)).verdicts
    assert first.p_holm == second.p_holm == pytest.approx(2 * 2 / 2**8)


def test_a_hypothesis_whose_runs_are_missing_still_counts_in_the_correction() -> None:
    study = study_of([0.10, 0.12, 0.08, 0.11, 0.09, 0.10, 0.13, 0.07])
    claim = Claimed("gain", (Term("opsd", "area"), Term("grpo", "area", -1.0)))
    both = [Hypothesis("H1", "faster", (gain(),)), Hypothesis("H2", "not run yet", (claim,))]
    first, second = analyse(make_study(make_plan(["grpo", "sdar", "opsd"], 8, both), study.results)).verdicts
    assert first.p_holm == pytest.approx(2 * 2 / 2**8)
    assert second.p is None and second.p_holm is None and second.verdict == "undecided"


# --- endpoints and contrasts ---


def test_differences_are_paired_by_seed_and_over_shared_seeds_only() -> None:
    # The seeds differ by 0.4 and the arms by 0.1: unpaired, nothing could be seen.
    results = {
        "grpo": {seed: make_result("grpo", seed, [0.1 + 0.4 * (seed % 2)] * 3) for seed in range(4)},
        "sdar": {seed: make_result("sdar", seed, [0.2 + 0.4 * (seed % 2)] * 3) for seed in range(1, 6)},
    }
    found = contrast(gain(), results, BUDGET)
    assert found.seeds == (1, 2, 3)
    assert found.differences == pytest.approx((0.1, 0.1, 0.1))


def test_a_lead_is_said_by_iteration_over_the_seeds_that_both_arms_have_there() -> None:
    results = [
        *(make_result("grpo", 0, [0.1, 0.2, 0.5]), make_result("sdar", 0, [0.1, 0.3, 0.5])),
        *(make_result("grpo", 1, [0.3, 0.4, 0.2]), make_result("sdar", 1, [0.3, 0.6, 0.4, 0.9])),
        *(make_result("grpo", 2, [0.3, 0.4, 0.2]), make_result("sdar", 3, [0.3, 0.9, 0.9])),
    ]
    study = make_study(make_plan(["grpo", "sdar"], 4), results)
    [curve] = analyse(study).curves
    assert (curve.arm, curve.reference, curve.iterations) == ("sdar", "grpo", (1, 2))
    # Differences 0.1 and 0.2, then 0 and 0.2; with two seeds, t is 12.7062 and the interval 12.7062 half-differences.
    assert [estimate.mean for estimate in curve.estimates] == pytest.approx([0.15, 0.1])
    assert curve.estimates[0].high == pytest.approx(0.15 + 12.7062 * 0.05, abs=1e-5)
    assert "| sdar | grpo | +15.0 (-48.5 to +78.5) | +10.0 (-117.1 to +137.1) |" in markdown(study, analyse(study))


def test_an_iteration_that_an_arm_was_not_measured_at_is_a_dash() -> None:
    results = [make_result("grpo", 0, [0.1, 0.2, 0.3]), make_result("sdar", 0, [0.1, 0.3, 0.5])]
    study = make_study(make_plan(["grpo", "sdar", "opsd"], 1), [*results, make_result("opsd", 0, [0.1, 0.1])])
    said = markdown(study, analyse(study))
    assert "| sdar | grpo | +10.0 | +20.0 |" in said and "| opsd | grpo | -10.0 | - |" in said


def test_an_arm_without_a_curve_of_its_own_leads_at_no_iteration() -> None:
    results = [make_result("grpo", 0, [0.1, 0.2]), make_result("vanilla", 0, [0.1])]
    study = make_study(make_plan(["grpo", "vanilla"], 1), results)
    assert analyse(study).curves == () and "Lead by iteration" not in markdown(study, analyse(study))


# --- several studies taken together ---


def test_studies_of_fresh_seeds_taken_together_say_what_one_study_of_all_seeds_says() -> None:
    differences = [0.1, 0.2, 0.15, 0.05, 0.3]
    whole = study_of(differences)
    first = study_of(differences[:2])
    fresh = make_study(dataclasses.replace(whole.plan, seeds=(2, 3, 4)), whole.results[4:])
    [arm] = pool({"first": first, "fresh": fresh}).arms
    table = analyse(whole)
    assert (arm.arm, arm.reference) == ("sdar", "grpo")
    assert arm.contrasts == {name: c for name, c in contrasts_of(table, "sdar").items() if not c.timed}
    assert arm.contrasts["area"].seeds == (0, 1, 2, 3, 4)
    assert (arm.curve,) == table.curves


def configured(study: Study, **config: object) -> Study:
    """The same study, whose runs of sdar had these options."""
    results = [dataclasses.replace(r, config=config) if r.arm == "sdar" else r for r in study.results]
    return make_study(study.plan, results)


def test_arms_that_are_not_the_same_are_not_taken_together() -> None:
    first, fresh = study_of([0.1, 0.2]), study_of([0.1, 0.2, 0.3])
    fresh = make_study(fresh.plan, fresh.results[4:])
    with pytest.raises(StudyError, match=r"fresh, sdar: expected the same .* got beta 0\.1, not 0\.03; seeds of"):
        pool({"first": configured(first, beta=0.03), "fresh": configured(fresh, beta=0.1)})
    other = make_study(dataclasses.replace(fresh.plan, budget=3), fresh.results)
    with pytest.raises(StudyError, match=r"fresh: expected the same .* got budget 3, not 2"):
        pool({"first": first, "fresh": other})


def test_seeds_their_worlds_and_what_a_seed_takes_from_another_run_make_no_other_arm() -> None:
    first, fresh = study_of([0.1, 0.2]), study_of([0.1, 0.2, 0.3])
    arms = (
        first.plan.arms[0],
        dataclasses.replace(first.plan.arms[1], derived={"gate_constant": Derived("grpo", "distill/weight")}),
    )
    own = {"arms": arms, "seeded": ("world_seed",)}
    first = make_study(dataclasses.replace(first.plan, **own), first.results)
    fresh = make_study(dataclasses.replace(fresh.plan, **own), fresh.results[4:])
    default = default_options()["beta"]  # named by one of them only, as by runs from after an option was added
    one = {"seed": 0, "env_kwargs": {"world_seed": 0}, "gate_constant": 0.2, "beta": default}
    two = {"seed": 2, "env_kwargs": {"world_seed": 2}, "gate_constant": 0.3, "output_dir": "elsewhere"}
    [arm] = pool({"first": configured(first, **one), "fresh": configured(fresh, **two)}).arms
    assert arm.contrasts["area"].seeds == (0, 1, 2)


def test_a_seed_that_two_studies_share_counts_once_and_must_be_the_same_run() -> None:
    first = study_of([0.1, 0.2])
    [arm] = pool({"first": first, "again": first}).arms
    assert arm.contrasts["area"].seeds == (0, 1)
    others = [dataclasses.replace(result, key=f"other-{result.key}") for result in first.results]
    with pytest.raises(StudyError, match="again: grpo, seed 0, is another run in a study before it"):
        pool({"first": first, "again": make_study(first.plan, others)})


def test_the_area_ends_at_b_and_the_final_figures_at_their_episodes() -> None:
    result = make_result("sdar", 0, [0.0, 0.2, 0.4, 0.8, 0.8])
    assert endpoint("area", result, BUDGET) == pytest.approx(0.2)
    assert endpoint("valid_B", result, BUDGET) == 0.4
    assert endpoint("valid_2B", result, BUDGET) == 0.8
    assert endpoint("start", result, BUDGET) == 0.0


def test_a_run_that_stopped_before_b_has_no_area_and_one_without_training_is_level() -> None:
    assert endpoint("area", make_result("sdar", 0, [0.1, 0.2]), BUDGET) is None
    assert endpoint("area", make_result("vanilla", 0, [0.3]), BUDGET) == pytest.approx(0.3)
    assert endpoint("valid_2B", make_result("vanilla", 0, [0.3]), BUDGET) == pytest.approx(0.3)


def test_at_equal_cpu_a_dearer_method_has_less_of_its_curve() -> None:
    grpo = make_result("grpo", 0, [0.0, 0.2, 0.4], cpu=1.0)
    dear = make_result("sdar", 0, [0.0, 0.2, 0.4], cpu=2.0)
    assert endpoint("area_cpu", grpo, BUDGET, reference=grpo) == pytest.approx(0.2)
    assert endpoint("area_cpu", dear, BUDGET, reference=grpo) == pytest.approx(0.1)  # one iteration in that time


def test_at_equal_tokens_the_run_that_wrote_more_is_read_where_the_other_one_ended() -> None:
    short = make_result("rft", 0, [0.0, 0.2, 0.4], tokens=100)
    wordy = make_result("grpo", 0, [0.0, 0.4, 0.8], tokens=200)
    assert endpoint("valid_tokens", short, BUDGET, reference=wordy) == pytest.approx(0.4)  # its end, 200 tokens
    assert endpoint("valid_tokens", wordy, BUDGET, reference=short) == pytest.approx(0.4)  # after one iteration
    halfway = make_result("sdar", 0, [0.0, 0.4, 0.8], tokens=400)
    assert endpoint("valid_tokens", halfway, BUDGET, reference=short) == pytest.approx(0.2)  # interpolated
    older = make_result("rft", 0, [0.0, 0.2, 0.4])
    assert endpoint("valid_tokens", older, BUDGET, reference=wordy) is None


def test_an_endpoint_that_another_run_bounds_is_of_contrasts_alone() -> None:
    results = [make_result(arm, 0, [0.0, 0.2, 0.4], tokens=100) for arm in ("grpo", "sdar")]
    table = analyse(make_study(make_plan(["grpo", "sdar"], 1, []), results))
    assert not {"area_cpu", "valid_tokens"} & set(table.arms[0].values)


def test_success_on_stale_claims_has_its_own_tasks() -> None:
    result = make_result("sdar", 0, [0.5] * 3, test="1101-", claims="ssff-")
    assert endpoint("test_stale", result, BUDGET) == 1.0
    assert endpoint("test_fresh", result, BUDGET) == 0.5
    assert endpoint("test", result, BUDGET) == 0.75
    assert task_outcomes(result, "test_stale")[:2] == [1.0, 1.0]
    assert all(value != value for value in task_outcomes(result, "test_stale")[2:])


def test_contrasts_of_test_outcomes_have_a_bootstrap_over_seeds_and_tasks() -> None:
    results = {
        "grpo": {seed: make_result("grpo", seed, [0.5] * 3, test="0101" * 5) for seed in range(3)},
        "sdar": {seed: make_result("sdar", seed, [0.5] * 3, test="1101" * 5) for seed in range(3)},
    }
    found = contrast(gain(endpoint="test"), results, BUDGET)
    assert found.estimate.mean == pytest.approx(0.25)
    assert found.bootstrap is not None and found.bootstrap[0] < 0.25 < found.bootstrap[1]
    assert contrast(gain(), results, BUDGET).bootstrap is None


def test_arms_of_a_seed_that_began_with_other_weights_are_refused() -> None:
    results = [make_result("grpo", 0, [0.5] * 3), make_result("sdar", 0, [0.5] * 3, weights="others")]
    with pytest.raises(StudyError, match=r"seed 0: grpo and sdar began with different weights"):
        analyse(make_study(make_plan(["grpo", "sdar"], 1), results))


def test_an_arm_on_an_axis_is_compared_with_the_reference_at_its_place() -> None:
    arms = [
        Arm(f"{name}[stale={value}]", name, name, coordinates={"stale": value})
        for name in ("grpo", "sdar")
        for value in (0.0, 0.5)
    ]
    plan = dataclasses.replace(make_plan(["grpo"], 1), arms=tuple(arms), reference="grpo[stale=0.0]")
    assert reference_of(plan, plan.arm("sdar[stale=0.5]")) == "grpo[stale=0.5]"
    assert reference_of(plan, plan.arm("sdar[stale=0.0]")) == "grpo[stale=0.0]"


# --- collapse ---


def test_collapse_is_flagged_by_rule_at_the_first_iteration_that_breaks_it() -> None:
    healthy = make_result("sdar", 0, [0.4, 0.3, 0.5], teacher=[0.6, 0.4, 0.5])
    assert collapses_of(healthy.curve, healthy.training) == ()
    fallen = make_result("opsd", 0, [0.4, 0.3, 0.1], teacher=[0.6, 0.2, 0.0], entropy=0.01)
    flags = {flag.rule: (flag.iteration, flag.threshold) for flag in collapses_of(fallen.curve, fallen.training)}
    assert flags == {"success": (2, 0.2), "teacher": (1, 0.3), "entropy": (1, 0.02)}


# --- tuning ---


def test_tuning_takes_the_best_mean_and_the_first_of_equals() -> None:
    trials = [
        Trial({"beta": 0.1}, 0.20, {}, ()),
        Trial({"beta": 0.2}, 0.25, {}, ()),
        Trial({"beta": 0.3}, 0.25, {}, ()),
        Trial({"beta": 0.4}, None, {}, ()),  # a run of it broke
    ]
    assert best("sdar", trials).overrides == {"beta": 0.2}
    with pytest.raises(StudyError, match="not one configuration"):
        best("sdar", trials[3:])


# --- files ---


def test_the_table_says_what_is_missing_and_survives_its_file() -> None:
    study = study_of([0.1, 0.2, 0.15])
    table = analyse(make_study(study.plan, study.results[:-1]))
    assert table.missing == ("sdar, seed 2",) and not table.complete
    assert decode(Table, encode(table), "table") == table
    assert "**Not complete**: 1 run is missing: sdar, seed 2." in markdown(study, table)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_missing_seeds_are_named_as_the_option_that_runs_them_takes_them(seeds: set[int]) -> None:
    assert listed_seeds(seed_ranges(seeds)) == sorted(seeds)
    assert seed_ranges([8, 1, 3, 5, 4]) == "1,3-5,8"


def test_a_lead_among_arms_that_nobody_tuned_is_not_said_without_that() -> None:
    arms = (Arm("grpo", "grpo", "grpo"), Arm("sdar", "sdar", "sdar", tuned="sdar"))
    untuned = study_of([0.1, 0.2])
    tuned = dataclasses.replace(
        untuned, plan=dataclasses.replace(untuned.plan, arms=arms, tuned={"sdar": {"beta": 0.03}})
    )
    assert "**Not tuned**: no arm was tuned, so a lead may be that of the settings" in markdown(
        untuned, analyse(untuned)
    )
    assert "Not tuned" not in markdown(tuned, analyse(tuned))


def test_results_csv_has_a_line_per_arm_seed_and_iteration() -> None:
    results = [make_result(arm, seed, [0.1, 0.2, 0.3]) for arm in ("grpo", "sdar") for seed in (0, 1)]
    lines = list(csv.DictReader(io.StringIO(csv_text(results))))
    assert [(line["arm"], line["seed"], line["iteration"]) for line in lines] == [
        (arm, seed, step) for arm in ("grpo", "sdar") for seed in "01" for step in "012"
    ]
    assert lines[2]["valid_success"] == "0.3" and lines[0]["train_success"] == ""


def test_what_a_clock_measured_is_left_out_of_what_must_come_out_the_same() -> None:
    slow = [make_result(a, s, [0.1 + 0.1 * s] * 3, cpu=3.0) for a in ("grpo", "sdar") for s in (0, 1)]
    fast = [make_result(a, s, [0.1 + 0.1 * s] * 3, cpu=1.0) for a in ("grpo", "sdar") for s in (0, 1)]
    claim = Claimed("cpu", (Term("sdar", "area_cpu", 1.0, "grpo"), Term("grpo", "area_cpu", -1.0, "grpo")))
    plan = make_plan(["grpo", "sdar"], 2, [Hypothesis("H5", "equal cpu", (claim,))])
    tables = [analyse(make_study(plan, results)) for results in (slow, fast)]
    assert tables[0] != tables[1]
    assert untimed_table(tables[0]) == untimed_table(tables[1])
    assert contrasts_of(tables[0], "sdar")["area_cpu"].timed


def test_a_clock_decides_no_verdict_but_its_own() -> None:
    """H5's p moves with the clock; H1's, .031, is corrected to .062, and behind a smaller one would stay what it is."""
    differences = [0.10, 0.12, 0.08, 0.11, 0.09, -0.02, 0.01, 0.02]
    gains, clock = (
        gain(),
        Claimed("cpu", (Term("quick", "area_cpu", 1.0, "grpo"), Term("grpo", "area_cpu", -1.0, "grpo"))),
    )
    asked = [Hypothesis("H1", "faster", (gains,)), Hypothesis("H5", "equal cpu", (clock,))]
    plan = make_plan(["grpo", "sdar", "quick"], len(differences), asked)
    found = []
    for dear in (1.0, 100.0):
        results = []
        for seed, difference in enumerate(differences):
            results.append(make_result("grpo", seed, [0.5, 0.55, 0.6]))
            results.append(make_result("sdar", seed, [0.5 + difference, 0.55 + difference, 0.6 + difference]))
            results.append(make_result("quick", seed, [0.5, 0.7, 0.8 + 0.01 * seed], cpu=dear if seed % 2 else 1.0))
        found.append(analyse(make_study(plan, results)))
    (h1, quick), (same_h1, slow) = (table.verdicts for table in found)
    assert quick.p == pytest.approx(2 / 2**8) and quick.verdict == "supported" and slow.p > 0.05
    assert h1.p == pytest.approx(8 / 2**8) and h1.p_holm == pytest.approx(16 / 2**8) and h1.verdict == "undecided"
    assert same_h1 == h1
    assert untimed_table(found[0]) == untimed_table(found[1])
