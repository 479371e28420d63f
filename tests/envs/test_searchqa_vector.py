"""Several environments at once: one search per step for all that differs, and each plays as it would alone."""

from __future__ import annotations

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode

pytest.importorskip("faiss")

from searchqa_episodes import SMALL, Broken, Shelf, answer, begin, search

from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.index import VectorIndex

pytestmark = pytest.mark.usefixtures("own_cache")


def test_environments_that_share_a_retriever_search_once_per_step_for_what_differs():
    shelf = Shelf("a", "b")
    envs = [SearchQAEnv(**SMALL, retriever=shelf) for _ in range(5)]
    for env in envs:
        begin(env)
    actions = [search("one"), search(" one "), search("two"), answer("x"), "no tags"]
    SearchQAEnv.prepare_steps(envs, actions)
    results = [env.step(action) for env, action in zip(envs, actions, strict=True)]
    assert shelf.calls == [["one", "two"]]
    assert [result[4]["query"] for result in results] == ["one", "one", "two", "", ""]


def test_an_outage_is_met_once_for_all():
    shelf = Broken()
    envs = [SearchQAEnv(**SMALL, retriever=shelf, on_error="truncate") for _ in range(4)]
    for env in envs:
        begin(env)
    SearchQAEnv.prepare_steps(envs, [search(str(number)) for number in range(4)])
    assert all(env.step(search(str(number)))[3] for number, env in enumerate(envs))
    assert len(shelf.calls) == 1


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_makes_exactly_one_index_search_per_step(mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []
    inner = VectorIndex.search
    monkeypatch.setattr(
        VectorIndex, "search", lambda self, vectors, k: (calls.append(len(vectors)), inner(self, vectors, k))[1]
    )
    envs = gym.make_vec("sdar/SearchQA-v0", num_envs=6, autoreset_mode=mode, **SMALL, cache=0)
    envs.reset(seed=3)
    calls.clear()
    envs.step([search(f"register {number % 3}") for number in range(6)])
    assert calls == [3]
    envs.step([answer("x")] * 2 + [search("register 0")] * 4)
    envs.step([search(f"register {number % 3}") for number in range(6)])  # the first two begin anew, or play on already
    assert calls == [3, 1, 3]
    envs.close()


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
def test_a_vector_plays_as_single_environments_do(mode: str):
    envs = gym.make_vec("sdar/SearchQA-v0", num_envs=3, vectorization_mode=mode, **SMALL)
    singles = [gym.make("sdar/SearchQA-v0", **SMALL) for _ in range(3)]
    observations, _ = envs.reset(seed=[5, 6, 7])
    infos = []
    for env, seed, observation in zip(singles, (5, 6, 7), observations, strict=True):
        text, info = env.reset(seed=seed)
        assert text == observation
        infos.append(info)
    for _ in range(8):
        actions = [info["privileged"]["next_action"] or "over" for info in infos]
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        for number, env in enumerate(singles):
            if infos[number] == {}:
                infos[number] = {"privileged": {"next_action": "x"}}
                continue
            if env.unwrapped._over:  # the vector resets by its own rule here
                text, infos[number] = env.reset()
                assert text == observations[number]
                continue
            text, reward, over, cut, infos[number] = env.step(actions[number])
            assert (text, reward, over, cut) == (
                observations[number],
                rewards[number],
                bool(terminated[number]),
                bool(truncated[number]),
            )
    envs.close()
