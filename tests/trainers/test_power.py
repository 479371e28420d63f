"""What a claim needs: exact variances, tests of tables, power that agrees with simulation, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sdar_envs.randomness import counted_generator
from trainers.cli import main
from trainers.referee.outcomes import Spread, latent_share, outcome_covariance, shares_of
from trainers.referee.power import (
    Claim,
    Design,
    false_positives_of,
    planned_test,
    power_of,
    smallest_seen,
    tasks_needed,
    variances_of,
)
from trainers.referee.power_simulation import differences, simulate
from trainers.referee.significance import by_rows, by_tasks, crossed

NOTHING = Spread(0.0, 0.0, 0.0, 0.0)
USUAL = Spread(task=0.28, effect=0.05, seed=0.027, residual=0.1)
rates = st.floats(0.05, 0.95)


# --- outcomes ---


def test_outcomes_that_share_nothing_do_not_vary_together_and_those_that_share_all_are_one() -> None:
    assert outcome_covariance(0.8, 0.7, 0.0) == 0.0
    assert outcome_covariance(0.8, 0.8, 1.0) == pytest.approx(0.8 * 0.2, abs=1e-9)
    # With everything shared the lower rate's wins are a part of the higher's: P(both) is the lower rate.
    assert outcome_covariance(0.8, 0.7, 1.0) == pytest.approx(0.7 - 0.8 * 0.7, abs=1e-6)


def test_at_even_odds_the_covariance_is_the_angle() -> None:
    # Sheppard, 1899: P(both below 0) = 1/4 + arcsin(r) / (2 pi).
    assert outcome_covariance(0.5, 0.5, 0.6) == pytest.approx(math.asin(0.6) / (2 * math.pi), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(rates, rates, st.floats(0.01, 0.98))
def test_the_covariance_is_that_of_the_bivariate_normal(p: float, q: float, shared: float) -> None:
    both = stats.multivariate_normal([0, 0], [[1, shared], [shared, 1]]).cdf(stats.norm.ppf([p, q]))
    assert outcome_covariance(p, q, shared) == pytest.approx(both - p * q, abs=2e-5)


@given(rates, st.floats(0.001, 0.99))
def test_a_share_gives_back_the_variance_it_was_asked_for(p: float, part: float) -> None:
    variance = part * p * (1 - p)
    assert outcome_covariance(p, p, latent_share(p, variance)) == pytest.approx(variance, abs=1e-9)


def test_more_variance_than_an_outcome_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most p\(1 - p\) = 0.1600"):
        shares_of(0.8, Spread(0.4, 0.0, 0.2, 0.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        Claim(0.97, 0.05, NOTHING)


# --- variances and tests ---


def test_without_any_spread_the_variance_of_a_difference_is_that_of_two_coins() -> None:
    found = variances_of(Claim(0.8, 0.05, NOTHING), Design(100, 1, 3))
    assert found.seeds == pytest.approx(0, abs=1e-12) and found.tasks == pytest.approx(0, abs=1e-12)
    assert found.left == pytest.approx(0.8 * 0.2 + 0.85 * 0.15)


def test_samples_divide_only_what_sampling_adds() -> None:
    claim = Claim(0.8, 0.05, USUAL)
    one, four = (variances_of(claim, Design(100, samples, 5)) for samples in (1, 4))
    many = variances_of(claim, Design(100, 10**9, 5))
    assert one.left - many.left == pytest.approx(4 * (four.left - many.left), rel=1e-6)
    assert (one.seeds, one.tasks) == (four.seeds, four.tasks)


def test_the_same_tasks_for_both_arms_take_the_tasks_out_of_the_difference() -> None:
    claim = Claim(0.8, 0.0, Spread(0.3, 0.0, 0.02, 0.0))
    assert variances_of(claim, Design(100, 1, 5)).tasks == pytest.approx(0, abs=1e-9)
    assert variances_of(claim, Design(100, 1, 5, paired=False)).tasks == pytest.approx(2 * 0.3**2)


def test_two_figures_of_128_single_samples_at_80_per_cent_differ_by_up_to_10_points_by_chance() -> None:
    test = planned_test(Claim(0.8, 0.05, NOTHING), Design(128, paired=False))
    assert 1.96 * math.sqrt(2 * 0.8 * 0.2 / 128) == pytest.approx(0.098, abs=5e-5)
    assert planned_test(Claim(0.8, 1e-6, NOTHING), Design(128, paired=False)).error * 1.96 == pytest.approx(
        0.098, abs=5e-5
    )
    assert test.half_width == pytest.approx(0.0936, abs=1e-3)


def test_a_crossed_table_by_hand() -> None:
    # Rows (seeds) 0.1 and 0.3 on average, columns (tasks) 0.1, 0.2, 0.3; nothing is left beside.
    table = np.array([[[0.0, 0.1, 0.2], [0.2, 0.3, 0.4]]])
    mean, error, freedom = crossed(table)
    assert mean[0] == pytest.approx(0.2)
    by_seed, by_task = 3 * 2 * 0.01 / 1, 2 * 2 * 0.01 / 2
    assert error[0] == pytest.approx(math.sqrt((by_seed + by_task) / 6))
    assert freedom[0] == pytest.approx((by_seed + by_task) ** 2 / (by_seed**2 / 1 + by_task**2 / 2))


def test_rows_and_columns_of_a_table_are_tested_as_a_t_test_does() -> None:
    table = counted_generator("a table").normal(size=(1, 4, 7))
    for rule, values in ((by_rows, table[0].mean(axis=1)), (by_tasks, table[0].mean(axis=0))):
        mean, error, freedom = rule(table)
        assert mean[0] / error[0] == pytest.approx(stats.ttest_1samp(values, 0).statistic)
        assert freedom[0] == len(values) - 1


# --- power against simulation ---

DESIGNS = [
    Design(128, paired=False),
    Design(134),
    Design(200, 1, 2),
    Design(100, 1, 3, paired=False),
    Design(134, 4, 5),
    Design(200, 1, 8),
    Design(100, 2, 5, own_tasks=True),
]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("difference", [0.0, 0.06])
def test_what_is_computed_is_what_simulated_comparisons_find(design: Design, difference: float) -> None:
    claim = Claim(0.8, difference, USUAL)
    found = simulate(claim, design, comparisons=1500, key=("agrees",))
    expected = power_of(claim, design) if difference else false_positives_of(claim, design)
    assert abs(found.share - expected) < 3.5 * found.error, (found, expected)
    # The deviation of the mean difference, whose own error is about 1 / sqrt(2 n) of it.
    assert found.deviation == pytest.approx(planned_test(claim, design).deviation, rel=4 / math.sqrt(2 * 1500))


def test_simulated_outcomes_have_the_rates_and_spreads_that_were_asked_for() -> None:
    claim, design = Claim(0.7, 0.1, Spread(0.25, 0.05, 0.05, 0.1)), Design(30, 2, 4)
    table = differences(claim, design, 3000, counted_generator("rates"))
    assert table.mean() == pytest.approx(0.1, abs=0.005)
    found = variances_of(claim, design)
    same_task = np.mean([(table[:, i] * table[:, j]).mean() for i in range(4) for j in range(i)]) - 0.1**2
    same_seed = np.mean([(table[..., i] * table[..., j]).mean() for i in range(9) for j in range(i)]) - 0.1**2
    assert table.var() == pytest.approx(found.seeds + found.tasks + found.left, rel=0.03)
    assert same_task == pytest.approx(found.tasks, abs=0.002)
    assert same_seed == pytest.approx(found.seeds, abs=0.002)


def test_comparisons_are_a_function_of_their_key() -> None:
    claim, design = Claim(0.8, 0.05, USUAL), Design(50, 1, 3)
    first, again = (simulate(claim, design, comparisons=50, key=("k",)) for _ in range(2))
    assert first == again != simulate(claim, design, comparisons=50, key=("other",))


# --- answers ---


def test_the_tasks_that_are_needed_are_the_fewest() -> None:
    claim = Claim(0.8, 0.05, USUAL)
    tasks = tasks_needed(claim, Design(2, 1, 10))
    assert tasks is not None
    assert power_of(claim, Design(tasks, 1, 10)) >= 0.8 > power_of(claim, Design(tasks - 1, 1, 10))


def test_no_number_of_tasks_makes_up_for_too_few_seeds() -> None:
    assert tasks_needed(Claim(0.8, 0.05, USUAL), Design(2, 1, 3)) is None
    assert tasks_needed(Claim(0.8, 0.05, USUAL), Design(2, 1, 1)) is None  # blind to what it would have to know


def test_one_run_per_arm_finds_differences_where_there_are_none() -> None:
    same = Claim(0.8, 0.0, Spread(0.28, 0.0, 0.027, 0.1))
    assert false_positives_of(same, Design(500)) > 0.25
    assert false_positives_of(same, Design(500, 1, 10)) == pytest.approx(0.05, abs=0.01)


def test_the_smallest_gain_that_is_seen_is_found_with_the_wanted_power() -> None:
    claim, design = Claim(0.8, 0.05, USUAL), Design(200, 1, 8)
    smallest = smallest_seen(claim, design)
    assert smallest is not None and power_of(Claim(0.8, smallest, USUAL), design) == pytest.approx(0.8, abs=1e-3)
    assert smallest_seen(claim, Design(4, 1, 2)) is None


# --- the command ---


def test_the_command_says_what_a_claim_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "power.json"
    assert main(["power", "--p", ".8", "--difference", ".05", "--json", str(file)]) == 0
    shown, written = capsys.readouterr().out, json.loads(file.read_text(encoding="utf-8"))
    assert "80.0 % against 85.0 %" in shown and "blind" in shown and "never" in shown
    assert [each["seeds"] for each in written["needed"]] == [1, 2, 3, 5, 8, 10, 20]
    by_seeds = {each["seeds"]: each for each in written["needed"]}
    assert by_seeds[10]["tasks_at_4_samples"] < by_seeds[10]["tasks"] < by_seeds[10]["tasks_unpaired"]


def test_the_command_judges_a_size_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["power", "--p", ".8", "--difference", ".08", "--tasks", "60", "--seeds", "4", "--simulate", "300"]
    assert main([*words, "--json", "-"]) == 0
    (size,) = json.loads(capsys.readouterr().out)["designs"]
    counted = size["simulated_power"]
    assert abs(counted["share"] - size["power"]) < 4 * counted["error"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--p", ".8", "--difference", "0"], "--difference other than 0"),
        (["--p", ".98", "--difference", ".05"], "between 0 and 1"),
        (["--p", ".8", "--difference", ".05", "--seeds", "5"], "--tasks N"),
        (["--p", ".8", "--difference", ".05", "--tasks", "1"], "tasks >= 2"),
        (["--p", ".8", "--difference", ".05", "--task-sd", ".5"], "at most p(1 - p)"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", *words]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1
