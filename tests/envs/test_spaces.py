"""FreeText bounds length, not alphabet, and behaves like any Gymnasium space where text can."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import pytest
import toy_world
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.spaces import FreeText


@given(st.text(max_size=30), st.integers(0, 20))
def test_it_contains_exactly_the_strings_within_its_length(text: str, limit: int):
    assert (text in FreeText(limit)) is (len(text) <= limit)


@pytest.mark.parametrize("value", [None, 3, b"text", ["t"]])
def test_it_contains_nothing_but_strings(value: object):
    assert value not in FreeText(10)


def test_samples_repeat_by_seed_and_are_in_the_space():
    space, twin = FreeText(100, seed=3), FreeText(100, seed=3)
    drawn = [space.sample() for _ in range(50)]
    assert drawn == [twin.sample() for _ in range(50)]
    assert all(text in space and text.isascii() for text in drawn)
    assert len(set(drawn)) > 40
    assert {FreeText(0, seed=1).sample()} == {""}


def test_samples_come_from_the_list_when_there_is_one():
    space = FreeText(10, samples=["look", "wait"], seed=0)
    assert {space.sample() for _ in range(30)} == {"look", "wait"}


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="max_length >= 0, got -1"):
        FreeText(-1)
    with pytest.raises(ValueError, match="samples of its own, got 'too long'"):
        FreeText(3, samples=["too long"])
    with pytest.raises(ValueError, match="neither mask nor probability"):
        FreeText(3).sample(mask=1)


def test_copies_are_equal_and_others_are_not():
    space = FreeText(10, samples=["look"])
    assert pickle.loads(pickle.dumps(space)) == copy.deepcopy(space) == space
    assert hash(copy.deepcopy(space)) == hash(space)
    assert space != FreeText(11, samples=["look"])
    assert space != FreeText(10)
    assert space != gym.spaces.Text(10)
    assert repr(space) == "FreeText(10)"


def test_it_is_json_already():
    assert FreeText(10).from_jsonable(FreeText(10).to_jsonable(["a", "é"])) == ["a", "é"]


def test_it_cannot_be_flattened():
    assert not FreeText(10).is_np_flattenable
    with pytest.raises(NotImplementedError):
        gym.spaces.flatten_space(FreeText(10))


def test_a_vector_of_text_environments_returns_tuples_of_strings():
    envs = gym.vector.SyncVectorEnv([toy_world.ToyWorld] * 2)
    observations, _ = envs.reset(seed=[1, 2])
    assert observations == tuple(toy_world.ToyWorld().reset(seed=seed)[0] for seed in (1, 2))
    observations, *_ = envs.step(["open 1", "é" * 600])
    assert observations[0].startswith("You open box 1.")
    assert observations[1] == "Nothing happens."
    envs.close()


@pytest.mark.parametrize("shared_memory", [True, False])
def test_an_asynchronous_vector_works_with_and_without_shared_memory(shared_memory: bool):
    envs = gym.vector.AsyncVectorEnv([toy_world.ToyWorld] * 2, shared_memory=shared_memory)
    try:
        observations, _ = envs.reset(seed=[1, 2])
        assert observations == tuple(toy_world.ToyWorld().reset(seed=seed)[0] for seed in (1, 2))
        observations = envs.step(["wait", "wait"])[0]
        assert type(observations) is tuple
        assert observations == ("Nothing happens.",) * 2
    finally:
        envs.close()
