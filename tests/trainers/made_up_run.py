"""A run's directory with MADE-UP episodes and numbers, for tests of what reads run directories.

Every text that a model or a world would have said can be made hostile.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdar_envs.randomness import counted_generator
from trainers.config import SDARConfig
from trainers.evaluation.evaluation_set import KEYS, EvaluationSet
from trainers.evaluation.intervals import wilson
from trainers.methods import METHODS

KINDS = ("clean", "cool", "heat", "light", "place", "two")
SHOWN = 24  # tasks of the panel whose episodes are logged
SECRET = "SECRET-OF-THE-WORLD"


def made_up_number(*key: str | int) -> int:
    """A number that depends on the key alone."""
    return int(counted_generator("made-up", *key).integers(2**62))


def write_run(
    folder: Path,
    method: str = "sdar",
    seed: int = 0,
    iterations: int = 10,
    *,
    text: str = "",
    privileged: bool = False,
    tasks: int = 48,
) -> Path:
    """Write the directory of a finished run.

    Args:
        folder: Where to.
        method: Name of the method; only those with a teacher log its readings.
        seed: Of the made-up numbers.
        iterations: Of the run.
        text: Stands in front of every word that a model or a world says.
        privileged: Whether to log the teacher's side.
        tasks: Of the test panel.
    """
    words = _Words(text)
    (folder / "panels").mkdir(parents=True, exist_ok=True)
    fixed = EvaluationSet(
        env_id=words("made-up/World-v0"),
        env_kwargs={},
        split="test",
        task_ids=tuple(f"test:{number:06d}" for number in range(tasks)),
        max_turns=None,
        temperature=0.4,
        sampler_batch=64,
        world_version=words("made up"),
    )
    kept = {key: getattr(fixed, key) for key in KEYS}
    _json(folder / "panels" / "test.json", {**kept, "hash": fixed.hash})  # escaped: the text may be no UTF-8
    _json(folder / "versions.json", {"python": words("0.0 (made up)"), "made up": True})
    _json(folder / "summary.json", _summary(method, seed, iterations, words, fixed.hash))
    # JSON is YAML.
    options = {"method": method, "seed": seed, "max_steps": iterations, "tasks_per_step": 16, "num_generations": 8}
    options |= {"eval_episodes": 60, "output_dir": words("made-up")}
    _json(folder / "config.yaml", options)
    digest = SDARConfig.from_dict(options).digest() if method in METHODS else "of a method that there is not"
    _json(folder / "run.json", {"env_id": words("made-up/World-v0"), "digest": digest})
    _lines(folder / "metrics.jsonl", [_metrics(step, method, iterations) for step in range(iterations + 1)])
    generator = counted_generator("made-up episodes", method, seed)
    moments = [("train", step, group) for step in range(iterations) for group in range(2)]
    moments += [("test", step, group) for step in (iterations, 0) for group in range(SHOWN)]
    records = [_episode(method, *moment, generator, words) for moment in moments]
    _lines(folder / "episodes.jsonl", records)
    if privileged:
        _lines(folder / "privileged.jsonl", [_privileged(record, words) for record in records])
    return folder


class _Words:
    """Words with a text in front: distinct words stay distinct."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, harmless: str) -> str:
        return self.text + harmless


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _lines(path: Path, records: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _rate(wins: int, episodes: int) -> dict[str, Any]:
    return {
        "success_rate": wins / episodes,
        "ci95": list(wilson(wins, episodes)),
        "episodes": episodes,
        "wins": wins,
    }


def _summary(method: str, seed: int, iterations: int, words: _Words, panel_hash: str) -> dict[str, Any]:
    def side(wins: int) -> dict[str, Any]:
        kinds = {words(kind): _rate(wins // 6, 8) for kind in KINDS}
        return {**_rate(wins, 48), "by_task_type": kinds, "split": "test", "panel_hash": panel_hash}

    return {
        "method": words(method),
        "seed": seed,
        "steps": iterations,
        "seconds": 12.5,
        "tokens": 4000 * iterations,
        "before": side(8),
        "after": side(24),
        "teacher": {"before": side(30), "after": side(28)},
        "difference": {"mean": 1 / 3, "ci95": [0.2, 0.45]},
    }


def _metrics(step: int, method: str, iterations: int) -> dict[str, Any]:
    line: dict[str, Any] = {"step": step}
    if step % 5 == 0:
        line["valid/success_rate"] = (10 + step) / 60
        if method != "grpo":
            line["teacher/success_rate"] = 0.6
    if step:
        share = step / iterations
        line |= {"success": 0.1 + 0.2 * share, "sampling/entropy": 0.6 - 0.2 * share, "kl": 0.1 * share}
        line |= {"seconds/cpu": 1.2 * step, "seconds/rollout": 0.7, "seconds/update": 0.5}
        if method != "grpo":
            line |= {"distill/weight": 0.48, "distill/signal": -0.1, "distill/share_read": 1.0}
    return line


def _episode(
    method: str, phase: str, step: int, group: int, generator: np.random.Generator, words: _Words
) -> dict[str, Any]:
    won = bool(generator.random() < 0.4)
    logged = phase == "train" or step > 0
    return {
        "schema": "sdar/episode/1",
        "run": words("made-up"),
        "iteration": step,
        "group": group,
        "member": 0,
        "phase": phase,
        "view": "plain",
        "env_id": words("made-up/World-v0"),
        "task_id": words(f"{phase}:{group if phase == 'test' else 16 * step + group:06d}"),
        "task_type": words(KINDS[group % len(KINDS)]),
        "instruction": words("put the made-up thing on the shelf."),
        "seed": 0,
        "success": won,
        "score": float(won),
        "return": float(won),
        "stop_reason": words("success" if won else "horizon"),
        "failure": None,
        "claim_ids": [words("home:thing")] if method != "grpo" else [],
        "stale": [group % 4 == 3] if method != "grpo" else [],
        "turns": [_turn(method, turn, won and turn == 3, logged, generator, words) for turn in range(4)],
    }


def _turn(
    method: str, turn: int, wins: bool, logged: bool, generator: np.random.Generator, words: _Words
) -> dict[str, Any]:
    tokens = [words("go to "), words(f"shelf {turn + 1}"), words("<|end|>")]
    record: dict[str, Any] = {
        "observation": words(f"You see shelf {turn + 1}."),
        "completion": words(tokens[0] + tokens[1]),
        "action": words(tokens[0] + tokens[1]),
        "parse": words("ok"),
        "valid": True,
        "reward": float(wins),
    }
    if logged:
        student, gap = -float(generator.exponential()), float(generator.normal(0.0, 1.5))
        columns = {"behaviour": [-0.1, student, 0.0], "student": [-0.1, student, 0.0], "entropy": [0.2, -student, 0.0]}
        if method != "grpo":
            columns["teacher"] = [-0.1, student + gap, 0.0]
            columns["signal"] = [0.0, gap, 0.0]
            columns["weight"] = [0.5, 1 / (1 + math.exp(-5 * gap)), 0.5]
        record["messages"] = [{"role": words("user"), "content": words(f"at shelf {turn}.")}]
        record["tokens"] = {"id": [1, 2, 3], "text": tokens, **columns}
    return record


def _privileged(record: dict[str, Any], words: _Words) -> dict[str, Any]:
    known = {"plan": [words("go to shelf 1")], "facts": {"target": words(SECRET)}}
    kept = {key: record[key] for key in ("schema", "phase", "iteration", "group", "member", "task_id")}
    return {**kept, "turns": [known for _ in record["turns"]]}
