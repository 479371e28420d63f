"""Rows of tokens in their three stages: as sampled, as scored, as weighed.

A row is one token sequence of one episode: a whole transcript, or one turn of it (window mode). Each `View` of a row
holds the same sampled tokens in the same order, given another prompt; scorers gather at `loss_positions`, so the
prompts of a teacher may differ anywhere between the sampled tokens.

What is known of a row grows from step to step of an iteration, and each stage is a frozen type of its own:

    rollout.rows.build_rows -> SampledRow -> scoring.scorer.Scorer.score -> ScoredRow
        -> methods.apply.weigh -> WeighedRow -> engine.updater.Updater.update

So a step that is left out is a type error, or an exception that names it (`require_stage`). A row keeps its `index`
from stage to stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from agents.base import View

from .teacher_tokens import TeacherTokens

_Stage = TypeVar("_Stage", bound="SampledRow")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledRow:
    """One sequence as it was sampled (suffix ``_T``: parallel to ``student.loss_positions``).

    Attributes:
        student: The sampled tokens given the student's prompt.
        behaviour_logprobs_T: O, log-probs under the policy that sampled, in nats. Empty for a row that is given another
            prompt than it was sampled under, until it is scored given that one.
        turn_ids_T: Number of the turn in the episode.
        episode_id: Index of the rollout in the iteration.
        group_id: Number of the group, whose episodes play one task.
        index: Number of the row in the iteration.
        row_turns: The turns in this row.
        anchor_ids: Name of the state before each of those turns, parallel to `row_turns`.
        step_rewards: Reward of each of those turns, parallel to `row_turns`.
        invalid_T: Marks tokens of actions that the environment did not understand.
        entropies_T: Entropies of the sampling distribution, in nats; empty as `behaviour_logprobs_T` is, and where the
            sampler does not say them.
        truncated: Whether the token limit ended a completion.
        return_: Sum of rewards of the whole episode.
        kept: Whether the method's injection may learn from the row (`Method.keep`); set by `rollout.selection`.
        sampler_logprobs_T: What the sampler said of the tokens, where O is the trainer's (`scoring.old_logprobs`); else
            empty.
        progress_T: Progress of the token's turn along the plan (`maths.plan_progress`); set by `rollout.selection`.
    """

    student: View
    behaviour_logprobs_T: Sequence[float]
    turn_ids_T: Sequence[int]
    episode_id: int
    group_id: int
    index: int = 0
    row_turns: Sequence[int] = ()
    anchor_ids: Sequence[str] = ()
    step_rewards: Sequence[float] = ()
    invalid_T: Sequence[bool] = ()
    entropies_T: Sequence[float] = ()
    truncated: bool = False
    return_: float = 0.0
    kept: bool = True
    progress_T: Sequence[float] = ()
    sampler_logprobs_T: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.student.loss_positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRow(SampledRow):
    """A row with the log-probs of the reference policy and of the teacher.

    Attributes:
        teachers: The row given the privileged prompt, by the name of the reading (e.g. ``"teacher"``). A row that a
            teacher has not read lacks its name, here and in `teacher_logprobs_T`.
        reference_logprobs_T: R; None where no reference policy is scored.
        teacher_logprobs_T: T, by the name of the reading or of the view that several readings make.
        correction_T: Importance weights of the tokens (`maths.importance`); empty where all are 1.
        teacher_tokens: The teacher's whole next-token distributions, for methods that compare them.
    """

    teachers: Mapping[str, View] = field(default_factory=dict)
    reference_logprobs_T: Sequence[float] | None = None
    teacher_logprobs_T: Mapping[str, Sequence[float]] = field(default_factory=dict)
    teacher_tokens: TeacherTokens | None = None
    correction_T: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedRow(ScoredRow):
    """A row with everything that an update reads.

    Attributes:
        advantages_T: A.
        weights_T: Token weights that are fixed for the whole iteration; None where they are computed at every update.
        statistics: Numbers over the whole iteration, the same for all of its rows.
        step: The iteration; with `seed` the key of counted draws that a weight may make.
        seed: Of the run.
    """

    advantages_T: Sequence[float]
    weights_T: Sequence[float] | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    seed: int = 0


def advanced(row: SampledRow, stage: type[_Stage], **known: Any) -> _Stage:
    """A copy of the row at a later stage (or its own), with the fields `known` set."""
    carried = {each.name: getattr(row, each.name) for each in fields(row)}
    return stage(**{**carried, **known})


def require_stage(rows: Sequence[SampledRow], stage: type[SampledRow], who: str, remedy: str) -> None:
    """Refuse rows that have skipped a step.

    Args:
        rows: The rows to check.
        stage: The stage that they must have reached.
        who: The function that needs it, for the message.
        remedy: The step that is missing, for the message.

    Raises:
        TypeError: A row is at an earlier stage.
    """
    for row in rows:
        if not isinstance(row, stage):
            raise TypeError(
                f"{who}: expected rows of stage {stage.__name__}, got {type(row).__name__} (episode {row.episode_id}): "
                f"{remedy}"
            )
