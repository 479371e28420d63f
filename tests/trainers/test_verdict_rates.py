"""How often the decision rule of a study is wrong, on few synthetic studies; `benchmarks.verdicts` draws 1,000."""

from __future__ import annotations

import numpy as np
import pytest

from sdar_envs.randomness import counted_generator
from trainers.referee.verdict_rates import NOISES, SyntheticStudy, draw, judge, verdict_rates


@pytest.mark.parametrize("noise", NOISES)
def test_arms_without_an_effect_are_as_good_as_the_reference_and_differ_as_much_as_stated(noise: str) -> None:
    study = SyntheticStudy(20_000, (0.0, 0.05), 0.02, noise)
    numbers = draw(study, counted_generator("noise", noise))
    assert np.allclose((numbers[1:] - numbers[0]).mean(axis=1), [0.0, 0.05], atol=6e-4)
    assert np.allclose((numbers[1:] - numbers[0]).std(axis=1), 0.02, rtol=0.03)


def test_verdicts_are_those_of_a_study() -> None:
    # Ten seeds: an arm ahead by 5 points on each, one behind, one on both sides.
    reference = np.linspace(0.4, 0.6, 10)
    wobble = np.tile([0.01, -0.01], 5)
    numbers = np.array([reference, reference + 0.05 + wobble, reference - 0.05 + wobble, reference + 5 * wobble])
    ahead, behind, level = judge(numbers)
    assert (ahead.verdict, behind.verdict, level.verdict) == ("supported", "refuted", "undecided")
    assert ahead.p == pytest.approx(2 / 2**10) and ahead.p_holm == pytest.approx(3 * 2 / 2**10)


def test_a_study_without_an_effect_seldom_supports_anything() -> None:
    rates = verdict_rates(SyntheticStudy(8, (0.0,) * 5, 0.023), studies=150, key=("test",))
    # At 5 % of 150, 7.5 are expected at most; 15 and more would come once in 200.
    assert rates.with_false_support <= 14
    assert max(rates.supported) <= rates.with_false_support


@pytest.mark.parametrize("seeds", [3, 5])
def test_nor_does_a_provisional_one(seeds: int) -> None:
    rates = verdict_rates(SyntheticStudy(seeds, (0.0,) * 5, 0.023), studies=400, key=("test",))
    # At 5 % of 400, 20 are expected at most; 31 and more would come once in 100.
    assert rates.with_false_support <= 30


def test_a_large_effect_is_found_among_four_that_are_none() -> None:
    rates = verdict_rates(SyntheticStudy(10, (0.06, 0.0, 0.0, 0.0, 0.0), 0.023), studies=40, key=("test",))
    assert rates.supported[0] >= 36 and rates.refuted[0] == 0
    assert rates == verdict_rates(SyntheticStudy(10, (0.06, 0.0, 0.0, 0.0, 0.0), 0.023), studies=40, key=("test",))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match='the nearest is "normal"'):
        SyntheticStudy(8, (0.0,), 0.02, "norml")
    with pytest.raises(ValueError, match="at least 2 seeds"):
        SyntheticStudy(1, (0.0,), 0.02)
