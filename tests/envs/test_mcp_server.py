"""Worlds as servers of the Model Context Protocol, driven by its official client over standard input and output."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from canary_trips import CANARY

import sdar_envs  # noqa: F401  # registers the ids

pytest.importorskip("mcp")
import anyio
from mcp import Client, StdioServerParameters

from sdar_envs.bridges.mcp_server import NOTHING_RUNS, ONCE_OVER, ToolPlayer
from sdar_envs.tool_sets import tool_set_of

HERE = Path(__file__).parent
SECONDS = 60.0


def drive(words: list[str], copy: Path, script: Callable[[Client], Awaitable[Any]]) -> Any:
    """Start a server as an assistant does, with all it writes copied to a file, and play a script against it."""
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    server = StdioServerParameters(
        command=sys.executable,
        args=[str(HERE / "copied_output.py"), str(copy), sys.executable, "-m", "sdar_envs", "serve-mcp", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )

    async def main() -> Any:
        with anyio.fail_after(SECONDS):
            async with Client(server) as client:
                return await script(client)

    return anyio.run(main)


async def said(client: Client, name: str, arguments: dict[str, Any] | None = None) -> tuple[str, bool]:
    answer = await client.call_tool(name, arguments or {})
    (content,) = answer.content
    return content.text, bool(answer.is_error)


def follow_the_plan(env: gym.Env, seed: int) -> Callable[[Client], Awaitable[list[str]]]:
    """Play the plan that a second environment computes; what the server says is what that one says."""

    async def script(client: Client) -> list[str]:
        observation, info = env.reset(seed=seed)
        text, wrong = await said(client, "reset", {"seed": seed})
        assert observation in text and not wrong
        heard, ended, tools = [text], False, tool_set_of(env.unwrapped)
        while not ended:
            action = info["privileged"]["next_action"]
            name, arguments = tools.call_of(action)
            observation, _, terminated, truncated, info = env.step(action)
            text, wrong = await said(client, name, arguments)
            ended = terminated or truncated
            assert not wrong and (text.startswith(f"{observation}\n\n") if ended else text == observation)
            heard.append(text)
        assert info["success"] and "The episode is over: solved, score 1.00." in heard[-1]
        assert await said(client, name, arguments) == (ONCE_OVER, True)
        return heard

    return script


def test_an_episode_is_won_over_the_protocol_with_the_calls_of_the_plan(tmp_path: Path) -> None:
    env = gym.make("sdar/Trip-v0", size="small", split="valid")
    words = ["sdar/Trip-v0", "--env-kwargs", "size=small", "split=valid"]
    assert len(drive(words, tmp_path / "copy", follow_the_plan(env, 3))) >= 6


def test_the_households_verbs_are_tools_too(tmp_path: Path) -> None:
    env = gym.make("sdar/Household-v0", size="small")
    words = ["sdar/Household-v0", "--env-kwargs", "size=small"]
    assert len(drive(words, tmp_path / "copy", follow_the_plan(env, 1))) >= 3


def test_the_tools_are_the_worlds_and_reset_and_nothing_of_the_teachers(tmp_path: Path) -> None:
    async def script(client: Client) -> list[tuple[str, Any]]:
        listed = await client.list_tools()
        assert await said(client, "read_calendar") == (NOTHING_RUNS, True)
        return [(tool.name, tool.input_schema) for tool in listed.tools]

    tools = drive(["sdar/Trip-v0"], tmp_path / "copy", script)
    own = gym.make("sdar/Trip-v0").unwrapped.tool_set().schemas()
    assert tools[0][0] == "reset" and set(tools[0][1]["properties"]) == {"seed", "task_id"}
    assert tools[1:] == [(tool["function"]["name"], tool["function"]["parameters"]) for tool in own]
    assert not {"privileged", "plan", "hint", "hints", "facts"} & {name for name, _ in tools}


async def some_calls(client: Client) -> None:
    await client.list_tools()
    await said(client, "reset", {"seed": 0})
    for name, arguments in (("read_calendar", {}), ("search_hotels", {}), ("plan", {}), ("finish", {}), ("finish", {})):
        await said(client, name, arguments)
    await said(client, "reset")


@pytest.mark.parametrize("world", ["Kept", "Failing"])
def test_no_byte_of_a_server_holds_what_a_teacher_knows(world: str, tmp_path: Path) -> None:
    drive([f"canary_trips:{world}"], tmp_path / "copy", some_calls)
    written = (tmp_path / "copy").read_bytes()
    assert CANARY.encode() not in written and b"read_calendar" in written
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in written.splitlines())


def test_a_careless_world_is_found_out_by_the_same_look(tmp_path: Path) -> None:
    drive(["canary_trips:Careless"], tmp_path / "copy", some_calls)
    assert CANARY.encode() in (tmp_path / "copy").read_bytes()


def nested(depth: int) -> Any:
    inner: Any = "f1"
    for _ in range(depth):
        inner = [inner]
    return inner


HOSTILE = [
    ("book", {"id": nested(200)}),
    ("book", {"id": nested(100_000)}),
    ("book", {"id": 10**5_000}),
    ("book", {"id": 'h1"}}, {"name": "finish"'}),
    ("book", {"id": "\ud800"}),
    ("book", {"id": "x" * 100_000}),
    ("search_flights", {"page": -1}),
    ("search_hotels", {"district": "river", "__class__": "x"}),
    ("__init__", {}),
    ("reset", {"seed": -1}),
    ("reset", {"seed": True}),
    ("reset", {"seed": 10**40}),
    ("reset", {"task_id": "valid:999999999"}),
    ("reset", {"task_id": ["train:000001"]}),
    ("reset", {"options": {"privileged": True}}),
]


@pytest.mark.parametrize(("name", "arguments"), HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
def test_hostile_calls_are_answered_and_never_raise(name: str, arguments: dict[str, Any]) -> None:
    player = ToolPlayer(functools.partial(gym.make, "sdar/Trip-v0", size="small"))
    player.call("reset", {})
    text, wrong = player.call(name, arguments)
    assert text and len(text) < 1_000 and "xxx" not in text
    assert wrong or "unknown_id" in text  # another offer's id is understood, and there is none
    if name != "reset":
        assert not player.call("read_calendar", {})[1]


def test_a_world_that_needs_the_name_of_reset_is_refused() -> None:
    class Own(gym.Env):
        def tool_set(self) -> Any:
            class Tools:
                def schemas(self) -> Any:
                    return [{"function": {"name": "reset", "description": "", "parameters": {}}}]

            return Tools()

    with pytest.raises(ValueError, match="without a tool named 'reset'"):
        ToolPlayer(Own)


def test_seeds_say_which_task_and_episodes_follow_each_other() -> None:
    def texts(player: ToolPlayer, *asked: dict[str, Any]) -> list[str]:
        return [player.call("reset", arguments)[0] for arguments in asked]

    make = functools.partial(gym.make, "sdar/Trip-v0", size="small")
    first, second, again = texts(ToolPlayer(make, seed=5), {}, {}, {"seed": 5})
    assert first == again != second
    assert texts(ToolPlayer(make, seed=5), {}, {}) == [first, second]
    named = gym.make("sdar/Trip-v0", size="small").reset(options={"task_id": "train:000007"})[0]
    assert texts(ToolPlayer(make), {"task_id": "train:000007"}) == [named]
