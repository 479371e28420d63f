"""A toy world of the suite's contract, and broken variants of it as negative controls.

A coin lies in one of a few numbered boxes; the agent opens boxes and takes the coin. Each broken variant breaks one
promise, and the checker has to catch it by the check that names that promise.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym

from sdar_envs.core import PublicFields, TextEnv, Transition
from sdar_envs.privileged import PrivilegedFields
from sdar_envs.randomness import counted_generator
from sdar_envs.skills import SkillBank, SkillStatement

COLOURS = ("red", "green", "blue")
BANK = SkillBank(
    "Open boxes.",
    {colour: f"The {colour} coin is small." for colour in COLOURS},
    [
        SkillStatement(
            f"box:{c}", (c,), "box", str(i), f"The {c} coin is often in box {{value}}.", f"{c} {{value}}", ("9",)
        )
        for i, c in enumerate(COLOURS, start=1)
    ],
)


class ToyWorld(TextEnv):
    """Find the coin: `open N`, then `take coin`."""

    env_id = "toy/Boxes-v0"
    boxes = 4

    def __init__(self, *, horizon: int = 6, **kwargs: Any) -> None:
        super().__init__(horizon=horizon, **kwargs)
        self.secret = ""
        self._coin = 0
        self._open = 0
        self._won = False

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        return [f"{split or self.split}:{number}" for number in range(30)]

    def _begin(self, task_id: str) -> str:
        if not re.fullmatch(r"(train|valid|test):\d+", task_id):
            raise ValueError(f"a task id of {self.env_id} looks like train:7, got {task_id!r}")
        self._coin = int(counted_generator("toy", task_id).integers(self.boxes)) + 1
        self._colour = COLOURS[int(task_id.split(":")[1]) % 3]
        self._open, self._won = 0, False
        return f"There are {self.boxes} boxes. Find the {self._colour} coin."

    def _act(self, action: str) -> Transition:
        match = re.fullmatch(r"open (\d)", action)
        if match and 1 <= int(match[1]) <= self.boxes:
            self._open = int(match[1])
            seen = "A coin!" if self._open == self._coin else "Nothing."
            return Transition(f"You open box {self._open}. {seen}", 0.0, False, True)
        if action == "take coin" and self._open == self._coin:
            self._won = True
            return Transition("You have the coin.", 1.0, True, True)
        return Transition("Nothing happens.", 0.0, False, False)

    def _public(self) -> PublicFields:
        take = ["take coin"] if self._open == self._coin else []
        return {
            "task_type": self._colour,
            "skill_keys": [self._colour],
            "instruction": f"Find the {self._colour} coin.",
            "admissible_actions": [f"open {number}" for number in range(1, self.boxes + 1)] + take,
            "success": self._won,
            "score": float(self._won),
        }

    def _privileged(self) -> PrivilegedFields:
        plan = ["take coin"] if self._open == self._coin else [f"open {self._coin}", "take coin"]
        plan = [] if self._won else plan
        return {
            "task_type": self._colour,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": [f"{self.secret}look in box {self._coin}"],
            "facts": {"box": self._coin, "note": self.secret},
            "skills": BANK.retrieve("task_type", task_type=self._colour, keys=[self._colour]),
        }


class LeakyWorld(ToyWorld):
    """Shows a privileged fact to the student after the first step."""

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        return transition._replace(observation=f"{transition.observation} {self._privileged()['hints'][0]}")


class LeakyInstruction(ToyWorld):
    """Shows a privileged fact in a public key of `info`."""

    def _public(self) -> PublicFields:
        public = super()._public()
        public["instruction"] += self._privileged()["hints"][0]
        return public


class PeekingWorld(ToyWorld):
    """Its observation depends on whether privileged information is exposed."""

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        return transition._replace(observation=transition.observation + ("" if self.expose_privileged else " "))


_calls = itertools.count()


class CountingWorld(ToyWorld):
    """Its observations depend on what happened in the process before."""

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        late = f" ({next(_calls)})" if self.steps >= 2 else ""
        return transition._replace(observation=transition.observation + late)


class ForgetfulWorld(ToyWorld):
    """State of one episode leaks into the next: the box stays open."""

    def _begin(self, task_id: str) -> str:
        before = self._open
        text = super()._begin(task_id)
        self._open = before
        return text


class RaggedWorld(ToyWorld):
    """Drops an info key when the action was not understood."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        if not info["is_action_valid"]:
            del info["score"]
        return observation, reward, terminated, truncated, info


