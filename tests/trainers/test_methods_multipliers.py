"""Rows that multiply the advantage: AgentOPSD by token, RLRT and GRSD by hand, with their limits."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import changed
from test_methods_successors import CONFIG, LOG3, advantages, random_episodes, row_of

from trainers.config import SDARConfig
from trainers.methods import METHODS

NAMES = ("agent-opsd-token", "rlrt", "grsd")


# --- what all three keep ---


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.floats(0.05, 1.0))
def test_the_sign_of_the_advantage_stays_and_its_size_changes_by_the_band_at_most(
    name: str, seed: int, windows: bool, coef: float
) -> None:
    rows = random_episodes(seed, windows)
    for row, found in zip(rows, advantages(name, rows, coef), strict=True):
        for before, after in zip(row.advantages_T, found, strict=True):
            assert 1 - 0.2 * coef - 1e-6 <= after / before <= 1 + 0.2 * coef + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_that_agrees_with_the_student_changes_nothing(name: str) -> None:
    rows = [row_of([[0.0, 0.0], [0.0]], episode=e, return_=float(e), advantage=2.0 * e - 1) for e in (0, 1)]
    found = advantages(name, rows, 0.5)
    assert found == [[-1.0] * 3, [1.0] * 3]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_difference_of_outcomes_a_group_learns_nothing(name: str) -> None:
    rows = [row_of([[2.0], [-1.0]], episode=e, return_=1.0, advantage=0.0, kept=True) for e in (0, 1)]
    assert advantages(name, rows, 0.5) == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("name", ["agent-opsd-token", "grsd"])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_an_episode_weighs_the_same_whether_a_row_holds_all_of_it_or_a_turn(name: str, seed: int) -> None:
    whole, windows = (random_episodes(seed, each) for each in (False, True))
    flat = [[value for row in found for value in row] for found in (advantages(name, r, 0.5) for r in (whole, windows))]
    assert flat[0] == pytest.approx(flat[1], abs=1e-6)


# --- AgentOPSD by token ---


def test_tokens_move_the_belief_within_their_turn_alone() -> None:
    # From 1/2 by ln 3: 3/4, then 9/10: revisions .25 and .15, mean .2, deviation .05 (floor 1e-6).
    rows = [
        row_of([[LOG3, LOG3], [LOG3, LOG3]], return_=1.0, advantage=2.0),
        row_of([[0.0]], episode=1, return_=0.0, advantage=-1.0),
    ]
    z = 0.05 / (math.sqrt(0.05**2 + 1e-6) + 1e-6)
    first, second = 2 * (0.5 + 0.5 * (1 + 0.2 * z)), 2 * (0.5 + 0.5 * (1 - 0.2 * z))
    assert advantages("agent-opsd-token", rows, 0.5)[0] == pytest.approx([first, second, first, second], abs=1e-6)


def test_a_turn_in_which_the_belief_hardly_moves_is_left_alone_by_token_and_not_by_the_deviation_alone() -> None:
    rows = [row_of([[1e-4, -1e-4]], return_=1.0), row_of([[0.0]], episode=1, return_=0.0, advantage=-1.0)]
    assert advantages("agent-opsd-token", rows, 0.5)[0] == pytest.approx([1.0, 1.0], abs=0.01)
    by_option = dataclasses.replace(CONFIG, belief_unit="token")
    assert abs(advantages("agent-opsd", rows, 0.5, by_option)[0][0] - 1.0) > 0.08


# --- RLRT ---


def test_on_successes_what_the_teacher_would_not_have_said_gets_more() -> None:
    config = dataclasses.replace(CONFIG, weight_clip=0.5)
    gaps = [[-0.2, 0.2, -3.0, 3.0]]  # T - O
    won = row_of(gaps, advantage=2.0, kept=True)
    lost = row_of(gaps, episode=1, advantage=-1.0, kept=False)
    found = advantages("rlrt", [won, lost], 0.5, config)
    expected = [math.exp(0.2), math.exp(-0.2), 1.5, 0.5]
    assert found[0] == pytest.approx([2 * (0.5 + 0.5 * w) for w in expected], abs=1e-6)
    assert found[1] == [-1.0] * 4


def test_a_success_with_a_negative_advantage_is_blamed_for_what_the_teacher_would_have_said() -> None:
    """The exponent has the sign of the advantage, as in RLSD: it is turned round, and not the advantage."""
    config = dataclasses.replace(CONFIG, weight_clip=0.5)
    found = advantages("rlrt", [row_of([[-0.2, 0.2]], advantage=-1.0, kept=True)], 1.0, config)[0]
    assert found == pytest.approx([-math.exp(-0.2), -math.exp(0.2)], abs=1e-6)


def test_rlrt_is_rlsd_with_the_gap_reversed() -> None:
    rows = [changed(row, kept=True) for row in random_episodes(7)]
    turned = [
        changed(
            row,
            teacher_logprobs_T={
                "teacher": [
                    2 * o - t for o, t in zip(row.behaviour_logprobs_T, row.teacher_logprobs_T["teacher"], strict=True)
                ]
            },
        )
        for row in rows
    ]
    for one, other in zip(advantages("rlrt", rows, 0.5), advantages("rlsd", turned, 0.5), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


# --- GRSD ---


def test_turns_are_scaled_by_the_mean_size_of_their_groups_signals() -> None:
    # The winner's turns have mean gaps 1 and -1 (of two tokens), the loser's one turn 1: u = e - 1, 1/e - 1, 1/e - 1.
    config = dataclasses.replace(CONFIG, weight_clip=1.0)
    won = row_of([[1.5, 0.5], [-1.0]], return_=1.0, advantage=2.0, kept=True)
    lost = row_of([[1.0]], episode=1, return_=0.0, advantage=-1.0, kept=False)
    up, down = math.e - 1, math.exp(-1) - 1
    size = (up + 2 * abs(down)) / 3
    found = advantages("grsd", [won, lost], 0.5, config)
    raised, lowered = 1 + 0.5 * min(up / size, 1.0), 1 + 0.5 * down / size
    assert found[0] == pytest.approx([2 * raised, 2 * raised, 2 * lowered], abs=1e-5)
    assert found[1] == pytest.approx([-lowered], abs=1e-5)


def test_groups_do_not_change_each_others_scale_and_one_outcome_leaves_a_group_alone() -> None:
    pair = [
        row_of([[1.0], [-0.5]], return_=1.0, advantage=1.0, kept=True),
        row_of([[0.3]], episode=1, advantage=-1.0, kept=False),
    ]
    other = [row_of([[5.0]], episode=e, group=1, advantage=1.0, kept=True) for e in (2, 3)]
    alone, together = advantages("grsd", pair, 0.5), advantages("grsd", pair + other, 0.5)
    assert together[:2] == alone
    assert together[2:] == [[1.0], [1.0]]


def test_each_row_learns_successes_from_the_filter_and_reads_no_plan() -> None:
    assert METHODS["rlrt"].keep is METHODS["grsd"].keep is not None
    assert SDARConfig(method="rlrt").weight_clip == 0.2
