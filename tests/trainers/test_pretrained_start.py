"""A pretrained model's warm start: its steps, its demonstrations, when it stops, and what is kept of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import random_views, tiny_model
from tiny_models import CHATML, make_model, make_tokenizer

from agents.base import Parse
from agents.prompts import prompt_style
from agents.rendering import ChatRenderer
from agents.teacher import Teacher
from sdar_envs.demonstrations import Demonstration, demonstrate, script_of
from trainers.config import SDARConfig
from trainers.engine.adapters import adapted_layers
from trainers.methods import METHODS
from trainers.presets import model_family
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.policies import make_policies
from trainers.warm_start.behaviour_cloning import MEANT_FOR_PARAMETERS, Cloner, FineTuningConfig
from trainers.warm_start.demonstrations import WorldScript, demonstration_views, play_demonstrations, reason_for
from trainers.warm_start.pretrained_start import (
    Measured,
    PretrainedStartConfig,
    pretrained_start,
    pretrained_start_config,
    reasoning_of,
    start_key,
)
from trainers.warm_start.until_measured import WarmStartFailed

ENV = "sdar/Household-v0"
EXACT = FineTuningConfig(autocast="off", warmup_steps=0, max_grad_norm=1e9)
# Two steps, a measurement on two episodes that is always good, one step of decay.
SHORT = PretrainedStartConfig(
    demonstrations=8, min_steps=2, gate_every=1, decay_steps=1, max_steps=4, gate_episodes=2,
    malformed_high=1.0, student_low=0.0, teacher_lead=-2.0, tuning=EXACT,
)  # fmt: skip


def options(**changes: Any) -> SDARConfig:
    chosen: dict[str, Any] = {
        "env_kwargs": {"size": "small", "horizon": 6},
        "context": "transcript",
        "prompt_style": "compact",
        "list_actions": False,
        "max_completion_length": 8,
        "max_prompt_length": 2000,
        "teacher_budget": 300,
        "device": "cpu",
        "bf16": False,
    }
    return SDARConfig(**{**chosen, **changes})


def pretrained() -> tuple[Any, Any]:
    """A random model with a tokenizer of its own, in the place of a pretrained one."""
    tokenizer = make_tokenizer(CHATML)
    return make_model("qwen2", len(tokenizer)), tokenizer


def start(folder: Path, config: PretrainedStartConfig, **changes: Any) -> tuple[Any, dict[str, Any], list[str]]:
    lines: list[str] = []
    model, tokenizer = pretrained()
    args = options(**changes)
    warm, facts = pretrained_start(args, ENV, model, tokenizer, config=config, cache_dir=folder, report=lines.append)
    return warm, facts, lines


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


# Steps.


def test_micro_batches_add_up_to_the_gradient_of_the_whole_step() -> None:
    views = random_views(6)

    def gradients(tokens: int) -> list[torch.Tensor]:
        model = tiny_model("qwen2")
        tuning = dataclasses.replace(EXACT, batch_size=6, micro_batch_tokens=tokens)
        cloner = Cloner(model, views, tuning, key=("test",), pad_id=0)
        cloner._optimizers[0].zero_grad = lambda **_: None  # type: ignore[method-assign]
        cloner.step()
        return [parameter.grad.clone() for parameter in model.parameters()]

    for whole, parts in zip(gradients(10_000), gradients(30), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_mean_over_action_tokens_and_reads_no_observation() -> None:
    [view] = random_views(1)
    model = tiny_model("qwen2")
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([view.ids])).logits[0], dim=-1)
    wanted = -sum(float(logprobs[at - 1, view.ids[at]]) for at in view.loss_positions) / len(view.loss_positions)
    cloner = Cloner(model, [view], dataclasses.replace(EXACT, batch_size=1), key=("test",), pad_id=0)
    assert cloner.step() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("amx", "avx512_bf16"), [(True, False), (False, True), (False, False)])
def test_products_are_in_bfloat16_where_the_processor_multiplies_it(
    amx: bool, avx512_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    with FineTuningConfig().precision(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if amx or avx512_bf16 else torch.float32)


def test_only_what_requires_gradients_is_trained() -> None:
    model = tiny_model("qwen2")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layers.1" in name)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Cloner(model, random_views(4), EXACT, key=("test",), pad_id=0).step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all("layers.1" in name for name in changed)


def test_the_learning_rate_rises_over_its_first_steps() -> None:
    tuning = dataclasses.replace(EXACT, warmup_steps=4)
    cloner = Cloner(tiny_model("qwen2"), random_views(4), tuning, key=("test",), pad_id=0)
    rates = []
    for _ in range(5):
        cloner.step()
        rates.append(cloner.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([3e-4 * share for share in (0.25, 0.5, 0.75, 1.0, 1.0)])


def test_a_larger_model_gets_a_smaller_rate_and_adapters_keep_theirs() -> None:
    class Sized:
        def __init__(self, *sizes: tuple[int, bool]) -> None:
            self.sizes = sizes

        def parameters(self) -> list[Any]:
            return [
                torch.nn.Parameter(torch.empty(size, device="meta"), requires_grad=learns)
                for size, learns in self.sizes
            ]

    tuning = FineTuningConfig(learning_rate=1e-4)
    assert tuning.rate_for(Sized((1000, True))) == 1e-4  # type: ignore[arg-type]
    assert tuning.rate_for(Sized((4 * MEANT_FOR_PARAMETERS, True))) == pytest.approx(0.5e-4)  # type: ignore[arg-type]
    adapters = Sized((16 * MEANT_FOR_PARAMETERS, False), (MEANT_FOR_PARAMETERS // 100, True))
    assert tuning.rate_for(adapters) == 1e-4  # type: ignore[arg-type]


# Demonstrations.


def test_only_demonstrations_that_succeed_are_cloned() -> None:
    script = WorldScript(ENV, {"size": "small"})
    played = play_demonstrations(script, 40, 0.5, seed=0, successful=True)
    assert len(played) == 40 and all(demonstration.success for demonstration in played)
    assert not all(one.success for one in play_demonstrations(script, 40, 0.5, seed=0))


def test_an_environment_in_which_none_succeeds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any, **keywords: Any) -> Demonstration:
        return dataclasses.replace(demonstrate(*arguments, **keywords), success=False)

    monkeypatch.setattr("trainers.warm_start.demonstrations.demonstrate", failing)
    with pytest.raises(ValueError, match="40 demonstrations in a row failed"):
        play_demonstrations(WorldScript(ENV, {"size": "small"}), 1, 0.5, seed=0, successful=True)


@pytest.fixture(scope="module")
def demonstrations() -> list[Demonstration]:
    script = script_of(ENV)
    return [demonstrate(script, {"size": "small"}, key=(0, index), hinted=index % 2 == 0) for index in range(30)]


def shown_to(demonstration: Demonstration) -> list[str]:
    """The privileged context of each turn's prompt; empty without one."""
    teacher = Teacher(ChatRenderer(make_tokenizer(CHATML)), "paper", privilege="skill", budget_tokens=4000)
    pairs = zip(demonstration.privileged, demonstration.views, strict=True)
    return [teacher.block(known, view) if demonstration.hinted else "" for known, view in pairs]


