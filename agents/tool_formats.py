"""How a chat template has tools told, called and answered: found by rendering small chats, never by a model's name.

Three kinds. A template that knows tools (Qwen2.5's, Qwen3's, and others that write calls as JSON) is asked how it
writes a call, and is taken at its word only where a call as plain text renders to the same chat as the structured one.
SmolLM2's template shows no tools; its models were taught a form of their own, which stands here. For every other
template tools are listed in the system message, and a call is a bare JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A chat, in transformers' form, and the tools or None -> the template's text, up to where the assistant writes.
Render = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None], str]


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How tools are told, called and answered.

    Attributes:
        name: ``template``, ``smollm2`` or ``json``.
        opening: What stands in front of the JSON of a call.
        closing: What stands behind it.
        name_key: Key of the tool's name in that JSON.
        arguments_key: Key of the arguments.
        result_role: Role of the message that holds what a tool returned.
        result_opening: What stands in front of what it returned, inside that message.
        result_closing: What stands behind it.
    """

    name: str
    opening: str = ""
    closing: str = ""
    name_key: str = "name"
    arguments_key: str = "arguments"
    result_role: str = "user"
    result_opening: str = ""
    result_closing: str = ""

    @property
    def in_template(self) -> bool:
        """Whether the chat template itself tells the tools; else the system message does."""
        return self.name == TEMPLATE

    @property
    def listed(self) -> bool:
        """Whether calls stand in a JSON list."""
        return self.opening.rstrip().endswith("[")

    @property
    def tags(self) -> tuple[str, str]:
        """The texts that a call stands between, both empty where it is the whole answer."""
        opening, closing = self.opening.strip(), self.closing.strip()
        if self.listed:
            opening, closing = opening.removesuffix("[").rstrip(), closing.removeprefix("]").lstrip()
        return opening, closing

    def call_json(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A call as JSON alone."""
        return json.dumps({self.name_key: name, self.arguments_key: dict(arguments)}, ensure_ascii=False)

    def call_text(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A call as an assistant writes it."""
        return self.opening + self.call_json(name, arguments) + self.closing


TEMPLATE = "template"
JSON = ToolFormat("json")
# As the models' authors document it (HuggingFaceTB/SmolLM2-1.7B-Instruct, on function calling): a list of calls in
# tags. What comes back is documented by the template that Ollama runs these models with.
SMOLLM2 = ToolFormat(
    "smollm2",
    opening="<tool_call>[\n",
    closing="\n]</tool_call>",
    result_opening="<tool_response>\n",
    result_closing="\n</tool_response>",
)


def find_tool_format(render: Render) -> ToolFormat:
    """The format of the chat template that `render` renders with."""
    return _of_template(render) or (SMOLLM2 if _is_smollm2(render) else JSON)


# What the probes say; none of it is a word of any template. A result is shown as it is, or the template is not taken:
# one that writes it as a JSON string would need every observation escaped.
_NAME, _ARGUMENTS, _TEXT = "probe_tool", {"probe_key": "probe value"}, "probe text"
_RETURNED = 'probe "returned"\non two lines'
_SCHEMA = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Probe.",
        "parameters": {"type": "object", "properties": {"probe_key": {"type": "string"}}, "required": []},
    },
}
_ASKED = {"role": "user", "content": "probe question"}
_RESULT = {"role": "tool", "content": _RETURNED}


def _of_template(render: Render) -> ToolFormat | None:
    """The format that a template has of its own; None where it knows no tools, or writes calls in another manner."""
    call = {"type": "function", "function": {"name": _NAME, "arguments": _ARGUMENTS}}
    asked: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": [call]}
    try:
        if _NAME not in render([_ASKED], [_SCHEMA]):
            return None
        structured = render([_ASKED, asked, _RESULT], [_SCHEMA])
        plain = render([_ASKED, {"role": "assistant", "content": _TEXT}, _RESULT], [_SCHEMA])
        front, shown, behind = plain.partition(_TEXT)
        if not shown or _RETURNED not in behind or not structured.startswith(front) or not structured.endswith(behind):
            return None
        found = _written(structured[len(front) : len(structured) - len(behind)])
        if found is None:
            return None
        # The proof: a call that was sampled as text is kept as text, and must be the template's own call.
        answer = {"role": "assistant", "content": found.call_text(_NAME, _ARGUMENTS)}
        return found if render([_ASKED, answer, _RESULT], [_SCHEMA]) == structured else None
    except Exception:  # a template is a program of other people's: one that fails on a chat with tools has none
        return None


def _written(said: str) -> ToolFormat | None:
    """The format of an assistant's turn that holds the probes' call and nothing else."""
    start = said.find("{")
    if start < 0:
        return None
    call, end = json.JSONDecoder().raw_decode(said, start)
    keys = {key: value for key, value in call.items() if value in (_NAME, _ARGUMENTS)}
    if len(call) != 2 or len(keys) != 2:
        return None
    name_key = next(key for key, value in keys.items() if value == _NAME)
    arguments_key = next(key for key in keys if key != name_key)
    return ToolFormat(TEMPLATE, said[:start], said[end:], name_key, arguments_key, result_role="tool")


def _is_smollm2(render: Render) -> bool:
    """Whether a template's own system message is SmolLM2's."""
    try:
        return "named SmolLM, trained by Hugging Face<|im_end|>" in render([_ASKED], None)
    except Exception:  # as above
        return False
