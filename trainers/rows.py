"""Rollouts to rows: the sampled ids with everything known about each, and the teacher's reading of the same ids.

Ids are taken from the turns as they were sampled; no text is tokenised again. A turn whose prompt continues the row
before it extends that row, any other begins a new one, so one function serves transcripts and windows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.base import Turn, View
from sdar_envs.privileged import Privileged

from .advantages import EpisodeOutcome
from .batch import Row
from .rollout import Rollout


class Reading(Protocol):
    """What a teacher made of a row: its view, and whether the whole privileged block is in it."""

    @property
    def view(self) -> View:
        """The sampled tokens behind the teacher's prompt."""
        ...

    @property
    def block_tokens(self) -> int:
        """Tokens of privileged text that were put in."""
        ...

    @property
    def history_cut(self) -> int:
        """Turns of history that had to go for them."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the reading may be learned from."""
        ...


class Reader(Protocol):
    """Reads rows behind another prompt: `agents.teacher.Teacher` does."""

    def read(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> Reading:
        """The teacher's view of the same sampled tokens."""
        ...


def build_rows(rollouts: Sequence[Rollout]) -> list[Row]:
    """The rows of all rollouts that did not fail; ``episode_id`` is the rollout's index.

    Raises:
        ValueError: A turn has no token ids (its agent is no model), or continues a row that does not exist.
    """
    rows: list[Row] = []
    for episode_id, rollout in enumerate(rollouts):
        if rollout.episode.failed:
            continue
        row: Row | None = None
        for number, turn in enumerate(rollout.episode.turns):
            tokens = turn.action.tokens
            if tokens is None:
                raise ValueError(
                    f"episode {rollout.episode.task_id}, turn {number}: expected token ids to learn from, got none; "
                    "only an agent that samples from a model can be trained"
                )
            if not tokens.continues:
                row = Row(View([], []), {}, [], [], episode_id, rollout.task.group, return_=rollout.episode.return_)
                rows.append(row)
            elif row is None:
                raise ValueError(f"episode {rollout.episode.task_id}: the first turn continues a row that is not there")
            assert row is not None
            _append(row, turn, number, rollout.episode.task_id)
    return rows


def _append(row: Row, turn: Turn, number: int, task_id: str) -> None:
    tokens = turn.action.tokens
    assert tokens is not None
    ids, count = row.student.ids, len(tokens.completion_ids)
    ids.extend(tokens.prompt_ids)
    row.student.loss_positions.extend(range(len(ids), len(ids) + count))
    ids.extend(tokens.completion_ids)
    row.behaviour_logprobs_T.extend(tokens.logprobs)
    row.entropies_T.extend(tokens.entropies)
    row.turn_ids_T.extend([number] * count)
    row.invalid_T.extend([not turn.is_action_valid] * count)
    row.row_turns.append(number)
    row.step_rewards.append(turn.reward)
    row.anchor_ids.append(_anchor(task_id, turn.view.observation))
    row.truncated = row.truncated or tokens.truncated


def _anchor(task_id: str, observation: str) -> str:
    text = f"{task_id}\x1f{observation}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def outcomes_of(rollouts: Sequence[Rollout]) -> list[EpisodeOutcome]:
    """What advantages and filters need of each rollout, numbered as in `build_rows`."""
    return [
        EpisodeOutcome(
            index,
            rollout.task.group,
            rollout.episode.return_,
            failed=rollout.episode.failed,
            success=rollout.episode.success,
            turns=len(rollout.episode.turns),
        )
        for index, rollout in enumerate(rollouts)
    ]


@dataclass(slots=True)
class ReadingFigures:
    """How the readings went: rows read whole, rows left out, tokens of the block, messages of history cut."""

    read: int = 0
    incomplete: int = 0
    block_tokens: int = 0
    history_cut: int = 0

    def metrics(self) -> dict[str, float]:
        """Means per read row, and the count of rows whose privileged block did not fit or was not there."""
        count = max(self.read, 1)
        return {
            "teacher/block_tokens": self.block_tokens / count,
            "teacher/history_cut": self.history_cut / count,
            "teacher/privileged_dropped": float(self.incomplete),
        }


def read_teachers(rows: Sequence[Row], rollouts: Sequence[Rollout], readers: Mapping[str, Reader]) -> ReadingFigures:
    """Fill ``row.teachers`` with each reader's view. An incomplete reading is left out and counted, never used.

    Raises:
        ValueError: A reading does not hold exactly the sampled ids.
    """
    figures = ReadingFigures()
    for row in rows:
        rollout = rollouts[row.episode_id]
        turns = [rollout.episode.turns[number] for number in row.row_turns]
        known = [rollout.privileged[number] for number in row.row_turns]
        sampled = row.student.sampled_ids()
        for name, reader in readers.items():
            reading = reader.read(turns, known)
            if not reading.complete:
                figures.incomplete += 1
                continue
            if reading.view.sampled_ids() != sampled:
                raise ValueError(
                    f"episode {rollout.episode.task_id}, view {name!r}: expected the {len(sampled)} sampled ids at the "
                    "loss positions, got others; the teacher must score what the student sampled"
                )
            row.teachers[name] = reading.view
            figures.read += 1
            figures.block_tokens += reading.block_tokens
            figures.history_cut += reading.history_cut
    return figures
