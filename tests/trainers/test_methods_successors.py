"""Successors: each formula by hand, its gradient, its limits, and what a silent teacher leaves alone."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import changed, plan_of, weighed

from agents.base import View
from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import TokenBatch, collate, loss_tokens
from trainers.config import SDARConfig
from trainers.maths import signals
from trainers.methods import METHODS, apply
from trainers.methods.objective import objective

CONFIG = SDARConfig(beta=0.0)
LOG3 = math.log(3.0)
# sdpo compares whole distributions: its gradient is that of test_official_methods and test_divergences.
SUCCESSORS = [
    name for name, method in METHODS.items() if method.group == "successor" and method.injection != "divergence"
]


def row_of(
    turns: Sequence[Sequence[float]],
    *,
    episode: int = 0,
    group: int = 0,
    return_: float = 0.0,
    advantage: float = 1.0,
    first: int = 0,
    behaviour: float = -4.0,
    **fields: Any,
) -> WeighedRow:
    """A row whose tokens have the given gaps T - O, turn by turn; the second reading is a nat above the first."""
    gaps = [gap for turn in turns for gap in turn]
    count = len(gaps)
    read = {"teacher": [behaviour + gap for gap in gaps], "hints": [behaviour + gap + 1 for gap in gaps]}
    read["reflection"] = read["teacher"]
    read["wrong_skill"] = [behaviour] * count  # a wrong hint that changes nothing: the contrast is the gap
    row = WeighedRow(
        student=View([0] * (count + 1), list(range(1, count + 1))),
        teacher_logprobs_T=read,
        behaviour_logprobs_T=[behaviour] * count,
        turn_ids_T=[first + number for number, turn in enumerate(turns) for _ in turn],
        episode_id=episode,
        group_id=group,
        invalid_T=[False] * count,
        advantages_T=[advantage] * count,
        return_=return_,
        kept=return_ > 0.5,  # as the filter of successes marks it
    )
    return changed(row, **fields)


def by_turn(row: WeighedRow, turns: Sequence[Sequence[float]]) -> list[WeighedRow]:
    """The same episode as one row per turn (window mode)."""
    return [
        row_of(
            [turn],
            episode=row.episode_id,
            group=row.group_id,
            return_=row.return_,
            advantage=row.advantages_T[0],
            first=number,
        )
        for number, turn in enumerate(turns)
    ]


def batch_of(rows: list[WeighedRow], name: str) -> TokenBatch:
    batch = collate(rows, teacher_views=METHODS[name].teacher_views)
    batch.student_BT = batch.behaviour_BT.clone().requires_grad_()
    return batch


def prepared(name: str, rows: list[WeighedRow], config: SDARConfig = CONFIG) -> list[WeighedRow]:
    return weighed(plan_of(name, config, 1.0), rows)


def advantages(name: str, rows: list[WeighedRow], coef: float, config: SDARConfig = CONFIG) -> list[list[float]]:
    """What the policy gradient gets for each row after all of them were weighed together."""
    rows = prepared(name, rows, config)
    injected = apply(plan_of(name, config, coef), batch_of(rows, name))
    assert injected.extra_BT is None
    return [values[: len(row)] for row, values in zip(rows, injected.advantages_BT.tolist(), strict=True)]


def random_episodes(seed: int, windows: bool = False) -> list[WeighedRow]:
    draw = random.Random(seed)
    rows: list[WeighedRow] = []
    for episode in range(draw.randrange(2, 7)):
        turns = [[draw.uniform(-2, 2) for _ in range(draw.randrange(1, 4))] for _ in range(draw.randrange(1, 5))]
        row = row_of(
            turns,
            episode=episode,
            group=episode % 2,
            return_=draw.choice([0.0, 1.0]),
            advantage=draw.choice([-1.5, -0.5, 0.5, 2.0]),
        )
        rows += by_turn(row, turns) if windows else [row]
    return rows


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.group == "successor"])
def test_every_row_says_what_was_checked_and_which_choices_are_ours(name: str) -> None:
    method = METHODS[name]
    assert method.fidelity in ("code", "digest", "paper") and "arXiv 260" in method.source and len(method.note) > 100
    assert plan_of(method, CONFIG, 0.1).reads_teacher and not plan_of(method, CONFIG, 0.0).reads_teacher


@pytest.mark.parametrize("name", SUCCESSORS)
def test_the_gradient_is_that_of_the_stated_advantage_or_push(name: str) -> None:
    rows = prepared(name, random_episodes(3))
    method, batch = METHODS[name], batch_of(rows, name)
    injected = apply(plan_of(method, CONFIG, 0.3), batch)
    objective(plan_of(method, CONFIG, 0.3), batch, CONFIG, denominator=loss_tokens(rows)).loss.backward()
    student = batch.live_student()
    assert student.grad is not None
    push = injected.advantages_BT * 1.0  # at S = O the ratio is 1
    if injected.extra_BT is not None:
        assert injected.weight_BT is not None
        push = push + 0.3 * injected.weight_BT
    assert torch.allclose(student.grad, -push * batch.mask_BT / loss_tokens(rows), atol=1e-6)
    grpo = METHODS["grpo"]
    plain = batch_of(rows, name)
    objective(plan_of(grpo, CONFIG, 0.0), plain, CONFIG, denominator=loss_tokens(rows)).loss.backward()
    assert plain.live_student().grad is not None
    assert not torch.allclose(plain.live_student().grad, student.grad, atol=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SUCCESSORS)
def test_a_row_that_no_teacher_has_read_keeps_its_advantage_and_changes_nothing_for_the_others(name: str) -> None:
    rows = random_episodes(5)
    silent = changed(rows[0], teacher_logprobs_T={})
    with_silent = prepared(name, [*rows[1:], silent])
    batch = batch_of(with_silent, name)
    injected = apply(plan_of(name, CONFIG, 0.3), batch)
    assert torch.equal(injected.advantages_BT[-1], batch.advantages_BT[-1])
    assert injected.weight_BT is not None and not injected.weight_BT[-1].any()
    if injected.extra_BT is not None:
        assert not injected.extra_BT[-1].any()


@pytest.mark.parametrize("name", SUCCESSORS)
def test_where_no_teacher_has_read_anything_the_row_is_its_backbone(name: str) -> None:
    rows = [changed(row, teacher_logprobs_T={}) for row in random_episodes(7)]
    batch = batch_of(prepared(name, rows), name)
    injected = apply(plan_of(name, CONFIG, 0.3), batch)
    assert torch.equal(injected.advantages_BT, batch.advantages_BT)
    assert injected.extra_BT is None or not injected.extra_BT.any()


@pytest.mark.parametrize("name", SUCCESSORS)
def test_weights_do_not_depend_on_how_rows_are_ordered_or_cut_into_micro_batches(name: str) -> None:
    rows = random_episodes(11, windows=True)
    whole = _weights(name, prepared(name, rows))
    order = list(range(len(rows)))
    random.Random(1).shuffle(order)
    shuffled = prepared(name, [rows[place] for place in order])
    for part in (slice(0, 1), slice(1, 4), slice(4, None)):
        for place, values in zip(order[part], _weights(name, shuffled[part]), strict=True):
            assert values == pytest.approx(whole[place], abs=1e-5)


def _weights(name: str, rows: list[WeighedRow]) -> list[list[float]]:
    """The weights of rows that were weighed, perhaps among others."""
    injected = apply(plan_of(name, CONFIG, 1.0), batch_of(rows, name))
    assert injected.weight_BT is not None
    return [values[: len(row)] for row, values in zip(rows, injected.weight_BT.tolist(), strict=True)]


# --- agent-opsd ---

UP_AND_DOWN = [[LOG3 / 2, LOG3 / 2], [-LOG3]]  # the belief goes from 1/2 to 3/4 and back: revisions +-1/4, z = +-1


@pytest.mark.parametrize("windows", [False, True])
def test_turns_that_revise_the_belief_with_the_outcome_get_more_of_the_advantage(windows: bool) -> None:
    def episode(number: int, advantage: float) -> list[WeighedRow]:
        row = row_of(UP_AND_DOWN, episode=number, return_=float(number == 0), advantage=advantage)
        return by_turn(row, UP_AND_DOWN) if windows else [row]

    values = advantages("agent-opsd", episode(0, 2.0) + episode(1, -2.0), coef=0.5)
    flat = [value for row in values for value in row]
    assert flat == pytest.approx([2.2, 2.2, 1.8, -1.8, -1.8, -2.2], abs=1e-4)


def test_the_prior_is_the_groups_mean_return_counted_by_episode() -> None:
    # One win in four: from 1/4, log 3 leads to 1/2 and log 3 again to 3/4: revisions 1/4 and 1/4, no z.
    even = [[LOG3], [LOG3]]
    rows = [row_of(even, episode=e, return_=float(e == 0)) for e in range(3)]
    rows += by_turn(row_of(even, episode=3), even)  # two rows, one episode
    assert [v for row in advantages("agent-opsd", rows, coef=0.5) for v in row] == pytest.approx([1.0] * 8, abs=1e-3)
    # With returns of 10 the prior is 2.5, which counts as 0.9999: the first turn has the larger revision.
    rows = [row_of(even, episode=e, return_=10.0 * (e == 0)) for e in range(4)]
    assert advantages("agent-opsd", rows, coef=0.5)[0] == pytest.approx([1.1, 0.9], abs=5e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_a_multiplied_advantage_keeps_its_sign_and_a_bounded_size(seed: int, coef: float) -> None:
    rows = random_episodes(seed)
    for row, values in zip(rows, advantages("agent-opsd", rows, coef), strict=True):
        for value in values:
            assert 1 - 0.2 * coef - 1e-6 <= value / row.advantages_T[0] <= 1 + 0.2 * coef + 1e-6


@pytest.mark.parametrize("turns", [[[0.7, -0.2]], [[0.0, 0.0], [0.0]]])
def test_one_turn_or_a_teacher_that_agrees_leaves_advantages_as_they_are(turns: list[list[float]]) -> None:
    assert advantages("agent-opsd", [row_of(turns)], coef=0.5) == [[1.0] * sum(map(len, turns))]


@pytest.mark.parametrize("windows", [False, True])
def test_by_token_each_turn_begins_at_the_prior_and_its_tokens_move_the_belief(windows: bool) -> None:
    turns = [[LOG3, -LOG3], [0.5], [-LOG3, LOG3, 0.0]]
    rows = [row_of(turns, episode=e, return_=float(e == 0), advantage=2.0 - 4.0 * e) for e in range(2)]
    if windows:
        rows = [part for row in rows for part in by_turn(row, turns)]
    config = dataclasses.replace(CONFIG, belief_unit="token")
    found = [value for row in advantages("agent-opsd", rows, 0.5, config) for value in row]
    # Prior 1/2: to 3/4 and back; one token has no z; to 1/4, back, and no move, whose z = +-sqrt(3/2) are clipped.
    first = [2.2, 1.8, 2.0, 1.8, 2.2, 2.0]
    assert found == pytest.approx([*first, -1.8, -2.2, -2.0, -2.2, -1.8, -2.0], abs=1e-4)
    assert found != pytest.approx([v for row in advantages("agent-opsd", rows, 0.5) for v in row], abs=1e-2)


# --- pcsd ---


def test_with_a_constant_gap_pcsd_is_sdar() -> None:
    rows = [row_of([[0.3] * 5, [0.3]], episode=0), row_of([[0.3] * 9], episode=1)]
    pushes = []
    for name in ("pcsd", "sdar"):
        injected = apply(plan_of(name, CONFIG, 0.01), batch_of(prepared(name, rows), name))
        assert injected.extra_BT is not None
        pushes.append(injected.extra_BT)
    assert torch.equal(*pushes)


def test_smoothing_and_attenuation_by_hand() -> None:
    # Two tokens, gaps 1 and 0: variances 0 and 1/4, mean 1/8. The second is 2/3 smoothed, towards 0.8/1.8, and falls.
    weights = _weights("pcsd", prepared("pcsd", [row_of([[1.0, 0.0]])]))[0]
    smoothed = (0.25 / (0.25 + 0.125)) * (0.8 / 1.8)
    assert weights == pytest.approx([1 / (1 + math.exp(-5.0)), 0.5 / (1 + math.exp(-5.0 * smoothed))], abs=1e-6)
    # Rising instead, nothing is taken away.
    rising = _weights("pcsd", prepared("pcsd", [row_of([[0.0, 1.0]])]))[0]
    assert rising[1] == pytest.approx(1 / (1 + math.exp(-5.0 * (1 / 3 + 2 / 3 * 1 / 1.8))), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_pcsd_raises_every_token_by_lambda_at_most(seed: int) -> None:
    rows = random_episodes(seed)
    assert all(0.0 <= weight <= 1.0 for row in _weights("pcsd", prepared("pcsd", rows)) for weight in row)


def test_an_isolated_spike_is_trusted_less_than_lasting_support() -> None:
    rows = [row_of([[-1.0] * 4 + [1.0]], episode=0), row_of([[1.0] * 5], episode=1)]
    spike, lasting = _weights("pcsd", prepared("pcsd", rows))
    assert spike[-1] < lasting[-1]


# --- opid ---


def test_turns_that_came_no_nearer_to_the_goal_are_judged_by_the_hints_for_the_step() -> None:
    row = row_of([[0.5, -0.5], [0.25], [0.0]], progress_T=[0.2, 0.2, 0.0, -0.4])
    added = [value - 1.0 for value in advantages("opid", [row], coef=0.5)[0]]
    assert added == pytest.approx([0.25, -0.25, 0.5 * 1.25, 0.5 * 1.0])
    unknown = row_of([[0.5, -0.5], [0.25], [0.0]])  # no progress is known: the reading for the episode everywhere
    assert advantages("opid", [unknown], coef=0.5)[0] == pytest.approx([1.25, 0.75, 1.125, 1.0])


def test_opid_needs_both_readings_and_the_plan() -> None:
    method = METHODS["opid"]
    assert method.teacher_views == ("teacher", "hints") and method.coefficient(0, SDARConfig()) == 0.001
    assert plan_of(method, CONFIG, 0.001).reads_plan_length
    assert not plan_of(method, CONFIG, 0.0).reads_plan_length
    whole = row_of([[0.5]])
    half_read = changed(whole, teacher_logprobs_T={"teacher": whole.teacher_logprobs_T["teacher"]})
    assert advantages("opid", [half_read], coef=0.5) == [[1.0]]


# --- adrs ---


def test_the_score_is_centred_and_scaled_within_the_turn_and_whitened_in_the_group_by_hand() -> None:
    # T is O plus the gap with one O for all, so scores per turn: (1, -1) and (0) and, in the sibling, (-1, 1).
    rows = [row_of([[3.0, 1.0], [7.0]], episode=0, return_=1.0), row_of([[0.0, 8.0]], episode=1)]
    added = [[v - 1.0 for v in row] for row in advantages("adrs", rows, coef=0.02)]
    unit = 0.02 / math.sqrt(4 / 5)
    assert added[0] == pytest.approx([unit, -unit, 0.0], abs=1e-5)
    assert added[1] == pytest.approx([-unit, unit], abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_in_a_turn_the_added_advantages_sum_to_zero(seed: int) -> None:
    rows = random_episodes(seed)
    for name in ("adrs", "adrs-gated"):
        for row, weights in zip(rows, _weights(name, prepared(name, rows)), strict=True):
            for turn in set(row.turn_ids_T):
                own = [w for w, t in zip(weights, row.turn_ids_T, strict=True) if t == turn]
                if max(map(abs, own)) < 9.9:  # not clipped
                    assert sum(own) == pytest.approx(0.0, abs=1e-4)


def test_groups_without_variance_are_taught_nothing_and_groups_of_little_are_clipped_more() -> None:
    calm, spiky = [[0.0, 1.0]] * 30, [[0.0] * 299 + [9.0]]

    def group(number: int, best: float) -> list[WeighedRow]:
        return [
            row_of(spiky, episode=10 * number, group=number, return_=best),
            row_of(calm, episode=10 * number + 1, group=number),
        ]

    rows = group(0, 0.0) + group(1, 0.2) + group(2, 1.0) + group(3, 1.0)
    weights = _weights("adrs", prepared("adrs", rows))
    largest = [max(abs(w) for w in weights[2 * number]) for number in range(4)]
    assert largest[0] == 0.0
    assert largest[1] == pytest.approx(10.0 * 0.2, abs=1e-5)
    assert largest[2] == largest[3] == pytest.approx(10.0, abs=1e-5)


def test_published_coefficient_and_span() -> None:
    method = METHODS["adrs"]
    assert [method.coefficient(n, SDARConfig()) for n in (0, 19, 20, 69, 70, 149)] == [0, 0, 0.02, 0.02, 0, 0]
    assert str(method.schedule) == "iterations 20 to 69 only"
    assert method.coefficient(0, SDARConfig(distill_decay=0)) == 0.02


def confident_groups() -> list[WeighedRow]:
    """In group 0 the teacher expects the winner, in group 1 the loser, in group 2 all win."""
    high, low = [[2.0, 1.0], [1.0, 2.0]], [[-2.0, -1.0], [-1.0, -2.0]]
    returns = {0: (1.0, 0.0), 1: (0.0, 1.0), 2: (1.0, 1.0)}
    return [
        row_of(turns, episode=2 * group + member, group=group, return_=returns[group][member])
        for group in returns
        for member, turns in enumerate((high, low))
    ]


def test_the_gate_follows_how_far_returns_follow_the_teacher() -> None:
    rows = confident_groups()
    weights = _weights("adrs-gated", prepared("adrs-gated", rows))
    size = [max(abs(w) for w in weights[2 * group]) for group in range(3)]
    assert size[1] < size[2] < size[0]
    # By hand: mean T is -4 in every group, so alignments are sigmoid(+-1.5) and V = +-(2 sigmoid(1.5) - 1).
    value = 2 / (1 + math.exp(-1.5)) - 1
    assert size[0] / size[2] == pytest.approx(2 / (1 + math.exp(-2 * value)), rel=1e-4)
    assert size[1] / size[2] == pytest.approx(2 / (1 + math.exp(2 * value)), rel=1e-4)


def test_the_gate_cancels_where_whitening_is_within_the_group() -> None:
    rows = confident_groups()
    weights = _weights("adrs", prepared("adrs", rows))
    assert [abs(w) for w in weights[0]] == pytest.approx([abs(w) for w in weights[2]])
    assert not any(weights[4])


# --- rlcsd ---


def test_a_contrast_shifts_the_advantage_by_lambda_and_never_across_0() -> None:
    # tanh(0.02 / 0.02) = 0.7616; far out it is 1; below the threshold of 0.04 it is nothing.
    gaps = [[0.02, 3.0, -3.0, 0.0007, -0.02]]
    found = [advantages("rlcsd", [row_of(gaps, advantage=a)], 0.5)[0] for a in (1.0, 0.3, -1.0, -0.3, 0.0)]
    step = 0.5 * math.tanh(1.0)
    assert found[0] == pytest.approx([1 + step, 1.5, 0.5, 1.0, 1 - step])
    assert found[1] == pytest.approx([0.3 + step, 0.8, 0.0, 0.3, 0.0])
    assert found[2] == pytest.approx([-1 + step, -0.5, -1.5, -1.0, -1 - step])
    assert found[3] == pytest.approx([0.0, 0.0, -0.8, -0.3, -0.3 - step])
    assert found[4] == [0.0] * 5  # a group without variance stays silent, whatever the hints say


def test_what_both_hints_do_to_a_token_cancels() -> None:
    row = row_of([[2.0, -1.0]])
    same = changed(row, teacher_logprobs_T={"teacher": [-1.0, -3.0], "wrong_skill": [-1.0, -3.0]})
    assert advantages("rlcsd", [same], 0.5) == [[1.0, 1.0]]
    right = changed(row, teacher_logprobs_T={"teacher": [-1.0, -3.0], "wrong_skill": [-2.0, -2.0]})
    assert advantages("rlcsd", [right], 0.5)[0] == pytest.approx([1.5, 0.5])


def test_a_contrast_needs_both_readings() -> None:
    row = row_of([[2.0]])
    one = changed(row, teacher_logprobs_T={"teacher": row.teacher_logprobs_T["teacher"]})
    assert advantages("rlcsd", [one], 0.5) == [[1.0]]


def test_several_wrong_hints_count_as_their_mean_probability() -> None:
    wrong = torch.log(torch.tensor([[[0.1]], [[0.5]]]))
    found = signals.contrast(torch.log(torch.tensor([[0.6]])), wrong)
    assert found.item() == pytest.approx(math.log(0.6 / 0.3), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3, width=32, allow_subnormal=False), st.floats(-3, 3), st.floats(-6, 0), st.floats(0, 1))
def test_a_shifted_advantage_is_that_of_the_published_formula(
    advantage: float, right: float, wrong: float, coef: float
) -> None:
    """The published order of steps: residual, mask, sum, and a clamp by the sign of the advantage."""
    contrast = (-abs(right)) - wrong
    residual = coef * math.tanh(contrast / 0.02) if abs(math.tanh(contrast / 0.02)) > 0.04 else 0.0
    moved = advantage + residual
    expected = max(moved, 0.0) if advantage > 0 else min(moved, 0.0) if advantage < 0 else 0.0
    row = changed(
        row_of([[0.0]], advantage=advantage), teacher_logprobs_T={"teacher": [-abs(right)], "wrong_skill": [wrong]}
    )
    found = advantages("rlcsd", [row], coef)[0][0] if coef else expected
    near = abs(abs(math.tanh(contrast / 0.02)) - 0.04) < 1e-3  # float32 may fall on either side of the threshold
    assert near or found == pytest.approx(expected, abs=1e-5)
