"""Actions as tools: every admissible action of every world is a call, and back; what is no call is no action."""

from __future__ import annotations

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.tool_sets import ANY_ACTION, ActionTool, ActionTools, ToolProblem, tool_set_of
from sdar_envs.trip.tools import read_call, tool_schemas

gym.register_envs(sdar_envs)

WORLDS = [
    ("sdar/Household-v0", {"size": "full"}),
    ("sdar/WebShop-v0", {"size": "small", "num_products": 80}),
    ("sdar/SearchQA-v0", {"size": "small"}),
    ("sdar/Trip-v0", {"size": "small"}),
    ("sdar/Haggle-v0", {"size": "small"}),
]


@pytest.mark.parametrize(("env_id", "kwargs"), WORLDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_action_of_an_episode_is_a_call_of_a_tool_and_back(env_id: str, kwargs: dict) -> None:
    if "SearchQA" in env_id:
        pytest.importorskip("faiss")
    env = gym.make(env_id, **kwargs)
    tools = tool_set_of(env.unwrapped)
    schemas = {schema["function"]["name"]: schema["function"]["parameters"] for schema in tools.schemas()}
    _, info = env.reset(seed=0)
    called = 0
    for action in list(info["privileged"]["plan"])[:12]:
        for wanted in [*info["admissible_actions"], action]:
            call = tools.call_of(wanted)
            assert call is not None, wanted
            name, arguments = call
            assert arguments.keys() <= schemas[name]["properties"].keys()
            assert set(schemas[name]["required"]) <= arguments.keys()
            assert tools.action_of(name, arguments) == (wanted, ToolProblem.NONE)
            called += 1
        *_, info = env.step(action)
    assert called > 3


def test_a_call_that_names_no_tool_or_other_arguments_has_no_action() -> None:
    tools = ActionTools([ActionTool("take", "Take.", "take {object} from {place}", {"object": "a", "place": "b"})])
    assert tools.action_of("steal", {}) == ("", ToolProblem.UNKNOWN_TOOL)
    for arguments in ({}, {"object": "apple 1"}, {"object": "", "place": "x"}, {"object": ["a"], "place": "x"}):
        assert tools.action_of("take", arguments) == ("", ToolProblem.BAD_ARGUMENTS)
    more = {"object": "apple 1", "place": "fridge 1", "why": "hungry"}
    assert tools.action_of("take", more) == ("", ToolProblem.BAD_ARGUMENTS)
    assert tools.action_of("take", {"object": 3, "place": "fridge 1"})[0] == "take 3 from fridge 1"
    assert tools.action_of("take", {"object": "{place}", "place": "x"})[0] == "take {place} from x"
    assert tools.call_of("take an apple 1 from the fridge 1") == (
        "take",
        {"object": "an apple 1", "place": "the fridge 1"},
    )
    assert tools.call_of("look") is None


def test_a_world_without_tools_of_its_own_is_played_by_one() -> None:
    assert tool_set_of(object()) is ANY_ACTION
    assert ANY_ACTION.call_of("sing (loudly)") == ("act", {"action": "sing (loudly)"})
    assert ANY_ACTION.action_of("act", {"action": "sing"}) == ("sing", ToolProblem.NONE)


def test_a_trips_call_goes_to_the_world_as_it_is_so_that_the_world_says_what_is_wrong() -> None:
    tools = tool_set_of(gym.make("sdar/Trip-v0", size="small").unwrapped)
    assert tools.schemas() == tool_schemas("small") and tools.schemas() is not tools.schemas()
    action, problem = tools.action_of("book", {"id": ["f1"]})
    assert problem is ToolProblem.NONE and getattr(read_call(action, "small"), "code", "") == "invalid_arguments"
    action, problem = tools.action_of("fly", {})
    assert problem is ToolProblem.UNKNOWN_TOOL and getattr(read_call(action, "small"), "code", "") == "unknown_tool"
    for text in ("", "look", "[]", '{"name": "book"}', "[" * 5_000):
        assert tools.call_of(text) is None


@pytest.mark.parametrize("env_id", ["sdar/Trip-v0", "sdar/Household-v0"])
def test_numbers_of_thousands_of_digits_and_deep_nests_are_bad_arguments(env_id: str) -> None:
    tools = gym.make(env_id).unwrapped.tool_set()
    name, arguments = {
        "sdar/Trip-v0": ("book", ["id"]),
        "sdar/Household-v0": ("go_to", ["place"]),
    }[env_id]
    nest: list = []
    for _ in range(100_000):
        nest = [nest]
    for value in (10**5_000, nest):
        assert tools.action_of(name, dict.fromkeys(arguments, value)) == ("", ToolProblem.BAD_ARGUMENTS)
