"""Rows of tokens in their three stages: as sampled, as scored, as weighed.

A row is one token sequence of one episode: a whole transcript, or one turn of it (window mode). Each `View` of a row
holds the same sampled tokens in the same order given another prompt; scorers gather at `loss_positions`, so a
teacher's chat may differ anywhere in between.

What is known of a row grows from step to step of an iteration, and each stage is a frozen type of its own:

    build_rows -> SampledRow -> Scorer.score -> ScoredRow -> weigh -> WeighedRow -> Updater.update

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

    `index` numbers the rows of an iteration. `turn_ids_T` numbers the turns of the episode. `anchor_ids` name the state
    before each turn of this row and `step_rewards` its rewards, parallel to `row_turns` (the turn numbers in this row).
    `invalid_T` marks the tokens of actions that the environment did not understand. `return_` is what the whole episode
    brought.

    Two fields are written by the selection of rows (`rollout.selection`): `kept` says whether the method's injection
    may learn from the row (`Method.keep`), and `progress_T` is what the turn of each token did for the rest of the plan
    (`maths.plan_progress`). `behaviour_logprobs_T` and `entropies_T` are empty for a row that was put under another
    prompt than the one that it was sampled under, until it is scored there.
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

    def __len__(self) -> int:
        return len(self.student.loss_positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRow(SampledRow):
    """A row with what others say of its tokens.

    `teachers` maps the name of a teacher's reading (e.g. ``"teacher"``) to that reading, and `teacher_logprobs_T` to
    its log-probs; a row that a teacher has not read lacks its name. `reference_logprobs_T` is None where no reference
    policy is asked. `teacher_tokens` is what the teacher thinks of every next token, for methods that compare whole
    distributions.
    """

    teachers: Mapping[str, View] = field(default_factory=dict)
    reference_logprobs_T: Sequence[float] | None = None
    teacher_logprobs_T: Mapping[str, Sequence[float]] = field(default_factory=dict)
    teacher_tokens: TeacherTokens | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedRow(ScoredRow):
    """A row with everything that an update reads.

    `weights_T` holds token weights that are fixed for the whole iteration, None where they are taken at every update.
    `statistics` is of the whole iteration, the same for all of its rows; `step` and `seed` are the key of counted draws
    that a weight may make.
    """

    advantages_T: Sequence[float]
    weights_T: Sequence[float] | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    seed: int = 0


def advanced(row: SampledRow, stage: type[_Stage], **known: Any) -> _Stage:
    """The row at a later stage (or its own), with what is known by then."""
    carried = {each.name: getattr(row, each.name) for each in fields(row)}
    return stage(**{**carried, **known})


def require_stage(rows: Sequence[SampledRow], stage: type[SampledRow], who: str, remedy: str) -> None:
    """Refuse rows that have skipped a step.

    Raises:
        TypeError: The message says who asked, for what, and which step is missing.
    """
    for row in rows:
        if not isinstance(row, stage):
            raise TypeError(
                f"{who}: expected rows of stage {stage.__name__}, got {type(row).__name__} (episode {row.episode_id}): "
                f"{remedy}"
            )
