"""Episodes as JSON records: the lines of `episodes.jsonl`, and those of `privileged.jsonl`, which are kept apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.base import Turn

from ..batch.row import SampledRow
from ..rollout.collect import Rollout
from .directory import EPISODE_SCHEMA
from .packed_tokens import pack_tokens

_MAX_DEPTH = 32


def episode_record(
    rollout: Rollout,
    *,
    run: str,
    iteration: int,
    phase: str,
    seed: int,
    view: str = "plain",
    tokens: Mapping[int, Mapping[str, list[Any]]] | None = None,
    blocks: Mapping[str, Any] | None = None,
    packed: bool = False,
) -> dict[str, Any]:
    """One line of `episodes.jsonl`.

    No text is kept of an episode that was acted under the privileged prompt, because completions may repeat the
    privileged context and observations may reveal it: its observations, completions and actions are null.

    Where a world says which turns were wrong, `first_detour` and `first_wrong_turn` have the first of each kind (see
    `Episode`), -1 for none.

    Of a game of several roles each turn has its number in the game, `move`, so that the sides can be put together.

    Args:
        rollout: The episode; of its privileged information only the ids of the skill statements are kept, and whether
            each was corrupted.
        run: Name of the run.
        iteration: Iterations done when it was played.
        phase: Why it was played: ``train``, the name of an evaluation (`measured.measured_name`), or ``teacher``, which
            is the privileged-prompt policy on the watched set.
        seed: The run's seed.
        view: The prompt that it was acted under, of `method.VIEWS`.
        tokens: Token arrays by turn number, from `token_arrays`; turns that have them get the student's messages too.
        blocks: Further keys that say where the episode comes from (`provenance`).
        packed: Whether all token ids with their log-probs are written (`packed_tokens`), and the messages of all turns.
    """
    episode = rollout.episode
    claim_ids, stale = claims_of(rollout)
    held = [turn.action.tokens for turn in episode.turns if turn.action.tokens is not None]
    packed = packed and view == "plain" and len(held) == len(episode.turns)
    arrays: Mapping[int, Mapping[str, list[Any]]] = tokens or {}
    return {
        "schema": EPISODE_SCHEMA,
        "run": run,
        "iteration": iteration,
        "group": rollout.task.group,
        "member": rollout.task.member,
        "phase": phase,
        "view": view,
        "env_id": episode.env_id,
        **(blocks or {}),
        "task_id": episode.task_id,
        "task_type": episode.task_type,
        **({"role": episode.role, "game": episode.game} if episode.role else {}),
        "instruction": episode.turns[0].view.instruction if episode.turns else "",
        "seed": seed,
        "success": episode.success,
        "score": episode.score,
        "return": episode.return_,
        "stop_reason": str(episode.stop_reason),
        "failure": rollout.failure,
        **({} if episode.first_detour is None else {"first_detour": episode.first_detour}),
        **({} if episode.first_wrong_turn is None else {"first_wrong_turn": episode.first_wrong_turn}),
        "claim_ids": claim_ids,
        "stale": stale,
        "turns": [
            {
                **({"move": rollout.moves[number]} if number < len(rollout.moves) else {}),
                **(_turn_record(turn, arrays.get(number), packed) if view == "plain" else _withheld(turn)),
            }
            for number, turn in enumerate(episode.turns)
        ],
        **({"packed": pack_tokens(held)} if packed else {}),
    }


def _withheld(turn: Turn) -> dict[str, Any]:
    """The record of a turn without its text."""
    return {**_turn_record(turn, None), "observation": None, "completion": None, "action": None}


def _turn_record(turn: Turn, tokens: Mapping[str, list[Any]] | None, with_messages: bool = False) -> dict[str, Any]:
    record: dict[str, Any] = {
        "observation": turn.view.observation,
        "completion": turn.action.completion,
        "action": turn.action.text,
        "parse": str(turn.action.parse),
        "valid": turn.is_action_valid,
        "reward": turn.reward,
    }
    if tokens is not None or with_messages:
        # The messages that are new in this turn; they are long, so they are written only beside tokens.
        record["messages"] = [dict(message) for message in turn.action.messages]
    if tokens is not None:
        record["tokens"] = tokens
    return record


def claims_of(rollout: Rollout) -> tuple[list[str], list[bool]]:
    """Ids of the skill statements that the bank returned for an episode, and whether each was corrupted; no text."""
    first = rollout.privileged[0] if rollout.privileged else None
    fields: Mapping[str, Any] = {} if first is None else first.reveal()  # only ids are taken from it
    skills = fields.get("skills")
    if not isinstance(skills, Mapping):
        return [], []
    ids, stale = skills.get("claim_ids", ()), skills.get("stale", ())
    if not isinstance(ids, list | tuple) or not isinstance(stale, list | tuple):
        return [], []  # of an environment outside this suite, which may put anything there
    return [str(each) for each in ids], [each is True for each in stale]


def plain_json(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it, whatever an environment put into it; what it cannot hold becomes its type's name."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return {str(key): plain_json(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [plain_json(each, depth + 1) for each in value]
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
            return plain_json(value.tolist(), depth + 1)
    return f"<{type(value).__name__}>"


def privileged_record(rollout: Rollout, *, run: str, iteration: int, phase: str, view: str = "plain") -> dict[str, Any]:
    """One line of `privileged.jsonl`, written only with ``log_privileged``: the privileged information, turn by turn.

    For an episode that was acted under the privileged prompt it also holds the text that `episode_record` leaves out,
    and for one whose environment broke the environment's own words, which may be privileged. ``written`` has what its
    teacher was told by privileges that the policy writes, or in their place.
    """
    acted = {} if view == "plain" else {"acted": [_turn_record(turn, None) for turn in rollout.episode.turns]}
    return {
        "schema": EPISODE_SCHEMA,
        "run": run,
        "iteration": iteration,
        "phase": phase,
        "group": rollout.task.group,
        "member": rollout.task.member,
        "task_id": rollout.episode.task_id,
        "turns": [None if known is None else plain_json(known.reveal()) for known in rollout.privileged],
        **({"written": {name: told.reveal() for name, told in rollout.written.items()}} if rollout.written else {}),
        **({"failure_text": rollout.detail} if rollout.detail else {}),
        **acted,
    }


def token_arrays(
    rows: Sequence[SampledRow], texts: Mapping[int, str], columns: Mapping[str, Sequence[Sequence[float]]]
) -> dict[int, dict[str, list[Any]]]:
    """Per turn of one episode: ids, their texts, and a list of numbers per column, parallel to the sampled tokens.

    Args:
        rows: The episode's rows.
        texts: Text of every sampled id.
        columns: Name to values, parallel to `rows` and then to their loss tokens; a row without values has an empty
            list.
    """
    arrays: dict[int, dict[str, list[Any]]] = {}
    for index, row in enumerate(rows):
        for place, (turn, token) in enumerate(zip(row.turn_ids_T, row.student.sampled_ids(), strict=True)):
            own = arrays.setdefault(turn, {"id": [], "text": [], **{name: [] for name in columns}})
            own["id"].append(token)
            own["text"].append(texts[token])
            for name, values in columns.items():
                if values[index]:
                    own[name].append(round(float(values[index][place]), 5))
    return arrays
