"""Demonstrations in small worlds of trips: a booker that errs, where the regularities are drawn anew each time.

A hinted demonstration follows the skill statements it is shown, which are true as often as trips obey their
regularities. One without hints reads old bookings and takes their word for what is needed and eaten, which is right
half the time: so a cloned student is left with something to learn.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core import SPLITS
from ..demonstrations import Script
from ..privileged import RetrievedSkills, StudentView
from . import tables, wording
from .bookers import Booker
from .env import TripEnv, admissible_calls
from .generator import make_trip
from .regularities import regularities
from .services import State
from .tools import call_text

# How often a demonstration goes astray for a turn.
ASTRAY = 0.04
# Demonstrations may take longer than the world's horizon: what comes after a detour is worth showing too.
EXTRA_CALLS = 2


class TripDemonstrator:
    """Plays one episode: a `Booker`, gone astray now and then."""

    def __init__(self, skills: RetrievedSkills | None, rng: np.random.Generator) -> None:
        statements = () if skills is None else skills["compact_lines"]
        self._rng = rng
        calls = tables.SIZE_TABLES["small"].horizon
        self._booker = Booker("small", statements, (int(rng.integers(2**31)),), calls=calls)
        self._script: Generator[str, str, None] | None = None
        self._planned = ""
        self._astray = False

    def act(self, view: StudentView) -> str:
        """The booker's next call, or a search for something else before it."""
        if self._script is None:
            self._script = self._booker.play(view.instruction)
            self._planned = next(self._script)
        elif not self._astray:
            try:
                self._planned = self._script.send(view.observation)
            except StopIteration:
                self._planned = call_text("finish")
        self._astray = not self._astray and self._rng.random() < ASTRAY
        return self._detour() if self._astray else self._planned

    def _detour(self) -> str:
        """A call that changes nothing."""
        table = tables.SIZE_TABLES["small"]
        if self._rng.random() < 0.5:
            return call_text("search_hotels", district=table.districts[int(self._rng.integers(len(table.districts)))])
        return call_text("search_restaurants", cuisine=table.cuisines[int(self._rng.integers(len(table.cuisines)))])


class DemonstrationEnv(TripEnv):
    """A small world to demonstrate in; it stands in for the training split whatever split its names are from."""

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The tasks of this world."""
        return super().task_ids(self.split)


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> TripEnv:
    """A world of names of any split: the tokens of all names are met, in trips that nobody is trained on."""
    ours = ("stale", "stale_seed", "split", "horizon")
    kwargs = {key: value for key, value in env_kwargs.items() if key not in ours}
    kwargs.update(size="small", world_seed=world_seed, expose_privileged=True, split=SPLITS[world_seed % len(SPLITS)])
    env = DemonstrationEnv(**kwargs)
    env.horizon += EXTRA_CALLS
    return env


def _texts() -> Sequence[str]:
    """The calls, and every word of a small world with a number, so that a tokenizer keeps it apart from the rest."""
    table = tables.SIZE_TABLES["small"]
    trip = make_trip("train:000001", size="small", world_seed=0, regularity=tables.REGULARITY)
    state = State(seen=frozenset(trip.offers), calendar_read=True)
    calls = [call for _ in range(6) for call in admissible_calls(trip, state)]
    words = [*table.districts, *table.cuisines, *table.features, *table.companies, *table.airlines]
    words += [name for split in SPLITS for name in (*tables.cities("small", split), *tables.people("small", split))]
    words += [*tables.WEEKDAYS, *tables.HOME_ENTRIES, tables.MEETING, tables.WRAP_UP, tables.BASIC, tables.FLEX]
    statements = [one.compact_line() for one in regularities("small", 0).statements()]
    return [*calls, *(f"{word} 1" for word in words for _ in range(3)), *statements, wording.request(trip)]


SCRIPT = Script(make_env=_make_env, make_demonstrator=TripDemonstrator, texts=_texts, vocabulary=1024)