class HalfASkillWorld(ToyWorld):
    """Its skills lack what a teacher may be asked to show."""

    def _privileged(self) -> PrivilegedFields:
        fields = super()._privileged()
        return {**fields, "skills": {"lines": fields["skills"]["lines"]}}  # type: ignore[typeddict-item]


class NumpyWorld(ToyWorld):
    """Puts a value into `info` that JSON does not know."""

    def _privileged(self) -> PrivilegedFields:
        fields = super()._privileged()
        fields["facts"]["boxes"] = {1, 2}
        return fields


class SharingWorld(ToyWorld):
    """Returns the same list object at every call."""

    _list: ClassVar[list[str]] = ["open 1"]

    def _public(self) -> PublicFields:
        public = super()._public()
        public["admissible_actions"] = self._list
        return public


class FragileWorld(ToyWorld):
    """Raises on text that it does not expect."""

    def _act(self, action: str) -> Transition:
        if "%s" in action:
            action = action % ()
        return super()._act(action)


class SlowWorld(ToyWorld):
    """Takes its time over long text."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if len(action) > 100_000:
            time.sleep(0.3)
        return super().step(action)


class EchoWorld(ToyWorld):
    """Echoes raw text, which may not be encodable."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, *rest = super().step(action)
        return f"{observation} {action[:50]}", *rest  # type: ignore[return-value]


class EndlessWorld(ToyWorld):
    """Ends by its horizon as if the task had ended."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, truncated, info


class ObligingWorld(ToyWorld):
    """Takes an action that is not text."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return super().step(str(action))


class TwoCommandsWorld(ToyWorld):
    """Obeys the first line of a text that has two."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return super().step(action.splitlines()[0] if isinstance(action, str) and "\n" in action[:100] else action)


class UnsolvableWorld(ToyWorld):
    """Its plan does not solve the task."""

    def _privileged(self) -> PrivilegedFields:
        fields = super()._privileged()
        if not self._won:
            fields["plan"], fields["next_action"] = ["open 1"], "open 1"
        return fields


class AmnesiacWorld(ToyWorld):
    """Forgets which task it was asked for."""

    def _begin(self, task_id: str) -> str:
        return super()._begin(f"train:{counted_generator(task_id, int(self.np_random.integers(99))).integers(30)}")


class LateListWorld(ToyWorld):
    """Has half of the privileged keys only after the first step."""

    def _privileged(self) -> PrivilegedFields:
        fields = super()._privileged()
        if self.steps == 0:
            del fields["facts"]  # type: ignore[misc]  # the defect on show
        return fields


class ColourfulWorld(ToyWorld):
    """Shows the agent's raw text on the terminal."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        result = super().step(action)
        self._last_action = action[:100] if isinstance(action, str) else None
        return result


class SharedStateWorld(ToyWorld):
    """Keeps the episode's state on the class, so that two instances are one."""

    _shared: ClassVar[dict[str, int]] = {}

    @property
    def _coin(self) -> int:
        return self._shared["coin"]

    @_coin.setter
    def _coin(self, value: int) -> None:
        self._shared["coin"] = value


class UnpicklableWorld(ToyWorld):
    """Its space cannot be sent to a worker."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space.trap = lambda: None  # type: ignore[attr-defined]


class UnseededWorld(ToyWorld):
    """Draws its task from a generator of its own."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        if not options:
            options = {"task_id": f"train:{next(_calls) % 30}"}
        return super().reset(seed=seed, options=options)


def register() -> None:
    """Register the toy as ``toy/Boxes-v0``, as a third party would."""
    if ToyWorld.env_id not in gym.registry:
        gym.register(id=ToyWorld.env_id, entry_point="toy_world:ToyWorld")
