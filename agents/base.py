"""The types of acting: Agent, Action, Turn, Episode, StopReason, and the token ids of a turn and of a row.

Agents act in batches of independent slots. An agent keeps what it must remember of an episode under the view's `slot`;
a view with ``turn == 0`` begins a new episode there. This file imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from sdar_envs.privileged import Privileged, StudentView

Message = dict[str, str]  # {"role": "system" | "user" | "assistant" | "tool", "content": ...}


class Parse(StrEnum):
    """How a completion was read."""

    OK = "ok"
    EMPTY = "empty"  # nothing that could be an action
    NO_ACTION_TAG = "no_action_tag"  # the style asks for <action>...</action> and there is none, or it is not closed
    MANY_ACTION_TAGS = "many_action_tags"
    NO_THINK_TAG = "no_think_tag"  # the style asks for <think>...</think> and there is none
    TRUNCATED = "truncated"  # the token limit ended the completion
    NO_TOOL_CALL = "no_tool_call"  # the style asks for a tool call and there is none, or it is not closed
    BROKEN_TOOL_CALL = "broken_tool_call"  # what should be a call is no JSON, or no object with a name and arguments
    MANY_TOOL_CALLS = "many_tool_calls"
    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGUMENTS = "bad_arguments"  # the arguments are not those of the tool's schema


class StopReason(StrEnum):
    """Why an episode ended."""

    SUCCESS = "success"  # terminated with success
    TERMINATED = "terminated"  # the world ended the episode without success
    HORIZON = "horizon"  # truncated by the environment or by max_turns
    CONTEXT_FULL = "context_full"  # the prompt no longer fits the model
    FAILED = "failed"  # the environment broke: left out of loss and group statistics


@dataclass(frozen=True, slots=True)
class TurnTokens:
    """The exact token ids of one turn.

    With `continues`, `prompt_ids` are appended to the row of the turn before (its prompt and completion stay in front);
    without, they are the whole prompt and a new row begins. `completion_ids` are the sampled ids, the end token
    included when it was sampled; they are never re-tokenised. `logprobs` are of the sampled ids at the sampling
    temperature, `entropies` in nats, both parallel to `completion_ids`.
    """

    prompt_ids: tuple[int, ...]
    continues: bool
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...] = ()
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A row given one prompt: `ids` is the full sequence, ``ids[p] for p in loss_positions`` are the sampled tokens.

    Every position is at least 1, because no prediction exists for the token at 0.
    """

    ids: list[int]
    loss_positions: list[int]

    def sampled_ids(self) -> list[int]:
        """The sampled tokens, in order."""
        return [self.ids[p] for p in self.loss_positions]


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent did in one turn: the text for the environment, and how it came about.

    `messages` are the chat messages that are new in this turn, as the student read them (system and user at the start
    of a row, one user or tool message when the row continues); the privileged prompt is built from them.
    `context_full` says that no prompt fits any more, so that the episode ends.
    """

    text: str
    completion: str
    parse: Parse = Parse.OK
    tokens: TurnTokens | None = None
    messages: tuple[Message, ...] = ()
    context_full: bool = False


@dataclass(slots=True)
class Turn:
    """One turn: what the student saw, what it did, the reward, and whether the environment understood the action."""

    view: StudentView
    action: Action
    reward: float
    is_action_valid: bool


@dataclass(slots=True)
class Episode:
    """One episode on the student's side of the information barrier: it holds no privileged information.

    `role` is the seat in a world of several, "" elsewhere; episodes of one iteration with the same `game` were played
    against each other, -1 for none. `first_detour` is the first turn, from 0, that did not shorten the
    shortest plan, and `first_wrong_turn` the first after which the best that could still be reached was less; -1 for
    none, and None where the world does not say.
    """

    env_id: str
    task_id: str
    task_type: str
    draw: tuple[int | str, ...]
    turns: list[Turn] = field(default_factory=list)
    success: bool = False
    score: float = 0.0
    stop_reason: StopReason = StopReason.HORIZON
    role: str = ""
    game: int = -1
    first_wrong_turn: int | None = None
    first_detour: int | None = None

    @property
    def return_(self) -> float:
        """The sum of rewards."""
        return sum(turn.reward for turn in self.turns)

    @property
    def failed(self) -> bool:
        """Whether the environment broke, so that the episode says nothing about the agent."""
        return self.stop_reason is StopReason.FAILED


@runtime_checkable
class Agent(Protocol):
    """Anything that turns views into actions, a batch at a time.

    Agents that declare `reads_privileged` are handed the privileged information, parallel to the views; all others
    never get it.
    """

    reads_privileged: bool

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Return one action per view, in the order of the views."""
        ...
