"""Runs that train adapters: what they hold, what they write, and that they go on where they stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from scripted_agents import ParityWorld
from short_runs import ENV_ID, SHORT_RUN, save_random_model
from small_runs import make_trainer, save_model, weights

from trainers.cli import main
from trainers.engine.adapters import AdapterError, adapted_layers, adapters_off
from trainers.engine.single import load_model
from trainers.evaluation.health import judge
from trainers.forward.passes import score_rows
from trainers.methods import METHODS
from trainers.run.directory import RunDirectoryError, read_json_lines
from trainers.trainer import SDARTrainer

pytest.importorskip("peft")

LORA: dict[str, Any] = {"lora": True, "lora_rank": 4, "learning_rate": 5e-2}
LEARNING = sorted(name for name, method in METHODS.items() if method.learns)


def bytes_held(*owners: Any) -> int:
    """Bytes of all distinct parameters that modules hold."""
    return sum({p.data_ptr(): p.numel() * p.element_size() for m in owners for p in m.parameters()}.values())


def base_weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights(trainer).items() if "lora_" not in name}


def views_of(trainer: Any) -> list[Any]:
    """The student's rows of one iteration."""
    from trainers.rollout.rows import build_rows

    plan = trainer.method.at(0, trainer.args)
    return [row.student for row in build_rows(trainer.collector.collect(plan).rollouts)]


def score(trainer: Any, root: Any, views: list[Any]) -> list[list[float]]:
    return score_rows(root, views, temperature=1.0, pad_id=trainer.policies.renderer.pad_id, token_budget=2000)


@pytest.mark.parametrize("method", LEARNING)
def test_every_method_makes_an_update_of_the_adapters_alone(tmp_path: Path, method: str) -> None:
    trainer = make_trainer(tmp_path, ParityWorld, method=method, beta=0.05, max_steps=1, **LORA)
    before, base = weights(trainer), base_weights(trainer)
    metrics = trainer.iteration()
    after = weights(trainer)
    assert all(torch.equal(base[name], after[name]) for name in base)
    moved = [name for name in after if not torch.equal(before[name], after[name])]
    learned = metrics["tokens/learned"] > 0 and metrics["grad_norm"] > 0
    assert bool(moved) == learned and all("lora_" in name for name in moved)
    assert metrics["sampling/logp_diff_max"] < 1e-4  # the sampler samples with the adapters on


