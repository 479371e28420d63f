"""Gymnasium's vectors of every generated world: in one process and in several, observations are plain strings."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toy_world
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import sdar_envs
from sdar_envs.spaces import FreeText, SharedTexts

gym.register_envs(sdar_envs)

# Small, because each process makes its own world.
WORLDS: dict[str, dict[str, Any]] = {
    "sdar/Household-v0": {"size": "small"},
    "sdar/WebShop-v0": {"size": "small", "num_products": 80},
    "sdar/SearchQA-v0": {"size": "small"},
    "sdar/Trip-v0": {"size": "small"},
}


def check_texts(envs: gym.vector.VectorEnv[Any, Any, Any], texts: Any) -> None:
    assert isinstance(texts, tuple) and len(texts) == 2
    assert all(type(text) is str for text in texts)
    assert texts in envs.observation_space


def episode_in_a_vector(kind: str, env_id: str, mode: AutoresetMode, copied: bool) -> list[Any]:
    """What a vector of two shows in an episode of nonsense that is cut off, and a little beyond it."""
    vector_kwargs = {"autoreset_mode": mode, "copy": copied}
    if kind == "own":
        envs = gym.make_vec(env_id, num_envs=2, autoreset_mode=mode, **WORLDS[env_id])
    else:
        envs = gym.make_vec(env_id, num_envs=2, vectorization_mode=kind, vector_kwargs=vector_kwargs, **WORLDS[env_id])
    try:
        texts, infos = envs.reset(seed=[3, 4])
        check_texts(envs, texts)
        shown: list[Any] = [tuple(texts), list(infos["task_id"])]
        ended = np.zeros(2, dtype=bool)
        for _ in range(60):
            if ended.all():
                break
            texts, rewards, terminated, truncated, infos = envs.step(["sing", "é\N{GRINNING FACE} look"])
            check_texts(envs, texts)
            ended = terminated | truncated
            shown.append((tuple(texts), rewards.tolist(), ended.tolist()))
        assert ended.all()
        if mode == AutoresetMode.SAME_STEP:
            assert all(type(text) is str for text in infos["final_obs"])
            shown.append(list(infos["final_obs"]))
        if mode == AutoresetMode.DISABLED:
            texts, _ = envs.reset(options={"reset_mask": np.array([True, False])})
        else:
            texts, *_ = envs.step(["look", "look"])
        check_texts(envs, texts)
        return [*shown, tuple(texts)]
    finally:
        envs.close()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("env_id", WORLDS)
def test_vectors_of_every_kind_show_the_same_plain_strings(env_id: str, mode: AutoresetMode) -> None:
    if "SearchQA" in env_id:
        pytest.importorskip("faiss")
    kinds = ["sync", "async"] + ["own"] * (env_id in sdar_envs.VECTORS)
    runs = [episode_in_a_vector(kind, env_id, mode, copied) for kind in kinds for copied in (True, False)]
    assert all(run == runs[0] for run in runs)


def test_an_asynchronous_vector_works_as_it_comes() -> None:
    envs = gym.make_vec("sdar/Household-v0", num_envs=2, vectorization_mode="async")
    try:
        texts, infos = envs.reset(seed=0)
        check_texts(envs, texts)
        assert all("Your task is to" in text for text in texts)
        assert len(infos["privileged"]["plan"]) == 2
    finally:
        envs.close()


def test_texts_in_shared_memory_are_an_ordinary_tuple_to_whoever_reads_them() -> None:
    envs = AsyncVectorEnv([toy_world.ToyWorld] * 2, copy=False)
    try:
        texts, _ = envs.reset(seed=[1, 2])
        first = tuple(toy_world.ToyWorld().reset(seed=seed)[0] for seed in (1, 2))
        assert isinstance(texts, SharedTexts)
        assert texts == first and first == texts and (texts != first) is False and list(texts) == list(first)
        assert (texts[0], texts[-1], texts[:1]) == (first[0], first[1], first[:1])
        assert "".join(texts) == "".join(first) and texts.__add__(("end",)) == (*first, "end")
        assert first[0] in texts and texts.index(first[1]) == 1 and texts.count(first[0]) == first.count(first[0])
        assert hash(texts) == hash(first) and repr(texts) == repr(first)
        assert list(reversed(texts)) == list(reversed(first))
        left, right = texts
        assert (left, right) == first
        for copied in (copy.copy(texts), copy.deepcopy(texts), pickle.loads(pickle.dumps(texts))):
            assert type(copied) is tuple and copied == first
        kept = copy.copy(texts)
        envs.step(["open 1", "wait"])
        assert texts != first, "without copying, the view shows what is newest"
        assert kept == first
    finally:
        envs.close()


def test_any_text_goes_through_shared_memory() -> None:
    from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

    space = FreeText(4)
    memory = create_shared_memory(space, n=3)
    view = read_from_shared_memory(space, memory, n=3)
    assert tuple(view) == ("", "", "")
    for text in ("abcd", "é\N{GRINNING FACE}\x00\n", "\ud800", "\N{GRINNING FACE}" * 4, ""):
        write_to_shared_memory(space, 1, text, memory)
        assert tuple(view) == ("", text, "")
    with pytest.raises(ValueError, match=r"FreeText\(4\) expects a str within its length"):
        write_to_shared_memory(space, 0, "abcde", memory)