def test_a_reason_quotes_what_its_own_prompt_shows_and_nothing_else(demonstrations: list[Demonstration]) -> None:
    quoting = 0
    for demonstration in demonstrations:
        for turn, (action, shown) in enumerate(zip(demonstration.actions, shown_to(demonstration), strict=True)):
            reason = reason_for(demonstration, turn, shown)
            assert reason.endswith(f"My next step is: {action}.")
            quoted = reason.partition("I was told: ")[2].partition(". The task is")[0]
            assert quoted in shown
            quoting += bool(quoted)
            assert not (quoted and not demonstration.hinted)
            assert not quoted or any(word in quoted.lower() for word in action.split() if len(word) > 2)
    assert quoting > 20


def test_a_completion_with_its_reason_is_well_formed_and_does_the_action(demonstrations: list[Demonstration]) -> None:
    style = prompt_style("paper")
    for demonstration in demonstrations:
        for turn, (action, view) in enumerate(zip(demonstration.actions, demonstration.views, strict=True)):
            said = style.completion_for(
                action, view, reason=reason_for(demonstration, turn, shown_to(demonstration)[turn])
            )
            assert said.startswith("<think>\n") and style.parse(said, False, view) == (action, Parse.OK)


def test_reasons_stand_in_the_rows_of_a_prompt_that_asks_for_thinking(demonstrations: list[Demonstration]) -> None:
    tokenizer = make_tokenizer(CHATML)
    model = make_model("qwen2", len(tokenizer), positions=9000)
    args = options(prompt_style="paper", context="window", max_prompt_length=6000, teacher_budget=2000)
    source = EnvironmentSource(ENV, args.environment_kwargs)
    policies = make_policies(model, tokenizer, args, METHODS["grpo"], source, None)
    source.close()
    assert policies.privileged_policy is not None
    for demonstration in demonstrations[:2]:
        views = demonstration_views([demonstration], policies.evaluator, policies.privileged_policy, reason=reason_for)
        assert len(views) == len(demonstration.actions)  # a row per turn
        for action, view in zip(demonstration.actions, views, strict=True):
            said = tokenizer.decode(view.sampled_ids())
            assert f"My next step is: {action}.\n</think>" in said and f"<action>{action}</action>" in said
            assert ("I was told" in said) <= demonstration.hinted


