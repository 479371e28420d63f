"""Steps that can be compared: discounted returns from a step on, and states that siblings share.

GiGPO (arXiv 2505.10978) compares the return after an action with those after other actions from the same state. Two
turns share a state when they are of one group and have the same observation, which `rollout.rows` turns into an anchor
(`SampledRow.anchor_ids`); with a similarity below 1, when their observations are nearly the same. Not here: the
advantage itself (`advantages.gigpo`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from ..batch.row import SampledRow, advanced


def discounted_returns(rewards_K: Sequence[float], gamma: float) -> list[float]:
    """``G_k = r_k + gamma G_{k+1}`` for the steps of one episode, in order; with `gamma` 0 the rewards themselves."""
    returns = list(rewards_K)
    for k in range(len(returns) - 2, -1, -1):
        returns[k] += gamma * returns[k + 1]
    return returns


def episode_steps(rows: Sequence[SampledRow]) -> dict[int, list[tuple[int, int, int]]]:
    """The steps of each episode in the order of its turns, as (turn, index of the row, place in the row).

    Raises:
        ValueError: A row does not list its turns, or lacks their anchors or rewards.
    """
    steps: dict[int, list[tuple[int, int, int]]] = {}
    for index, row in enumerate(rows):
        if not len(row.row_turns) == len(row.anchor_ids) == len(row.step_rewards) or set(row.turn_ids_T) - set(
            row.row_turns
        ):
            raise ValueError(
                f"episode {row.episode_id}: expected an anchor and a reward for each turn of the row, got turns "
                f"{row.row_turns}, {len(row.anchor_ids)} anchors and {len(row.step_rewards)} rewards: build rows with "
                "rows.build_rows"
            )
        own = steps.setdefault(row.episode_id, [])
        own += [(turn, index, place) for place, turn in enumerate(row.row_turns)]
    return {episode: sorted(own) for episode, own in steps.items()}


def step_returns(rows: Sequence[SampledRow], gamma: float) -> list[list[float]]:
    """The discounted return of every step, parallel to the rows and their ``row_turns``.

    The steps of an episode may stand in one row or in many; they are put in order first.
    """
    values = [[0.0] * len(row.row_turns) for row in rows]
    for steps in episode_steps(rows).values():
        rewards = [rows[index].step_rewards[place] for _, index, place in steps]
        for (_, index, place), value in zip(steps, discounted_returns(rewards, gamma), strict=True):
            values[index][place] = value
    return values


def merge_similar_anchors(
    rows: Sequence[SampledRow], observations: Sequence[Sequence[str]], similarity: float
) -> list[SampledRow]:
    """Give turns of a group one anchor when their observations are alike.

    Two observations are alike when ``difflib.SequenceMatcher.ratio`` is at least `similarity`. They are taken in the
    order of their text, and each joins the first anchor that it resembles; so neither the order of rows nor of episodes
    matters.

    Args:
        rows: All rows of an iteration.
        observations: The observation at each turn, by ``row.episode_id``.
        similarity: Above 0, at most 1; 1 leaves the rows as they are.
    """
    if similarity >= 1.0:
        return list(rows)
    seen: dict[int, dict[str, str]] = {}  # group -> anchor -> observation
    for row in rows:
        for anchor, turn in zip(row.anchor_ids, row.row_turns, strict=True):
            seen.setdefault(row.group_id, {})[anchor] = observations[row.episode_id][turn]
    joined = {group: _clusters(texts, similarity) for group, texts in seen.items()}
    return [
        advanced(row, type(row), anchor_ids=[joined[row.group_id][anchor] for anchor in row.anchor_ids]) for row in rows
    ]


def _clusters(texts: Mapping[str, str], similarity: float) -> dict[str, str]:
    """Anchor -> first anchor of its cluster, for the observations `texts` by anchor."""
    clusters: dict[str, str] = {}
    first: list[tuple[str, SequenceMatcher[str]]] = []
    for anchor, text in sorted(texts.items(), key=lambda item: (item[1], item[0])):
        for name, matcher in first:
            matcher.set_seq1(text)
            # The quick ratios are upper bounds, and cheaper.
            quick = matcher.real_quick_ratio() >= similarity and matcher.quick_ratio() >= similarity
            if quick and matcher.ratio() >= similarity:
                clusters[anchor] = name
                break
        else:
            clusters[anchor] = anchor
            first.append((anchor, SequenceMatcher(None, "", text, autojunk=False)))
    return clusters
