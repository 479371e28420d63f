"""Rows of tokens: what the trainer scores and learns from.

A `Row` is one token sequence of one episode: a whole transcript, or one turn of it (window mode). Each `View` of a row
holds the same sampled tokens in the same order behind another prompt; scorers gather at `loss_positions`, so a
teacher's chat may differ anywhere in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.base import View

if TYPE_CHECKING:
    from .vocabulary import TeacherTokens


@dataclass(slots=True)
class Row:
    """One sequence with everything known per sampled token (suffix ``_T``: parallel to ``student.loss_positions``).

    `teachers` maps a view's name (e.g. ``"teacher"``) to that reading. `turn_ids_T` numbers the turns of the episode.
    `anchor_ids` name the state before each turn of this row and `step_rewards` its rewards, parallel to
    `row_turns` (the turn numbers in this row). `invalid_T` marks the tokens of actions that the environment did not
    understand. `return_` is what the whole episode brought. `kept` says whether the method's injection may learn from
    the row (`Method.keep`); `progress_T` is what the turn of each token did for the rest of the plan (`shaping`).
    """

    student: View
    teachers: dict[str, View]
    behaviour_logprobs_T: list[float]
    turn_ids_T: list[int]
    episode_id: int
    group_id: int
    row_turns: list[int] = field(default_factory=list)
    anchor_ids: list[str] = field(default_factory=list)
    step_rewards: list[float] = field(default_factory=list)
    invalid_T: list[bool] = field(default_factory=list)
    entropies_T: list[float] = field(default_factory=list)
    advantages_T: list[float] = field(default_factory=list)
    weights_T: list[float] = field(default_factory=list)
    reference_logprobs_T: list[float] = field(default_factory=list)
    teacher_logprobs_T: dict[str, list[float]] = field(default_factory=dict)  # by view, as `teachers`
    truncated: bool = False
    return_: float = 0.0
    kept: bool = True
    progress_T: list[float] = field(default_factory=list)
    teacher_tokens: TeacherTokens | None = None  # what the teacher thinks of every next token (`vocabulary`)
    statistics: dict[str, float] = field(default_factory=dict)  # of the whole iteration, shared by its rows

    def __len__(self) -> int:
        return len(self.student.loss_positions)
