"""From rollouts to rows: the sampled ids with everything known about each, and the teacher's readings of the same ids.

Ids are taken from the turns as they were sampled; no text is tokenised again. A turn whose prompt continues the row
before it extends that row, any other begins a new one, so `build_rows` serves transcripts and windows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.base import Turn, TurnTokens, View
from sdar_envs.privileged import Privileged

from ..batch.outcome import EpisodeOutcome
from ..batch.row import SampledRow
from .collect import Rollout


class Reading(Protocol):
    """A row given the privileged prompt, and whether the whole privileged context is in it."""

    @property
    def view(self) -> View:
        """The sampled tokens given the privileged prompt."""
        ...

    @property
    def block_tokens(self) -> int:
        """Tokens of privileged context."""
        ...

    @property
    def history_cut(self) -> int:
        """Turns of history that were left out to make room for them."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the reading may be learned from."""
        ...


class Reader(Protocol):
    """Reads rows given another prompt, as `agents.teacher.Teacher` does."""

    def read(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> Reading:
        """The same sampled tokens given the reader's prompt."""
        ...


def build_rows(rollouts: Sequence[Rollout]) -> list[SampledRow]:
    """The rows of all rollouts that did not fail; ``episode_id`` is the rollout's index.

    Raises:
        ValueError: A turn has no token ids (its agent has no model), or continues a row that does not exist.
    """
    rows: list[_RowBuilder] = []
    for episode_id, rollout in enumerate(rollouts):
        if rollout.episode.failed:
            continue
        row: _RowBuilder | None = None
        for number, turn in enumerate(rollout.episode.turns):
            tokens = turn.action.tokens
            if tokens is None:
                raise ValueError(
                    f"episode {rollout.episode.task_id}, turn {number}: expected token ids to learn from, got none; "
                    "only an agent that samples from a model can be trained"
                )
            if not tokens.continues:
                row = _RowBuilder(episode_id, rollout)
                rows.append(row)
            elif row is None:
                raise ValueError(f"episode {rollout.episode.task_id}: the first turn continues a row that is not there")
            assert row is not None
            row.append(turn, tokens, number)
    return [row.build(index) for index, row in enumerate(rows)]


@dataclass(slots=True)
class _RowBuilder:
    """A row while its turns are appended."""

    episode_id: int
    rollout: Rollout
    ids: list[int] = field(default_factory=list)
    loss_positions: list[int] = field(default_factory=list)
    behaviour_logprobs_T: list[float] = field(default_factory=list)
    entropies_T: list[float] = field(default_factory=list)
    turn_ids_T: list[int] = field(default_factory=list)
    invalid_T: list[bool] = field(default_factory=list)
    row_turns: list[int] = field(default_factory=list)
    step_rewards: list[float] = field(default_factory=list)
    anchor_ids: list[str] = field(default_factory=list)
    truncated: bool = False

    def append(self, turn: Turn, tokens: TurnTokens, number: int) -> None:
        """Add the prompt and the sampled tokens of a turn."""
        count = len(tokens.completion_ids)
        self.ids.extend(tokens.prompt_ids)
        self.loss_positions.extend(range(len(self.ids), len(self.ids) + count))
        self.ids.extend(tokens.completion_ids)
        self.behaviour_logprobs_T.extend(tokens.logprobs)
        self.entropies_T.extend(tokens.entropies)
        self.turn_ids_T.extend([number] * count)
        self.invalid_T.extend([not turn.is_action_valid] * count)
        self.row_turns.append(number)
        self.step_rewards.append(turn.reward)
        self.anchor_ids.append(_anchor(self.rollout.episode.task_id, turn.view.observation))
        self.truncated = self.truncated or tokens.truncated

    def build(self, index: int) -> SampledRow:
        """The finished row."""
        return SampledRow(
            index=index,
            student=View(self.ids, self.loss_positions),
            behaviour_logprobs_T=self.behaviour_logprobs_T,
            turn_ids_T=self.turn_ids_T,
            episode_id=self.episode_id,
            group_id=self.rollout.task.group,
            row_turns=self.row_turns,
            anchor_ids=self.anchor_ids,
            step_rewards=self.step_rewards,
            invalid_T=self.invalid_T,
            entropies_T=() if any(map(math.isnan, self.entropies_T)) else self.entropies_T,
            truncated=self.truncated,
            return_=self.rollout.episode.return_,
        )


def _anchor(task_id: str, observation: str) -> str:
    """A digest that names a state: the same for the same observation in the same task."""
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
            role=rollout.episode.role,
        )
        for index, rollout in enumerate(rollouts)
    ]


