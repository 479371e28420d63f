"""The whole loop: rounds of acting, keeping and imitating; stopped anywhere it goes on to the same weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from scripted_agents import ParityWorld
from short_runs import SHORT_RUN, save_random_model
from small_runs import save_model, small_config

from trainers.cli import main
from trainers.offline import loop
from trainers.offline.filters import MeanRange, Rules
from trainers.offline.loop import LoopPlan, acting_config, run_loop
from trainers.offline.stored import StoredEpisodesError, read_curated
from trainers.run.directory import read_json_lines

RULES = Rules(MeanRange.read("0<mean<1"), correct=True, per_task=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model")


def plan_of(folder: Path, model: Path, **changes: Any) -> LoopPlan:
    given: dict[str, Any] = {
        "env_id": ParityWorld,
        "model": str(model),
        "config": small_config(folder, max_steps=1, num_mini_batches=1),
        "folder": folder / "loop",
        "rules": RULES,
        "rounds": 2,
    }
    return LoopPlan(**{**given, **changes})


def parameters(record: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(Path(record["model"]) / "model.safetensors")


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    found, other = parameters(left), parameters(right)
    return all(torch.equal(found[name], tensor) for name, tensor in other.items())


@pytest.fixture(scope="module")
def straight(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    plan = plan_of(tmp_path_factory.mktemp("straight"), model)
    return plan, run_loop(plan, say=lambda text: None)


def test_a_round_acts_keeps_and_imitates_from_where_the_last_one_ended(straight: Any, model: Path) -> None:
    plan, records = straight
    start = {"model": str(model)}
    for record in records:
        folder = plan.folder / f"round-0{record['round']}"
        played = read_json_lines(folder / "act" / "episodes.jsonl")
        acting = [line for line in played if line["phase"] == "train"]
        kept = read_curated(folder / "curated")
        assert len(acting) == 12 and 0 < record["kept"] == len(kept) < 12
        assert all(each["success"] for each in kept)
        # Acting changes no weight, and imitating does.
        acted = sorted((folder / "act" / "checkpoints").glob("step-*"))[-1]
        assert same({"model": str(acted)}, start) and not same(record, start)
        assert record["sampled_tokens"] > 0 and record["after"] is not None
        start = record
    assert records[0]["before"] is not None and records[1]["before"] is None
    assert json.loads((plan.folder / "loop.json").read_text())["rounds"] == records


def test_no_two_rounds_play_the_same(straight: Any, tmp_path: Path) -> None:
    plan, _ = straight
    seeds = {
        acting_config(dataclasses.replace(plan, config=dataclasses.replace(plan.config, seed=seed)), n, tmp_path).seed
        for seed in range(5)
        for n in range(1, 6)
    }
    assert len(seeds) == 25


@pytest.mark.parametrize("stage", ["act", "curate", "imitate"])
def test_stopped_at_any_stage_it_goes_on_to_the_same_weights(
    stage: str, straight: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(tmp_path, model)
    real_run, real_curate, calls = loop._run, loop.curate, {"run": 0, "curate": 0}

    def running(*args: Any, **kwargs: Any) -> Any:
        calls["run"] += 1
        if calls["run"] == {"act": 3, "imitate": 4}.get(stage):
            raise KeyboardInterrupt
        return real_run(*args, **kwargs)

    def curating(*args: Any, **kwargs: Any) -> Any:
        calls["curate"] += 1
        if stage == "curate" and calls["curate"] == 2:
            raise KeyboardInterrupt
        return real_curate(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_run", running)
        patch.setattr(loop, "curate", curating)
        with pytest.raises(KeyboardInterrupt):
            run_loop(plan, say=lambda text: None)
    with pytest.raises(StoredEpisodesError, match="--resume"):
        run_loop(plan, say=lambda text: None)
    records = run_loop(plan, resume=True, say=lambda text: None)
    assert same(records[-1], straight[1][-1])
    assert [record["kept"] for record in records] == [record["kept"] for record in straight[1]]


def test_a_finished_loop_can_be_lengthened_and_no_other_goes_on_with_it(straight: Any, model: Path) -> None:
    plan, records = straight
    assert run_loop(plan, resume=True, say=lambda text: None) == records
    other = dataclasses.replace(plan, epochs=2.0, rules=Rules(correct=True))
    with pytest.raises(StoredEpisodesError, match="differs in epochs, rules"):
        run_loop(other, resume=True, say=lambda text: None)


def test_where_nothing_is_kept_the_model_stays_as_it_is(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    records = run_loop(plan_of(tmp_path, model, rules=Rules(min_return=9.0), rounds=1), say=said.append)
    assert records[0]["kept"] == 0 and records[0]["model"] == str(model) and records[0]["after"] is None
    assert "return too low" in said[-1] and "the model stays as it is" in said[-1]


def test_with_a_method_the_acting_run_learns_as_well(model: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path, max_steps=1, method="grpo")
    plan = plan_of(tmp_path, model, config=config, learns_while_acting=True, rounds=1)
    run_loop(plan, say=lambda text: None)
    acted = sorted((plan.folder / "round-01" / "act" / "checkpoints").glob("step-*"))[-1]
    assert not same({"model": str(acted)}, {"model": str(model)})


def test_the_commands_from_a_run_to_an_imitating_run_and_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_random_model(tmp_path / "start")
    short = [*SHORT_RUN, "--max-turns", "2", "--test-episodes", "0", "--device", "cpu"]
    train = ["train", "--model", "start", "--method", "grpo", "--log-tokens", "all", "--output-dir", "run"]
    assert main([*train, *short]) == 0
    assert main(["curate", "run", "--out", "kept"]) == 0
    sft = ["sft", "kept", "--model", "run", "--output-dir", "imitated", "--episodes-per-step", "5", "--epochs", "2"]
    few = ["--eval-episodes", "2", "--test-episodes", "0", "--num-mini-batches", "1", "--device", "cpu"]
    assert main([*sft, *few]) == 0
    said = capsys.readouterr().out
    # Two iterations of four episodes, two passes: eight episodes, five in each of four iterations, to the end of both.
    assert "8 episodes of sdar/Household-v0, 5 in each of 4 iterations" in said
    config = yaml.safe_load((tmp_path / "imitated" / "config.yaml").read_text())
    wanted = {"method": "rft", "max_steps": 4, "env_kwargs": {"size": "small", "horizon": 3}, "max_turns": 2}
    assert wanted.items() <= config.items()
    capsys.readouterr()
    assert main([*sft, "--method", "grpo"]) == 2 and "method rft" in capsys.readouterr().err
    assert main(["sft", "kept", "--output-dir", "x"]) == 2 and "--model RUN" in capsys.readouterr().err
    words = ["loop", "--model", "run", "--rounds", "1", "--output-dir", "loops", *short]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "round 1 of 1: act" in out and "tokens sampled" in out and "loop.json" in out
    assert main(words) == 2 and "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
