"""Demonstrations in the small world: a searcher that errs, where the laws are drawn anew each time.

A hinted demonstration follows the claims it is shown, which are true as often as the world obeys its laws. One without
hints guesses what the sources call a relation and where it stands, so that a cloned student is left with something to
learn and spreads its first guesses evenly.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from ..demonstrations import Script
from ..privileged import RetrievedSkills, StudentView
from . import small, tables
from .env import SearchQAEnv
from .names import NUMBERS, SMALL_WORDS
from .protocol import search_action
from .searchers import Searcher

# How often a demonstration goes astray for a turn.
ASTRAY = 0.06


class SearchQADemonstrator:
    """Plays one episode: a `Searcher`, gone astray now and then."""

    def __init__(self, skills: RetrievedSkills | None, rng: np.random.Generator) -> None:
        claims = [] if skills is None else skills["compact_lines"]
        self._rng = rng
        self._turns = tables.SIZE_TABLES["small"].max_turns
        self._searcher = Searcher("small", claims, rng, self._turns)
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
    kinds = tables.KINDS["small"]
    return search_action(" ".join([kinds[int(rng.integers(len(kinds)))], *query.split()[1:]]))


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> SearchQAEnv:
    left_out = ("stale", "stale_seed", "split", "max_turns", "final_answer_turn", "retriever", "on_error")
    kwargs = {key: value for key, value in env_kwargs.items() if key not in left_out}
    kwargs.update(size="small", passage_style="plain", world_seed=world_seed, split="train", expose_privileged=True)
    return SearchQAEnv(**kwargs)


def _texts() -> Sequence[str]:
    """Every name and every word that values are made of, numbered: a tokenizer keeps each apart from the wording.

    A name that was never seen is then a word and a number that were.
    """
    relations = tables.SIZE_RELATIONS["small"]
    values = [value for name in relations if name in small.WORDS for value in tables.values_of("small", name)]
    terms = [term for listed in small.TERMS.values() for term in listed]
    names = [f"{word} {number}" for word in SMALL_WORDS for number in NUMBERS]
    return names + [f"{word} 1" for word in (*values, *relations, *terms, *tables.ENTITY_TYPES)]


SCRIPT = Script(make_env=_make_env, make_demonstrator=SearchQADemonstrator, texts=_texts)
