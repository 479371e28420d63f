"""Self-play from start to end: both seats learn, a stopped run goes on exactly, and one command does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import save_random_model

from trainers import SDARConfig, SDARTrainer
from trainers.cli import main
from trainers.run.directory import read_json_lines

ROLES = ("shopper_0", "seller_0")
BASE: dict[str, Any] = {
    "env_kwargs": {"role": "both"},
    "roles": ["both"],
    **{"max_steps": 4, "tasks_per_step": 3, "num_generations": 2, "num_mini_batches": 1, "learning_rate": 1e-2},
    **{"eval_steps": 2, "eval_episodes": 6, "test_episodes": 6, "save_steps": 2, "max_turns": 3},
    **{"max_completion_length": 6, "max_prompt_length": 400, "context": "transcript", "prompt_style": "compact"},
    **{"list_actions": False, "teacher_budget": 128, "device": "cpu"},
}


class StopAfter:
    """Ends a run after so many iterations."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "m")


def trainer(model: Path, folder: Path, *, stop: int | None = None, **options: Any) -> SDARTrainer:
    callbacks = [] if stop is None else [StopAfter(stop)]
    args = SDARConfig(**{**BASE, "output_dir": str(folder), **options})
    return SDARTrainer(str(model), "sdar/Haggle-v0", args, callbacks=callbacks)


def story(folder: Path, name: str) -> list[dict[str, Any]]:
    # A run that is stopped evaluates once more at its end, which is no part of the run that goes on.
    lines = [line for line in read_json_lines(folder / f"{name}.jsonl") if line.get("phase", "train") == "train"]
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in lines]


@pytest.mark.parametrize("options", [{"method": "sdar"}, {"method": "grpo", "advantage": "rae", "num_generations": 1}])
def test_a_stopped_run_of_self_play_goes_on_exactly(options: dict[str, Any], model: Path, tmp_path: Path) -> None:
    whole = trainer(model, tmp_path / "run", **options)
    whole.train()
    expected = {name: story(tmp_path / "run", name) for name in ("metrics", "episodes")}
    weights = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    (tmp_path / "run").rename(tmp_path / "whole")
    trainer(model, tmp_path / "run", stop=2, **options).train()
    resumed = trainer(model, tmp_path / "run", **options)
    resumed.train(resume_from_checkpoint=True)
    for name, lines in expected.items():
        for line, again in zip(lines, story(tmp_path / "run", name), strict=True):
            assert {key: (value, again.get(key)) for key, value in line.items() if again.get(key) != value} == {}
    assert all(torch.equal(weights[name], tensor) for name, tensor in resumed.model.state_dict().items())
    if options.get("advantage") == "rae":
        assert set(resumed.state.baselines) == set(ROLES)


def test_episodes_say_who_played_and_against_whom(model: Path, tmp_path: Path) -> None:
    trainer(model, tmp_path / "run", max_steps=1).train()
    records = [r for r in read_json_lines(tmp_path / "run" / "episodes.jsonl") if r["phase"] == "train"]
    assert {record["role"] for record in records} == set(ROLES)
    assert {record["game"] for record in records} == set(range(6))
    (line,) = [m for m in read_json_lines(tmp_path / "run" / "metrics.jsonl") if m.get("joint") is not None]
    assert {"deals", "joint", *(f"return/{role}" for role in ROLES)} <= line.keys()


def test_only_roles_that_are_taught_have_a_teacher(model: Path, tmp_path: Path) -> None:
    made = trainer(model, tmp_path / "run", max_steps=1, teach_roles=["shopper_0"])
    seen: list[tuple[str, bool]] = []
    real = made.scorer.score

    def watched(rows: Any, rollouts: Any, plan: Any) -> Any:
        scored, metrics = real(rows, rollouts, plan)
        seen.extend((rollouts[row.episode_id].episode.role, bool(row.teacher_logprobs_T)) for row in scored)
        return scored, metrics

    made.scorer.score = watched  # type: ignore[method-assign]
    made.train()
    assert {taught for role, taught in seen if role == "shopper_0"} == {True}
    assert {taught for role, taught in seen if role == "seller_0"} == {False}


