"""Tasks on the official files: the original's goals in its order, with its splits, as a `tasks.TaskSource`.

A task's number is the goal's position after the original's one shuffle, the same in every process: ``test:000017`` is
goal 17. (Where each worker shuffles with a seed of its own, goals that are tested on are trained on by others.)
"""

from __future__ import annotations

import logging
import random
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from .. import WEBSHOP
from ..choices import require_choice, require_number
from ..core import SPLITS, TextEnv
from ..randomness import key_entropy
from ..task_ids import NumberedTaskIds, parse_task_id
from .catalog import Catalog
from .goals import (
    ENOUGH_GOALS,
    SHUFFLE_SEED,
    Goal,
    Instruction,
    SyntheticGoals,
    draw_prices,
    human_goals,
    index_splits,
    shuffled,
)
from .json_stream import DataFileError
from .official import OfficialData, find_files, load
from .store import Store
from .tagger import title_tokens_of
from .tasks import NUMBERED, Task
from .taxonomy import taxonomy

GOALS = ("auto", "human", "synthetic")
SPLIT_RULES = ("index", "product")

_LOG = logging.getLogger(__name__)


class OfficialTasks:
    """The tasks of a folder with official files.

    Args:
        data_dir: The folder.
        variant: Which of its files, see `official.find_files`.
        goals: ``human`` or ``synthetic`` ones; ``auto`` goes by number, see `choose_goals`.
        num_products: So many records from the front of the file; None for all.
        split_by: ``index`` splits goals as the original does, and then most products of ``test`` that have several
            goals have some in ``train`` too; ``product`` keeps all goals of a product in one split.
        price_seed: Seed of prices within a range and of bounds, drawn in the original's order; with the random seed
            that a run of the original had, they are the same.
        show_attributes: As `Store`.
        strict_options: As `Store`.
        title_tokens: How the nouns of titles are found, see `tagger.title_tokens_of`.

    Attributes:
        goals: Which goals are played, ``human`` or ``synthetic``.
        goal_counts: How many goals of each kind there are about the products that were read; of a kind that was not
            counted there is no number.

    Raises:
        DataFileError: A file is missing or broken, or there is nothing to shop for in it.
        ValueError: An unknown choice.
    """

    def __init__(
        self,
        data_dir: str | Path,
        *,
        variant: str = "auto",
        goals: str = "auto",
        num_products: int | None = None,
        split_by: str = "index",
        price_seed: int = SHUFFLE_SEED,
        show_attributes: bool = False,
        strict_options: bool = False,
        title_tokens: str = "simple",
    ) -> None:
        require_choice("goals", goals, GOALS, "the store")
        require_choice("split_by", split_by, SPLIT_RULES, "the store")
        require_number("price_seed", price_seed, "the store", whole=True)
        nouns = title_tokens_of(title_tokens, "the store")
        files = find_files(data_dir, variant)
        asked = goals == "human" or (goals == "auto" and files.human is not None)
        data = load(files, num_products=num_products, human=asked)
        # In the original's order: a price for every product, then a bound for every goal.
        rng = random.Random(price_seed)
        prices = Prices(data.catalog, draw_prices(data.catalog, rng))
        made, self.goals, self.goal_counts = choose_goals(data, goals, prices, rng)
        if not len(made):
            other = {"human": "synthetic", "synthetic": "human"}[self.goals]
            raise DataFileError(
                f"{files.items}: expected at least one {self.goals} goal about its products, got none about the "
                f"{len(data.catalog)} that were read: read more of them (num_products), or try goals={other!r}"
            )
        self._goals = made
        self._order = array("l", shuffled(len(made)))
        self._split_by = split_by
        self.data = data
        self.store = Store(
            data.catalog,
            data.index,
            prices,
            show_attributes=show_attributes,
            strict_options=strict_options,
            title_tokens=nouns,
        )
        self._numbers: dict[str, Sequence[int]] | None = None
        self.task = lru_cache(4096)(self._task)
        self.ids = lru_cache(maxsize=None)(self._ids)
        # What was chosen for the user is a warning; what the user chose is not.
        level = logging.WARNING if goals == "auto" and asked else logging.INFO
        if _LOG.isEnabledFor(level):
            _LOG.log(level, "%s: %s", files.items.name, self.said)

    @property
    def said(self) -> str:
        """Which goals are played, how many of each split there are, and what else there is, in a sentence."""
        sizes = ", ".join(f"{len(self._split_numbers(split)):,} of {split}" for split in SPLITS)
        chosen = f"{len(self):,} {self.goals} goals are played ({sizes}; split_by={self._split_by!r})"
        other = "human" if self.goals == "synthetic" else "synthetic"
        if other not in self.goal_counts:
            return chosen
        return f"{chosen}; there are also {self.goal_counts[other]:,} {other} ones: goals={other!r}"

    def __len__(self) -> int:
        return len(self._goals)

    def goal(self, number: int) -> Goal:
        """The goal of a number."""
        return self._goals[self._order[number]]

    def _ids(self, split: str, task_type: str | None = None) -> Sequence[str]:
        """The task ids of a split; those of one department are found by reading all of the split's goals, once."""
        numbers = self._split_numbers(split)
        if task_type is not None:
            require_choice("task_type", task_type, taxonomy().departments, "the store")
            numbers = [number for number in numbers if department_of(self.goal(number)) == task_type]
        return NumberedTaskIds(split, numbers)

    def _split_numbers(self, split: str) -> Sequence[int]:
        if self._numbers is None:
            if self._split_by == "index":
                self._numbers = dict(index_splits(len(self)))
            else:
                by_product: dict[str, list[int]] = {name: [] for name in SPLITS}
                for number in range(len(self)):
                    by_product[product_split(self.goal(number).asin)].append(number)
                self._numbers = dict(by_product)
        return self._numbers[split]

    def _task(self, task_id: str) -> Task:
        split, number = parse_task_id(task_id, NUMBERED, WEBSHOP.env_id)
        if number not in self._split_numbers(split):
            raise ValueError(
                f"there is no task {task_id!r}: split {split!r} has {len(self._split_numbers(split))} of the goals "
                f"0 to {len(self) - 1}; env.unwrapped.task_ids({split!r}) lists them"
            )
        goal = self.goal(number)
        department = department_of(goal)
        # Titles are searched, so the title finds its product; what people type is shorter.
        wanted = [option if isinstance(option, str) else option[1] for option in goal.options]
        queries = (f"{goal.query} {' '.join(goal.attributes)}", goal.name, f"{goal.name} {' '.join(wanted)}")
        return Task(
            task_id=task_id,
            store=self.store,
            goal=goal,
            task_type=department,
            skill_keys=(department,),
            cluster=goal.asin,
            queries=tuple(typed(query.lower()) for query in queries),
        )


