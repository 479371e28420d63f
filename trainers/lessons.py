"""Lessons: which episodes of an iteration a method learns from, and behind which prompt.

Most methods learn from every row as it was acted. A row of the methods table may name a filter (`Method.keep`: clone
what went well) and another prompt than the one that was acted behind (`Method.learn_view`: learn without the privileged
block what was done with it). Filters are pure functions over the episodes of an iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agents.base import Turn, View
from sdar_envs.privileged import Privileged

from .advantages import EpisodeOutcome
from .batch import Row
from .batching import contributes
from .method import Method, relays
from .rollout import Rollout
from .rows import outcomes_of
from .shaping import progress

if TYPE_CHECKING:
    from .config import SDARConfig

# (turns of a row, what was known at each) -> the row behind the plain prompt; None where it would show what the student
# may not read.
PlainReading = Callable[[Sequence[Turn], Sequence[Privileged | None]], View | None]
PlanLength = Callable[[Privileged | None], int | None]  # actions that the shortest known plan still needs


def successes(episodes: Sequence[EpisodeOutcome], config: SDARConfig) -> list[bool]:
    """Every episode that succeeded."""
    return [episode.success and not episode.failed for episode in episodes]


def best_successes(episodes: Sequence[EpisodeOutcome], config: SDARConfig) -> list[bool]:
    """Of each task, the ``keep_per_task`` best episodes that succeeded: by return, then by fewest turns, then in order.

    The bound keeps easy tasks, which succeed again and again, from crowding out hard ones.
    """
    won = [index for index, kept in enumerate(successes(episodes, config)) if kept]
    won.sort(key=lambda index: (-episodes[index].return_, episodes[index].turns, index))
    left: dict[int, int] = {}
    flags = [False] * len(episodes)
    for index in won:
        group = episodes[index].group_id
        left[group] = left.get(group, config.keep_per_task) - 1
        flags[index] = left[group] >= 0
    return flags


def choose_lessons(
    method: Method,
    rows: Sequence[Row],
    rollouts: Sequence[Rollout],
    config: SDARConfig,
    *,
    coef: float,
    plain: PlainReading,
) -> tuple[list[Row], dict[str, float]]:
    """The rows that an iteration learns from, laid behind the prompt that it learns behind, and figures about it.

    Rows that are left out take no part in the update. What is kept for the injection alone is marked in ``row.kept``.
    A row that is laid behind another prompt loses its log-probs and entropies, which were of the other one.

    Args:
        method: Row of the methods table.
        rows: All rows of the iteration; changed in place.
        rollouts: Their episodes, by ``row.episode_id``.
        config: Bounds of the filters.
        coef: The coefficient at this iteration; at 0 the injection learns from nothing.
        plain: Lays a row behind the plain prompt.
    """
    figures = mark_kept(method, rows, rollouts, config, coef=coef)
    learned = list(rows)
    if method.keep is not None and method.pg_coef == 0.0:
        for row in rows:
            row.kept = row.kept and contributes(row, config.mask_truncated_completions)
        learned = [row for row in rows if row.kept]
    if relays(method):
        for row in learned:
            row.kept = _relay(row, rollouts[row.episode_id], plain)
        figures["lessons/quoting"] = float(sum(not row.kept for row in learned))
        learned = [row for row in learned if row.kept]
    if figures:
        figures["lessons/tokens"] = float(sum(len(row) for row in learned if row.kept))
    return learned, figures


def mark_kept(
    method: Method, rows: Sequence[Row], rollouts: Sequence[Rollout], config: SDARConfig, *, coef: float
) -> dict[str, float]:
    """Write the method's choice of episodes into ``row.kept``; figures about it, none where it does not choose."""
    if method.keep is None:
        return {}
    outcomes = outcomes_of(rollouts)
    flags = method.keep(outcomes, config) if coef != 0.0 else [False] * len(outcomes)
    for row in rows:
        row.kept = bool(flags[row.episode_id])
    played = sum(not outcome.failed for outcome in outcomes)
    return {"lessons/episodes": float(sum(flags)), "lessons/share": sum(flags) / max(played, 1)}


def measure_progress(
    rows: Sequence[Row], rollouts: Sequence[Rollout], config: SDARConfig, plan_length: PlanLength
) -> dict[str, float]:
    """Write what each turn did for the rest of the plan to its tokens, ``row.progress_T``.

    Returns:
        ``shaping/known``, the share of turns at which a plan was known.
    """
    lengths = [[plan_length(known) for known in rollout.privileged] for rollout in rollouts]
    for row in rows:
        episode = rollouts[row.episode_id].episode
        credits = progress(lengths[row.episode_id], episode.success, config.shaping_lambda)
        row.progress_T = [credits[turn] for turn in row.turn_ids_T]
    turns = [length for own in lengths for length in own]
    return {"shaping/known": sum(length is not None for length in turns) / max(len(turns), 1)}


def _relay(row: Row, rollout: Rollout, plain: PlainReading) -> bool:
    """Lay a row behind the plain prompt; False when it can not be shown there."""
    sampled = row.student.sampled_ids()
    turns = [rollout.episode.turns[number] for number in row.row_turns]
    view = plain(turns, [rollout.privileged[number] for number in row.row_turns])
    if view is None:
        return False
    if view.sampled_ids() != sampled:
        raise ValueError(
            f"episode {rollout.episode.task_id}: expected the {len(sampled)} sampled ids behind the plain prompt, got "
            "others; what was sampled is what is learned"
        )
    row.student = view
    row.behaviour_logprobs_T, row.entropies_T = [], []
    return True