@dataclass(slots=True)
class ReadingMetrics:
    """Counts of readings: complete, incomplete and empty ones, tokens of context, turns of history that were cut.

    Of readings whose text is made of episodes, `asked` counts all, and `untold` those that had no text.
    """

    read: int = 0
    incomplete: int = 0
    empty: int = 0
    block_tokens: int = 0
    history_cut: int = 0
    asked: int = 0
    untold: int = 0

    def add(self, other: ReadingMetrics) -> None:
        """Count the readings of another process too."""
        self.read += other.read
        self.incomplete += other.incomplete
        self.empty += other.empty
        self.block_tokens += other.block_tokens
        self.history_cut += other.history_cut
        self.asked += other.asked
        self.untold += other.untold

    def metrics(self) -> dict[str, float]:
        """Means per complete reading, and the count of readings whose privileged context did not fit or was missing.

        Where texts are made of episodes: the share of readings without one, too.
        """
        count = max(self.read, 1)
        without = {"teacher/without_text": self.untold / self.asked} if self.asked else {}
        return without | {
            "teacher/block_tokens": self.block_tokens / count,
            "teacher/history_cut": self.history_cut / count,
            "teacher/privileged_dropped": float(self.incomplete),
            "teacher/empty_share": self.empty / count,
        }


def read_teachers(
    rows: Sequence[SampledRow],
    rollouts: Sequence[Rollout],
    readers: Mapping[str, Reader],
    told: Mapping[str, Sequence[Privileged | None]] | None = None,
) -> tuple[list[dict[str, View]], ReadingMetrics]:
    """Read each row with each reader.

    Args:
        rows: The rows to read.
        rollouts: Their episodes, by ``row.episode_id``.
        readers: By the name of the reading.
        told: For readers whose text is made of episodes: what is told of each episode, parallel to `rollouts`. A row
            of which there is nothing to tell is not read.

    Returns:
        Per row, the views by the reader's name, and the counts. An incomplete reading is left out and counted.

    Raises:
        ValueError: A reading does not hold exactly the sampled ids.
    """
    metrics = ReadingMetrics()
    views: list[dict[str, View]] = []
    for row in rows:
        rollout = rollouts[row.episode_id]
        # The turns of this row, with the privileged fields before each.
        turns = [rollout.episode.turns[number] for number in row.row_turns]
        known = [rollout.privileged[number] for number in row.row_turns]
        sampled = row.student.sampled_ids()
        own: dict[str, View] = {}
        for name, reader in readers.items():
            shown: Sequence[Privileged | None] = known
            if told is not None and name in told:
                metrics.asked += 1
                shown = [told[name][row.episode_id]] * len(turns)
                if shown[0] is None:
                    metrics.untold += 1
                    continue
            reading = reader.read(turns, shown)
            if not reading.complete:
                metrics.incomplete += 1
                continue
            if reading.view.sampled_ids() != sampled:
                raise ValueError(
                    f"episode {rollout.episode.task_id}, view {name!r}: expected the {len(sampled)} sampled ids at the "
                    "loss positions, got others; the teacher must score what the student sampled"
                )
            own[name] = reading.view
            metrics.read += 1
            metrics.empty += reading.block_tokens == 0
            metrics.block_tokens += reading.block_tokens
            metrics.history_cut += reading.history_cut
        views.append(own)
    return views, metrics
