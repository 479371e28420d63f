"""The warm start: what is cloned is what rollouts look like, it is gated on measured success, and it is cached."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from agents.base import View
from sdar_envs.demonstrations import demonstrate, script_of
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.policies import make_policies
from trainers.warm_start.behaviour_cloning import Cloner, CloningConfig
from trainers.warm_start.demonstrations import demonstration_views, rendered_texts
from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer
from trainers.warm_start.warm_start import (
    WarmStartConfig,
    WarmStartFailed,
    _until_warm,
    cache_key,
    warm_start,
)

ENV = "sdar/Household-v0"
ARGS = SDARConfig(
    method="sdar",
    env_kwargs={"size": "small"},
    context="transcript",
    prompt_style="compact",
    list_actions=False,
    max_completion_length=12,
    max_prompt_length=900,
    teacher_budget=64,
)


@pytest.fixture(scope="module")
def cloned():
    script = script_of(ENV)
    demonstrations = [demonstrate(script, ARGS.env_kwargs, key=(0, i), hinted=i % 2 == 0) for i in range(12)]
    source = EnvironmentSource(ENV, ARGS.env_kwargs)
    blank = build_tokenizer(list(script.texts()), 512)
    worded = make_policies(build_model(blank, TinyModelConfig(), seed=0), blank, ARGS, METHODS["grpo"], source, None)
    assert worded.privileged_policy is not None
    texts = rendered_texts(demonstrations, worded.privileged_policy)
    tokenizer = build_tokenizer([*texts, *script.texts()], 600)
    model = build_model(tokenizer, TinyModelConfig(), seed=0)
    policies = make_policies(model, tokenizer, ARGS, METHODS["grpo"], source, None)
    assert policies.privileged_policy is not None
    views = demonstration_views(demonstrations, policies.evaluator, policies.privileged_policy)
    yield demonstrations, tokenizer, views
    source.close()


def test_a_demonstration_is_one_row_whose_loss_tokens_are_its_actions(cloned):
    demonstrations, tokenizer, views = cloned
    assert len(views) == len(demonstrations)
    for demonstration, view in zip(demonstrations, views, strict=True):
        said = tokenizer.decode(view.sampled_ids())
        assert said == "".join(f"{action}<|end|>" for action in demonstration.actions)


def test_the_skill_line_stands_in_hinted_demonstrations_and_in_no_other(cloned):
    demonstrations, tokenizer, views = cloned
    for demonstration, view in zip(demonstrations, views, strict=True):
        lines = demonstration.privileged[0].reveal()["skills"]["compact_lines"]
        text = tokenizer.decode(view.ids)
        assert [line in text for line in lines] == [demonstration.hinted] * len(lines)


def test_cloning_lowers_the_loss_and_its_batches_are_counted():
    def losses(steps: int) -> list[float]:
        model = build_model(build_tokenizer(["a 1"] * 2, 300), TinyModelConfig(), seed=0)
        views = [View([5, 6, 7, 8 + i, 9], [3, 4]) for i in range(6)]
        cloner = Cloner(model, views, CloningConfig(batch_size=4), key=("test",), pad_id=0)
        return [cloner.step() for _ in range(steps)]

    first, second = losses(30), losses(30)
    assert first == second
    assert first[-1] < 0.3 * first[0]


def test_padding_carries_no_loss():
    model = build_model(build_tokenizer(["a 1"] * 2, 300), TinyModelConfig(), seed=0)
    short, long = View([5, 6, 7], [1, 2]), View([5, 6, 7, 8, 9, 10], [1, 2])

    def gradient(views: list[View]) -> torch.Tensor:
        config = CloningConfig(batch_size=len(views), observation_weight=0.0, max_grad_norm=1e9)
        cloner = Cloner(model, views, config, key=("test",), pad_id=0)
        cloner._optimizers = []
        cloner._base_rates = []
        model.zero_grad()
        cloner.step()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    torch.testing.assert_close(gradient([short]), gradient([short, long]), rtol=1e-4, atol=1e-6)


class CountingCloner:
    """Counts steps, as a cloner does; what is measured is scripted."""

    def __init__(self) -> None:
        self.steps = 0
        self.rates: list[float] = []

    def step(self, rate: float = 1.0) -> float:
        self.steps += 1
        self.rates.append(rate)
        return 0.0


CONFIG = WarmStartConfig(min_steps=4, gate_every=2, decay_steps=2, max_steps=12)


def test_warming_goes_on_until_both_bands_are_measured_behind_the_decay():
    cloner = CountingCloner()
    measured = iter([(0.0, 0.1), (0.04, 0.5), (0.1, 0.3), (0.2, 0.6), (0.2, 0.65)])
    lines: list[str] = []
    moved: list[tuple[str, int, int]] = []

    def advance(*how_far: object) -> None:
        moved.append(how_far)  # type: ignore[arg-type]

    assert _until_warm(cloner, CONFIG, lambda: next(measured), lines.append, advance) == (0.2, 0.65)
    # 4 steps, 2 more, a decay of 2 that does not settle it, 2 more at the full rate, and the decay that does.
    assert cloner.rates == [1.0] * 6 + [0.55, pytest.approx(0.1)] + [1.0] * 2 + [0.55, pytest.approx(0.1)]
    # A bar moves with every step, towards the step at which a good measurement would end it.
    assert [done for _, done, _ in moved] == list(range(1, 13))
    assert [total for _, _, total in moved] == [6] * 4 + [8] * 4 + [12] * 4


def test_a_student_above_its_band_or_a_teacher_without_a_lead_is_not_warm():
    for figures in ((0.6, 0.95), (0.3, 0.4)):
        with pytest.raises(
            WarmStartFailed, match=f"student {figures[0]:.2f}, privileged-prompt policy {figures[1]:.2f}"
        ):
            _until_warm(CountingCloner(), CONFIG, lambda figures=figures: figures, lambda line: None)


def test_a_warm_model_is_made_once_and_a_failed_one_leaves_nothing(tmp_path: Path):
    small = WarmStartConfig(
        demonstrations=24, min_steps=2, gate_every=1, decay_steps=1, max_steps=2, gate_episodes=2, teacher_lead=2.0
    )
    anything = dataclasses.replace(small, student_low=0.0, student_high=1.0, teacher_lead=-1.0)
    made = warm_start(ARGS, ENV, config=anything, cache_dir=tmp_path)
    again = warm_start(ARGS, ENV, config=anything, cache_dir=tmp_path)
    assert (made.cached, again.cached) == (False, True)
    assert made.model_dir == again.model_dir
    assert (made.student_success, made.teacher_success) == (again.student_success, again.teacher_success)
    with pytest.raises(WarmStartFailed):
        warm_start(ARGS, ENV, config=small, cache_dir=tmp_path / "other")
    assert list((tmp_path / "other" / "warm-start").iterdir()) == []


def test_the_cache_key_names_everything_the_weights_depend_on():
    config = WarmStartConfig()
    keys = {
        cache_key(ARGS, ENV, config),
        cache_key(dataclasses.replace(ARGS, seed=1), ENV, config),
        cache_key(dataclasses.replace(ARGS, env_kwargs={"size": "small", "world_seed": 1}), ENV, config),
        cache_key(dataclasses.replace(ARGS, privilege="plan"), ENV, config),
        cache_key(dataclasses.replace(ARGS, retrieval="all"), ENV, config),
        cache_key(dataclasses.replace(ARGS, append_history=True), ENV, config),
        cache_key(ARGS, ENV, dataclasses.replace(config, demonstrations=5)),
        cache_key(ARGS, ENV, dataclasses.replace(config, model=TinyModelConfig(apart_below=0.5))),
    }
    assert len(keys) == 8
    assert cache_key(dataclasses.replace(ARGS, method="grpo", learning_rate=0.5), ENV, config) in keys


def test_a_length_that_no_prompt_fits_into_is_refused_before_demonstrations_are_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[int] = []
    monkeypatch.setattr(
        "trainers.warm_start.warm_start.play_demonstrations", lambda *_: played.append(1) or pytest.fail("played")
    )
    args = SDARConfig.preset("household-tiny", max_prompt_length=20)
    with pytest.raises(
        ValueError, match=r"no prompt fits: the first of a task has more than \d+ tokens.* is 20: raise"
    ):
        warm_start(args, "sdar/Household-v0", cache_dir=tmp_path)
    assert not played


def test_a_demonstration_whose_first_prompt_does_not_fit_is_an_error_with_the_remedy(cloned) -> None:
    demonstrations, tokenizer, _ = cloned
    source = EnvironmentSource(ENV, ARGS.env_kwargs)
    short = dataclasses.replace(ARGS, max_prompt_length=16)
    model = build_model(tokenizer, TinyModelConfig(), seed=0)
    plain = make_policies(model, tokenizer, short, METHODS["grpo"], source, None).evaluator
    with pytest.raises(ValueError, match=r"no prompt fits.*max_prompt_length \(16 tokens\)"):
        demonstration_views([one for one in demonstrations if not one.hinted], plain, plain)
    source.close()
