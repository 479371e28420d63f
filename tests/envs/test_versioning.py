"""Digests of plain data, and the sample that a world's version plays."""

from __future__ import annotations

from typing import Any

import pytest
from toy_world import ToyWorld

from sdar_envs.core import SPLITS, TextEnv
from sdar_envs.versioning import digest, play_samples, skill_prose, text_digest


def test_the_order_of_sets_and_keys_does_not_count_and_that_of_lists_does():
    assert digest({"a": {"x", "y"}, "b": (1, 2)}) == digest({"b": [1, 2], "a": frozenset(["y", "x"])})
    assert digest({"b": [1, 2]}) != digest({"b": [2, 1]})


def test_a_digest_is_the_same_for_ever():
    assert digest({"b": range(2), "a": {"\u00e9"}}) == text_digest('{"a":["\u00e9"],"b":[0,1]}') == "bd88d3509af1"
    assert text_digest("\ud800") != text_digest("")


@pytest.mark.parametrize("content", [float("nan"), [float("inf")], {"a": object()}])
def test_what_json_cannot_hold_is_refused(content: Any):
    with pytest.raises((TypeError, ValueError)):
        digest(content)


def test_skill_prose_is_read_by_name():
    prose = skill_prose("household")
    assert "general" in prose and prose["heat"][1].strip()
    with pytest.raises(FileNotFoundError):
        skill_prose("no such bank")


def test_samples_are_the_first_tasks_of_every_split_in_every_world():
    built: list[dict[str, Any]] = []

    def build(**kwargs: Any) -> TextEnv:
        built.append(kwargs)
        return ToyWorld()

    played = play_samples(build, [{"n": 0}, {"n": 1}], 2, lambda env, task_id: [task_id])
    assert built == [{"n": 0}, {"n": 1}]
    assert played == 2 * [task_id for split in SPLITS for task_id in ToyWorld().task_ids(split)[:2]]
