"""Tasks: what an episode is about, by its id, whatever the store was made from.

A task id names a split and a number, e.g. ``test:000123``. In a generated store numbers run through departments, then
families, then phrasings; on official data a number is the position of a goal after the original's one shuffle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Protocol

from .. import WEBSHOP
from ..choices import require_choice
from ..core import SPLITS
from ..task_ids import NumberedTaskIds, parse_task_id
from .generator import GeneratedStore, Request, generate
from .goals import Goal
from .instructions import PHRASINGS
from .planner import Errand, make_errand
from .store import Store
from .taxonomy import taxonomy

# How many tasks a split has is asked of its store, or of the official files.
NUMBERED: dict[str, int | None] = dict.fromkeys(SPLITS)

# An evaluation set reads at most so many tasks of a split that is not trained on.
MOST_HELD_OUT = 2_000


@dataclass(frozen=True)
class Task:
    """One episode's subject.

    Attributes:
        task_id: Its id.
        store: Where it is played.
        goal: What is wanted.
        task_type: The department.
        skill_keys: What the skill bank is asked with.
        cluster: What other tasks share with it beyond chance.
        queries: Searches that may find what is wanted, the first that lists it earliest is planned with.
        about: Facts for the teacher that do not change.
    """

    task_id: str
    store: Store
    goal: Goal
    task_type: str
    skill_keys: tuple[str, ...]
    cluster: str
    queries: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def errand(self) -> Errand:
        """What has to be done; worked out when it is first asked for, since it takes searches."""
        return make_errand(self.store, self.goal, self.queries)


class TaskSource(Protocol):
    """What an environment takes its tasks from."""

    def ids(self, split: str, task_type: str | None = None) -> Sequence[str]:
        """The task ids of a split, in a fixed order, of all departments or of one."""
        ...

    def task(self, task_id: str) -> Task:
        """The task of an id.

        Raises:
            ValueError: There is no such task.
        """
        ...


class GeneratedTasks:
    """The tasks of generated stores, one store per split; stores are generated when they are first asked for.

    Args:
        size: ``full`` or ``small``.
        world_seed: Which regularities and goods.
        regularity: Share of families that obey the regularities.
        num_products: Products per store.
        show_attributes: As `Store`.
        strict_options: As `Store`.
    """

    def __init__(
        self,
        size: str,
        *,
        world_seed: int = 0,
        regularity: float = 0.85,
        num_products: int = 1000,
        show_attributes: bool = False,
        strict_options: bool = False,
    ) -> None:
        self._size = size
        self._rules = {"show_attributes": show_attributes, "strict_options": strict_options}
        self._stores: dict[str, Store] = {}
        self._options = {"world_seed": world_seed, "regularity": regularity, "num_products": num_products}
        self._departments = tuple(taxonomy().departments)
        self.task = lru_cache(4096)(self._task)

    def generated(self, split: str) -> GeneratedStore:
        """The store of a split."""
        return generate(self._size, split, **self._options)

    def store(self, split: str) -> Store:
        """Where a split is played."""
        if split not in self._stores:
            self._stores[split] = self.generated(split).store.variant(**self._rules)
        return self._stores[split]

    def ids(self, split: str, task_type: str | None = None) -> Sequence[str]:
        """The task ids of a split: departments in turn, as many rounds as the smallest department has tasks."""
        rounds = min(len(requests) for requests in self.generated(split).requests.values()) * len(PHRASINGS)
        count = rounds * len(self._departments)
        if split != "train":
            count = min(count, MOST_HELD_OUT)
        if task_type is not None:
            require_choice("task_type", task_type, self._departments, "the store")
        return NumberedTaskIds.in_turn(split, count, self._departments, task_type)

    def _request(self, task_id: str) -> tuple[Request, int, Store]:
        split, number = parse_task_id(task_id, NUMBERED, WEBSHOP.env_id)
        if number >= len(self.ids(split)):
            count = len(self.ids(split))
            raise ValueError(f"there is no task {task_id!r}: split {split!r} has {count} tasks, numbered from 0")
        turn, place = divmod(number, len(self._departments))
        requests = self.generated(split).requests[self._departments[place]]
        again, which = divmod(turn, len(requests))
        # Neighbours are worded differently, and no request is worded twice in the same way.
        return requests[which], (which + again) % len(PHRASINGS), self.store(split)

    def _task(self, task_id: str) -> Task:
        request, phrasing, store = self._request(task_id)
        family, goal = request.family, request.goal(phrasing)
        return Task(
            task_id=task_id,
            store=store,
            goal=goal,
            task_type=family.department.name,
            skill_keys=(family.department.name, family.cues.kind),
            cluster=family.cues.family_id,
            queries=(request.query,),
            about={
                "family": family.cues.family_id,
                "regular": family.regular,
                "deciding_attribute": family.attribute,
                "deciding_page": family.regularities.page,
            },
        )
