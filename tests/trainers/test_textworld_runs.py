"""The trainer on TextWorld's games: two iterations of SDAR, with the live plan on the teacher's side alone."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import pytest
from small_runs import make_trainer, weights

pytestmark = pytest.mark.skipif(find_spec("textworld") is None, reason="TextWorld is not installed")


def test_the_trainer_takes_two_steps_of_sdar_on_coin_games(tmp_path: Path):
    games = {"file_format": "json", "train_games": 1, "held_out_games": 1, "cache_dir": str(tmp_path / "games")}
    trainer = make_trainer(
        tmp_path, "sdar/TextWorld-v0", env_kwargs=games, method="sdar", privilege="plan",
        max_prompt_length=2000, teacher_budget=600,
    )  # fmt: skip
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    assert any(not before[name].equal(after[name]) for name in before)
    run = tmp_path / "run"
    episodes = [json.loads(line) for line in (run / "episodes.jsonl").read_text(encoding="utf-8").splitlines()]
    trained = [episode for episode in episodes if episode["phase"] == "train"]
    assert {episode["task_id"] for episode in trained} == {"train:000000"}
    assert len(trained) == 2 * 3 * 4  # iterations, tasks and generations of `small_config`
    assert {episode["task_id"] for episode in episodes if episode["phase"] == "valid"} == {"valid:000000"}
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in metrics if "distill/signal" in line]
    assert [line["step"] for line in steps] == [1, 2]
    assert all(line["distill/signal"] != 0 and line["teacher/block_tokens"] > 0 for line in steps)
    # A plan that the teacher read is not part of what is kept of the student's side.
    first = gym.make("sdar/TextWorld-v0", **games).reset(options={"task_id": "train:000000"})[1]
    assert first["privileged"]["plan"][-1] == "take coin"
    kept = {turn["observation"] for episode in trained for turn in episode["turns"]}
    assert kept and not any("take coin" in text for text in kept)
