"""Shaping by the plan's length: it telescopes, it orders policies as success does, and it credits turn by turn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainers.maths.plan_progress import potentials, progress, shaping_rewards

LENGTHS = st.lists(st.none() | st.integers(1, 12), min_size=1, max_size=12)


def test_the_potential_is_the_share_of_the_plan_that_is_done_by_hand() -> None:
    assert potentials([4, 3, 3, 5, None, 12], success=False) == [0.0, 0.25, 0.25, -0.25, -0.25, -1.0, 0.0]
    assert potentials([2, 1], success=True) == [0.0, 0.5, 1.0]
    assert shaping_rewards([0.0, 0.5, 1.0]) == [0.5, 0.5]


def test_a_turn_is_credited_with_later_changes_as_far_as_lambda_says_by_hand() -> None:
    lengths = [4, 3, 3, 2]
    assert progress(lengths, False, 0.0) == [0.25, 0.0, 0.25, -0.5]
    assert progress(lengths, False, 0.5) == [0.25, 0.0, 0.0, -0.5]
    assert progress(lengths, False, 1.0) == [0.0, -0.25, -0.25, -0.5]
    assert progress([2, 1], True, 0.0) == [0.5, 0.5]


@given(LENGTHS, st.booleans())
def test_the_shaping_of_an_episode_adds_up_to_its_success_whatever_happened_on_the_way(
    lengths: list[int | None], success: bool
) -> None:
    known = any(length is not None for length in lengths)
    assert sum(shaping_rewards(potentials(lengths, success))) == pytest.approx(float(success and known))
    assert all(-1.0 <= value <= 1.0 for value in potentials(lengths, success))


@given(LENGTHS, st.booleans())
def test_with_lambda_one_the_credit_is_success_minus_a_baseline_and_with_lambda_zero_a_turns_own_difference(
    lengths: list[int | None], success: bool
) -> None:
    values = potentials(lengths, success)
    assert progress(lengths, success, 1.0) == pytest.approx([values[-1] - value for value in values[:-1]])
    assert progress(lengths, success, 0.0) == shaping_rewards(values)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_plan_whose_length_never_changes_says_exactly_nothing(length: int, turns: int, trace: float) -> None:
    assert progress([length] * turns, False, trace) == [0.0] * turns


@given(st.integers(1, 9), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))
def test_without_a_plan_nothing_is_said_not_even_about_success(turns: int, success: bool, trace: float) -> None:
    assert progress([None] * turns, success, trace) == [0.0] * turns


# A world to count out: the goal lies at distance 0, one begins at distance 2, and three turns are left.

HORIZON, START = 3, 2
MOVES = (-1, 0, 1)


def stories() -> list[tuple[list[int], list[int], bool]]:
    """Every episode that can happen: distances before each turn, moves (as indices), whether the goal is reached."""
    found = {}
    for moves in itertools.product(range(len(MOVES)), repeat=HORIZON):
        distance, distances, taken = START, [], []
        for move in moves:
            if distance == 0:
                break
            distances.append(distance)
            taken.append(move)
            distance += MOVES[move]
        found[tuple(taken)] = (distances, taken, distance == 0)
    return list(found.values())


def probability(policy: Tensor, distances: Sequence[int], moves: Sequence[int]) -> Tensor:
    """Of a story under a policy ``[turn, distance, move]``."""
    chances = [policy[turn, d, m] for turn, (d, m) in enumerate(zip(distances, moves, strict=True))]
    return torch.stack(chances).prod()


def some_policy(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn((HORIZON, START + HORIZON + 1, len(MOVES)), generator=generator, dtype=torch.float64)
    return torch.softmax(logits, dim=-1)


def test_the_shaped_return_orders_policies_as_success_does() -> None:
    coef = 0.7
    plain, shaped, careless = [], [], []
    for seed in range(40):
        policy = some_policy(seed)
        sums = [0.0, 0.0, 0.0]
        for distances, moves, success in stories():
            chance = float(probability(policy, distances, moves))
            values = potentials(distances, success)
            # What goes wrong without a fixed potential at the end: the last state's own progress is never paid back.
            left = [*values[:-1], 1.0 if success else 1.0 - (distances[-1] + MOVES[moves[-1]]) / START]
            for index, more in enumerate((0.0, sum(shaping_rewards(values)), sum(shaping_rewards(left)))):
                sums[index] += chance * (float(success) + coef * more)
        plain.append(sums[0])
        shaped.append(sums[1])
        careless.append(sums[2])
    order = sorted(range(40), key=plain.__getitem__)
    assert sorted(range(40), key=shaped.__getitem__) == order
    assert shaped == pytest.approx([(1.0 + coef) * value for value in plain])
    assert sorted(range(40), key=careless.__getitem__) != order


@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_in_expectation_lambda_one_is_the_gradient_of_success_and_lower_lambdas_still_point_uphill(
    trace: float,
) -> None:
    logits = torch.log(some_policy(3)).requires_grad_()
    policy = torch.softmax(logits, dim=-1)
    success_rate = torch.zeros((), dtype=torch.float64)
    surrogate = torch.zeros((), dtype=torch.float64)
    for distances, moves, success in stories():
        chance = probability(policy, distances, moves)
        success_rate = success_rate + chance * float(success)
        scores = [policy[turn, d, m].log() for turn, (d, m) in enumerate(zip(distances, moves, strict=True))]
        credits = progress(distances, success, trace)
        terms = [credit * score for credit, score in zip(credits, scores, strict=True)]
        surrogate = surrogate + chance.detach() * torch.stack(terms).sum()
    (exact,) = torch.autograd.grad(success_rate, logits, retain_graph=True)
    (estimated,) = torch.autograd.grad(surrogate, logits)
    if trace == 1.0:
        assert torch.allclose(estimated, exact, atol=1e-12)
    else:
        assert not torch.allclose(estimated, exact, atol=1e-3)
        assert float((estimated * exact).sum()) > 0.0


def test_the_plans_own_action_has_the_largest_credit_at_every_turn_but_the_last() -> None:
    for distance in (1, 2, 3):
        credits = [progress([distance, max(distance + move, 1), 1], False, 0.0)[0] for move in MOVES]
        if distance > 1:
            assert credits[0] > credits[1] > credits[2]
