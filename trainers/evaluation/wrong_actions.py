"""Does a teacher mark the wrong action? A model reads the same episodes given each privileged context.

Nothing is trained. Episodes are played once, by whoever; then each reader scores the sampled tokens given the plain
prompt and given each context, with the code of a run (`rollout.rows`, `forward.passes`), and the gap between the two is
compared at the first wrong turn with that at turns that were right (`maths.wrong_turns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from agents.base import View
from sdar_envs.statement_decisions import Decision

from ..batch.row import SampledRow
from ..forward.passes import score_rows
from ..forward.root import PolicyModel
from ..maths.signals import sigmoid_gate
from ..maths.wrong_turns import MEASURES, Area, areas_by_turn, turn_measures, wrong_turn_area
from ..rollout.collect import Rollout
from ..rollout.rows import Reader, build_rows, read_teachers

KINDS = ("detour", "loss")
Turns = list[dict[str, float | None]]  # by turn, a value per name of `MEASURES`


@dataclass(frozen=True, slots=True)
class ReadEpisode:
    """An episode, with what one reader given one context says of each of its turns.

    `detour` and `loss` are the first wrong turns as in `agents.base.Episode`, `decision` is where a skill statement was
    followed or not.
    """

    task_id: str
    success: bool
    detour: int | None
    loss: int | None
    decision: Decision | None
    turns: Turns = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scoring:
    """How tokens are scored.

    Attributes:
        temperature: At which they were sampled.
        gate_beta: Of the gate whose mean is one of the measures.
        pad_id: Any valid id.
        token_budget: Padded tokens of a pass at most.
    """

    temperature: float
    gate_beta: float
    pad_id: int
    token_budget: int


def read_episodes(
    rollouts: Sequence[Rollout],
    root: PolicyModel,
    readers: Mapping[str, Reader],
    scoring: Scoring,
    decisions: Sequence[Decision | None],
) -> dict[str, list[ReadEpisode]]:
    """Read the same episodes given each context.

    Args:
        rollouts: The episodes, with token ids and privileged information; those whose environment broke are left out.
        root: Who reads.
        readers: Name of a context -> what puts it into the prompt.
        scoring: Temperature and batch options.
        decisions: The decision of each episode, parallel to `rollouts`.

    Returns:
        Context -> its episodes. A turn whose context did not fit into the prompt has no values.
    """
    rows = build_rows(rollouts)
    views, _ = read_teachers(rows, rollouts, readers)
    student = _scored(root, [row.student for row in rows], scoring)
    found: dict[str, list[ReadEpisode]] = {}
    for name in readers:
        places = [place for place, own in enumerate(views) if name in own]
        teacher = dict(zip(places, _scored(root, [views[place][name] for place in places], scoring), strict=True))
        turns = [[dict.fromkeys(MEASURES)] * len(rollout.episode.turns) for rollout in rollouts]
        for place, row in enumerate(rows):
            if place in teacher:
                _fill(turns[row.episode_id], row, student[place], teacher[place], scoring.gate_beta)
        found[name] = [
            ReadEpisode(
                rollout.episode.task_id, rollout.episode.success, rollout.episode.first_detour,
                rollout.episode.first_wrong_turn, decision, own,
            )
            for rollout, decision, own in zip(rollouts, decisions, turns, strict=True)
            if not rollout.episode.failed
        ]  # fmt: skip
    return found


def _scored(root: PolicyModel, views: Sequence[View], scoring: Scoring) -> list[list[float]]:
    with torch.no_grad():
        return score_rows(
            root, views, temperature=scoring.temperature, pad_id=scoring.pad_id, token_budget=scoring.token_budget
        )


def _fill(
    turns: Turns, row: SampledRow, student_T: Sequence[float], teacher_T: Sequence[float], gate_beta: float
) -> None:
    """Put the measures of a row's turns into those of its episode."""
    gaps_T = [teacher - student for teacher, student in zip(teacher_T, student_T, strict=True)]
    weights_T = sigmoid_gate(torch.tensor(gaps_T), gate_beta).tolist()
    for number in row.row_turns:
        at = [place for place, turn in enumerate(row.turn_ids_T) if turn == number]
        entropies = [row.entropies_T[place] for place in at] if row.entropies_T else []
        turns[number] = turn_measures([gaps_T[place] for place in at], [weights_T[place] for place in at], entropies)


@dataclass(frozen=True, slots=True)
class Cell:
    """The decisions of one of the four cells: a true or a false statement, followed or not.

    `gap` is the mean over its episodes of how much more likely the reader finds the whole action given the context, in
    nats, and `success` the share of them that was won.
    """

    true: bool
    followed: bool
    episodes: int
    success: float
    gap: float | None


def areas(episodes: Sequence[ReadEpisode], kind: str) -> dict[str, Area]:
    """The area of each measure at the first wrong turns of a kind; measures without a pair are left out."""
    found = {name: wrong_turn_area(*_of(episodes, kind, name)) for name in MEASURES}
    return {name: area for name, area in found.items() if area is not None}


def by_turn(episodes: Sequence[ReadEpisode], kind: str, measure: str) -> dict[int, Area]:
    """The area of a measure by the number of the wrong turn."""
    return areas_by_turn(*_of(episodes, kind, measure))


def _of(
    episodes: Sequence[ReadEpisode], kind: str, measure: str
) -> tuple[list[tuple[int, list[float | None]]], list[str]]:
    """First wrong turn and values of the episodes that are said something of, and their tasks."""
    said = [(getattr(episode, kind), episode) for episode in episodes]
    known = [(wrong, episode) for wrong, episode in said if wrong is not None]
    values = [(wrong, [turn[measure] for turn in each.turns]) for wrong, each in known]
    return values, [each.task_id for _, each in known]


def cells(episodes: Sequence[ReadEpisode]) -> list[Cell]:
    """The four cells, those without an episode included; empty where no episode has a decision."""
    decided = [(episode.decision, episode) for episode in episodes if episode.decision is not None]
    found = []
    for true in (True, False):
        for followed in (True, False):
            own = [(one, each) for one, each in decided if (one.true, one.followed) == (true, followed)]
            said = [each.turns[one.turn]["whole action"] for one, each in own]
            gaps = [gap for gap in said if gap is not None]
            won = sum(each.success for _, each in own)
            mean = sum(gaps) / len(gaps) if gaps else None
            found.append(Cell(true, followed, len(own), won / len(own) if own else 0.0, mean))
    return found if decided else []


def summary(episodes: Sequence[ReadEpisode], context: str) -> dict[str, Any]:
    """What one reader given one context says, as plain values; cells only where the context shows the statements."""
    won = sum(each.success for each in episodes)
    found: dict[str, Any] = {"episodes": len(episodes), "success": won / max(len(episodes), 1)}
    for kind in KINDS:
        own = areas(episodes, kind)
        if own:
            found[kind] = {
                "first": _counts(episodes, kind),
                "areas": {name: asdict(area) for name, area in own.items()},
                "by_turn": {
                    name: {str(turn): asdict(area) for turn, area in by_turn(episodes, kind, name).items()}
                    for name in own
                },
            }
    found["cells"] = [asdict(cell) for cell in cells(episodes)] if context == "skill" else []
    return found


def _counts(episodes: Sequence[ReadEpisode], kind: str) -> dict[str, int]:
    """Turn number -> episodes that were wrong there for the first time; -1 for never."""
    turns = [getattr(episode, kind) for episode in episodes]
    return {str(turn): turns.count(turn) for turn in sorted({turn for turn in turns if turn is not None})}
