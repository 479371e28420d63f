"""Retrieval in rollouts: one search for all slots, outages as failed episodes, experts and random agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("faiss")
pytest.importorskip("torch")

import sdar_envs  # noqa: F401  # registers the environments
from agents.base import StopReason
from agents.baselines import ExpertAgent, RandomAgent
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.index import VectorIndex
from sdar_envs.searchqa.retriever import Hit, RetrievalError
from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.evaluation_set import make_evaluation_set
from trainers.rollout.batch_env import LoopBatchEnv
from trainers.rollout.collect import TaskDraw, collect
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.rows import outcomes_of

SMALL: dict[str, Any] = {"size": "small", "topk": 1, "passage_style": "plain"}
ENV_ID = "sdar/SearchQA-v0"


pytestmark = pytest.mark.usefixtures("own_cache")


def draws(count: int) -> list[TaskDraw]:
    return [TaskDraw(f"valid:{number:06d}", ("test", number)) for number in range(count)]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("kwargs", [SMALL, {}], ids=["small", "full"])
def test_the_expert_answers_every_question(split: str, kwargs: dict[str, Any]):
    panel = make_evaluation_set(EnvironmentSource(ENV_ID, kwargs), split=split, episodes=60)
    result = evaluate(ExpertAgent(), panel)
    assert result.success_rate == 1.0 and result.invalid_action_rate == 0.0


def test_a_random_agent_wins_next_to_nothing():
    result = evaluate(RandomAgent(), make_evaluation_set(EnvironmentSource(ENV_ID, SMALL), split="test", episodes=60))
    assert result.success_rate <= 0.05


def test_slots_search_together_and_play_as_they_do_alone(monkeypatch: pytest.MonkeyPatch):
    source = EnvironmentSource(ENV_ID, {**SMALL, "cache": 0})
    # First alone: the world is built then, and its questions are proved with searches of their own.
    alone = [collect(ExpertAgent(), LoopBatchEnv.of(source, "valid", 1), [draw])[0] for draw in draws(12)]
    calls: list[int] = []
    inner = VectorIndex.search
    monkeypatch.setattr(
        VectorIndex, "search", lambda self, vectors, k: (calls.append(len(vectors)), inner(self, vectors, k))[1]
    )
    together = collect(ExpertAgent(), LoopBatchEnv.of(source, "valid", 12), draws(12))
    steps = max(len(rollout.episode.turns) for rollout in together)
    assert len(calls) < steps and max(calls) > 6  # the turn that answers searches nothing
    for one, other in zip(together, alone, strict=True):
        assert [turn.view.observation for turn in one.episode.turns] == [
            t.view.observation for t in other.episode.turns
        ]


class Flaky:
    """A retriever that is out of order for one query."""

    name = "flaky"

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        if any("broken" in query for query in queries):
            raise RetrievalError("http://10.0.0.1: no answer")
        return [[Hit(Passage.of(0, "t", "text"), 1.0)][:k] for _ in queries]

    def normalise(self, query: str) -> str:
        return query


class Scripted:
    """Searches once, then answers; the odd tasks search for what breaks the retriever."""

    reads_privileged = False

    def act(self, views: Sequence[Any], privileged: Any = None) -> list[Any]:
        from agents.base import Action

        texts = []
        for view in views:
            odd = int(view.task_id[-1]) % 2
            texts.append("<answer>x</answer>" if view.turn else f"<search>{'broken' if odd else 'fine'}</search>")
        return [Action(text, text) for text in texts]


@pytest.mark.parametrize(("on_error", "said"), [("raise", "no answer"), ("truncate", "retrieval is out of order")])
def test_an_outage_fails_the_episodes_that_met_it_and_no_text_tells_of_it(on_error: str, said: str):
    def make() -> SearchQAEnv:
        return SearchQAEnv(**SMALL, split="valid", retriever=Flaky(), on_error=on_error)

    batch = LoopBatchEnv(make, 4, name=ENV_ID, replays=1)
    # One search for all slots meets the outage for all; alone again, the others go through.
    rollouts = collect(Scripted(), batch, draws(4))
    reasons = [rollout.episode.stop_reason for rollout in rollouts]
    assert [reason is StopReason.FAILED for reason in reasons] == [False, True, False, True]
    assert said in f"{rollouts[1].failure} {rollouts[1].detail}"
    assert [outcome.failed for outcome in outcomes_of(rollouts)] == [False, True, False, True]
    shown = [turn.view.observation for rollout in rollouts for turn in rollout.episode.turns]
    assert not any("10.0.0.1" in text or "error" in text.lower() for text in shown)


def test_the_presets_of_this_environment_are_for_it_and_can_be_configured():
    from trainers.config import SDARConfig
    from trainers.presets import preset_for

    for family in ("tiny", "qwen", "qwen3"):
        preset = preset_for(family, ENV_ID)
        assert preset is not None
        args = SDARConfig.from_dict(dict(preset.config))
        env = SearchQAEnv(**args.environment_kwargs)
        assert env.horizon == args.max_turns