def test_one_seat_learns_against_a_frozen_run_and_scripts(model: Path, tmp_path: Path) -> None:
    trainer(model, tmp_path / "first", max_steps=1).train()
    opponents = ["limiter", f"model:{tmp_path / 'first'}"]
    made = trainer(model, tmp_path / "run", max_steps=1, roles=["seller_0"], opponents=opponents)
    made.train()
    records = [r for r in read_json_lines(tmp_path / "run" / "episodes.jsonl") if r["phase"] == "train"]
    assert {record["role"] for record in records} == {"seller_0"}


def test_self_play_is_one_command_and_the_game_may_be_named_either_way(model: Path, tmp_path: Path, capsys) -> None:
    short = ["--model", str(model), "--preset", "none", "--max-steps", "1", "--tasks-per-step", "2"]
    short += ["--num-generations", "2", "--eval-episodes", "4", "--test-episodes", "4", "--max-turns", "2"]
    short += ["--max-completion-length", "6", "--max-prompt-length", "400", "--prompt-style", "compact"]
    for number, name in enumerate(("sdar/haggle-v0", "sdar/Haggle-v0")):
        assert main(["train", "--game", name, *short, "--output-dir", str(tmp_path / str(number))]) == 0
        said = capsys.readouterr()
        assert "sdar/Haggle-v0, roles both" in said.out
        assert ("sdar/Haggle-v0 is one seat; taken here is the game" in said.err) is (name == "sdar/Haggle-v0")
        records = read_json_lines(tmp_path / str(number) / "episodes.jsonl")
        assert {record["role"] for record in records if record["phase"] == "train"} == set(ROLES)
    assert main(["train", "--game", "sdar/chess-v0", "--output-dir", str(tmp_path / "none")]) == 2
    assert "choose from sdar/haggle-v0" in capsys.readouterr().err


def test_both_sides_of_the_shown_games_are_logged_whole_and_their_turns_have_an_order(
    model: Path, tmp_path: Path
) -> None:
    trainer(model, tmp_path / "run", max_steps=1, method="sdar").train()
    records = [r for r in read_json_lines(tmp_path / "run" / "episodes.jsonl") if r["phase"] == "train"]
    games: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        games.setdefault(record["game"], []).append(record)
    for sides in games.values():
        moves = sorted(turn["move"] for side in sides for turn in side["turns"])
        assert moves == list(range(len(moves)))
    shown = {record["game"] for record in records[:2]}
    for game, sides in games.items():
        assert all(("tokens" in turn) is (game in shown) for side in sides for turn in side["turns"])
    assert {record["role"] for game in shown for record in games[game]} == set(ROLES)


def test_a_matrix_of_a_run_and_scripts_is_written_as_numbers_and_as_a_picture(
    model: Path, tmp_path: Path, capsys
) -> None:
    trainer(model, tmp_path / "run", max_steps=1).train()
    words = [str(tmp_path / "run"), "scripted:limiter", "expert", "--episodes", "4"]
    files = ["--json", str(tmp_path / "m.json"), "--svg", str(tmp_path / "m.svg")]
    assert main(["crossplay", *words, *files]) == 0
    content = json.loads((tmp_path / "m.json").read_text())
    assert len(content["cells"]) == 9 and set(content["exploitability"]) == set(content["players"])
    picture = (tmp_path / "m.svg").read_text()
    assert picture.startswith("<svg") and picture.count("<rect") == 18 and "against expert" in picture
    assert "best responses within these players" in capsys.readouterr().out
    # In the run's own folder it becomes a part of the run's report.
    (tmp_path / "run" / "crossplay.json").write_text((tmp_path / "m.json").read_text())
    assert main(["report", str(tmp_path / "run"), "--no-images"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "As shopper (rows), against each seller (columns)" in page and "exploitability" in page
    assert page.count('class="cell"') == 18
    assert "best uninformed, exact" in page and "best informed, exact" in page
    (tmp_path / "run" / "crossplay.json").write_text('{"schema": "sdar/crossplay/1", "cells": []}')
    assert main(["report", str(tmp_path / "run"), "--no-images"]) == 2
    assert "without game, roles, players, hash" in capsys.readouterr().err
    assert main(["crossplay", "scripted:nobody"]) == 2
    assert main(["crossplay", "expert", "expert"]) == 2
