"""Visits of people to the store: who is where, under which secret, and for how long.

A visit is one episode of the environment that a person plays. Its id is random and is all that is needed to go on with
it, so it is a secret of the visitor. A visit that rests too long ends, and there is a bound on how many there are. Not
here: HTTP (`server.py`) and what a page looks like (`storefront.py`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..privileged import Privileged, StudentView, split_info
from ..wrong_actions import WrongActions
from .session import Session

ID_BYTES = 24
_MINUTE = 60.0


class ShopEnv(Protocol):
    """What a visit needs of an environment: `WebShopEnv`, not wrapped."""

    horizon: int

    @property
    def session(self) -> Session:
        """The shopper's walk."""
        ...

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the purchase missed, in lines; empty before it."""
        ...

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode."""
        ...

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action."""
        ...

    def wrong_actions(self) -> WrongActions:
        """The first wrong actions of the episode that is over."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class StoreFullError(RuntimeError):
    """There are as many visits as there may be."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One step of a visit: what was seen, what was done, what came of it; `known` is the teacher's side before it."""

    view: StudentView
    action: str
    reward: float
    is_action_valid: bool
    known: Privileged | None


@dataclass(slots=True)
class Visit:
    """One person's episode.

    Attributes:
        env: Its environment, which no other visit uses.
        task_id: The task.
        number: Counts the visits of this server.
        view: What a model would be shown now.
        known: The teacher's side of this state, sealed; None where the environment does not tell it.
        exchanges: All steps so far.
        terminated: Whether something was bought.
        over: Whether that, or the steps are used up.
        success: What the environment says of the state.
        score: Likewise.
        touched: When it was last asked for, on the clock of `Visits`.
    """

    env: ShopEnv
    task_id: str
    number: int
    view: StudentView
    known: Privileged | None
    exchanges: list[Exchange] = field(default_factory=list)
    terminated: bool = False
    over: bool = False
    success: bool = False
    score: float = 0.0
    touched: float = 0.0

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.exchanges)

    def act(self, action: str) -> bool:
        """Play one action; whether that was the last one. In a visit that is over nothing happens."""
        if self.over:
            return False
        observation, reward, terminated, truncated, info = self.env.step(action)
        before, known_before = self.view, self.known
        self._see(observation, info, turn=self.steps + 1)
        self.exchanges.append(Exchange(before, action, reward, self.view.is_action_valid, known_before))
        self.terminated, self.over = terminated, terminated or truncated
        return self.over

    def _see(self, observation: str, info: Mapping[str, Any], *, turn: int) -> None:
        self.view, self.known = split_info(observation, info, turn=turn)
        self.success, self.score = bool(info["success"]), float(info["score"])


class Visits:
    """All visits of a server.

    Args:
        make_env: Makes an environment.
        next_task: The task of the next visit.
        most: Visits at one time. Where there are as many, one that is over makes room, else the one that has rested
            longest, if that is longer than a minute for itself and one for every step that was taken in it: who has
            only taken an errand cannot keep others out.
        rest: Seconds after which a visit that nobody asks for ends.
        ended: Called with every visit that comes to its end by a purchase or by its last step.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        make_env: Callable[[], ShopEnv],
        next_task: Callable[[], str],
        *,
        most: int = 256,
        rest: float = 1800.0,
        ended: Callable[[Visit], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_env = make_env
        self._next_task = next_task
        self._most = most
        self._rest = rest
        self._ended = ended
        self._clock = clock
        self._visits: dict[str, Visit] = {}  # the one that was touched longest ago first
        self._opened = 0

    def __len__(self) -> int:
        return len(self._visits)

    def open(self) -> str:
        """Begin a visit; its id.

        Raises:
            StoreFullError: There are `most` running visits.
        """
        self._end_rested()
        if len(self._visits) >= self._most:
            yielding = next((visit_id for visit_id, visit in self._visits.items() if visit.over), self._rested())
            if yielding is None:
                raise StoreFullError(
                    f"all {self._most} places are taken: finish a visit, or wait until one has rested "
                    f"{self._rest / 60:g} minutes"
                )
            self._drop(yielding)
        env, task_id = self._make_env(), self._next_task()
        observation, info = env.reset(options={"task_id": task_id})
        view, known = split_info(observation, info)
        visit_id = secrets.token_urlsafe(ID_BYTES)
        self._visits[visit_id] = Visit(env, task_id, self._opened, view, known, touched=self._clock())
        self._opened += 1
        return visit_id

    def find(self, visit_id: str) -> Visit | None:
        """The visit of an id, which counts as being asked for; None when there is none, or no longer."""
        self._end_rested()
        visit = self._visits.pop(visit_id, None)
        if visit is not None:
            visit.touched = self._clock()
            self._visits[visit_id] = visit
        return visit

    def act(self, visit: Visit, action: str) -> None:
        """Play one action of a visit, and tell of its end."""
        if visit.act(action) and self._ended is not None:
            self._ended(visit)

    def close(self) -> None:
        """End all visits."""
        for visit_id in list(self._visits):
            self._drop(visit_id)

    def _rested(self) -> str | None:
        """The visit that has rested longest of those that nobody seems to be at; None where there is none."""
        now = self._clock()
        for visit_id, visit in self._visits.items():  # the one that was touched longest ago first
            if now - visit.touched > _MINUTE * (1 + visit.steps):
                return visit_id
        return None

    def _end_rested(self) -> None:
        now = self._clock()
        while self._visits:
            visit_id, visit = next(iter(self._visits.items()))
            if now - visit.touched < self._rest:
                return
            self._drop(visit_id)

    def _drop(self, visit_id: str) -> None:
        self._visits.pop(visit_id).env.close()
