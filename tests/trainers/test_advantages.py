"""Advantages: statistics by hand for both units, the penalty's placement, and everything that must give zero."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base import View
from trainers.batch.outcome import EpisodeOutcome
from trainers.batch.row import SampledRow
from trainers.config import SDARConfig
from trainers.maths.advantages import (
    ADVANTAGES,
    Advantages,
    compute_advantages,
    group_advantages,
    leave_one_out_advantages,
    role_advantages,
)
from trainers.options import PolicyOptions


def turn_rows(
    episode: int, turns: int, *, group: int = 0, invalid: Sequence[int] = (), tokens: int = 2
) -> list[SampledRow]:
    """Window mode: one row per turn."""
    return [
        SampledRow(
            student=View([0] * (tokens + 1), list(range(1, tokens + 1))),
            behaviour_logprobs_T=[0.0] * tokens,
            turn_ids_T=[turn] * tokens,
            episode_id=episode,
            group_id=group,
            invalid_T=[turn in invalid] * tokens,
        )
        for turn in range(turns)
    ]


def transcript_row(episode: int, turns: int, *, group: int = 0, invalid: Sequence[int] = ()) -> SampledRow:
    """Transcript mode: one row, one token per turn."""
    return SampledRow(
        student=View([0] * (turns + 1), list(range(1, turns + 1))),
        behaviour_logprobs_T=[0.0] * turns,
        turn_ids_T=list(range(turns)),
        episode_id=episode,
        group_id=group,
        invalid_T=[turn in invalid for turn in range(turns)],
    )


def advantages(
    rows: list[SampledRow], returns: dict[int, float], *, failed: Sequence[int] = (), **options: Any
) -> tuple[Advantages, dict[int, list[float]]]:
    """The result, and the distinct per-token values of each episode, rising."""
    groups = {row.episode_id: row.group_id for row in rows}
    outcomes = [EpisodeOutcome(e, groups[e], r, failed=e in failed) for e, r in returns.items()]
    result = compute_advantages(rows, outcomes, SDARConfig(**options))
    values: dict[int, set[float]] = {}
    for row, own in zip(rows, result.per_token, strict=True):
        assert len(own) == len(row)
        values.setdefault(row.episode_id, set()).update(round(v, 6) for v in own)
    return result, {episode: sorted(distinct) for episode, distinct in values.items()}


def test_a_win_in_three_turns_and_a_loss_in_fifteen_by_both_units() -> None:
    rows = turn_rows(0, 3) + turn_rows(1, 15)
    _, episodes = advantages(rows, {0: 10.0, 1: 0.0})
    assert episodes == {0: pytest.approx([0.7071], abs=1e-4), 1: pytest.approx([-0.7071], abs=1e-4)}
    _, by_row = advantages(rows, {0: 10.0, 1: 0.0}, advantage_unit="row")
    assert by_row == {0: pytest.approx([2.1731], abs=1e-4), 1: pytest.approx([-0.4346], abs=1e-4)}


def test_four_short_wins_and_four_long_losses_by_both_units() -> None:
    rows = [row for e in range(8) for row in turn_rows(e, 10 if e < 4 else 50, tokens=1)]
    returns = {e: 10.0 if e < 4 else 0.0 for e in range(8)}
    _, episodes = advantages(rows, returns)
    assert episodes[0] == pytest.approx([0.9354], abs=1e-4)
    assert episodes[7] == pytest.approx([-0.9354], abs=1e-4)
    _, by_row = advantages(rows, returns, advantage_unit="row")
    assert by_row[0] == pytest.approx([2.2315], abs=1e-3)  # mean 1.667, deviation 3.734
    assert by_row[7] == pytest.approx([-0.4463], abs=1e-3)


def test_one_success_in_eight_uses_the_unbiased_deviation_and_epsilon_1e_6() -> None:
    scores = [1.0] + [0.0] * 7
    best = group_advantages(scores, [0] * 8)[0]
    assert best == pytest.approx(0.875 / (math.sqrt(0.125) + 1e-6), abs=1e-9)
    assert best == pytest.approx(2.47487, abs=1e-5)
    assert group_advantages(scores, [0] * 8, epsilon=1e-4)[0] == pytest.approx(2.47417, abs=1e-5)


def test_scale_batch_divides_by_the_deviation_of_all_scores_and_none_only_centres() -> None:
    scores, groups = [1.0, 0.0, 10.0, 4.0], ["a", "a", "b", "b"]
    assert group_advantages(scores, groups, scale_rewards="none").tolist() == [0.5, -0.5, 3.0, -3.0]
    deviation = np.std(scores, ddof=1) + 1e-6
    expected = [0.5 / deviation, -0.5 / deviation, 3 / deviation, -3 / deviation]
    assert group_advantages(scores, groups, scale_rewards="batch").tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"gruop.*group, batch, none.*nearest is \"group\""):
        group_advantages(scores, groups, scale_rewards="gruop")


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@given(score=st.floats(-1e3, 1e3), size=st.integers(1, 12))
def test_equal_scores_give_exactly_zero(scale: str, score: float, size: int) -> None:
    # The mean of equal floats may differ from them in the last bit. The second group makes the batch vary.
    scores, groups = [score] * size + [0.0, 1.0], [0] * size + [1, 1]
    assert group_advantages(scores, groups, scale_rewards=scale)[:size].tolist() == [0.0] * size


@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=16),
    st.lists(st.integers(0, 3), min_size=16, max_size=16),
    st.sampled_from(["group", "batch", "none"]),
)
def test_advantages_of_a_group_sum_to_zero_and_have_unit_deviation(
    scores: list[float], groups: list[int], scale: str
) -> None:
    groups = groups[: len(scores)]
    values = group_advantages(scores, groups, scale_rewards=scale)
    assert np.isfinite(values).all()
    for group in set(groups):
        own = values[[g == group for g in groups]]
        assert abs(own.sum()) < 1e-6 * max(1.0, float(np.abs(own).max()))
        spread = np.std([s for s, g in zip(scores, groups, strict=True) if g == group], ddof=1) if len(own) > 1 else 0
        if scale == "group" and spread > 1e-2:
            assert own.std(ddof=1) == pytest.approx(1.0, abs=1e-3)


def test_a_group_of_one_gets_zero_and_is_counted() -> None:
    rows = turn_rows(0, 3) + turn_rows(1, 2, group=1) + turn_rows(2, 2, group=1)
    result, values = advantages(rows, {0: 10.0, 1: 10.0, 2: 0.0}, advantage_unit="row")
    assert values[0] == [0.0]
    assert (result.groups, result.flat_groups, result.single_groups) == (2, 1, 1)


def test_an_episode_without_siblings_gets_zero_even_when_its_rows_were_charged_differently() -> None:
    rows = turn_rows(0, 3, invalid=[1])
    _, values = advantages(rows, {0: 1.0}, advantage_unit="row", invalid_action_placement="baseline")
    assert values[0] == [0.0]


def test_a_failed_episode_gets_zero_and_leaves_its_siblings_statistics_alone() -> None:
    rows = turn_rows(0, 2) + turn_rows(1, 2) + turn_rows(2, 5)
    _, without = advantages(turn_rows(0, 2) + turn_rows(1, 2), {0: 1.0, 1: 0.0})
    for unit in ("trajectory", "row"):
        _, values = advantages(rows, {0: 1.0, 1: 0.0, 2: 50.0}, failed=[2], advantage_unit=unit)
        assert values[2] == [0.0]
        if unit == "trajectory":
            assert values[0] == without[0]
            assert values[1] == without[1]


def test_a_failed_episode_is_not_charged_for_invalid_actions_either() -> None:
    rows = turn_rows(0, 2) + turn_rows(1, 2, invalid=[0])
    _, values = advantages(rows, {0: 1.0, 1: 0.0}, failed=[1])
    assert values == {0: [0.0], 1: [0.0]}


def test_when_every_episode_failed_everything_is_zero() -> None:
    result, values = advantages(turn_rows(0, 2) + turn_rows(1, 2), {0: 1.0, 1: 0.0}, failed=[0, 1])
    assert values == {0: [0.0], 1: [0.0]}
    assert result.groups == 0


def test_by_default_the_penalty_is_charged_to_the_turns_tokens_and_moves_no_baseline() -> None:
    clean = [transcript_row(0, 3), transcript_row(1, 3)]
    soiled = [transcript_row(0, 3, invalid=[1]), transcript_row(1, 3)]
    before = advantages(clean, {0: 1.0, 1: 0.0})[0].per_token
    after = advantages(soiled, {0: 1.0, 1: 0.0})[0].per_token
    difference = np.array(after[0]) - np.array(before[0])
    assert difference.tolist() == pytest.approx([0.0, -0.1, 0.0])
    assert after[1] == before[1]


def test_in_a_group_without_a_winner_the_default_penalty_stays_small_and_the_official_one_is_blown_up() -> None:
    rows = [row for e in range(8) for row in turn_rows(e, 1, invalid=[0] if e == 0 else [])]
    returns = dict.fromkeys(range(8), 0.0)
    _, ours = advantages(rows, returns)
    assert ours[0] == [-0.1]
    assert ours[1] == [0.0]
    _, official = advantages(rows, returns, advantage_unit="row", invalid_action_placement="baseline")
    assert official[0] == pytest.approx([-2.4749], abs=1e-3)
    assert official[1] == pytest.approx([0.3535], abs=1e-3)


def test_the_official_placement_lowers_only_that_rows_score() -> None:
    rows = turn_rows(0, 2, invalid=[1]) + turn_rows(1, 2)
    _, values = advantages(
        rows, {0: 1.0, 1: 0.0}, advantage_unit="row", invalid_action_placement="baseline", scale_rewards="none"
    )
    # Scores 1, 0.9, 0, 0: mean 0.475.
    assert values == {0: [0.425, 0.525], 1: [-0.475]}


def test_the_baseline_placement_by_trajectory_charges_every_invalid_turn_once() -> None:
    rows = [transcript_row(0, 4, invalid=[1, 2]), transcript_row(1, 4)]
    _, values = advantages(rows, {0: 1.0, 1: 0.0}, invalid_action_placement="baseline", scale_rewards="none")
    assert values == {0: [0.4], 1: [-0.4]}
    by_turn = turn_rows(0, 4, invalid=[1, 2]) + turn_rows(1, 4)
    _, same = advantages(by_turn, {0: 1.0, 1: 0.0}, invalid_action_placement="baseline", scale_rewards="none")
    assert same == values


def test_in_transcript_mode_both_units_agree() -> None:
    rows = [transcript_row(e, 2 + e, invalid=[1] if e == 1 else []) for e in range(4)]
    returns = {0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0}
    for placement in ("token", "baseline"):
        _, episodes = advantages(rows, returns, invalid_action_placement=placement)
        _, by_row = advantages(rows, returns, invalid_action_placement=placement, advantage_unit="row")
        assert episodes == by_row


def test_advantages_do_not_depend_on_the_order_of_rows() -> None:
    rows = [transcript_row(e, 2, group=e // 2) for e in range(6)]
    returns = {0: 1.0, 1: 0.0, 2: 3.0, 3: 1.0, 4: 0.0, 5: 0.0}
    _, forward = advantages(rows, returns)
    _, backward = advantages(rows[::-1], returns)
    assert forward == backward


def test_leave_one_out_is_the_score_minus_the_mean_of_the_others() -> None:
    values = leave_one_out_advantages([4.0, 1.0, 1.0, 7.0], ["a", "a", "a", "b"])
    assert values.tolist() == pytest.approx([3.0, -1.5, -1.5, 0.0])
    rows = [transcript_row(e, 2) for e in range(3)]
    _, by_name = advantages(rows, {0: 4.0, 1: 1.0, 2: 1.0}, advantage="rloo")
    assert by_name == {0: [3.0], 1: [-1.5], 2: [-1.5]}


def test_an_episode_without_an_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got none for \[1\]"):
        compute_advantages([transcript_row(1, 2)], [EpisodeOutcome(0, 0, 1.0)], SDARConfig())


def test_an_estimator_is_found_by_name_and_a_new_one_can_be_put_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    def halves(rows: Sequence[SampledRow], outcomes: Any, options: PolicyOptions) -> Advantages:
        return Advantages([[0.5] * len(row) for row in rows], 1, 0, 0)

    monkeypatch.setitem(ADVANTAGES, "halves", halves)
    row = transcript_row(0, 3)
    config = SDARConfig(advantage="halves")
    assert compute_advantages([row], [EpisodeOutcome(0, 0, 1.0)], config).per_token == [[0.5, 0.5, 0.5]]
    with pytest.raises(ValueError, match=r"hafles.*nearest is \"halves\""):
        dataclasses.replace(config, advantage="hafles")


def test_a_role_is_compared_with_what_it_has_earned_itself() -> None:
    values, after = role_advantages([1.0, 0.0, 1.0], ["a", "b", "a"], {}, decay=0.5)
    # b_a: 0.5, then 0.75; b_b: 0.
    assert values.tolist() == [0.5, 0.0, 0.25] and after == {"a": 0.75, "b": 0.0}
    more, later = role_advantages([1.0, 0.0], ["a", "b"], after, decay=0.5)
    assert more.tolist() == [0.125, 0.0] and later == {"a": 0.875, "b": 0.0}


def test_a_baseline_that_forgets_nothing_or_everything() -> None:
    assert role_advantages([3.0], ["a"], {"a": 1.0}, decay=1.0)[0].tolist() == [2.0]
    assert role_advantages([3.0], ["a"], {"a": 1.0}, decay=0.0)[0].tolist() == [0.0]


def test_a_failed_episode_moves_no_baseline() -> None:
    values, after = role_advantages([9.0, 1.0], ["a", "a"], {}, decay=0.5, keep_X=[False, True])
    assert values.tolist() == [0.0, 0.5] and after == {"a": 0.5}
