"""Environments of nobody's contract: three that keep every promise they make, and fifteen with one fault each.

All are one vault: a password is drawn, a note tells it, and saying it opens the vault. What a fault needs is changed.
"""

from __future__ import annotations

import contextlib
import random
import string
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym

PASSWORDS = ("cobalt harbour", "silent meadow", "paper lantern", "copper thimble", "winter orchard", "marble staircase")
OPENING = "You stand before a vault. There is a note on the table."
ACTIONS = ("read the note", "look around", "walk away", "knock", "listen", "wait")


class Vault(gym.Env[str, str]):
    """Read the note, then say the password."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    turns = 8

    def __init__(self, render_mode: str | None = None, exchange: int = 0) -> None:
        charset = string.printable
        self.observation_space = gym.spaces.Text(400, min_length=0, charset=charset)
        self.action_space = gym.spaces.Text(80, min_length=0, charset=charset)
        self.render_mode = render_mode
        self.exchange = exchange
        self.password = ""
        self.has_read = False
        self.taken = 0

    def draw(self) -> int:
        return int(self.np_random.integers(len(PASSWORDS)))

    def opening(self) -> str:
        return OPENING

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.begin(self.draw(), options)
        return self.opening(), self.info(False)

    def begin(self, number: int, options: Mapping[str, Any] | None) -> None:
        if options:
            raise ValueError(f"there are no options, got {sorted(options)}")
        self.password = PASSWORDS[(number + self.exchange) % len(PASSWORDS)]
        self.has_read = False
        self.taken = 0

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not isinstance(action, str):
            raise TypeError(f"an action is text, got {type(action).__name__}")
        self.taken += 1
        if action == "read the note":
            self.has_read = True
            return self.ends(f"The note says: {self.password}.", False)
        if action == f"say {self.password}":
            return self.ends("The vault opens.", True)
        return self.ends("Nothing happens." if action in ACTIONS else "You cannot do that.", False)

    def ends(self, text: str, won: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        truncated = not won and self.taken >= self.turns
        return text, self.reward(won), won, truncated, self.info(won)

    def reward(self, won: bool) -> float:
        return float(won)

    def info(self, won: bool) -> dict[str, Any]:
        return {"success": won, "admissible_actions": list(ACTIONS)}


class Trivia(Vault):
    """One turn: a question, and an answer that is right or wrong."""

    def begin(self, number: int, options: Mapping[str, Any] | None) -> None:
        super().begin(number, options)
        self.drawer = number

    def opening(self) -> str:
        return f"What is kept in drawer {self.drawer}?"

    def ends(self, text: str, won: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return text, self.reward(won), True, False, self.info(won)


class Listed(Vault):
    """Enumerates its tasks, and replays one by its id."""

    names: ClassVar[dict[str, tuple[int, ...]]] = {"train": (0, 1), "valid": (2, 3), "test": (4, 5)}

    def task_ids(self, split: str = "train") -> list[str]:
        return [f"{split}:{number}" for number in self.names[split]]

    def number_of(self, options: Mapping[str, Any] | None) -> int:
        chosen = dict(options or {})
        task = chosen.pop("task_id", None)
        if chosen:
            raise ValueError(f"the one option is task_id, got {sorted(chosen)}")
        return self.draw() if task is None else int(str(task).partition(":")[2])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        gym.Env.reset(self, seed=seed)
        self.number = self.number_of(options)
        self.begin(self.number, None)
        return self.opening(), self.info(False)

    def opening(self) -> str:
        return f"{OPENING} Its door has the number {self.number}."

    def info(self, won: bool) -> dict[str, Any]:
        return {**super().info(won), "task_id": f"any:{self.number}"}


# Broken in one way each.


class Seedless(Vault):
    def draw(self) -> int:
        return random.randrange(len(PASSWORDS))

    def opening(self) -> str:
        return f"{OPENING} Door {random.random()}"


class LeakyInfo(Vault):
    def info(self, won: bool) -> dict[str, Any]:
        return {**super().info(won), "debug": {"answer": "-".join(self.password).upper()}}


class LeakyName(Vault):
    def __repr__(self) -> str:
        return f"<Vault password={self.password!r}>"


class LeakyException(Vault):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not isinstance(action, str):
            raise TypeError(f"expected text such as 'say {self.password}', got {action!r}")
        return super().step(action)


class LeakyNumber(Vault):
    """Says the password in other words: how many letters it has."""

    def opening(self) -> str:
        return f"{OPENING} Somebody has scratched {len(self.password)} lines into the door."


class SharedState(Vault):
    current: ClassVar[list[str]] = [""]

    def begin(self, number: int, options: Mapping[str, Any] | None) -> None:
        super().begin(number, options)
        self.current[0] = self.password

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.password = self.current[0]
        return super().step(action)


class OrderDependent(Vault):
    visits = 0

    def begin(self, number: int, options: Mapping[str, Any] | None) -> None:
        super().begin(number, options)
        self.visits += 1

    def opening(self) -> str:
        return f"{OPENING} It is day {self.visits}."


class Unwinnable(Vault):
    def ends(self, text: str, won: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return super().ends(text, False)


class EverybodyWins(Vault):
    def ends(self, text: str, won: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return super().ends(text, self.taken >= 2 or won)


class SplitOverlap(Listed):
    names: ClassVar[dict[str, tuple[int, ...]]] = {"train": (0, 1, 2), "valid": (2, 3), "test": (4, 5)}


class DroppedTask(Listed):
    def number_of(self, options: Mapping[str, Any] | None) -> int:
        super().number_of(options)
        return self.draw()


class SharedNote(Listed):
    """Whoever asks for a task by its name gets the same note, which is torn as it is read."""

    torn: ClassVar[set[str]] = set()
    name: str | None = None

    def number_of(self, options: Mapping[str, Any] | None) -> int:
        self.name = str(options["task_id"]) if options and "task_id" in options else None
        return super().number_of(options)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action == "read the note" and self.name in self.torn:
            self.taken += 1
            return self.ends("The note is torn.", False)
        if action == "read the note" and self.name is not None:
            self.torn.add(self.name)
        return super().step(action)


class OneForAll(Listed):
    """Takes every name and always plays one task."""

    task_ids = None  # type: ignore[assignment]  # `splits` would see it, too

    def begin(self, number: int, options: Mapping[str, Any] | None) -> None:
        super().begin(0, options)

    def opening(self) -> str:
        return OPENING


class MoodyVerifier(Vault):
    def reward(self, won: bool) -> float:
        return float(won) + random.random() / 8


class Calculating(Vault):
    """Lets the password be computed, by running what the agent writes."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if isinstance(action, str) and action.startswith("["):
            with contextlib.suppress(Exception):
                action = " ".join(eval(action))
        return super().step(action)


BROKEN: dict[type[Vault], str] = {
    Seedless: "determinism",
    LeakyInfo: "declared_secret",
    LeakyName: "declared_secret",
    LeakyException: "declared_secret",
    LeakyNumber: "counterfactual",
    SharedState: "sessions",
    OrderDependent: "episode_isolation",
    Unwinnable: "oracle",
    EverybodyWins: "floor_gap",
    SplitOverlap: "splits",
    DroppedTask: "task_replay",
    SharedNote: "group_shares_task",
    OneForAll: "group_shares_task",
    MoodyVerifier: "verifier_determinism",
    Calculating: "hostile_actions",
}
CLEAN = (Vault, Trivia, Listed)


def answers(env: Vault) -> list[str]:
    """What the agent must not know yet."""
    return [] if env.has_read else [env.password]


def solve(env: Vault, observation: str, info: Mapping[str, Any]) -> str:
    """The right action."""
    return f"say {env.password}"
