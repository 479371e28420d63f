"""The household's demonstrations: a searcher that errs, in a house whose regularities are drawn anew each time.

A hinted demonstration follows the skill lines it is shown, which are true as often as the house obeys its regularities.
One without hints searches in random order, knows a verb's appliance only now and then, and tries one kind of place
after the other where the task does not say where a thing belongs: so a cloned student is left with something to learn,
and its first guesses are spread evenly.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from ..demonstrations import Script
from ..privileged import RetrievedSkills, StudentView
from . import tables
from .env import HouseholdEnv
from .searchers import Searcher, receptacles_in

# How often an unhinted demonstration knows the appliance, and how often any goes astray for a turn.
APPLIANCE_KNOWN = 0.5
ASTRAY = 0.1
# Demonstrations may take longer than the house's horizon: what comes after a long search is worth showing too.
EXTRA_STEPS = 4


class HouseholdDemonstrator:
    """Plays one episode: a `Searcher`, gone astray now and then."""

    def __init__(self, skills: RetrievedSkills | None, rng: np.random.Generator) -> None:
        if skills is not None:
            statements = list(skills["compact_lines"])
        else:
            known = rng.random() < APPLIANCE_KNOWN
            statements = [f"to {verb}, use the {tool}." for verb, tool in tables.APPLIANCES.items()] if known else []
        self._rng = rng
        self._searcher = Searcher(statements, (int(rng.integers(2**31)),))
        self._script: Generator[str, str, None] | None = None
        self._planned = ""
        self._receptacles: list[str] = []
        self._astray = False

    def act(self, view: StudentView) -> str:
        """The searcher's next action, or a detour before it; ``look`` when it has given up."""
        if self._script is None:
            self._script = self._searcher.play(view.observation)
            self._receptacles = receptacles_in(view.observation)
            self._planned = next(self._script, "look")
        elif not self._astray:
            try:
                self._planned = self._script.send(view.observation)
            except StopIteration:
                self._planned = "look"
        self._astray = not self._astray and self._rng.random() < ASTRAY
        if not self._astray:
            return self._planned
        # A detour must leave the searcher's plan playable: before a walk any walk will do, else only looking about.
        if self._planned.startswith("go to "):
            return f"go to {self._receptacles[int(self._rng.integers(len(self._receptacles)))]}"
        return "look" if self._rng.random() < 0.5 else "inventory"


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> HouseholdEnv:
    kwargs = {key: value for key, value in env_kwargs.items() if key not in ("stale", "stale_seed", "split", "horizon")}
    kwargs.update(world_seed=world_seed, split="train", expose_privileged=True)
    env = HouseholdEnv(**kwargs)
    env.horizon += EXTRA_STEPS
    env.keeps_splits_apart = False
    return env


def _texts() -> Sequence[str]:
    """Every numbered thing of a small house, so that the tokenizer gives each a token of its own."""
    names = [*tables.receptacle_types("small"), *tables.object_types("small")]
    return [f"{name} {number}" for name in names for number in range(1, 5) for _ in range(2)]


SCRIPT = Script(make_env=_make_env, make_demonstrator=HouseholdDemonstrator, texts=_texts)
