"""Intervals: values by hand, limiting cases, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.evaluation.intervals import Z95, clustered, paired_difference, wilson


def test_wilson_by_hand() -> None:
    # p = 1/2, n = 4, z = 1.96: centre 1/2, half width z / (1 + z^2/4) sqrt(1/16 + z^2/64) = 0.34996
    low, high = wilson(2, 4)
    assert (low, high) == pytest.approx((0.150039, 0.849961), abs=1e-6)


def test_wilson_never_leaves_the_unit_interval_and_is_exact_at_the_edges() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    assert wilson(0, 10)[1] == pytest.approx(Z95**2 / (10 + Z95**2))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_mirrors(counts: tuple[int, int]) -> None:
    wins, episodes = counts
    low, high = wilson(wins, episodes)
    assert 0.0 <= low <= wins / episodes <= high <= 1.0
    mirrored = wilson(episodes - wins, episodes)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)


def test_wilson_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="expected 0 <= wins <= episodes"):
        wilson(3, 2)


def test_clusters_of_one_give_the_normal_interval() -> None:
    outcomes = [1.0, 0.0, 1.0, 1.0]
    # residuals (1/4, -3/4, 1/4, 1/4): sum of squares 3/4; variance 4/3 * 3/4 / 16 = 1/16
    assert clustered(outcomes, range(4)) == pytest.approx((0.75 - Z95 / 4, 1.0))


def test_identical_episodes_in_a_cluster_count_as_one() -> None:
    alone = clustered([1.0, 0.0, 1.0, 0.0], range(4))
    copied = clustered([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], [0, 0, 1, 1, 2, 2, 3, 3])
    assert alone == pytest.approx(copied)


def test_one_cluster_says_nothing_about_the_spread() -> None:
    assert clustered([1.0, 0.0], ["kitchen", "kitchen"]) is None
    with pytest.raises(ValueError, match="expected a cluster per outcome"):
        clustered([1.0], [])


def test_the_linearised_interval_agrees_with_a_bootstrap_of_whole_clusters() -> None:
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.2, 0.8, 60).repeat(5)
    outcomes = (rng.random(300) < rates).astype(float)
    clusters = np.arange(60).repeat(5).tolist()
    means = outcomes.reshape(60, 5)[rng.integers(60, size=(4000, 60))].mean(axis=(1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    assert clustered(outcomes.tolist(), clusters) == pytest.approx((low, high), abs=0.015)


def test_clustered_intervals_cover_where_wilson_does_not() -> None:
    rng = np.random.default_rng(1)
    held = {"clustered": 0, "wilson": 0}
    for _ in range(300):
        rates = rng.choice([0.1, 0.9], 30).repeat(8)
        outcomes = (rng.random(240) < rates).astype(float)
        own = clustered(outcomes.tolist(), np.arange(30).repeat(8).tolist())
        plain = wilson(int(outcomes.sum()), 240)
        assert own is not None
        held["clustered"] += own[0] <= 0.5 <= own[1]
        held["wilson"] += plain[0] <= 0.5 <= plain[1]
    assert held["clustered"] / 300 > 0.9 > 0.75 > held["wilson"] / 300


def test_a_paired_difference_is_narrower_than_two_rates_and_leaves_out_failed_pairs() -> None:
    before = [0.0, 0.0, 1.0, 1.0, None, 0.0]
    after = [1.0, 0.0, 1.0, 1.0, 1.0, None]
    found = paired_difference(before, after)
    assert found is not None
    difference, (low, high) = found
    # four pairs with differences 1, 0, 0, 0: mean 1/4, sample variance 1/4, standard error 1/4
    assert difference == 0.25
    assert (low, high) == pytest.approx((0.25 - Z95 / 4, 0.25 + Z95 / 4))
    assert paired_difference([None], [1.0]) is None
    assert paired_difference([0.0], [1.0]) is None
    with pytest.raises(ValueError, match="lengths differ"):
        paired_difference([0.0], [1.0, 1.0])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_a_paired_difference_is_antisymmetric_and_bounded(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    one, other = paired_difference(before, after), paired_difference(after, before)
    assert one is not None and other is not None
    assert one[0] == -other[0] and one[1] == pytest.approx((-other[1][1], -other[1][0]))
    assert -1.0 <= one[1][0] <= one[0] <= one[1][1] <= 1.0 and math.isfinite(one[1][0])
