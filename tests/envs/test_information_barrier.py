"""The student's side has no place for privileged text, and the teacher's side shows nothing unless it is asked."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import operator
import pickle
import pprint

import pytest
from toy_world import LeakyWorld, ToyWorld

from sdar_envs.privileged import PRIVILEGED_KEYS, Privileged, StudentView, split_info

CANARY = "canary-7d1f"


def planted(world: type[ToyWorld] = ToyWorld) -> ToyWorld:
    env = world()
    env.secret = CANARY
    return env


def test_the_split_hands_each_side_its_own():
    observation, info = planted().reset(seed=0)
    view, privileged = split_info(observation, info, slot=3, turn=2, draw=("run", 1))
    assert CANARY not in repr(view)
    assert privileged is not None
    assert CANARY in json.dumps(privileged.reveal())
    assert (view.observation, view.task_id, view.instruction) == (observation, info["task_id"], info["instruction"])
    assert (view.slot, view.turn, view.draw) == (3, 2, ("run", 1))
    assert view.admissible_actions == tuple(info["admissible_actions"])


def test_no_turn_of_an_episode_shows_the_canary_to_the_student_and_every_turn_shows_it_to_the_teacher():
    env = planted()
    observation, info = env.reset(seed=0)
    for action in ("open 1", "nonsense", "open 2", "take coin"):
        view, privileged = split_info(observation, info)
        assert CANARY not in repr(dataclasses.asdict(view))
        assert privileged is not None and CANARY in privileged.reveal()["hints"][0]
        observation, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            break


def test_this_test_would_see_a_leak():
    env = planted(LeakyWorld)
    env.reset(seed=0)
    observation, *_, info = env.step("open 1")
    assert CANARY in repr(split_info(observation, info)[0])


def test_the_student_view_has_no_privileged_field():
    names = {field.name for field in dataclasses.fields(StudentView)}
    assert not names & (PRIVILEGED_KEYS - {"task_type"} | {"privileged"})


def test_sealed_knowledge_shows_nothing_in_any_text_form():
    sealed = Privileged({"plan": [CANARY], "facts": {"deep": {"deeper": CANARY}}})
    holder = dataclasses.make_dataclass("Holder", ["sealed"])(sealed)
    log = io.StringIO()
    logger = logging.getLogger("sealed")
    logger.addHandler(logging.StreamHandler(log))
    logger.warning("%s %r %s", sealed, sealed, {"nested": [sealed]})
    forms = [
        str(sealed),
        repr(sealed),
        f"{sealed}",
        f"{sealed!r:>40}",
        f"{sealed:>40}",
        operator.mod("%s", sealed),
        str.format("{}", sealed),
        repr([sealed]),
        repr(holder),
        repr(dataclasses.asdict(holder)),
        pprint.pformat({"a": sealed}),
        json.dumps({"a": sealed}, default=str),
        log.getvalue(),
    ]
    assert not [form for form in forms if CANARY in form]
    assert f"{sealed:>14}" == "  <privileged>"
    with pytest.raises(TypeError):
        json.dumps(sealed)
    assert not hasattr(sealed, "__dict__")


def test_an_error_about_sealed_knowledge_does_not_show_it():
    with pytest.raises(TypeError) as caught:
        len(Privileged({"plan": [CANARY]}))  # type: ignore[arg-type]
    assert CANARY not in str(caught.value)


def test_revealing_gives_a_copy():
    fields = {"plan": ["open 1"]}
    sealed = Privileged(fields)
    fields["plan"].append("changed outside")
    sealed.reveal()["plan"].append("changed by a reader")
    assert sealed.reveal()["plan"] == ["open 1"]


def test_sealed_knowledge_compares_and_travels():
    sealed = Privileged({"plan": ["a"]})
    assert sealed == Privileged({"plan": ["a"]}) != Privileged({"plan": ["b"]})
    assert pickle.loads(pickle.dumps(sealed)) == copy.deepcopy(sealed) == sealed
    with pytest.raises(TypeError, match="unhashable"):
        hash(sealed)


@pytest.mark.parametrize("info", [{}, {"privileged": None, "instruction": None, "skill_keys": None, "task_id": None}])
def test_third_party_info_may_lack_everything(info: dict):
    view, privileged = split_info("You are here.", info)
    assert view == StudentView("You are here.")
    assert privileged is None


def test_third_party_info_is_read_as_text():
    view, _ = split_info("", {"task_id": 7, "skill_keys": "apple", "admissible_actions": iter(["look", 3])})
    assert (view.task_id, view.skill_keys, view.admissible_actions) == ("7", ("apple",), ("look", "3"))


def test_observations_are_byte_identical_with_privileged_information_on_and_off():
    transcripts = []
    for expose in (True, False):
        env = ToyWorld(expose_privileged=expose)
        texts = [env.reset(seed=5)[0]]
        texts += [env.step(action)[0] for action in ("open 1", "\x00", "open 2", "open 3")]
        transcripts.append(texts)
    assert transcripts[0] == transcripts[1]
