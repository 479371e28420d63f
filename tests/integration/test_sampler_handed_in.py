"""A sampler that a user hands in: everything that a run samples comes through it, with parameters as they are then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted_agents import ParityEnv, ParityWorld
from small_runs import save_model, small_config, weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.chat import end_ids
from agents.rendering import ChatRenderer
from agents.sampling.base import Sample, Sampler, SampleRequest, SampleStream
from agents.sampling.batched_stream import BatchedStream
from agents.sampling.local import BatchSampler
from trainers.evaluation.evaluate import Evaluation
from trainers.rollout.collect import Rollout
from trainers.trainer import SDARTrainer

OPTIONS: dict[str, Any] = {"method": "sdar", "eval_steps": 1, "test_episodes": 3, "save_steps": 1}


class RecordingSampler:
    """A `BatchSampler` that remembers what it was asked, what it answered, and when it was told of new parameters."""

    def __init__(self, inner: BatchSampler) -> None:
        self.inner = inner
        self.samples: list[tuple[SampleRequest, Sample]] = []
        self.synced: list[tuple[int, float]] = []  # version, and a sum over the parameters at that moment
        self.events: list[tuple[str, int]] = []  # what happened, in order; a sample counts with its version

    @property
    def exact_draws(self) -> bool:
        return self.inner.exact_draws

    @property
    def engine(self) -> str:
        return self.inner.engine

    @property
    def dtype(self) -> str:
        return self.inner.dtype

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        samples = self.inner.sample(requests)
        self.samples += zip(requests, samples, strict=True)
        for request, sample in zip(requests, samples, strict=True):
            self.events.append((str(request.draw[0]), sample.version))
        return samples

    def stream(self) -> SampleStream:
        return BatchedStream(self)

    def length(self, slot: int) -> int:
        return self.inner.length(slot)

    def release(self, slots: Sequence[int]) -> None:
        self.inner.release(slots)

    def sync_weights(self, model: Any, version: int) -> None:
        self.inner.sync_weights(model, version)
        total = sum(float(parameter.detach().double().abs().sum()) for parameter in model.parameters())
        self.synced.append((version, total))
        self.events.append(("sync", version))


def make(folder: Path, env: Any = ParityWorld, *, callbacks: Sequence[Any] = (), **options: Any) -> Any:
    """A trainer of a fresh copy of the random model, and its sampler."""
    path = folder / "model"
    if not path.exists():
        save_model(path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    config = small_config(folder, **{**OPTIONS, **options})
    renderer = ChatRenderer(tokenizer)
    sampler = RecordingSampler(
        BatchSampler(
            model,
            end_ids=end_ids(renderer, model),
            pad_id=renderer.pad_id,
            max_completion_length=config.max_completion_length,
            max_context=config.max_prompt_length + config.teacher_budget + config.max_completion_length,
        )
    )
    trainer = SDARTrainer(model, env, config, processing_class=tokenizer, sampler=sampler, callbacks=callbacks)
    return trainer, sampler


class KeepRollouts:
    """Remembers the episodes of training."""

    def __init__(self) -> None:
        self.rollouts: list[Rollout] = []

    def on_rollout_end(self, args: Any, state: Any, control: Any, rollouts: Any = None, **kwargs: Any) -> None:
        self.rollouts += rollouts


def completions(rollouts: Sequence[Rollout]) -> list[tuple[int, ...]]:
    actions = [turn.action for rollout in rollouts for turn in rollout.episode.turns]
    return [action.tokens.completion_ids for action in actions if action.tokens is not None]


def test_one_sampler_serves_student_evaluator_and_privileged_prompt_policy(tmp_path: Path) -> None:
    trainer, sampler = make(tmp_path)
    assert isinstance(sampler, Sampler)
    policies = trainer.policies
    for agent in (policies.student, policies.evaluator, policies.privileged_policy):
        assert agent.sampler is sampler
    assert policies.sampler is sampler


def test_every_completion_of_a_run_came_through_it(tmp_path: Path) -> None:
    kept = KeepRollouts()
    trainer, sampler = make(tmp_path, callbacks=[kept])
    played: dict[str, list[Rollout]] = {"plain": [], "privileged": []}
    student, teacher = trainer.monitor.student, trainer.monitor.teacher

    def remember(view: str, evaluation: Evaluation) -> Evaluation:
        played[view] += evaluation.rollouts
        return evaluation

    trainer.monitor.student = lambda *a, **k: remember("plain", student(*a, **k))
    trainer.monitor.teacher = lambda *a, **k: remember("privileged", teacher(*a, **k))
    trainer.train()
    trained, plain, privileged = (completions(each) for each in (kept.rollouts, played["plain"], played["privileged"]))
    # Two iterations of twelve episodes; the watched set of four at 0, 1 and 2, and three of test before and after.
    assert len(kept.rollouts) == 24 and len(played["plain"]) == 3 * 4 + 2 * 3 and len(played["privileged"]) == 3 * 4
    assert sorted(trained + plain + privileged) == sorted(sample.ids for _, sample in sampler.samples)
    of_training = [sample.ids for request, sample in sampler.samples if request.draw[0] == "train"]
    assert sorted(trained) == sorted(of_training)


def test_the_privileged_prompt_reaches_it_in_the_privileged_evaluation_alone(tmp_path: Path) -> None:
    class Telling(ParityWorld):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.secret = "canary-4711 "

    trainer, sampler = make(tmp_path, Telling, privilege="hints")

    def shown() -> list[bool]:
        decode = trainer.processing_class.decode
        found = ["canary-4711" in decode(list(r.prompt_ids)) for r, _ in sampler.samples if not r.continues]
        sampler.samples.clear()
        return found

    trainer.evaluate()
    assert not any(told := shown()) and len(told) == 4
    trainer.iteration()
    assert not any(told := shown()) and len(told) == 12
    trainer.evaluate(view="privileged")
    assert all(told := shown()) and len(told) == 4


def test_it_is_told_of_new_parameters_after_every_update_and_before_what_they_sample(tmp_path: Path) -> None:
    trainer, sampler = make(tmp_path)
    trainer.train()
    assert [version for version, _ in sampler.synced] == [0, 1, 2]
    assert len({total for _, total in sampler.synced}) == 3  # told when they had changed, not before
    phases = list(dict.fromkeys(sampler.events))
    assert phases == [
        ("sync", 0),
        ("panel", 0),
        ("train", 0),
        ("sync", 1),
        ("panel", 1),
        ("train", 1),
        ("sync", 2),
        ("panel", 2),
    ]


def test_the_version_of_samples_is_the_number_of_iterations_done(tmp_path: Path) -> None:
    trainer, sampler = make(tmp_path, max_steps=3)
    trainer.train()
    versions = [sample.version for _, sample in sampler.samples]
    assert versions == sorted(versions) and set(versions) == {0, 1, 2, 3}
    for request, sample in sampler.samples:
        if request.draw[0] == "train":
            assert sample.version == request.draw[2]  # ("train", seed, iteration, ...)


def test_evaluate_by_hand_tells_it_first(tmp_path: Path) -> None:
    trainer, sampler = make(tmp_path)
    trainer.evaluate()
    assert sampler.events[0] == ("sync", 0) and sampler.events[1] == ("panel", 0)
    trainer.iteration()
    trainer.state.step += 1
    trainer.evaluate()
    assert [version for version, _ in sampler.synced] == [0, 1, 1]
    assert sampler.events[-1] == ("panel", 1)


def test_a_resumed_run_tells_it_the_version_of_its_checkpoint(tmp_path: Path) -> None:
    trainer, _ = make(tmp_path, max_steps=2)
    trainer.train()
    resumed, sampler = make(tmp_path, max_steps=3)
    resumed.train(resume_from_checkpoint=True)
    assert [version for version, _ in sampler.synced] == [2, 3]
    assert {sample.version for request, sample in sampler.samples if request.draw[0] == "train"} == {2}


@pytest.mark.parametrize("env", [ParityWorld, ParityEnv])
def test_a_sampler_like_the_runs_own_leaves_the_run_as_it_is_to_the_last_bit(tmp_path: Path, env: Any) -> None:
    method = "sdar" if env is ParityWorld else "grpo"
    results = []
    for handed_in in (True, False):
        folder = tmp_path / str(handed_in)
        folder.mkdir()
        trainer, sampler = make(folder, env, method=method)
        if not handed_in:
            trainer = SDARTrainer(str(folder / "model"), env, trainer.args)
            assert isinstance(trainer.policies.sampler, BatchSampler)
        trainer.train()
        assert bool(sampler.samples) == handed_in
        results.append(weights(trainer))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_stop_texts_end_completions_in_training_and_evaluation_and_leave_the_digest_alone(tmp_path: Path) -> None:
    import dataclasses

    from small_runs import make_trainer, small_config

    trainer = make_trainer(tmp_path, stop=("a", "e"), max_steps=1)
    assert {agent.stop for agent in (trainer.policies.student, trainer.policies.evaluator)} == {("a", "e")}
    rollouts = trainer.collector.collect(trainer.method.at(0, trainer.args)).rollouts
    texts = [turn.action.completion for rollout in rollouts for turn in rollout.episode.turns]
    assert any(text.endswith(("a", "e")) for text in texts)
    # A stop text stands at the end of a completion (within its last token), or nowhere in it.
    longest = max(len(str(trainer.processing_class.decode([i]))) for i in range(len(trainer.processing_class)))
    assert all(not set("ae") & set(text[:-longest]) for text in texts)
    plain = small_config(tmp_path)
    assert plain.digest() == dataclasses.replace(plain, stop=()).digest()
    assert plain.digest() != dataclasses.replace(plain, stop=("a",)).digest()
    again = tmp_path / "stop.yaml"
    trainer.args.to_yaml(again)
    assert type(plain).from_yaml(again).stop == ("a", "e")
