"""The small world of the comparison with TRL: a row of rooms, four moves, a reward for going east.

This file needs nothing but Python, so that both trainers' programs import the very same world and figures: TRL plays
`Rooms` as a class of tools, our side wraps it as a Gymnasium environment.
"""

from __future__ import annotations

TASK = "Reach the garden."
MOVES = 4  # tool calls per episode; then one closing turn
PROMPTS, GROUP = 2, 4  # episodes per optimiser step: two groups of four
STEPS, DROPPED = 12, 2  # optimiser steps, and how many of them are warm-up
MAX_COMPLETION = 512
LEARNING_RATE = 1e-5


class Rooms:
    """Every move answers with an observation of the same size; to TRL, `move` is a tool."""

    def __init__(self) -> None:
        self.moves = self.east = 0

    def reset(self, **kwargs: object) -> str | None:
        """Begin an episode; what the task is stands in the prompt."""
        self.moves = self.east = 0
        return None

    def move(self, direction: str) -> str:
        """Walk one room.

        Args:
            direction: east or west.
        """
        self.moves += 1
        self.east += direction == "east"
        return f"Turn {self.moves}. You walk {direction[:8]:<8}. Doors lead east and west; a lamp and a table are here."

    def get_reward(self) -> float:
        """The share of moves to the east."""
        return self.east / max(self.moves, 1)


def completion_for(direction: str) -> str:
    """A well-formed answer that moves."""
    return f'<tool_call>\n{{"name": "move", "arguments": {{"direction": "{direction}"}}}}\n</tool_call>'
