"""Stored episodes as rollouts again: with the exact ids and log-probs that were sampled, and nothing privileged.

They become rows by the same function as episodes that have just been played (`rollout.rows.build_rows`), so that what
is exported, what is trained on offline and what was trained on online are the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.base import Action, Episode, Message, Parse, StopReason, Turn
from sdar_envs.privileged import StudentView

from ..batch.row import SampledRow
from ..rollout.rows import build_rows
from ..rollout.running import Rollout, TaskDraw
from ..run.packed_tokens import unpack_tokens
from .stored import StoredEpisodesError


def rollout_of(record: Mapping[str, Any], group: int) -> Rollout:
    """A curated episode as a rollout.

    Args:
        record: A curated line.
        group: Number of the group that it is put into: curated episodes have been compared with the others of their
            group already, and each stands for itself.

    Raises:
        StoredEpisodesError: The line is damaged.
    """
    try:
        return _rollout_of(record, group)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoredEpisodesError(f"episode {record.get('id')!r}: expected a curated episode, got {error!r}") from None


def rows_of(records: Sequence[Mapping[str, Any]]) -> list[SampledRow]:
    """The rows of curated episodes; ``episode_id`` and ``group_id`` are the episode's place in the list."""
    return build_rows([rollout_of(record, number) for number, record in enumerate(records)])


def chat_of(record: Mapping[str, Any], row: SampledRow) -> list[Message]:
    """The chat of a row: what was new to the student in each of its turns, and its answers.

    Raises:
        StoredEpisodesError: The line has no messages.
    """
    chat: list[Message] = []
    for number in row.row_turns:
        turn = record["turns"][number]
        if not turn.get("messages"):
            raise StoredEpisodesError(
                f"episode {record.get('id')!r}, turn {number}: expected its messages, got none; log them with "
                "--log-tokens all"
            )
        chat += [dict(message) for message in turn["messages"]]
        chat.append({"role": "assistant", "content": turn["completion"]})
    return chat


def _rollout_of(record: Mapping[str, Any], group: int) -> Rollout:
    tokens = unpack_tokens(record["packed"])
    draw = ("stored", str(record["id"]))
    turns = [
        Turn(
            StudentView(
                observation=str(turn["observation"]),
                instruction=str(record["instruction"]),
                task_id=str(record["task_id"]),
                task_type=str(record["task_type"]),
                turn=number,
                draw=draw,
                role=str(record.get("role", "")),
            ),
            Action(
                text=str(turn["action"]),
                completion=str(turn["completion"]),
                parse=Parse(turn["parse"]),
                tokens=own,
                messages=tuple(dict(message) for message in turn.get("messages", ())),
            ),
            reward=float(turn["reward"]),
            is_action_valid=bool(turn["valid"]),
        )
        for number, (turn, own) in enumerate(zip(record["turns"], tokens, strict=True))
    ]
    episode = Episode(
        env_id=str(record["env_id"]),
        task_id=str(record["task_id"]),
        task_type=str(record["task_type"]),
        draw=draw,
        turns=turns,
        success=bool(record["success"]),
        score=float(record["score"]),
        stop_reason=StopReason(record["stop_reason"]),
        role=str(record.get("role", "")),
    )
    return Rollout(episode, TaskDraw(episode.task_id, draw, group), privileged=[None] * len(turns))
