"""Runs with real weights: the three worlds, both contexts, a resume, and every method on a mixed group."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.base import Turn
from trainers.config import SDARConfig
from trainers.engine.checkpoint import CheckpointStore
from trainers.methods import METHODS
from trainers.rollout.dynamic_sampling import Resampled
from trainers.rollout.rows import build_rows
from trainers.trainer import SDARTrainer

pytestmark = pytest.mark.pretrained

WORLDS = ("sdar/Household-v0", "sdar/WebShop-v0", "sdar/SearchQA-v0")


def config(folder: Path, **changes: Any) -> SDARConfig:
    """Two episodes of two turns, one step of plain gradient descent without a reference, in bounded memory."""
    chosen: dict[str, Any] = {
        "output_dir": str(folder / "run"),
        "env_kwargs": {"size": "small"},
        "max_steps": 1,
        "tasks_per_step": 1,
        "num_generations": 2,
        "max_turns": 2,
        "max_completion_length": 8,
        "max_prompt_length": 1200,
        "teacher_budget": 300,
        "prompt_style": "compact",
        "context": "transcript",
        "list_actions": False,
        "beta": 0.0,
        "distill_coef": 0.1,
        "learning_rate": 1e-2,
        "optim": "sgd",
        "micro_batch_tokens": 512,
        "eval_before": False,
        "eval_steps": 0,
        "eval_episodes": 2,
        "test_episodes": 0,
        "save_steps": 0,
        "device": "cpu",
        "bf16": False,
    }
    return SDARConfig(**{**chosen, **changes})


def read_ids(turns: Sequence[Turn]) -> list[int]:
    """All ids of a row's turns in the order in which they were read and written."""
    ids: list[int] = []
    for turn in turns:
        tokens = turn.action.tokens
        assert tokens is not None
        ids += [*tokens.prompt_ids, *tokens.completion_ids]
    return ids


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("world", WORLDS)
def test_an_iteration_in_every_world_and_context(world: str, context: str, smollm2: Path, tmp_path: Path) -> None:
    trainer = SDARTrainer(str(smollm2), world, config(tmp_path, method="sdar", context=context))
    collected: list[Resampled] = []
    own = trainer.collector.collect
    trainer.collector.collect = lambda plan: collected.append(own(plan)) or collected[-1]  # type: ignore[method-assign]
    metrics = trainer.iteration()
    trainer.collector.close()
    # Rows are what was read and sampled: one per turn in a window, one per episode in a transcript.
    rows = build_rows(collected[0].rollouts)
    episodes = [rollout.episode for rollout in collected[0].rollouts]
    if context == "transcript":
        assert [list(row.student.ids) for row in rows] == [read_ids(episode.turns) for episode in episodes]
    else:
        assert [list(row.student.ids) for row in rows] == [read_ids([t]) for e in episodes for t in e.turns]
    # Sampler and trainer agree on them, and the teacher's side was read.
    assert metrics["sampling/logp_diff_max"] < 1e-4
    assert metrics["distill/share_read"] == 1.0 and metrics["distill/weight"] > 0
    assert math.isfinite(metrics["loss"]) and metrics["updates_skipped"] == 0.0 and metrics["grad_norm"] > 0


def test_a_run_that_is_resumed_ends_with_the_same_weights_in_files_of_transformers(
    smollm2: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def run(folder: Path, steps: int, *, resume: bool = False) -> Path:
        options = config(folder, method="sdar", max_steps=steps, save_steps=1, save_total_limit=1)
        trainer = SDARTrainer(str(smollm2), WORLDS[0], options)
        trainer.train(resume_from_checkpoint=resume)
        checkpoint = CheckpointStore(folder / "run" / "checkpoints").newest()
        assert checkpoint is not None and checkpoint.step == steps
        return checkpoint.path

    whole = AutoModelForCausalLM.from_pretrained(run(tmp_path / "whole", 2)).state_dict()
    run(tmp_path / "cut", 1)
    path = run(tmp_path / "cut", 2, resume=True)
    resumed = AutoModelForCausalLM.from_pretrained(path)
    initial = AutoModelForCausalLM.from_pretrained(smollm2).state_dict()
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, whole[name]), name
    assert any(not torch.equal(tensor, initial[name]) for name, tensor in whole.items())
    assert resumed.generation_config.eos_token_id == [2]
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(smollm2).chat_template


# From the warm model: groups in which some episodes win and some do not.


def warm_config(folder: Path, seed: int, **changes: Any) -> SDARConfig:
    """A group of four whole episodes and one step of AdamW."""
    own = {"num_generations": 4, "max_turns": 10, "max_completion_length": 16, "optim": "adamw"}
    return config(folder, seed=seed, **{**own, "learning_rate": 1e-5, **changes})


def mixed_group(warm: Path, folder: Path, method: str) -> tuple[int, Resampled]:
    """The first seed whose group is mixed under the prompt that a method acts under, and its episodes."""
    for seed in range(8):
        trainer = SDARTrainer(str(warm), WORLDS[0], warm_config(folder, seed, method=method))
        plan = trainer.method.at(0, trainer.args)
        # Some methods read how much of the plan is left, so that is known of these episodes, too.
        trainer.collector.privileged_turns = lambda plan: "every"  # type: ignore[method-assign]
        resampled = trainer.collector.collect(plan)
        trainer.collector.close()
        if len({rollout.episode.success for rollout in resampled.rollouts}) == 2:
            return seed, resampled
    pytest.fail("eight groups of four, and none in which some episodes win and some do not: the model is not warm")


@pytest.fixture(scope="module")
def groups(warm_smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Resampled]]:
    folder = tmp_path_factory.mktemp("groups")
    return {view: mixed_group(warm_smollm2, folder, method) for view, method in
            (("plain", "grpo"), ("privileged", "skill-grpo"))}  # fmt: skip


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.learns])
def test_every_method_learns_from_a_mixed_group(method: str, groups: Any, warm_smollm2: Path, tmp_path: Path) -> None:
    seed, resampled = groups[METHODS[method].student_view]
    trainer = SDARTrainer(str(warm_smollm2), WORLDS[0], warm_config(tmp_path, seed, method=method))
    trainer.collector.collect = lambda plan: copy.deepcopy(resampled)  # type: ignore[method-assign]
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    metrics = trainer.iteration()
    assert metrics["groups"] == 1.0 and metrics["groups/flat_share"] == 0.0
    assert metrics["malformed_share"] < 0.5
    assert metrics["tokens/learned"] > 0 and metrics["updates_skipped"] == 0.0
    assert math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"]) and metrics["grad_norm"] > 0
    assert any(not torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())


def test_the_warm_model_plays_in_form_and_reads_the_privileged_prompt(warm_smollm2: Path, tmp_path: Path) -> None:
    """Sixteen tasks of ``valid``: too few for a rate, enough to see that answers are actions."""
    from agents.base import Parse

    trainer = SDARTrainer(str(warm_smollm2), WORLDS[0], warm_config(tmp_path, 0, method="sdar", eval_episodes=16))
    measured = {view: trainer.evaluate("valid", view=view) for view in ("plain", "privileged")}
    for found in measured.values():
        turns = [turn for rollout in found.rollouts for turn in rollout.episode.turns]
        assert sum(turn.action.parse is not Parse.OK for turn in turns) < 0.05 * len(turns)
    assert measured["privileged"].overall.wins >= 1
