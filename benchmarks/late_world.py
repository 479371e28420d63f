"""The world of the comparison of collectors: steps that take 1 to 200 ms, and completions of 4 to 64 tokens.

Both have a heavy tail, as have pages of the web, tools and answers of models: most are short, and in every batch there
is a long one. All is a function of episode and turn, so that every collector meets the same. This file needs nothing
but Python, so that TRL's program imports it too.
"""

from __future__ import annotations

import random
import time

EPISODES = 64
TURNS = 16
STEP_SECONDS = 0.005  # a decoding step of the device, whatever the number of rows: what a GPU does with small batches
_SHORTEST, _LONGEST = 0.001, 0.2  # seconds of an environment's step


def delay(episode: int, turn: int) -> float:
    """Seconds that an environment's step takes: a Pareto tail of index 0.7, cut at 200 ms."""
    left = 1.0 - random.Random(f"delay {episode} {turn}").random()
    return min(_SHORTEST * left ** (-1 / 0.7), _LONGEST)


def length(episode: int, turn: int) -> int:
    """Tokens of a completion: a Pareto tail of index 1.2, cut at 64."""
    left = 1.0 - random.Random(f"length {episode} {turn}").random()
    return min(int(4 * left ** (-1 / 1.2)), 64)


def chain(episode: int) -> float:
    """Seconds that an episode takes that waits for nobody: its own steps and its own tokens, one after another."""
    return sum(delay(episode, turn) + length(episode, turn) * STEP_SECONDS for turn in range(TURNS))


class LateRooms:
    """To TRL, `move` is a tool that takes its time; instances are numbered in the order in which they are made."""

    made = 0

    def __init__(self) -> None:
        self.episode = LateRooms.made
        LateRooms.made += 1
        self.turn = 0

    def reset(self, **kwargs: object) -> str | None:
        """Begin an episode."""
        self.turn = 0
        return None

    def move(self, direction: str) -> str:
        """Walk one room.

        Args:
            direction: east or west.
        """
        time.sleep(delay(self.episode, self.turn))
        self.turn += 1
        return f"Turn {self.turn}."

    def get_reward(self) -> float:
        """Nothing is learned here."""
        return 0.0
