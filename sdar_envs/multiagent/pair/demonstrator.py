"""Pair's demonstrations: a runner, or a cook, that errs now and then, in houses whose wishes are drawn anew each time.

A hinted runner follows the lines that it is shown; one without hints carries whatever it finds. A hinted cook knows its
appliances; one without hints tries them in a drawn order, and looks about before it goes to the pass. So a cloned
student is left with something to learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...demonstrations import Demonstrator, Script
from ...household import tables as house
from ...household.searchers import read_sentence
from ...privileged import RetrievedSkills, StudentView
from .env import PairEnv
from .players import Carrier, Cook, Runner, Turns
from .tables import OCCASIONS, RUNNER
from .wording import INSTRUCTIONS

# How often a runner goes astray for a turn.
ASTRAY = 0.05
# Demonstrations may take longer than a game: what comes after a long search is worth showing too.
EXTRA_TURNS = 3


class PairDemonstrator:
    """Plays one episode of either seat."""

    def __init__(self, skills: RetrievedSkills | None, rng: np.random.Generator) -> None:
        self._lines = None if skills is None else list(skills["compact_lines"])
        self._rng = rng
        self._player: Runner | Cook | None = None
        self._planned = ""
        self._astray = False

    def act(self, view: StudentView) -> str:
        """The player's next action, or a look about before it."""
        if self._player is None:
            self._player = self._make_player(view)
        if not self._astray:
            self._planned = self._player.act(view)
        # What a cook sees while it looks about would be lost on its script.
        self._astray = view.role == RUNNER and not self._astray and self._rng.random() < ASTRAY
        if self._astray:
            return "look" if self._rng.random() < 0.5 else "wait"
        return self._planned

    def _make_player(self, view: StudentView) -> Runner | Cook:
        if view.role == RUNNER:
            return Carrier() if self._lines is None else Runner(self._lines)
        return Cook() if self._lines is not None else Novice(self._rng)


class Novice(Cook):
    """A cook that does not know its appliances, and opens no door before it must."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self._rng = rng

    def _play(self, view: StudentView) -> Turns:
        task_type, target, destination = read_sentence(f"Your task is to: {_sentence(view)}")
        reach, shared = self._reach(view), self._pass(view)
        view = yield f"go to {reach[int(self._rng.integers(len(reach)))]}"
        view = yield f"go to {shared}"
        while not (thing := self._wanted(view, target, shared)):
            view = yield "wait"
        view = yield f"take {thing} from {shared}"
        if task_type in house.APPLIANCES:
            tools = [name for name in reach if name.rpartition(" ")[0] in house.APPLIANCES.values()]
            for number in self._rng.permutation(len(tools)):
                tool = tools[int(number)]
                view = yield f"go to {tool}"
                view = yield f"{task_type} {thing} with {tool}"
                if view.is_action_valid:
                    break
        goal = next(name for name in reach if name.rpartition(" ")[0] == destination)
        view = yield f"go to {goal}"
        if "is closed" in view.observation:
            view = yield f"open {goal}"
        yield f"move {thing} to {goal}"


def _sentence(view: StudentView) -> str:
    return view.instruction.partition("your task is to: ")[2].partition(".")[0] + "."


def _make_demonstrator(skills: RetrievedSkills | None, rng: np.random.Generator) -> Demonstrator:
    return PairDemonstrator(skills, rng)


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> PairEnv:
    ours = ("stale", "stale_seed", "split", "horizon")
    kwargs = {key: value for key, value in env_kwargs.items() if key not in ours}
    kwargs.update(world_seed=world_seed, split="train", expose_privileged=True)
    env = PairEnv(**kwargs)
    env.horizon = env.game.horizon = env.horizon + EXTRA_TURNS
    return env


def _texts() -> Sequence[str]:
    """Every numbered thing of a small house, and the words of instructions and wishes."""
    names = [*house.receptacle_types("small"), *house.object_types("small")]
    texts = [f"{name} {number}" for name in names for number in range(1, 5) for _ in range(2)]
    for kind in house.ROOM_KINDS:
        for occasion in OCCASIONS:
            texts.append(INSTRUCTIONS[RUNNER].format(kind=kind, occasion=occasion, shared="shelf 1"))
            texts.append(f"at {occasion} in the {kind}: the cook wants the plate.")
    return texts


SCRIPT = Script(make_env=_make_env, make_demonstrator=_make_demonstrator, texts=_texts)
