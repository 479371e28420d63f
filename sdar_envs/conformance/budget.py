"""The time that a check may take: a slow environment is looked at less, and the report says how much less and why.

Nothing can interrupt a call into somebody's environment, so the time is looked at between calls: `Timed` stands around
every environment that is checked, and a check ends at its first call beyond its time. Checks that go through episodes,
texts or tasks one after another use `Budget.each`, which stops before one that would not be through in time; what they
looked at until then still counts.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import gymnasium as gym

T = TypeVar("T")
Clock = Callable[[], float]

CHECK_SECONDS = 30.0
RESET = "reset"  # what such a call is called, where a step is called by its action
# Checks replay recorded episodes up to three times, so that recording them may take a part of the time alone.
RECORDING_SHARE = 0.3


class OutOfTime(BaseException):
    """The time of the running check is over.

    No `Exception`: it is raised inside code that expects an environment to raise, and says nothing about that one.
    """


class Budget:
    """The time of the running check.

    Args:
        seconds: Of each check.
        clock: The present time in seconds.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self.shortest_reset = math.inf  # the first may have a world to load
        self.calls: dict[
            int, tuple[str, float]
        ] = {}  # thread -> the call that has not come back yet, and when it began
        self.start()

    def start(self) -> None:
        """A check begins."""
        self._began = self.clock()
        self.looked_at = ""  # how much of what there is, where that is not all
        self.judged = False  # whether what was looked at so far has been judged, should the time be over now

    @property
    def spent(self) -> float:
        """Seconds since the check began."""
        return self.clock() - self._began

    def has(self, share: float = 1.0) -> bool:
        """Whether this share of the time is not over yet."""
        return self.spent < share * self.seconds

    def require(self) -> None:
        """Go on only while there is time.

        Raises:
            OutOfTime: It is over.
        """
        if not self.has():
            raise OutOfTime

    def require_resets(self, count: int, who: str) -> None:
        """Go on only where so many resets, as fast as the fastest that was seen, would be through in time.

        Raises:
            OutOfTime: They would not.
        """
        if self.seconds < count * self.shortest_reset < math.inf:
            self.looked_at = f"{who} resets about {count} times, which take {self.shortest_reset:.1f} s at least"
            raise OutOfTime

    def each(self, items: Sequence[T], noun: str, *, judged: bool = True, share: float = 1.0) -> Iterator[T]:
        """The items one after another, as many as can be looked at in time; `looked_at` says how many, if not all.

        Args:
            items: What to look at.
            noun: What they are called, in the plural.
            judged: Whether the loop judges every item itself, so that what it saw counts where an item is cut off.
            share: Of the time, by which they have to be through, where something else comes after them.

        Raises:
            OutOfTime: There was time for none.
        """
        longest = 0.0
        before = f"{self.looked_at}, " if self.looked_at else ""
        for number, item in enumerate(items):
            began = self.spent
            if number == 0:
                self.require()
            elif began + longest > share * self.seconds:
                return
            yield item
            longest = max(longest, self.spent - began)
            self.judged = self.judged or judged
            done = number + 1
            self.looked_at = before + f"{done} of {len(items)} {noun}" if done < len(items) else before[:-2]

    @contextlib.contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """While the environment works on a call, so that a watcher knows which one it does not come back from.

        Raises:
            OutOfTime: There is no time for another call.
        """
        self.require()
        here = threading.get_ident()
        self.calls[here] = what, time.monotonic()
        try:
            yield
        finally:
            del self.calls[here]

    def said(self) -> str:
        """How much was looked at, and why no more, for a report."""
        seen = f"{self.looked_at}: " if self.looked_at else ""
        return f"{seen}a check has {self.seconds:g} s (--check-seconds)"


class Timed(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that is called only while the running check has time.

    Args:
        env: The environment.
        budget: Its time.
    """

    def __init__(self, env: gym.Env[Any, Any], budget: Budget) -> None:
        super().__init__(env)
        self._budget = budget

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's own."""
        budget = self._budget
        began = budget.clock()
        with budget.calling(RESET):
            answer = self.env.reset(**kwargs)
        budget.shortest_reset = min(budget.shortest_reset, budget.clock() - began)
        return answer

    def step(self, action: Any) -> Any:
        """As the environment's own."""
        with self._budget.calling(f"{action!r:.80}"):
            return self.env.step(action)

    def __repr__(self) -> str:
        return repr(self.env)

    def __str__(self) -> str:
        return str(self.env)
