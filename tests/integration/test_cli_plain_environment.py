"""An environment outside the suite, with no plan, no task types and no task sentence: the whole way on the CLI."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest
from scripted_agents import ParityEnv
from small_runs import save_model

from agents.prompts import prompt_style
from sdar_envs.privileged import StudentView
from trainers.cli import main

ENV_ID = "toy/PlainParity-v0"


@pytest.fixture
def _registered() -> Iterator[None]:
    gym.register(ENV_ID, entry_point=ParityEnv)
    yield
    del gym.registry[ENV_ID]


@pytest.mark.usefixtures("_registered")
def test_every_command_that_is_offered_next_works_and_nothing_is_without_a_name(tmp_path: Path, capsys) -> None:
    model, run = save_model(tmp_path / "model"), tmp_path / "run"
    words = ["train", "--model", str(model), "--env", ENV_ID, "--method", "grpo", "--output-dir", str(run)]
    words += ["--max-steps", "1", "--tasks-per-step", "2", "--num-generations", "2", "--eval-episodes", "4"]
    words += ["--max-prompt-length", "900", "--max-completion-length", "6", "--test-episodes", "4", "--device", "cpu"]
    assert main([*words, "--num-mini-batches", "1"]) == 0
    shown = capsys.readouterr().out
    assert "(no task type)" in shown
    offered = [line.strip() for line in shown.partition("next:\n")[2].splitlines()]
    commands = [shlex.split(line.partition("  ")[0])[1:] for line in offered]
    assert [command[0] for command in commands] == ["report", "play", "inspect"]
    for command in commands:
        assert main(command) == 0, command
    prompts = [
        turn["messages"][-1]["content"]
        for record in map(json.loads, (run / "episodes.jsonl").read_text().splitlines())
        for turn in record["turns"]
        if turn.get("messages")
    ]
    assert prompts and not any("Your task" in prompt for prompt in prompts)


def view(instruction: str, turn: int = 0) -> StudentView:
    return StudentView(observation="A room.", instruction=instruction, admissible_actions=("look",), turn=turn)


def test_the_heading_of_the_task_stands_only_above_a_task() -> None:
    style = prompt_style("paper")
    stated, silent = ("\n".join(m["content"] for m in style.opening(view(text))) for text in ("find it", ""))
    assert stated.replace("Your task: find it\n\n", "") == silent
    assert "What you observe now:\nA room." in silent
    window = style.window([view("", 0), view("", 1)], ["look"], 2)[-1]["content"]
    assert window.startswith("You have taken 1 step(s) so far.")