@pytest.mark.parametrize(
    ("style", "reasoning", "words"),
    [
        (prompt_style("compact"), True, "none: the prompt style compact"),
        (prompt_style("paper", thinking=False), True, "none: the prompt style paper"),
        (prompt_style("paper"), True, "a short reason"),
        (prompt_style("paper"), False, "none: empty thinking tags"),
    ],
)
def test_which_kind_of_reasoning_is_taught_is_said(style: Any, reasoning: bool, words: str) -> None:
    assert reasoning_of(style, dataclasses.replace(SHORT, reasoning=reasoning)).startswith(words)


# When it stops.


def test_the_goal_is_few_malformed_completions_some_success_and_a_lead_of_the_privileged_prompt() -> None:
    config = PretrainedStartConfig(malformed_high=0.05, student_low=0.15, teacher_lead=0.10)
    assert Measured(0.05, 0.15, 0.25).reaches(config)
    for short in (Measured(0.06, 0.15, 0.25), Measured(0.05, 0.14, 0.25), Measured(0.05, 0.15, 0.24)):
        assert not short.reaches(config)
        assert short.reaches(config, 0.7)
    assert Measured(0.05, 0.2, 0.0).reaches(dataclasses.replace(config, teacher_lead=-1.0))
    assert Measured(0.05, 0.2, 0.0).reaches(dataclasses.replace(config, teacher_lead=-1.0), 0.7)


def test_a_model_that_plays_already_is_taught_nothing(tmp_path: Path) -> None:
    warm, facts, lines = start(tmp_path, SHORT)
    assert warm.steps == 0 and facts["tokens"] == 0
    assert any("nothing to teach" in line for line in lines)


def goal_of(monkeypatch: pytest.MonkeyPatch, wanted: list[bool]) -> None:
    """Let measurements be judged by a script: before the first step, then one by one."""
    verdicts = iter(wanted)
    monkeypatch.setattr(Measured, "reaches", lambda self, config, share=1.0: next(verdicts))


# What is kept.


