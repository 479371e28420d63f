"""Agents, prompts, rendering, sampling, and the teacher, who alone is on the privileged side of the barrier.

Importing this package loads nothing heavy; a public name is loaded when it is first used, so that a random or a human
agent needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Action, Agent, Episode, Message, Parse, StopReason, Turn, TurnTokens, View
    from .baselines import ExpertAgent, HumanAgent, RandomAgent
    from .chat import ChatAgent
    from .parsing import parse_bare, parse_tagged
    from .prompts import PromptStyle, parse_completion, prompt_style, student_messages
    from .rendering import ChatRenderer
    from .sampling.base import Sample, Sampler, SampleRequest
    from .sampling.local import BatchSampler
    from .teacher import POSITIONS, PRIVILEGES, Teacher, TeacherReading

# Other distributions install a package of this name too; this marker identifies ours.
PACKAGE_MARKER = "sdar-gym"

_HOME = {
    "base": ("Action", "Agent", "Episode", "Message", "Parse", "StopReason", "Turn", "TurnTokens", "View"),
    "baselines": ("ExpertAgent", "HumanAgent", "RandomAgent"),
    "chat": ("ChatAgent",),
    "parsing": ("parse_bare", "parse_tagged"),
    "prompts": ("PromptStyle", "parse_completion", "prompt_style", "student_messages"),
    "rendering": ("ChatRenderer",),
    "sampling.base": ("Sample", "SampleRequest", "Sampler"),
    "sampling.local": ("BatchSampler",),
    "teacher": ("POSITIONS", "PRIVILEGES", "Teacher", "TeacherReading"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "PACKAGE_MARKER",
    "POSITIONS",
    "PRIVILEGES",
    "Action",
    "Agent",
    "BatchSampler",
    "ChatAgent",
    "ChatRenderer",
    "Episode",
    "ExpertAgent",
    "HumanAgent",
    "Message",
    "Parse",
    "PromptStyle",
    "RandomAgent",
    "Sample",
    "SampleRequest",
    "Sampler",
    "StopReason",
    "Teacher",
    "TeacherReading",
    "Turn",
    "TurnTokens",
    "View",
    "parse_bare",
    "parse_completion",
    "parse_tagged",
    "prompt_style",
    "student_messages",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
