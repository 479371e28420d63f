"""The actions of a text world as tools: schemas, and the ways between a call and the text of an action.

A world's actions are texts, whoever plays it. What an agent that calls tools needs besides is a `ToolSet`: names,
descriptions and JSON schemas of the arguments, and both ways between a call and a text. Most worlds word an action by a
template with its arguments in it, and an `ActionTools` is a table of such templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class ToolProblem(StrEnum):
    """What is wrong with a call, if anything."""

    NONE = ""
    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGUMENTS = "bad_arguments"


class ToolSet(Protocol):
    """The tools of a world."""

    def schemas(self) -> list[dict[str, Any]]:
        """The tools as chat templates and function-calling interfaces take them, built afresh."""
        ...

    def action_of(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, ToolProblem]:
        """The action's text that a call stands for, "" where there is none, and what is wrong with the call."""
        ...

    def call_of(self, action: str) -> tuple[str, dict[str, Any]] | None:
        """The call that does an action; None where no tool does."""
        ...


_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class ActionTool:
    """One kind of action.

    Attributes:
        name: Of the tool.
        description: One sentence for the model.
        template: The action's text, with ``{argument}`` where an argument goes.
        arguments: Argument -> its description, all of them texts and all required.
    """

    name: str
    description: str
    template: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """The tool as function-calling interfaces take it."""
        properties = {name: {"type": "string", "description": text} for name, text in self.arguments.items()}
        parameters = {"type": "object", "properties": properties, "required": list(self.arguments)}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    def pattern(self) -> re.Pattern[str]:
        """Texts of the action, with a group for each argument; the last one takes what is left."""
        names = _PLACEHOLDER.findall(self.template)
        parts = [re.escape(part) for part in _PLACEHOLDER.split(self.template)[::2]]
        groups = [f"(?P<{name}>.+{'' if name == names[-1] else '?'})" for name in names]
        return re.compile("".join(part + group for part, group in zip(parts, [*groups, ""], strict=True)), re.DOTALL)


class ActionTools:
    """A `ToolSet` of templates; where several match an action, the first of them does it."""

    def __init__(self, tools: Sequence[ActionTool]) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self._patterns = {tool.name: tool.pattern() for tool in tools}

    def schemas(self) -> list[dict[str, Any]]:
        """One schema a tool."""
        return [tool.schema() for tool in self.tools.values()]

    def action_of(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, ToolProblem]:
        """The template with the arguments in it; whole numbers are taken for texts."""
        tool = self.tools.get(name)
        if tool is None:
            return "", ToolProblem.UNKNOWN_TOOL
        try:
            texts = {key: str(value) if type(value) is int else value for key, value in arguments.items()}
        except ValueError:  # Python words no number of thousands of digits
            return "", ToolProblem.BAD_ARGUMENTS
        if texts.keys() != tool.arguments.keys() or not all(isinstance(text, str) and text for text in texts.values()):
            return "", ToolProblem.BAD_ARGUMENTS
        return _PLACEHOLDER.sub(lambda match: texts[match[1]], tool.template), ToolProblem.NONE

    def call_of(self, action: str) -> tuple[str, dict[str, Any]] | None:
        """The first tool whose template the action fits."""
        for name, pattern in self._patterns.items():
            found = pattern.fullmatch(action)
            if found is not None:
                return name, found.groupdict()
        return None


# For any world whose actions are texts and that has no tools of its own.
ANY_ACTION = ActionTools(
    [ActionTool("act", "Do one action of this world.", "{action}", {"action": "The action, worded as the world asks."})]
)


class CallTools:
    """A `ToolSet` of a world whose actions are calls in JSON already.

    Args:
        schemas: JSON text of the schemas, as `schemas` returns them.
    """

    def __init__(self, schemas: str) -> None:
        self._schemas = schemas
        self._names = {tool["function"]["name"] for tool in self.schemas()}

    def schemas(self) -> list[dict[str, Any]]:
        """What was given, built afresh."""
        schemas: list[dict[str, Any]] = json.loads(self._schemas)
        return schemas

    def action_of(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, ToolProblem]:
        """The call as JSON, whatever it is: the world itself says what is wrong with arguments."""
        problem = ToolProblem.NONE if name in self._names else ToolProblem.UNKNOWN_TOOL
        try:
            return json.dumps({"name": name, "arguments": arguments}), problem
        except (ValueError, RecursionError):  # a number of thousands of digits, or nested as deep
            return "", ToolProblem.BAD_ARGUMENTS

    def call_of(self, action: str) -> tuple[str, dict[str, Any]] | None:
        """The call that the JSON says."""
        try:
            said = json.loads(action)
            return said["name"], dict(said["arguments"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def tool_set_of(env: object) -> ToolSet:
    """The tools of an environment: its own where it names some (`tool_set`), else one that takes any action."""
    own = getattr(env, "tool_set", None)
    tools: ToolSet = own() if callable(own) else ANY_ACTION
    return tools
