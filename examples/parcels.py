"""Your own environment in ten minutes: a plain Gymnasium environment, what its teacher reads, and who shows it.

A parcel is to be put on one of six shelves, in two tries. Each material has a shelf where it is usually kept, which the
student is never told and can learn; where this parcel belongs stands in ``info["shelf"]``, for the teacher alone.
Nothing here imports the suite. In this folder, on two CPU cores:

    sdar tiny --env parcels:Parcels-v0 --demonstrator parcels:act --teacher-context parcels:context --output-dir tiny
    sdar train --env parcels:Parcels-v0 --model tiny --teacher-context parcels:context --output-dir runs/parcels
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
    """Text in, text out. Reset seeds are the tasks: each is a parcel."""

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Text(200, charset=string.printable)
        self.action_space = gym.spaces.Text(40, charset=string.printable)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """A new parcel."""
        super().reset(seed=seed)
        material = str(self.np_random.choice(list(USUAL)))
        town = str(self.np_random.choice(TOWNS))
        elsewhere = self.np_random.random() >= USUALLY
        self._shelf = str(self.np_random.choice(SHELVES)) if elsewhere else USUAL[material]
        self._tries = 2
        return f"A parcel of {material} from {town}. Shelves: {', '.join(SHELVES)}.", self._info(valid=True, won=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """One try; what is not understood is a wasted one, and never an error."""
        shelf = action.removeprefix("put ")
        valid, won = shelf in SHELVES, shelf == self._shelf
        self._tries -= 1
        over = won or self._tries == 0
        answer = "It fits." if won else f"Not {shelf}." if valid else "Say put, and a shelf."
        return answer, float(won), over, False, self._info(valid=valid, won=won)

    def _info(self, *, valid: bool, won: bool) -> dict[str, Any]:
        return {
            "admissible_actions": [f"put {shelf}" for shelf in SHELVES],
            "is_action_valid": valid,
            "success": won,
            "shelf": self._shelf,  # privileged: no prompt of the student shows a key that it does not know
        }


def context(info: dict[str, Any]) -> str:
    """What the teacher reads."""
    return f"It belongs on the {info['shelf']} shelf."


def act(observation: str, info: dict[str, Any], rng: np.random.Generator) -> str:
    """The demonstrator: told the shelf, it goes there; else it tries one and then another."""
    if "shelf" in info:
        return f"put {info['shelf']}"
    return f"put {rng.choice([shelf for shelf in SHELVES if f'Not {shelf}.' not in observation])}"


gym.register("Parcels-v0", entry_point="parcels:Parcels")
