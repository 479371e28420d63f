"""One sampler for many agents: each request has its agent's temperature, and each sample the version of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tiny_models import CHATML, make_model, make_tokenizer

from agents.base import Action
from agents.chat import ChatAgent, end_ids
from agents.rendering import ChatRenderer
from agents.sampling.base import Sample, Sampler, SampleRequest
from agents.sampling.local import BatchSampler
from agents.sampling.scripted import ScriptedSampler
from sdar_envs.privileged import StudentView

TOKENIZER = make_tokenizer(CHATML)
TEMPERATURES = (1.0, 0.4, 0.0)


class Recorder(ScriptedSampler):
    """A script that remembers what was asked."""

    def __init__(self, completions: Sequence[Sequence[int]] = ()) -> None:
        super().__init__(completions)
        self.requests: list[SampleRequest] = []

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        self.requests += requests
        return super().sample(requests)


def batch_sampler(model: Any, **options: Any) -> BatchSampler:
    renderer = ChatRenderer(TOKENIZER)
    own = {"max_completion_length": 8, "max_context": 600, **options}
    return BatchSampler(model, end_ids=end_ids(renderer, model), pad_id=renderer.pad_id, **own)


def agent(model: Any, temperature: float, sampler: Sampler | None = None) -> ChatAgent:
    return ChatAgent(
        model,
        TOKENIZER,
        style="compact",
        temperature=temperature,
        max_completion_length=8,
        max_prompt_length=500,
        sampler=sampler,
    )


def view(slot: int, turn: int = 0) -> StudentView:
    return StudentView(f"You arrive at fridge {turn}.", instruction="go.", slot=slot, turn=turn, draw=("run", slot))


def request(slot: int = 0, temperature: float | None = None) -> SampleRequest:
    return SampleRequest(slot, [5, 6, 7], False, ("test", slot), temperature)


def test_a_request_has_the_temperature_of_the_agent_that_asks() -> None:
    shared = Recorder([[9, 2]] * 6)
    agents = [agent(None, temperature, shared) for temperature in TEMPERATURES]
    assert all(each.sampler is shared for each in agents)
    for turn in range(2):  # in turns, so that one agent's temperature cannot stay behind for the next
        for slot, each in enumerate(agents):
            each.act([view(slot, turn)])
    assert [asked.temperature for asked in shared.requests] == [*TEMPERATURES, *TEMPERATURES]
    assert [asked.slot for asked in shared.requests] == [0, 1, 2] * 2


def test_agents_that_share_a_sampler_say_what_they_would_say_with_one_of_their_own() -> None:
    model = make_model("qwen2", len(TOKENIZER))
    shared = batch_sampler(model)

    def acted(own: Sampler | None, temperature: float, slot: int) -> list[Action]:
        player = agent(model, temperature, own)
        return [player.act([view(slot, turn)])[0] for turn in range(3)]

    for slot, temperature in enumerate(TEMPERATURES):
        together, alone = acted(shared, temperature, slot), acted(None, temperature, slot)
        for one, other in zip(together, alone, strict=True):
            assert one.tokens is not None and other.tokens is not None
            assert one.tokens.completion_ids == other.tokens.completion_ids
            assert one.tokens.logprobs == pytest.approx(other.tokens.logprobs, abs=1e-5)


def test_requests_of_several_temperatures_in_one_call_are_each_drawn_at_their_own() -> None:
    model = make_model("qwen2", len(TOKENIZER))
    mixed = [SampleRequest(slot, [5, 6, 7], False, ("same",), t) for slot, t in enumerate((*TEMPERATURES, None))]
    together = batch_sampler(model, temperature=0.7).sample(mixed)
    for asked, sample in zip(mixed, together, strict=True):
        own = 0.7 if asked.temperature is None else asked.temperature
        unnamed = SampleRequest(0, asked.prompt_ids, False, asked.draw)
        (alone,) = batch_sampler(model, temperature=own).sample([unnamed])
        assert sample.ids == alone.ids
        assert sample.logprobs == pytest.approx(alone.logprobs, abs=1e-5)


def test_samples_carry_the_version_that_the_weights_were_given() -> None:
    model = make_model("qwen2", len(TOKENIZER))
    sampler = batch_sampler(model)
    (first,) = sampler.sample([request()])
    sampler.sync_weights(model, 7)
    later = sampler.sample([request(1), request(2, 0.0)])
    assert first.version == 0 and [sample.version for sample in later] == [7, 7]
    (again,) = sampler.sample([request()])
    assert again.ids == first.ids and again.logprobs == first.logprobs  # a version is a name and nothing else


def test_weights_that_moved_are_sampled_from_after_they_were_announced() -> None:
    model, other = make_model("qwen2", len(TOKENIZER)), make_model("qwen2", len(TOKENIZER), seed=1)
    sampler = batch_sampler(model)
    (before,) = sampler.sample([request(0, 1.0)])
    model.load_state_dict(other.state_dict())
    sampler.sync_weights(model, 1)
    (after,) = sampler.sample([request(0, 1.0)])
    (expected,) = batch_sampler(other).sample([request(0, 1.0)])
    assert after.ids == expected.ids and after.logprobs == expected.logprobs
    assert after.logprobs != before.logprobs


def test_another_model_than_its_own_is_refused_and_changes_nothing() -> None:
    model = make_model("qwen2", len(TOKENIZER))
    sampler = batch_sampler(model)
    sampler.sync_weights(model, 3)
    with pytest.raises(ValueError, match="samples from the model it was made with: make another sampler"):
        sampler.sync_weights(make_model("qwen2", len(TOKENIZER)), 4)
    assert sampler.version == 3 and sampler.sample([request()])[0].version == 3


def test_what_samples_here_is_a_sampler_that_honours_its_draws() -> None:
    for sampler in (batch_sampler(make_model("qwen2", len(TOKENIZER))), ScriptedSampler()):
        assert isinstance(sampler, Sampler)
        assert sampler.exact_draws is True
    assert not isinstance(object(), Sampler)


def test_a_script_holds_what_it_was_asked_and_said_and_ends_with_an_error() -> None:
    script = ScriptedSampler([[9, 2]])
    script.add([8])
    assert [sample.ids for sample in script.sample([request(0), request(1)])] == [(9, 2), (8,)]
    assert (script.length(0), script.length(1), script.length(2)) == (5, 4, 0)
    script.add([4])
    script.sample([SampleRequest(0, [1], True, ("more",))])
    assert script.length(0) == 7
    script.release([0])
    script.sync_weights(None, 5)
    assert script.length(0) == 0
    with pytest.raises(ValueError, match="the script has ended"):
        script.sample([request()])