def test_in_windows_the_sampler_has_the_adapters_on_too(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", beta=0.05, context="window", **LORA)
    for step in range(3):
        trainer.state.step = step
        metrics = trainer.iteration()
    assert metrics["adapter/change"] > 0.05 and 0.0 < metrics["sampling/logp_diff_max"] < 1e-4


def test_the_reference_is_the_same_weights_with_the_adapters_off(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path, method="sdar", beta=0.05)
    assert bytes_held(whole.root, whole.scorer.reference.root) == 2 * bytes_held(whole.root)
    trainer = make_trainer(tmp_path, method="sdar", beta=0.05, **LORA)
    reference = trainer.scorer.reference
    assert bytes_held(trainer.root, reference.root) == bytes_held(trainer.root)
    views = views_of(trainer)
    initial = score(trainer, whole.root, views)
    for _ in range(2):
        trainer.iteration()
        trainer.state.step += 1
    assert score(trainer, trainer.root, views) != initial
    assert trainer.scorer._pass(reference, views) == initial
    with adapters_off(trainer.model):
        assert score(trainer, trainer.root, views) == initial


def test_without_a_kl_no_reference_is_held(tmp_path: Path) -> None:
    for options in ({}, LORA):
        assert make_trainer(tmp_path, method="sdar", beta=0.0, **options).scorer.reference is None


def test_the_kl_to_the_initial_policy_is_0_before_the_first_update_and_then_grows(tmp_path: Path) -> None:
    make_trainer(tmp_path, method="grpo", beta=0.05, max_steps=3, **LORA).train()
    logged = [record["kl"] for record in read_json_lines(tmp_path / "run" / "metrics.jsonl") if "kl" in record]
    assert abs(logged[0]) < 1e-6 and logged[-1] > 1e-4


class StopAfter:
    """Ends a run after so many iterations."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


@pytest.mark.parametrize("bf16", [False, True])
def test_checkpoints_hold_adapters_alone_and_a_run_goes_on_to_the_last_bit(tmp_path: Path, bf16: bool) -> None:
    options = {"method": "sdar", "beta": 0.05, "max_steps": 4, "save_steps": 2, "bf16": bf16, **LORA}
    (tmp_path / "straight").mkdir()
    straight = make_trainer(tmp_path / "straight", **options)
    straight.train()
    make_trainer(tmp_path, trainer={"callbacks": [StopAfter(2)]}, **options).train()
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    assert {"adapter_model.safetensors", "adapter_config.json", "base_model.json", "optimizer.safetensors"} <= {
        path.name for path in checkpoint.iterdir()
    }
    assert not (checkpoint / "model.safetensors").exists() and not (checkpoint / "config.json").exists()
    resumed = make_trainer(tmp_path, **options)
    resumed.train(resume_from_checkpoint=True)
    final = weights(straight)
    assert all(torch.equal(final[name], tensor) for name, tensor in weights(resumed).items())


def test_a_resume_on_another_base_model_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=1, **LORA).train()
    other = make_trainer(tmp_path, output_dir=str(tmp_path / "other"))
    other.model.get_input_embeddings().weight.data.add_(1.0)
    other.save_model(tmp_path / "model")
    with pytest.raises(RunDirectoryError, match="differs in initial_weights"):
        make_trainer(tmp_path, max_steps=2, **LORA).train(resume_from_checkpoint=True)
    with pytest.raises(AdapterError, match="were trained on another model"):
        load_model(tmp_path / "run" / "checkpoints" / "step-00000001")


def test_a_run_is_evaluated_exported_and_begun_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM

    gym.register("toy/LoraParity-v0", ParityWorld)
    trainer = make_trainer(tmp_path, "toy/LoraParity-v0", max_steps=2, **LORA)
    trainer.train()
    views = views_of(trainer)
    wanted = score(trainer, trainer.root, views)

    def apart(model: Any) -> float:
        from trainers.forward.root import PolicyModel

        found = score(trainer, PolicyModel(model.eval()), views)
        return max(abs(a - b) for x, y in zip(found, wanted, strict=True) for a, b in zip(x, y, strict=True))

    run = str(tmp_path / "run")
    assert main(["eval", run, "--episodes", "4", "--json", str(tmp_path / "eval.json")]) == 0
    assert main(["export-model", run, "--output", str(tmp_path / "merged")]) == 0
    assert main(["export-model", run, "--adapter", "--output", str(tmp_path / "adapter")]) == 0
    assert "adapters merged in, of iteration 2" in capsys.readouterr().out
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert not adapted_layers(merged) and apart(merged) < 1e-5
    assert apart(load_model(tmp_path / "adapter")[0]) == 0.0
    # Another run begins from the adapters: they become part of its whole weights.
    further = SDARTrainer(
        str(tmp_path / "adapter"), ParityWorld, make_trainer(tmp_path, output_dir=str(tmp_path / "further")).args
    )
    assert not adapted_layers(further.model) and apart(further.model) < 1e-5
    assert main(["export-model", run, "--output", str(tmp_path / "merged")]) == 2
    assert "is there already" in capsys.readouterr().err
    further.train()
    assert main(["export-model", str(tmp_path / "further"), "--adapter", "--output", str(tmp_path / "no")]) == 2
    assert "has no adapters" in capsys.readouterr().err


def test_the_learning_rate_of_adapters_is_ten_times_that_of_whole_weights_unless_one_is_given() -> None:
    from trainers.cli.setup import resolve_setup
    from trainers.config import SDARConfig

    assert (SDARConfig().learning_rate, SDARConfig(lora=True).learning_rate) == (1e-6, 1e-5)
    assert SDARConfig(lora=True, learning_rate=1e-6).learning_rate == 1e-6
    rate = SDARConfig.preset("household-qwen").learning_rate
    assert SDARConfig.preset("household-qwen", lora=True).learning_rate == pytest.approx(10 * rate)
    assert SDARConfig.preset("household-qwen", lora=True, learning_rate=2e-6).learning_rate == 2e-6
    from trainers.cli import command_parser

    parser, _ = command_parser("train")
    words = ["--preset", "household-qwen", "--lora"]
    assert resolve_setup(parser.parse_args(words)).config.learning_rate == pytest.approx(10 * rate)
    assert resolve_setup(parser.parse_args([*words, "--learning-rate", "3e-6"])).config.learning_rate == 3e-6


def test_layers_that_the_model_has_not_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    with pytest.raises(AdapterError, match="whose name ends in c_attn"):
        make_trainer(tmp_path, lora=True, lora_targets=("c_attn",))
    assert not (tmp_path / "run").exists()


def test_rank_alpha_and_targets_reach_the_layers(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, lora=True, lora_rank=2, lora_alpha=3.0, lora_targets=("v_proj",))
    layers = adapted_layers(trainer.model)
    assert layers and all(name.endswith("v_proj") for name in layers)
    assert {layer.lora_A["default"].weight.shape[0] for layer in layers.values()} == {2}
    assert {layer.scaling["default"] for layer in layers.values()} == {1.5}
    trainer.save_model(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "adapter_config.json").read_text())["target_modules"] == ["v_proj"]


def test_a_rate_at_which_adapters_learn_nothing_is_found(tmp_path: Path) -> None:
    found = {}
    for rate in (1e-6, 1e-2):
        options = {"method": "sdar", "max_steps": 3, "health_patience": 1, "lora": True, "learning_rate": rate}
        trainer = make_trainer(tmp_path, **options, output_dir=str(tmp_path / f"run-{rate}"))
        metrics = []
        for step in range(2):
            trainer.state.step = step
            metrics.append(trainer.iteration())
        # Straight on, at a constant rate: half as much again as after two of three iterations.
        assert metrics[1]["adapter/change_at_end"] == pytest.approx(1.5 * metrics[1]["adapter/change"])
        assert 0.0 < metrics[0]["adapter/change"] < metrics[1]["adapter/change"]
        found[rate] = judge(metrics[1], trainer.args, reads_groups=False)
    assert "adapters_still" in found[1e-6] and "adapters_still" not in found[1e-2]
    assert "raise learning_rate" in found[1e-6]["adapters_still"]


def test_the_command_says_what_learns_and_at_which_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_random_model(tmp_path / "model")
    words = ["train", "--env", ENV_ID, "--model", str(model), "--lora", "--lora-rank", "4", *SHORT_RUN]
    words += ["--max-steps", "1"]
    assert main([*words, "--output-dir", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "rank 4, learning rate 0.007 (10 times that of whole weights)" in said
    assert "parameters of adapters learn" in said


def test_what_is_missing_is_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--env", ENV_ID, "--output-dir", str(tmp_path / "run")]
    monkeypatch.setitem(sys.modules, "peft", None)
    assert main([*words, "--lora"]) == 2 and 'pip install "sdar-gym[lora]"' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torchao", None)
    assert main([*words, "--optim", "adamw_8bit"]) == 2
    assert 'pip install "sdar-gym[adam8bit]"' in capsys.readouterr().err
    assert main([*words, "--teacher-weights", "./nowhere"]) == 2
    assert "there is no folder ./nowhere" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
