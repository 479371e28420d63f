"""Statistics of studies against hand-computed values and limits: seeds are the unit, and few of them say little."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.study.statistics import area, at, crossed_bootstrap, holm, sign_flip_p, t_interval

NUMBERS = st.floats(-1, 1, allow_nan=False, allow_subnormal=False).map(lambda x: round(x, 3))


def test_the_t_interval_of_three_seeds_is_that_of_the_tables() -> None:
    found = t_interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # t_2 at 97.5 %
    assert found.mean == 2.0 and found.sd == 1.0 and found.n == 3
    assert (found.low, found.high) == pytest.approx((2.0 - half, 2.0 + half))


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = t_interval([0.4])
    assert (found.mean, found.low, found.high, found.n) == (0.4, None, None, 1)
    assert t_interval([]).mean is None


def test_no_p_value_with_fewer_than_eight_seeds() -> None:
    assert sign_flip_p([0.1] * 7) is None
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) == pytest.approx(2 / 2**8)


@given(st.lists(NUMBERS, min_size=8, max_size=9))
@settings(max_examples=15, deadline=None)
def test_sign_flips_are_the_share_of_flips_that_go_as_far(differences: list[float]) -> None:
    flips = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    means = np.abs(flips @ np.array(differences))
    by_hand = float(np.mean(means >= abs(sum(differences)) - 1e-9))
    assert sign_flip_p(differences) == pytest.approx(by_hand, abs=1e-12)


def test_a_bound_moves_what_is_flipped() -> None:
    differences = [0.04, 0.05, 0.06, 0.045, 0.055, 0.05, 0.048, 0.052]
    assert sign_flip_p(differences, bound=0.05) == pytest.approx(sign_flip_p([d - 0.05 for d in differences]))
    assert sign_flip_p([0.05] * 8, bound=0.05) == 1.0
    assert sign_flip_p([0.55 - 0.5] * 8, bound=0.05) == 1.0  # off by 4e-17


def test_beyond_sixteen_seeds_flips_are_drawn_and_counted() -> None:
    differences = [0.01 * (index % 5) for index in range(20)]
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert 0 < sign_flip_p(differences) < 0.001  # type: ignore[operator]


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_the_crossed_bootstrap_counts_the_spread_of_seeds_and_of_tasks() -> None:
    rng = np.random.default_rng(0)
    seeds, tasks = rng.normal(0.1, 0.05, (8, 1)), rng.normal(0, 0.2, (1, 60))
    both, one = seeds + tasks, seeds + np.zeros((1, 60))
    low, high = crossed_bootstrap(both.tolist())  # type: ignore[misc]
    narrow_low, narrow_high = crossed_bootstrap(one.tolist())  # type: ignore[misc]
    assert low < both.mean() < high and high - low > narrow_high - narrow_low
    # With tasks that do not differ, the spread is that of the mean of seeds alone.
    assert narrow_high - narrow_low == pytest.approx(2 * 1.96 * one[:, 0].std() / math.sqrt(8), rel=0.15)


def test_the_crossed_bootstrap_leaves_out_what_is_not_there() -> None:
    nan = float("nan")
    assert crossed_bootstrap([[1.0, nan, 1.0], [nan, 1.0, 1.0]]) == (1.0, 1.0)
    assert crossed_bootstrap([[1.0, 0.0]]) is None
    assert crossed_bootstrap([[0.1, 0.2], [0.3, 0.1]]) == crossed_bootstrap([[0.1, 0.2], [0.3, 0.1]])


def test_areas_by_hand() -> None:
    curve = [(0.0, 0.0), (10.0, 0.4), (20.0, 0.4)]
    assert area(curve, 10.0) == pytest.approx(0.2)
    assert area(curve, 20.0) == pytest.approx(0.3)
    assert area(curve, 15.0) == pytest.approx((10 * 0.2 + 5 * 0.4) / 15)  # between two points
    assert area(curve, 5.0) == pytest.approx(0.1)
    assert area(curve, 21.0) is None and area([], 5.0) is None
    assert area([(0.0, 0.3)], 40.0, level=True) == pytest.approx(0.3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0.1, 1.0))
def test_an_area_lies_between_the_lowest_and_the_highest_point(heights: list[float], share: float) -> None:
    curve = [(float(index), height) for index, height in enumerate(heights)]
    found = area(curve, share * (len(heights) - 1))
    assert found is not None and min(heights) - 1e-9 <= found <= max(heights) + 1e-9


def test_a_curve_is_linear_between_its_points() -> None:
    assert at([(0.0, 1.0), (2.0, 3.0)], 0.5) == 1.5
    assert at([(1.0, 1.0)], 0.5) is None
