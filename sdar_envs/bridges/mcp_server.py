"""A text world as a server of the Model Context Protocol (mcp 2): an assistant plays it by the world's own tools.

The tools are those of the world (`tool_sets`), and `reset`, which begins an episode. One client is one session with one
environment, made without a teacher's side; nothing privileged is computed, so that nothing of it can be sent.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..tool_sets import ToolProblem, ToolSet, tool_set_of
from .sessions import Environment, RefusedError, Registry, Seen, Session, Worlds
from .wording import ending, opening

try:
    import anyio
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
    from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool
except ImportError as missing:
    raise ImportError(
        f'serving tools needs the Model Context Protocol, and there is no {missing.name}: pip install "sdar-envs[mcp]"'
    ) from missing

RESET = "reset"
RESET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "description": "Draws the task."},
        "task_id": {"type": "string", "maxLength": 200, "description": "The task, by its name."},
    },
    "additionalProperties": False,
}
NOTHING_RUNS = f"No episode is running: call {RESET} to begin one."
ONCE_OVER = f"The episode is over, and this call did nothing: call {RESET} to begin another."


class ToolPlayer:
    """One client's episodes, played by calls of tools; it knows nothing of the protocol.

    Args:
        make: Makes the environment.
        seed: Of the first episode, where the client names none; later ones go on from there.

    Raises:
        ValueError: The world has a tool of the name that `reset` needs.
    """

    def __init__(self, make: Callable[..., Environment], *, seed: int = 0) -> None:
        worlds = Worlds(make)
        self.tools: ToolSet = tool_set_of(worlds.probe)
        self._session = Session(worlds, Registry())
        self._next_seed: int | None = seed
        self._begun = False
        self._schemas = self.tools.schemas()
        if any(tool["function"]["name"] == RESET for tool in self._schemas):
            raise ValueError(f"expected a world without a tool named {RESET!r}, which begins an episode here")

    def described(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Name, description and JSON schema of each tool, `reset` first."""
        begin = "Begin an episode and read its task: one drawn by a seed, one by its name, or simply the next."
        own = [tool["function"] for tool in self._schemas]
        return [(RESET, begin, RESET_SCHEMA), *((one["name"], one["description"], one["parameters"]) for one in own)]

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """What a call answers, and whether it was no good. Nothing that a client says raises."""
        try:
            return self._begin(arguments) if name == RESET else self._play(name, arguments)
        except (RefusedError, RuntimeError) as error:  # a session's own words, which may reach an agent
            return str(error), True

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _begin(self, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        unknown = arguments.keys() - RESET_SCHEMA["properties"].keys()
        seed, task_id = arguments.get("seed"), arguments.get("task_id")
        if unknown:
            return f"{RESET} expects no arguments but seed and task_id.", True
        if seed is not None and (type(seed) is not int or not 0 <= seed < 2**31):
            return f"{RESET} expects seed to be a whole number from 0 to {2**31 - 1}.", True
        if task_id is not None and (not isinstance(task_id, str) or len(task_id) > 200):
            return f"{RESET} expects task_id to be a text of at most 200 characters.", True
        if seed is None:
            seed = self._next_seed
        seen = self._session.reset(seed=seed, task_id=task_id)
        self._next_seed, self._begun = None, True
        return opening(seen), False

    def _play(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        if self._session.over:
            return ONCE_OVER if self._begun else NOTHING_RUNS, True
        action, problem = self.tools.action_of(name, arguments)
        if not action:
            return self._refusal(name, problem), True
        seen = self._session.step(action)
        return _result(seen), not seen.is_action_valid

    def _refusal(self, name: str, problem: ToolProblem) -> str:
        """Why a call stands for no action; nothing of what the client wrote is repeated but the name of a tool."""
        if problem == ToolProblem.UNKNOWN_TOOL:
            return f"There is no such tool: the tools are {', '.join(tool for tool, _, _ in self.described())}."
        schema = next(schema for tool, _, schema in self.described() if tool == name)
        return f"{name} expects the arguments {', '.join(schema['properties']) or '(none)'}."


def _result(seen: Seen) -> str:
    """An observation; after the end also how it ended."""
    if not (seen.terminated or seen.truncated):
        return seen.text
    return f"{seen.text}\n\n{ending(seen)} Call {RESET} to begin another."


def build(player: ToolPlayer, name: str, *, version: str = "") -> Server[Any]:
    """The protocol's server around a player.

    Args:
        player: Of the one client that there will be.
        name: What the server calls itself.
        version: What it says its version is.
    """
    lock = anyio.Lock()  # a client may send a call before the last one was answered; a world answers one at a time

    async def list_tools(context: Any, parameters: Any) -> ListToolsResult:
        tools = [Tool(name=tool, description=about, input_schema=schema) for tool, about, schema in player.described()]
        return ListToolsResult(tools=tools)

    async def call_tool(context: Any, parameters: CallToolRequestParams) -> CallToolResult:
        call = functools.partial(player.call, parameters.name, parameters.arguments or {})
        async with lock:
            text, wrong = await anyio.to_thread.run_sync(call)
        # Half a character pair, which an agent can have sent, has no UTF-8 form.
        sendable = text.encode("utf-8", "replace").decode("utf-8")
        return CallToolResult(content=[TextContent(type="text", text=sendable)], is_error=wrong)

    about = f"{name}: call {RESET} first, which says the task; then one tool a turn until the episode is over."
    return Server(name, version=version, instructions=about, on_list_tools=list_tools, on_call_tool=call_tool)


def serve_stdio(make: Callable[..., Environment], name: str, *, version: str = "", seed: int = 0) -> None:
    """Serve one client over standard input and output until it leaves.

    Whatever a world prints goes to the error stream: kept back in a buffer, it would reach the client at the end.
    """

    async def serve(server: Server[Any]) -> None:
        async with stdio_server() as (reading, writing):
            with contextlib.redirect_stdout(sys.stderr):
                await server.run(reading, writing, server.create_initialization_options())

    with contextlib.redirect_stdout(sys.stderr):
        player = ToolPlayer(make, seed=seed)
    try:
        anyio.run(serve, build(player, name, version=version))
    finally:
        with contextlib.redirect_stdout(sys.stderr):
            player.close()
