"""Every pass over given tokens goes through the forward of a root module: what shards or copies a model hooks that."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from random_models import tiny_model

from agents.base import Action, Episode, Turn, TurnTokens, View
from sdar_envs.privileged import Privileged, StudentView
from trainers.batch.row import SampledRow
from trainers.batch.token_batch import micro_batches, mini_batches
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.forward import logprobs
from trainers.forward.root import PolicyModel
from trainers.methods import METHODS, IterationPlan, weigh
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.rows import build_rows
from trainers.scoring.scorer import Scorer

CONFIG = SDARConfig(
    beta=0.1,
    distill_coef=0.5,
    learning_rate=1e-2,
    device="cpu",
    bf16=False,
    gradient_checkpointing=False,
    micro_batch_tokens=30,
    num_mini_batches=2,
    num_iterations=2,
)


@dataclasses.dataclass
class Reading:
    """What a teacher made of a row."""

    view: View
    block_tokens: int = 2
    history_cut: int = 0
    complete: bool = True


class Reader:
    """Puts two ids in front of the prompt."""

    def read(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> Reading:
        (turn,) = turns
        assert turn.action.tokens is not None
        own = turn.action.tokens
        ids = [7, 8, *own.prompt_ids, *own.completion_ids]
        return Reading(View(ids, list(range(len(ids) - len(own.completion_ids), len(ids)))))


def stories(count: int = 6) -> list[Rollout]:
    """Episodes of one turn and of growing length."""
    rollouts = []
    for number in range(count):
        prompt, said = tuple(range(1, 4 + number)), tuple(range(10, 14 + 2 * number))
        tokens = TurnTokens(prompt, False, said, (-3.0,) * len(said), (0.5,) * len(said))
        turn = Turn(StudentView("x"), Action("go", "go", tokens=tokens), float(number % 2), True)
        episode = Episode("env", f"task {number // 2}", "kind", (), [turn])
        rollouts.append(Rollout(episode, TaskDraw(f"task {number // 2}", (), number // 2), [Privileged({})]))
    return rollouts


@dataclasses.dataclass(frozen=True)
class Pass:
    """One forward of a root."""

    root: str
    learns: bool
    keeps_hidden: bool


class Watch:
    """Counts the passes of roots, and refuses a decoder or a head that is called outside of them.

    A head that is called in a backward pass is one that a checkpointed chunk computes again; those are counted.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **roots: PolicyModel) -> None:
        self.passes: list[Pass] = []
        self.recomputed = 0
        self._inside = 0
        self._backward = 0
        self._guarded = [root.head for root in roots.values()]
        decoders = [root.language_model.get_decoder() for root in roots.values()]
        for name, root in roots.items():
            root.register_forward_pre_hook(functools.partial(self._enter, name), with_kwargs=True)
            root.register_forward_hook(self._leave, always_call=True)
        # On the classes, so that a forward that is called past `__call__` is seen, too.
        for kind, guarded in ((type(decoders[0]), decoders), (type(self._guarded[0]), self._guarded)):
            monkeypatch.setattr(kind, "forward", self._guard(kind.forward, guarded))
        monkeypatch.setattr(torch.Tensor, "backward", self._in_backward(torch.Tensor.backward))

    def _enter(self, name: str, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self._inside += 1
        self.passes.append(Pass(name, torch.is_grad_enabled(), bool(kwargs.get("keep_hidden"))))

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        self._inside -= 1

    def _guard(self, forward: Any, guarded: list[Any]) -> Any:
        @functools.wraps(forward)
        def watched(module: Any, *args: Any, **kwargs: Any) -> Any:
            if any(module is each for each in guarded):
                assert self._inside or self._backward, f"{type(module).__name__} was called outside of a root's forward"
                self.recomputed += not self._inside
            return forward(module, *args, **kwargs)

        return watched

    def _in_backward(self, backward: Any) -> Any:
        @functools.wraps(backward)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._backward += 1
            try:
                return backward(*args, **kwargs)
            finally:
                self._backward -= 1

        return watched

    def taken(self) -> list[Pass]:
        """The passes since this was asked last."""
        passes, self.passes = self.passes, []
        return passes


def watched_parts(config: SDARConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[Watch, Scorer, Updater]:
    engine = SingleProcess.of(config)
    policy = engine.prepare(tiny_model())
    reference = engine.frozen(policy)
    watch = Watch(monkeypatch, policy=policy, reference=reference)
    readers = dict.fromkeys(METHODS[config.method].teacher_views, Reader())
    return watch, Scorer(policy, reference, config, engine, 0, readers), Updater(policy, config, engine, 0)


def batches(views: Sequence[View], config: SDARConfig) -> int:
    return len(micro_batches([len(view.ids) for view in views], config.micro_batch_tokens))


def config_of(name: str, **options: Any) -> tuple[SDARConfig, IterationPlan]:
    config = dataclasses.replace(CONFIG, method=name, **options)
    return config, METHODS[name].at(0, config)


def relabelled(rows: list[SampledRow]) -> list[SampledRow]:
    """The rows, the last three without log-probs: as if they had been given another prompt."""
    return [*rows[:-3], *(dataclasses.replace(row, behaviour_logprobs_T=(), entropies_T=()) for row in rows[-3:])]


@pytest.mark.parametrize("top_k", [0, 3])
@pytest.mark.parametrize("name", ["sdar", "opsd-full", "gated-full", "grpo"])
@pytest.mark.parametrize("chunked", [False, True])
def test_every_pass_over_tokens_goes_through_a_root(
    name: str, top_k: int, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chunked:
        monkeypatch.setattr(logprobs, "CHUNKED_VOCABULARY", 1)
    config, plan = config_of(name, divergence_top_k=top_k, logprob_chunk=4)
    watch, scorer, updater = watched_parts(config, monkeypatch)
    rollouts = stories()
    rows = relabelled(build_rows(rollouts))
    students = [row.student for row in rows]

    # Relabelled rows, the reference, and the teacher: its log-probs alone, or whole distributions.
    scored, _ = scorer.score(rows, rollouts, plan)
    told = [row.teachers["teacher"] for row in scored if row.teachers]
    assert len(told) == (len(rows) if plan.reads_teacher else 0)
    whole = plan.reads_vocabulary
    assert watch.taken() == [
        *[Pass("policy", False, False)] * batches(students[-3:], config),
        *[Pass("reference", False, False)] * batches(students, config),
        *[Pass("policy", False, whole and top_k == 0)] * batches(told, config),
    ]
    assert batches(students[-3:], config) > 1 and watch.recomputed == 0
    assert all((row.teacher_tokens is not None) is whole for row in scored)

    # The log.
    advantages = {row.index: [1.0 - row.index % 2] * len(row) for row in scored}
    weighed = weigh(plan, scored, advantages, mask_truncated=False)
    assert watch.taken() == []
    scorer.columns(weighed, plan)
    assert watch.taken() == [Pass("policy", False, False)] * batches(students, config)

    # The update: micro-batches of mini-batches, twice.
    updater.update(weighed, plan)
    steps = [part for repeat in range(2) for part in mini_batches(weighed, 2, key=(plan.seed, plan.step, repeat))]
    assert len(steps) == updater.counters.updates == 4
    assert watch.taken() == [Pass("policy", True, False)] * sum(
        batches([row.student for row in part], config) for part in steps
    )
    assert (watch.recomputed > 0) is chunked  # chunks of the head are computed again in the backward pass


def test_a_decoder_or_a_head_that_is_called_past_the_root_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = config_of("sdar")
    watch, scorer, _ = watched_parts(config, monkeypatch)
    model, ids = scorer.root.language_model, torch.tensor([[1, 2, 3]])
    for call in (
        lambda: model.get_decoder()(input_ids=ids),
        lambda: model.get_decoder().forward(input_ids=ids),
        lambda: scorer.root.head(torch.zeros(1, 16)),
        lambda: model(input_ids=ids),
    ):
        with pytest.raises(AssertionError, match="outside of a root's forward"):
            call()
    assert watch.passes == []


def test_a_pass_that_fails_leaves_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = config_of("sdar")
    watch, scorer, _ = watched_parts(config, monkeypatch)
    with pytest.raises(ValueError, match="at least one view"):
        scorer.root([], temperature=1.0, pad_id=0)
    with pytest.raises(AssertionError, match="outside of a root's forward"):
        scorer.root.head(torch.zeros(1, 16))
    assert len(watch.passes) == 1
