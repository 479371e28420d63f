"""Agents without a model, and environments that break: what rollouts and evaluation are tested with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
from toy_world import BANK, ToyWorld

from agents.base import Action, TurnTokens
from sdar_envs.core import Transition
from sdar_envs.privileged import Privileged, StudentView
from sdar_envs.randomness import counted_generator


class ScriptedAgent:
    """Opens boxes by a counted draw, and takes the coin when it sees one; remembers every call."""

    reads_privileged = False

    def __init__(self, choose: Callable[[StudentView], str] | None = None) -> None:
        self.choose = choose or self._look_around
        self.calls: list[list[int]] = []
        self.released: list[int] = []

    def _look_around(self, view: StudentView) -> str:
        if "A coin" in view.observation:
            return "take coin"
        return f"open {counted_generator(*view.draw, view.turn).integers(1, 5)}"

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        assert privileged is None
        self.calls.append([view.slot for view in views])
        return [self._action(view) for view in views]

    def _action(self, view: StudentView) -> Action:
        text = self.choose(view)
        ids = tuple(range(1, 2 + len(text) % 3))
        return Action(text, text, tokens=TurnTokens((9, 9), view.turn > 0, ids, tuple(-0.5 for _ in ids)))

    def release(self, slots: Sequence[int]) -> None:
        self.released += slots


class Peeker(ScriptedAgent):
    """Reads the plan; `seen` holds what it was handed."""

    reads_privileged = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Privileged | None] = []

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        assert privileged is not None
        self.seen += privileged
        return [Action(p.reveal()["next_action"] if p else "look", "") for p in privileged]


class CrashingWorld(ToyWorld):
    """Raises at chosen steps of chosen tasks, `times` times in the process, then behaves."""

    def __init__(self, *, crash: tuple[str, int] = ("", 0), budget: list[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crash = crash
        self.budget = budget if budget is not None else [10**9]

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if (self._task_id, self.steps + 1) == self.crash and self.budget[0] > 0:
            self.budget[0] -= 1
            raise OSError("the game engine died")
        return super().step(action)


class FickleWorld(CrashingWorld):
    """After a crash it is another world: a replay cannot give the same episode."""

    def _begin(self, task_id: str) -> str:
        return super()._begin(task_id) + f" ({self.budget[0]})"


class EchoEnv(gym.Env[str, str]):
    """A third party's environment: text in, text out, seeds instead of tasks, nothing of this suite's `info`.

    Say the word that the observation names; three turns; reward 1 for each right word.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # gymnasium's own form
    words = ("red", "green", "blue")

    def __init__(self, turns: int = 3) -> None:
        self.observation_space = gym.spaces.Text(100)
        self.action_space = gym.spaces.Text(100)
        self.turns = turns
        self._left = 0
        self._word = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = self.turns
        return self._ask(), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        reward = float(self._word in action)
        self._left -= 1
        return self._ask(), reward, self._left == 0, False, {}

    def _ask(self) -> str:
        self._word = str(self.np_random.choice(self.words))
        return f"say {self._word}"


class ParityEnv(EchoEnv):
    """The same, judged by something that a random policy does half of the time: an even number of characters."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(len(action) % 2 == 0), terminated, truncated, info


class ParityWorld(ToyWorld):
    """A world of this suite's contract that pays for an even number of characters and ends after two steps."""

    env_id = "toy/Parity-v0"
    skill_bank = BANK  # asked again by methods that contrast a right skill with a wrong one

    def __init__(self, *, horizon: int = 2, **kwargs: Any) -> None:
        super().__init__(horizon=horizon, **kwargs)

    def _act(self, action: str) -> Transition:
        paid = float(len(action) % 2 == 0)
        self._won = bool(paid) and self.steps == 1
        return Transition(f"You said {len(action)} characters.", paid, self.steps == 1, len(action) % 3 > 0)
