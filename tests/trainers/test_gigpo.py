"""GiGPO: steps against steps from the same state, on top of episodes against episodes."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Action, Episode, Turn, TurnTokens, View
from sdar_envs.privileged import StudentView
from trainers.batch.outcome import EpisodeOutcome
from trainers.batch.row import SampledRow
from trainers.config import SDARConfig
from trainers.maths.advantages import Advantages, compute_advantages
from trainers.maths.step_groups import discounted_returns, merge_similar_anchors, step_returns
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.rows import build_rows

Step = tuple[str, float]  # what was seen, what it brought


def rows_of(
    episode: int,
    steps: Sequence[Step],
    *,
    group: int = 0,
    invalid: Sequence[int] = (),
    transcript: bool = False,
    tokens: int = 2,
) -> list[SampledRow]:
    """An episode as one row, or as one row per turn."""
    parts = [list(range(len(steps)))] if transcript else [[turn] for turn in range(len(steps))]
    return [
        SampledRow(
            student=View([0] * (tokens * len(turns) + 1), list(range(1, tokens * len(turns) + 1))),
            behaviour_logprobs_T=[0.0] * (tokens * len(turns)),
            turn_ids_T=[turn for turn in turns for _ in range(tokens)],
            episode_id=episode,
            group_id=group,
            row_turns=turns,
            anchor_ids=[steps[turn][0] for turn in turns],
            step_rewards=[steps[turn][1] for turn in turns],
            invalid_T=[turn in invalid for turn in turns for _ in range(tokens)],
        )
        for turns in parts
    ]


def estimate(
    rows: Sequence[SampledRow], failed: Sequence[int] = (), **options: Any
) -> tuple[Advantages, dict[Any, float]]:
    """The result, and the advantage of each (episode, turn); every token of a turn must have the same."""
    groups = {row.episode_id: row.group_id for row in rows}
    returns = dict.fromkeys(groups, 0.0)
    for row in rows:
        returns[row.episode_id] += sum(row.step_rewards)
    outcomes = [EpisodeOutcome(e, groups[e], returns[e], failed=e in failed) for e in returns]
    result = compute_advantages(rows, outcomes, SDARConfig(**{"advantage": "gigpo", **options}))
    turns: dict[Any, float] = {}
    for row, own in zip(rows, result.per_token, strict=True):
        for turn, value in zip(row.turn_ids_T, own, strict=True):
            assert turns.setdefault((row.episode_id, turn), value) == value
    return result, turns


WIN: list[Step] = [("start", 0.0), ("kitchen", 0.0), ("fridge", 1.0)]
DETOUR: list[Step] = [("start", 0.0), ("shelf", 0.0), ("kitchen", 0.0), ("table", 0.0)]


@pytest.mark.parametrize("transcript", [False, True])
def test_two_episodes_through_shared_states_by_hand(transcript: bool) -> None:
    rows = rows_of(0, WIN, transcript=transcript) + rows_of(1, DETOUR, transcript=transcript)
    result, values = estimate(rows, gigpo_gamma=0.5, scale_rewards="none", gigpo_weight=2.0)
    # Episodes: +-1/2. Returns from `start` on: 1/4 and 0; from `kitchen` on: 1/2 and 0. Other states are seen once.
    assert values == {
        (0, 0): pytest.approx(0.5 + 2 * 0.125),
        (0, 1): pytest.approx(0.5 + 2 * 0.25),
        (0, 2): 0.5,
        (1, 0): pytest.approx(-0.5 - 2 * 0.125),
        (1, 1): -0.5,
        (1, 2): pytest.approx(-0.5 - 2 * 0.25),
        (1, 3): -0.5,
    }
    assert result.metrics == {"groups/shared_states": pytest.approx(4 / 7)}
    # Divided by the deviation, two members are +-1/sqrt(2) whatever their distance.
    _, scaled = estimate(rows, gigpo_gamma=0.5)
    root = np.sqrt(0.5)
    assert scaled[0, 0] == pytest.approx(2 * root, abs=1e-5)
    assert scaled[0, 2] == pytest.approx(root, abs=1e-5)


def test_discounted_returns_by_hand_and_at_both_ends_of_gamma() -> None:
    assert discounted_returns([1.0, 0.0, 4.0], 0.5) == [2.0, 2.0, 4.0]
    assert discounted_returns([1.0, 0.0, 4.0], 0.0) == [1.0, 0.0, 4.0]
    assert discounted_returns([1.0, 0.0, 4.0], 1.0) == [5.0, 4.0, 4.0]
    assert discounted_returns([], 0.5) == []


def test_an_episode_in_several_rows_has_one_chain_of_returns() -> None:
    whole = step_returns(rows_of(0, WIN, transcript=True), 0.9)
    parts = step_returns(rows_of(0, WIN)[::-1], 0.9)
    assert whole == [[pytest.approx(0.81), pytest.approx(0.9), 1.0]]
    assert parts == [[1.0], [pytest.approx(0.9)], [pytest.approx(0.81)]]


def test_without_a_discounted_future_only_the_immediate_reward_counts() -> None:
    rows = rows_of(0, [("start", 1.0), ("end", 0.0)]) + rows_of(1, [("start", 0.0), ("other", 1.0)])
    _, values = estimate(rows, gigpo_gamma=0.0, scale_rewards="none")
    assert values == {(0, 0): 0.5, (0, 1): 0.0, (1, 0): -0.5, (1, 1): 0.0}  # the episodes are equal


def random_episodes(seed: int) -> list[SampledRow]:
    draw = random.Random(seed)
    rows = []
    for episode in range(draw.randrange(2, 9)):
        steps = [(draw.choice("abcd"), draw.choice([0.0, 0.0, 0.5, 1.0])) for _ in range(draw.randrange(1, 6))]
        invalid = [turn for turn in range(len(steps)) if draw.random() < 0.2]
        rows += rows_of(episode, steps, group=episode % 2, invalid=invalid, transcript=draw.random() < 0.5)
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["trajectory", "row"]), st.sampled_from(["token", "baseline"]))
def test_at_weight_zero_it_is_grpo_to_the_last_bit(seed: int, unit: str, placement: str) -> None:
    rows = random_episodes(seed)
    options = {"advantage_unit": unit, "invalid_action_placement": placement}
    _, off = estimate(rows, gigpo_weight=0.0, **options)
    _, grpo = estimate(rows, advantage="grpo", **options)
    assert off == grpo


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["group", "batch", "none"]))
def test_step_advantages_of_a_state_sum_to_zero_and_vanish_where_it_is_seen_once(seed: int, scale: str) -> None:
    rows = random_episodes(seed)
    _, joint = estimate(rows, scale_rewards=scale)
    _, grpo = estimate(rows, scale_rewards=scale, advantage="grpo")
    states: dict[Any, list[float]] = {}
    for row in rows:
        for turn, anchor in zip(row.row_turns, row.anchor_ids, strict=True):
            steps = states.setdefault((row.group_id, anchor), [])
            steps.append(joint[row.episode_id, turn] - grpo[row.episode_id, turn])
    for steps in states.values():
        assert sum(steps) == pytest.approx(0.0, abs=1e-6)
        if len(steps) == 1:
            assert steps == [0.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    rows = random_episodes(seed)
    _, forward = estimate(rows)
    random.Random(seed + 1).shuffle(rows)
    _, shuffled = estimate(rows)
    assert forward == {key: pytest.approx(value, abs=1e-9) for key, value in shuffled.items()}


def test_states_of_other_groups_are_other_states() -> None:
    rows = rows_of(0, [("start", 1.0)], group=0) + rows_of(1, [("start", 0.0)], group=1)
    _, values = estimate(rows)
    assert values == {(0, 0): 0.0, (1, 0): 0.0}


def test_the_penalty_at_the_baseline_is_charged_to_that_steps_return_alone() -> None:
    clean = rows_of(0, WIN) + rows_of(1, DETOUR)
    soiled = rows_of(0, WIN, invalid=[1]) + rows_of(1, DETOUR)
    options = {"scale_rewards": "none", "invalid_action_placement": "baseline", "gigpo_gamma": 0.5}
    changed = {key: estimate(soiled, **options)[1][key] - value for key, value in estimate(clean, **options)[1].items()}
    # The episode's score falls by 0.1, and in `kitchen` that of one of the two steps; what came before is not charged.
    episodes = {key: -0.05 if key[0] == 0 else 0.05 for key in changed}
    steps = {(0, 1): -0.05, (1, 2): 0.05}
    assert changed == {key: pytest.approx(episodes[key] + steps.get(key, 0.0)) for key in changed}


def test_the_penalty_at_the_token_moves_no_statistic_and_is_charged_once() -> None:
    clean = estimate(rows_of(0, WIN) + rows_of(1, DETOUR))[1]
    soiled = estimate(rows_of(0, WIN, invalid=[1]) + rows_of(1, DETOUR))[1]
    changed = {key: pytest.approx(value - clean[key]) for key, value in soiled.items() if value != clean[key]}
    assert changed == {(0, 1): -0.1}


def test_a_failed_episode_is_in_no_state_and_gets_zero() -> None:
    both = rows_of(0, WIN) + rows_of(1, DETOUR)
    _, without = estimate(both)
    _, values = estimate([*both, *rows_of(2, [("start", 9.0), ("kitchen", 9.0)])], failed=[2])
    assert {key: value for key, value in values.items() if key[0] != 2} == without
    assert values[2, 0] == values[2, 1] == 0.0


def test_a_row_that_does_not_name_its_states_is_refused() -> None:
    row = dataclasses.replace(rows_of(0, WIN, transcript=True)[0], anchor_ids=[])
    with pytest.raises(ValueError, match=r"got turns \[0, 1, 2\], 0 anchors and 3 rewards: build rows with"):
        estimate([row])


def rollout(episode: int, observations: Sequence[str]) -> Rollout:
    turns = [
        Turn(
            StudentView(text, turn=number), Action("go", "go", tokens=TurnTokens((1,), False, (2,), (0.0,))), 0.0, True
        )
        for number, text in enumerate(observations)
    ]
    return Rollout(Episode("env", "task", "kind", (), turns), TaskDraw("task", (), 0, episode))


OBSERVATIONS = ["You see a mug 1 on the shelf 1.", "You see a mug 2 on the shelf 1.", "You are in a hallway."]


def test_nearly_equal_observations_share_a_state_when_asked_in_any_order() -> None:
    for order in (OBSERVATIONS, OBSERVATIONS[::-1]):
        rollouts = [rollout(0, order), rollout(1, order[:1])]
        rows = build_rows(rollouts)
        seen = [[each.view.observation for each in rollout.episode.turns] for rollout in rollouts]
        exact = [row.anchor_ids for row in rows]
        assert [row.anchor_ids for row in merge_similar_anchors(rows, seen, 1.0)] == exact
        assert len({anchor for row in rows for anchor in row.anchor_ids}) == 3
        merged = merge_similar_anchors(rows, seen, 0.9)
        assert [row.anchor_ids for row in rows] == exact  # the rows themselves are not changed
        of_text = {
            order[turn]: anchor
            for row in merged
            if row.episode_id == 0
            for turn, anchor in zip(row.row_turns, row.anchor_ids, strict=True)
        }
        assert of_text[OBSERVATIONS[0]] == of_text[OBSERVATIONS[1]] != of_text[OBSERVATIONS[2]]
