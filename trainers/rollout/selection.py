"""Which episodes of an iteration a method learns from, and given which prompt.

Most methods learn from every row given the prompt that it was sampled under. A method may name a filter (`Method.keep`,
such as: only successes) and another prompt (`Method.learn_view`: the plain one, for rows sampled under the privileged
one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.base import Turn, View
from sdar_envs.privileged import Privileged

from ..batch.row import SampledRow, advanced
from ..batch.token_batch import contributes
from ..maths.plan_progress import progress
from ..methods.method import IterationPlan
from ..options import MethodOptions
from .collect import Rollout
from .rows import outcomes_of

# (turns of a row, privileged fields before each) -> the row given the plain prompt; None where it would show what the
# student may not read.
PlainReading = Callable[[Sequence[Turn], Sequence[Privileged | None]], View | None]
PlanLength = Callable[[Privileged | None], int | None]  # actions that the shortest known plan still needs


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that an iteration learns from, and metrics of the choice (none where all are taken as they are)."""

    rows: list[SampledRow]
    metrics: dict[str, float] = field(default_factory=dict)


def select_rows(
    plan: IterationPlan,
    rows: Sequence[SampledRow],
    rollouts: Sequence[Rollout],
    plain: PlainReading,
    *,
    mask_truncated: bool,
) -> Selection:
    """The rows that an iteration learns from, given the prompt of `Method.learn_view`.

    Rows that are left out take no part in the update. What is kept for the injection alone is marked in ``row.kept``.
    A row that is given another prompt loses its log-probs and entropies, since they belong to the prompt that it was
    sampled under.

    Args:
        plan: The method at this iteration; at a coefficient of 0 the injection learns from nothing.
        rows: All rows of the iteration.
        rollouts: Their episodes, by ``row.episode_id``.
        plain: Reads a row given the plain prompt.
        mask_truncated: Truncated rows are left out of the loss.
    """
    marked = mark_kept(plan, rows, rollouts)
    learned, metrics = marked.rows, dict(marked.metrics)
    method = plan.method
    if method.keep is not None and method.pg_coef == 0.0:
        learned = [row for row in learned if row.kept and contributes(row, mask_truncated)]
    if method.relabels:
        relabelled = [_relabelled(row, rollouts[row.episode_id], plain) for row in learned]
        learned = [row for row in relabelled if row is not None]
        metrics["lessons/quoting"] = float(len(relabelled) - len(learned))
    if metrics:
        metrics["lessons/tokens"] = float(sum(len(row) for row in learned if row.kept))
    return Selection(learned, metrics)


def mark_kept(plan: IterationPlan, rows: Sequence[SampledRow], rollouts: Sequence[Rollout]) -> Selection:
    """All rows, with the method's choice of episodes in ``row.kept``."""
    keep = plan.method.keep
    if keep is None:
        return Selection(list(rows))
    outcomes = outcomes_of(rollouts)
    flags = keep(outcomes, plan.options) if plan.coefficient != 0.0 else [False] * len(outcomes)
    played = sum(not outcome.failed for outcome in outcomes)
    metrics = {"lessons/episodes": float(sum(flags)), "lessons/share": sum(flags) / max(played, 1)}
    return Selection([advanced(row, type(row), kept=bool(flags[row.episode_id])) for row in rows], metrics)


def measure_progress(
    rows: Sequence[SampledRow], rollouts: Sequence[Rollout], options: MethodOptions, plan_length: PlanLength
) -> Selection:
    """All rows, with the progress of each token's turn along the plan in ``progress_T`` (`maths.plan_progress`).

    The metric ``shaping/known`` is the share of turns at which a plan was known.
    """
    lengths = [[plan_length(known) for known in rollout.privileged] for rollout in rollouts]
    measured: list[SampledRow] = []
    for row in rows:
        episode = rollouts[row.episode_id].episode
        credits = progress(lengths[row.episode_id], episode.success, options.shaping_lambda)
        measured.append(advanced(row, type(row), progress_T=[credits[turn] for turn in row.turn_ids_T]))
    turns = [length for own in lengths for length in own]
    known = sum(length is not None for length in turns) / max(len(turns), 1)
    return Selection(measured, {"shaping/known": known})


def _relabelled(row: SampledRow, rollout: Rollout, plain: PlainReading) -> SampledRow | None:
    """A row given the plain prompt; None where it would show what the student may not read."""
    sampled = row.student.sampled_ids()
    turns = [rollout.episode.turns[number] for number in row.row_turns]
    view = plain(turns, [rollout.privileged[number] for number in row.row_turns])
    if view is None:
        return None
    if view.sampled_ids() != sampled:
        raise ValueError(
            f"episode {rollout.episode.task_id}: expected the {len(sampled)} sampled ids given the plain prompt, got "
            "others; a row must be learned from with the tokens that were sampled"
        )
    return advanced(row, type(row), student=view, behaviour_logprobs_T=(), entropies_T=())
