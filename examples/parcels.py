"""Your own environment in ten minutes: a plain Gymnasium environment, what its teacher reads, and who shows it.

A parcel is to be put on one of six shelves, in two tries. Each material has a shelf where it is usually kept, which the
student is never told and can learn; where this parcel belongs stands in ``info["privileged"]``, for the teacher alone.
Nothing here imports the suite. In this folder, on two CPU cores:

    sdar tiny --env parcels:Parcels-v0 --demonstrator parcels:act --teacher-context parcels:context --output-dir tiny
    sdar train --env parcels:Parcels-v0 --model tiny --teacher-context parcels:context --output-dir runs/parcels

`check_parcels.py` has what `sdar check` wants to know for a look at its leaks and its scores.
"""

from __future__ import annotations

import string
from typing import Any

import gymnasium as gym
import numpy as np

SHELVES = ("north", "south", "east", "west", "upper", "lower")
# Where each material is usually kept: what a student can make its own.
USUAL = dict(zip(("glass", "paper", "wool", "tin", "clay", "wood"), SHELVES, strict=True))
USUALLY = 0.9
TOWNS = ("Bergen", "Lagos", "Lima", "Osaka", "Perth", "Quito")


class Parcels(gym.Env[str, str]):
    """Text in, text out. Reset seeds are the tasks: each is a parcel.

    Args:
        expose_privileged: Whether ``info`` has the teacher's side.
        exchange: How many shelves further on every parcel belongs, all else being the same; a check looks whether the
            student could tell.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self, expose_privileged: bool = True, exchange: int = 0) -> None:
        self.observation_space = gym.spaces.Text(200, charset=string.printable)
        self.action_space = gym.spaces.Text(40, charset=string.printable)
        self.expose_privileged = expose_privileged
        self.exchange = exchange

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """A new parcel."""
        if options:
            raise ValueError(f"there are no options, got {sorted(options)}")
        super().reset(seed=seed)
        self.material = material = str(self.np_random.choice(list(USUAL)))
        town = str(self.np_random.choice(TOWNS))
        elsewhere = self.np_random.random() >= USUALLY
        shelf = str(self.np_random.choice(SHELVES)) if elsewhere else USUAL[material]
        self.shelf = SHELVES[(SHELVES.index(shelf) + self.exchange) % len(SHELVES)]
        self.tries = 2
        return f"A parcel of {material} from {town}. Shelves: {', '.join(SHELVES)}.", self._info(valid=True, won=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """One try; what is not understood is a wasted one, and never an error."""
        if not isinstance(action, str):
            raise TypeError(f"an action is text, got {type(action).__name__}")
        shelf = action.removeprefix("put ")
        valid, won = shelf in SHELVES, shelf == self.shelf
        self.tries = 0 if won else self.tries - 1
        answer = "It fits." if won else f"Not {shelf}." if valid else "Say put, and a shelf."
        return answer, float(won), self.tries == 0, False, self._info(valid=valid, won=won)

    def privileged(self) -> dict[str, Any]:
        """What the teacher may know, under the keys that `--privilege` reads; all else in ``info`` is the student's."""
        plan = [f"put {self.shelf}"] if self.tries else []
        usual = f"{self.material.capitalize()} is usually kept on the {USUAL[self.material]} shelf."
        return {
            "task_type": "parcel",
            "plan": plan,  # what is left to do, shortest first
            "next_action": plan[0] if plan else "",
            "hints": [f"Think of where {self.material} is usually kept.", f"It belongs on the {self.shelf} shelf."],
            "facts": {"shelf": self.shelf},
            "skills": {  # what can be learned: true of most parcels, and so of use without this one's shelf
                "general": "A material has its shelf.",
                "task": usual,
                "lines": [usual],
                "compact_lines": [f"{self.material}: {USUAL[self.material]}"],
                "claim_ids": [f"usual {self.material}"],
                "stale": [False],  # True for a statement that is no longer so
            },
        }

    def _info(self, *, valid: bool, won: bool) -> dict[str, Any]:
        public = {
            "admissible_actions": [f"put {shelf}" for shelf in SHELVES],
            "is_action_valid": valid,
            "success": won,
        }
        return {**public, "privileged": self.privileged()} if self.expose_privileged else public


def context(info: dict[str, Any]) -> str:
    """What the teacher reads."""
    return f"It belongs on the {info['privileged']['facts']['shelf']} shelf."


def act(observation: str, info: dict[str, Any], rng: np.random.Generator) -> str:
    """The demonstrator: told the shelf, it goes there; else it tries one and then another."""
    if "privileged" in info:
        return f"put {info['privileged']['facts']['shelf']}"
    return f"put {rng.choice([shelf for shelf in SHELVES if f'Not {shelf}.' not in observation])}"


gym.register("Parcels-v0", entry_point="parcels:Parcels")
