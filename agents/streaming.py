"""Actions one by one: an agent is handed views as they come and answers each when its completion is ready.

`Agent.act` answers a batch when its slowest completion has ended. A stream does not wait: what is submitted joins the
work that is going on. Agents without a stream of their own act on whatever has been submitted so far. This file imports
no torch.
"""

from __future__ import annotations

from typing import Any, Protocol

from sdar_envs.privileged import Privileged, StudentView

from .base import Action, Agent


class ActionStream(Protocol):
    """Views in, actions out, in any order; a slot is submitted again only after its action has come."""

    @property
    def pending(self) -> int:
        """Views whose action has not come yet."""
        ...

    def submit(self, view: StudentView, privileged: Privileged | None = None) -> None:
        """Ask for the action of a view."""
        ...

    def advance(self) -> list[tuple[int, Action]]:
        """Work on what is pending, for as long as a step takes; returns slots with the actions that are ready."""
        ...


class BatchedActions:
    """The stream of an agent that only acts in batches: all views that have come by now act together.

    Args:
        agent: The agent.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._waiting: dict[int, tuple[StudentView, Privileged | None]] = {}

    @property
    def pending(self) -> int:
        """Views that wait for the next batch."""
        return len(self._waiting)

    def submit(self, view: StudentView, privileged: Privileged | None = None) -> None:
        """Put a view into the next batch."""
        self._waiting[view.slot] = (view, privileged)

    def advance(self) -> list[tuple[int, Action]]:
        """Act on all views that wait."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return []
        slots = sorted(waiting)
        views = [waiting[slot][0] for slot in slots]
        if self._agent.reads_privileged:
            return list(zip(slots, self._agent.act(views, [waiting[slot][1] for slot in slots]), strict=True))
        return list(zip(slots, self._agent.act(views), strict=True))


def stream_of(agent: Agent) -> ActionStream:
    """The stream of an agent: its own where it has one."""
    own: Any = getattr(agent, "stream", None)
    made: ActionStream = own() if callable(own) else BatchedActions(agent)
    return made
