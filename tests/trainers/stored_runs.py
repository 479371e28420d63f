"""Run directories with MADE-UP episodes, for tests of what chooses among stored ones: the same bytes on any machine."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdar_envs.randomness import counted_generator
from trainers.evaluation.evaluation_set import EvaluationSet
from trainers.run.directory import EPISODE_SCHEMA

ENV = "made-up/Rooms-v0"
SECRET = "SECRET-OF-THE-WORLD"


def packed(turns: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Any]:
    """As `packed_tokens.pack_tokens`, but not compressed, so that every build of zlib writes the same bytes."""
    ids = [token for prompt, completion in turns for token in (*prompt, *completion)]
    sampled = sum(len(completion) for _, completion in turns)
    return {
        "prompt_lengths": [len(prompt) for prompt, _ in turns],
        "completion_lengths": [len(completion) for _, completion in turns],
        "continues": [int(number > 0) for number in range(len(turns))],
        "truncated": [0] * len(turns),
        "ids": base64.b64encode(zlib.compress(np.asarray(ids, "<u4").tobytes(), 0)).decode(),
        "logprobs": base64.b64encode(np.full(sampled, -0.5, "<f4").tobytes()).decode(),
    }


def episode(
    actions: Sequence[str] = ("open drawer 1", "take coin"),
    *,
    success: bool = True,
    tokens: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    """A logged line with everything that a run may write, privileged traces included."""
    turns = [
        {
            "observation": f"You see drawer {number}.",
            "completion": action,
            "action": action,
            "parse": "ok",
            "valid": True,
            "reward": float(success and number == len(actions) - 1),
            "messages": [{"role": "user", "content": f"You see drawer {number}."}],
            "tokens": {"id": [7], "text": ["x"], "teacher": [-0.1], "signal": [0.1], "weight": [0.2]},
            "privileged": {"plan": [SECRET]},
        }
        for number, action in enumerate(actions)
    ]
    record = {
        "schema": EPISODE_SCHEMA,
        "run": "rooms",
        "iteration": 0,
        "group": 0,
        "member": 0,
        "phase": "train",
        "view": "plain",
        "env_id": ENV,
        "world": {"kwargs": {"size": "small"}, "version": "1", "max_turns": 5},
        "policy": {"model": "m", "initial_weights": "w", "tokenizer": "t", "template": "c", "temperature": 1.0},
        "task_id": "train:0",
        "task_type": "coin",
        "instruction": "Find the coin.",
        "seed": 0,
        "success": success,
        "score": float(success),
        "return": float(success),
        "stop_reason": "success" if success else "horizon",
        "failure": None,
        "first_wrong_turn": -1,
        "claim_ids": [SECRET],
        "stale": [True],
        "turns": turns,
    }
    if tokens:
        record["packed"] = packed([((1, 2), [10 + len(action) % 50, 3]) for action in actions])
    return {**record, **changes}


def write_run(folder: Path, episodes: Sequence[dict[str, Any]], *, evaluated: Sequence[str] = ("valid:0",)) -> Path:
    """A run directory with these episodes and one evaluation set."""
    (folder / "panels").mkdir(parents=True)
    EvaluationSet(
        env_id=ENV,
        env_kwargs={},
        split="valid",
        task_ids=tuple(evaluated),
        max_turns=5,
        temperature=0.4,
        sampler_batch=8,
        world_version="1",
    ).save(folder / "panels" / "valid.json")
    lines = [json.dumps(each, separators=(",", ":")) + "\n" for each in episodes]
    (folder / "episodes.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def golden_episodes() -> list[dict[str, Any]]:
    """64 episodes: 12 groups of 4 training episodes over 6 tasks, and 16 of evaluations."""
    found = []
    for number in range(48):
        group, member = divmod(number, 4)
        rng = counted_generator("golden", number)
        drawers = [int(each) for each in rng.integers(1, 9, size=int(rng.integers(1, 4)))]
        actions = [f"open drawer {drawer}" for drawer in drawers] + ["take coin"]
        success = group != 3 and (group == 4 or bool(rng.integers(2)))
        place = {"iteration": group // 4, "group": group % 4, "member": member, "task_id": f"train:{group % 6}"}
        found.append(episode(actions, success=success, **place))
    for number in range(16):
        place = {"iteration": 3, "group": 0, "member": number, "task_id": f"valid:{number}"}
        found.append(episode(success=True, phase="valid" if number % 2 else "test", **place))
    return found
