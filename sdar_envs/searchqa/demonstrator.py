"""Demonstrations in the small world: a searcher that errs, where the regularities are drawn anew each time.

A hinted demonstration follows the skill statements it is shown, which are true as often as the world obeys its
regularities. One without hints guesses what the sources call a relation and where it stands, so that a cloned student
is left with something to learn and spreads its first guesses evenly.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core import SPLITS
from ..demonstrations import Script
from ..privileged import RetrievedSkills, StudentView
from . import small, tables
from .env import SearchQAEnv
from .names import small_names
from .protocol import search_action
from .searchers import Searcher

# How often a demonstration goes astray for a turn.
ASTRAY = 0.06


class SearchQADemonstrator:
    """Plays one episode: a `Searcher`, gone astray now and then."""

    def __init__(self, skills: RetrievedSkills | None, rng: np.random.Generator) -> None:
        statements = [] if skills is None else skills["compact_lines"]
        self._rng = rng
        self._turns = tables.SIZE_TABLES["small"].max_turns
        self._searcher = Searcher("small", statements, rng, self._turns)
        self._script: Generator[str, str, None] | None = None
        self._planned = ""

    def act(self, view: StudentView) -> str:
        """The searcher's next action, or a search for something else in its place."""
        if self._script is None:
            self._script = self._searcher.play(view.instruction)
            self._planned = next(self._script)
        else:
            self._planned = self._script.send(view.observation)
        astray = self._planned.startswith("<search>") and self._rng.random() < ASTRAY
        return _misworded(self._planned, self._rng) if astray else self._planned


def _misworded(action: str, rng: np.random.Generator) -> str:
    """The same search with a kind of source drawn at random."""
    query = action.removeprefix("<search>").removesuffix("</search>")
    kinds = tables.KINDS
    return search_action(" ".join([kinds[int(rng.integers(len(kinds)))], *query.split()[1:]]))


class DemonstrationEnv(SearchQAEnv):
    """A small world to demonstrate in; it stands in for the training split whatever split its names are from."""

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The tasks of this world."""
        return super().task_ids(self.split)


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> SearchQAEnv:
    """A world of names of any split: the tokens of all names are met, in facts that hold nowhere else."""
    left_out = ("stale", "stale_seed", "max_turns", "final_answer_turn", "retriever", "on_error", "task_type")
    kwargs = {key: value for key, value in env_kwargs.items() if key not in left_out}
    kwargs.update(size="small", passage_style="plain", world_seed=world_seed, expose_privileged=True)
    kwargs["split"] = SPLITS[world_seed % len(SPLITS)]
    return DemonstrationEnv(**kwargs)


def _texts() -> Sequence[str]:
    """Every name, term and value, numbered, so that a tokenizer keeps each apart from the wording."""
    relations = tables.SIZE_RELATIONS["small"]
    values = [value for name in relations if name in small.WORDS for value in tables.values_of("small", name)]
    terms = [term for listed in small.TERMS.values() for term in listed]
    names = [name for split in SPLITS for name in small_names(split)]
    eras = [f"era {year}" for year in range(10, 100)]
    return [*eras, *eras, *(f"{word} 1" for word in (*names, *terms, *values, *relations, *tables.ENTITY_TYPES))]


SCRIPT = Script(make_env=_make_env, make_demonstrator=SearchQADemonstrator, texts=_texts, vocabulary=1152)