def choose_goals(
    data: OfficialData, goals: str, prices: Mapping[str, float], rng: random.Random
) -> tuple[Sequence[Goal], str, dict[str, int]]:
    """The goals that are played, their kind, and how many there are of each kind that was counted.

    ``auto`` goes by number: human goals where the splits of the original are possible with them (3,000, as in the full
    files, whose synthetic goals are then not counted), else the more numerous kind. So the full files give the human
    goals of the paper, and the files of 1,000 products, which have 13 human goals, the synthetic ones that the
    original's text environment plays on them.

    Args:
        data: What the files hold.
        goals: One of `GOALS`.
        prices: What each product costs.
        rng: Draws the bounds; only those of the chosen goals.
    """
    counts = {}
    if goals == "human" or data.human:
        counts["human"] = sum(len(_wanted(data.human.get(asin, ()))) for asin in data.catalog.asins)
    if goals == "auto" and counts.get("human", 0) >= ENOUGH_GOALS:
        goals = "human"
    elif goals == "auto":
        counts["synthetic"] = len(SyntheticGoals(data.catalog, data.synthetic, prices, random.Random(0)))
        goals = "human" if counts.get("human", 0) > counts["synthetic"] else "synthetic"
    if goals == "human":
        return human_goals(data.catalog, data.human, prices, rng), goals, counts
    made = SyntheticGoals(data.catalog, data.synthetic, prices, rng)
    return made, goals, counts | {"synthetic": len(made)}


def _wanted(written: Sequence[Instruction]) -> list[Instruction]:
    return [instruction for instruction in written if instruction.attributes]


def typed(query: str) -> str:
    """A query as an action can carry it: cut after a word, and blanks for what an environment would not read.

    Brackets are among that; a search index does not read them either.
    """
    query = "".join(c if c.isprintable() and c not in "[]" else " " for c in query)
    longest = TextEnv.max_action_length - len("search[]")
    return query if len(query) <= longest else query[: longest + 1].rpartition(" ")[0] or query[:longest]


class Prices(Mapping[str, float]):
    """Product id -> price, eight bytes each besides the ids, which the catalogue holds anyway."""

    def __init__(self, catalog: Catalog, prices: Mapping[str, float]) -> None:
        self._numbers = {asin: number for number, asin in enumerate(catalog.asins)}
        self._prices = array("d", (prices[asin] for asin in catalog.asins))

    def __getitem__(self, asin: str) -> float:
        return self._prices[self._numbers[asin]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._prices)


def product_split(asin: str) -> str:
    """The split of all goals of a product, by its id alone: a tenth each for testing and validation."""
    tenth = key_entropy("webshop", "product", asin)[0] % 10
    return {0: "test", 1: "valid"}.get(tenth, "train")


@lru_cache(maxsize=1 << 14)
def department_of(goal: Goal) -> str:
    """The department of an official goal: its category, and for fashion the words of its query and title."""
    tables = taxonomy()
    department = tables.official_categories.get(goal.category, "other")
    if department != "apparel":
        return department
    words = set(re.findall(r"[a-z]+", f"{goal.query} {goal.name}".lower()))
    for name, marks in tables.official_words.items():
        if words & set(marks):
            return name
    return department