def test_a_warm_model_loads_as_any_other_is_made_once_and_says_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    goal_of(monkeypatch, [False, False, True, True])
    warm, facts, lines = start(tmp_path, SHORT)
    assert (warm.cached, warm.steps) == (False, 4)  # 2, 1 more that is near, and the decay
    assert facts["reasoning"].startswith("none: the prompt style compact")
    assert any(facts["reasoning"] in line for line in lines)
    assert {"malformed", "student", "teacher"} == set(facts["before"]) == set(facts["after"])
    assert json.loads((warm.model_dir / "warm_start.json").read_text()) == facts
    loaded = AutoModelForCausalLM.from_pretrained(warm.model_dir)
    assert any(not torch.equal(loaded.state_dict()[name], t) for name, t in pretrained()[0].state_dict().items())
    assert AutoTokenizer.from_pretrained(warm.model_dir).chat_template == pretrained()[1].chat_template
    # Of the model's own kind, not of the embedded one's, whose warm start leaves the same record.
    assert model_family(warm.model_dir) == "qwen"
    again, same, _ = start(tmp_path, SHORT)
    assert again.cached and same == facts
    assert [path.name for path in (tmp_path / "warm-start").iterdir()] == [warm.model_dir.name]


def test_an_interrupted_warm_start_goes_on_where_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(SHORT, max_steps=6)
    goal_of(monkeypatch, [False, False, False, True, True])
    whole, *_ = start(tmp_path / "whole", config)
    assert whole.steps == 5

    goal_of(monkeypatch, [False, False])

    def interrupted(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        own = Cloner.step
        patch.setattr(Cloner, "step", lambda self, rate=1.0: interrupted() if self.steps == 2 else own(self, rate))
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path / "cut", config)
    goal_of(monkeypatch, [False, False, True, True])
    resumed, facts, lines = start(tmp_path / "cut", config)
    assert any("goes on after step 2" in line for line in lines)
    assert (
        resumed.steps == 5
        and facts["tokens"] == json.loads((whole.model_dir / "warm_start.json").read_text())["tokens"]
    )
    for name, tensor in parameters(whole.model_dir).items():
        torch.testing.assert_close(parameters(resumed.model_dir)[name], tensor, rtol=0, atol=0)


def test_a_failure_says_what_was_measured_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal_of(monkeypatch, [False] * 10)
    with pytest.raises(
        WarmStartFailed, match=r"after 4 steps expected at most 1.00 malformed.*last measured: malformed"
    ):
        start(tmp_path, SHORT)
    assert list((tmp_path / "warm-start").iterdir()) == []


def test_adapters_are_trained_alone_and_merged_into_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    goal_of(monkeypatch, [False, True, True])
    config = dataclasses.replace(SHORT, tuning=dataclasses.replace(EXACT, learning_rate=1e-2))
    warm, *_ = start(tmp_path, config, lora=True, lora_rank=2)
    plain = pretrained()[0].state_dict()
    kept = parameters(warm.model_dir)
    assert set(kept) <= set(plain)
    changed = {name for name in kept if not torch.equal(kept[name], plain[name])}
    assert changed and all("_proj.weight" in name for name in changed)
    assert not adapted_layers(pretrained()[0])


def test_the_key_knows_model_prompts_environment_and_options() -> None:
    def key(changes: dict[str, Any] | None = None, config: PretrainedStartConfig = SHORT, seed: int = 0) -> str:
        tokenizer = make_tokenizer(CHATML)
        return start_key(options(**(changes or {})), ENV, make_model("qwen2", len(tokenizer), seed=seed), config)

    keys = [
        key(),
        key({"prompt_style": "paper"}),
        key({"env_kwargs": {"size": "small", "horizon": 7}}),
        key(config=dataclasses.replace(SHORT, max_steps=9)),
        key(seed=1),
    ]
    assert key() == keys[0] and len(set(keys)) == len(keys)


def test_options_are_read_by_their_names_and_a_slip_is_named() -> None:
    read = pretrained_start_config({"max_steps": 9, "tuning": {"learning_rate": 1}}, "--warm-start")
    assert (read.max_steps, read.tuning.learning_rate) == (9, 1.0)
    with pytest.raises(ValueError, match="max_step"):
        pretrained_start_config({"max_stepz": 9}, "--warm-start")
