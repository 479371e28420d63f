"""The store's demonstrations: a shopper that errs, in a store whose regularities are drawn anew each time.

A hinted demonstration follows the skill lines it is shown, which are true as often as the store obeys its regularities.
One without hints guesses cues, pages, parts and the order of prices evenly: so a cloned student is left with something
to learn, and its first guesses are spread.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from ..demonstrations import Script
from ..privileged import RetrievedSkills, StudentView
from .env import WebShopEnv
from .shoppers import Shopper, read_request
from .taxonomy import CUES, PAGES, PRICES, taxonomy

# How often a demonstration goes astray for a turn.
ASTRAY = 0.06
# How often a demonstration reads the wanted property before it buys. Scripts that never do win as often in the small
# store, in half the steps; those that do show how pages are read.
INSPECTING = 0.1
# Demonstrations may take longer than the store's horizon: what comes after a long search is worth showing too.
EXTRA_STEPS = 2
# The worlds of demonstrations are many, and a small part of each is enough.
PRODUCTS = 280


class WebShopDemonstrator:
    """Plays one episode: a `Shopper`, gone astray now and then."""

    def __init__(self, skills: RetrievedSkills | None, rng: np.random.Generator) -> None:
        statements = () if skills is None else skills["compact_lines"]
        self._rng = rng
        inspects = bool(rng.random() < INSPECTING)
        self._shopper = Shopper(statements, (int(rng.integers(2**31)),), inspects=inspects)
        self._script: Generator[str, str, None] | None = None
        self._planned = ""
        self._astray = False

    def act(self, view: StudentView) -> str:
        """The shopper's next action, or a detour before it; a purchase, or a fresh look, when it has given up."""
        if self._script is None:
            self._script = self._shopper.play(view.observation)
            self._planned = next(self._script)
        elif not self._astray:
            try:
                self._planned = self._script.send(view.observation)
            except StopIteration:
                self._planned = "click[back to search]"
        self._astray = not self._astray and self._rng.random() < ASTRAY
        detour = self._detour(view) if self._astray else ""
        self._astray = bool(detour)
        return detour or self._planned

    def _detour(self, view: StudentView) -> str:
        """A step that leaves the plan playable: another search before a search, an idle option on a product's page."""
        if self._planned.startswith("search["):
            wanted = read_request(view.instruction)
            return f"search[{wanted.cue(CUES[int(self._rng.integers(len(CUES)))])} {wanted.kind}]"
        listed = view.admissible_actions
        if "click[buy now]" not in listed or self._planned == "click[buy now]":
            return ""
        options = listed[listed.index("click[buy now]") + 1 :]
        return options[int(self._rng.integers(len(options)))] if options else ""


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> WebShopEnv:
    if env_kwargs.get("data_dir") is not None:
        raise ValueError(
            "the store's demonstrations expect a generated store, got data_dir: on official files train a model that "
            "can read already (--model), see docs/webshop.md"
        )
    ours = ("stale", "stale_seed", "split", "horizon", "observation_mode")
    kwargs = {key: value for key, value in env_kwargs.items() if key not in ours}
    kwargs.update(world_seed=world_seed, split="train", num_products=PRODUCTS, expose_privileged=True)
    env = WebShopEnv(**kwargs)
    env.horizon += EXTRA_STEPS
    return env


def _texts() -> Sequence[str]:
    """Every word of a small store that decides, with a number: the tokenizer then keeps it apart from the merging."""
    tables = taxonomy("small")
    words = [*tables.uses, *tables.styles, *tables.basics, *CUES, *PAGES, *PRICES]
    for department in tables.departments.values():
        words += [*department.types, *department.materials, *department.parts]
        words += [word for attribute in department.attributes for word in attribute.split()]
    return [f"{word} 1" for word in dict.fromkeys(words)]


SCRIPT = Script(make_env=_make_env, make_demonstrator=WebShopDemonstrator, texts=_texts, vocabulary=1024)
