"""What an environment plays: a question with its answers, and the evidence that a searcher should see on the way.

Two sources fill it: generated worlds (here) and official records (`official`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from .. import SEARCHQA
from ..core import resolve_split
from ..skills import SkillBank
from ..task_ids import NumberedTaskIds, parse_task_id
from . import tables
from .answers import normalise
from .library import Library
from .questions import Question
from .regularities import regularities
from .retriever import Hit
from .tasks import SPLIT_SIZES, draw_question, task_ids
from .world import World

# How a single file of questions is split: as its records name it, or by what they ask.
DATASET_SPLITS = ("named", "content")


@dataclass(frozen=True, slots=True)
class Need:
    """One piece of evidence: a search for it, and how its passage is recognised (by id, else by title).

    `leads_on` says that it serves to find the next one only, as the by-name under which that is filed does.
    """

    query: str
    passage: int | None
    title: str
    about: str
    value: str
    contents: str = ""
    leads_on: bool = False

    @property
    def key(self) -> str:
        """The passage's id, or the title that it is known by."""
        return self.title if self.passage is None else str(self.passage)

    def is_met_by(self, hit: Hit) -> bool:
        """Whether a hit is the passage that is needed."""
        if self.passage is not None:
            return hit.passage.id == self.passage
        return bool(self.title) and normalise(hit.passage.title) == normalise(self.title)


@dataclass(frozen=True, slots=True)
class Task:
    """One question to play.

    Attributes:
        question: As it is asked.
        answers: What counts as right; at least one is left by normalisation.
        task_type: One of `tables.TASK_TYPES`.
        skill_keys: What the skill bank is asked with; nothing that the question does not say.
        data_source: Where the question is from.
        needs: Evidence in the order in which it can be searched for; may be empty for official records.
        ordered: Whether that order matters (it does not in comparisons).
        chance: What guessing among named candidates wins.
    """

    question: str
    answers: tuple[str, ...]
    task_type: str
    skill_keys: tuple[str, ...]
    data_source: str
    needs: tuple[Need, ...] = ()
    ordered: bool = True
    chance: float = 0.0

    @property
    def cluster(self) -> str:
        """What other tasks share with it beyond chance.

        It is the passage that answers the question, those of all candidates in a comparison, and the very question
        where no evidence is known.
        """
        passages = [need.key for need in self.needs]
        if not passages:
            return normalise(self.question)
        return passages[-1] if self.ordered else " ".join(sorted(passages))


class TaskSource(Protocol):
    """Where questions come from."""

    def task_ids(self, split: str) -> Sequence[str]:
        """The tasks of a split."""
        ...

    def load(self, task_id: str) -> Task:
        """The task of an id.

        Raises:
            ValueError: There is no such task.
        """
        ...

    def skill_bank(self) -> SkillBank:
        """What skills are retrieved from."""
        ...


def skill_keys(world: World, question: Question) -> tuple[str, ...]:
    """The relations that a question asks about, and, where there are by-names, they and the types it goes through.

    All of it can be read off the question; whether a by-name matters here cannot, so its key always stands there.
    """
    if not tables.SIZE_TABLES[world.size].bynames:
        return tuple(dict.fromkeys(question.form.path))
    types = [tables.RELATIONS[name].subject for name in question.form.path]
    return tuple(dict.fromkeys([*question.form.path, *types, tables.BYNAME.name]))


def task_of(world: World, question: Question) -> Task:
    """A generated question as a task."""
    needs = []
    for step, then in zip(question.steps, [*question.steps[1:], None], strict=True):
        fact, passage = step.fact, world.passages[step.fact.passage]
        about = f"the {fact.relation} of {world.entities[fact.subject].name}"
        leads_on = fact.relation == tables.BYNAME.name and then is not None and then.fact.subject == fact.subject
        needs.append(Need(step.query, fact.passage, passage.title, about, fact.text, passage.contents, leads_on))
    task_type = question.form.task_type
    return Task(
        question=question.text,
        answers=question.answers,
        task_type=task_type,
        skill_keys=skill_keys(world, question),
        data_source="generated",
        needs=tuple(needs),
        ordered=task_type != "compare",
        chance=question.chance,
    )


class GeneratedTasks:
    """The questions of generated worlds.

    Args:
        libraries: Opens the library of a split.
        size: ``full`` or ``small``.
        world_seed: Which regularities the world has.
        task_type: The only task type, or None for all.
        topk: Hits that a search returns.
        searches: Searches that an episode allows.
        stale: Corrupted share: of so many of the skill bank's keys the statements are wrong.
        stale_seed: Which keys.
    """

    def __init__(
        self,
        libraries: Callable[[str], Library],
        *,
        size: str,
        world_seed: int,
        task_type: str | None,
        topk: int,
        searches: int,
        stale: float,
        stale_seed: int,
    ) -> None:
        self._libraries = libraries
        self._size = size
        self._world_seed = world_seed
        self._task_type = task_type
        self._topk = topk
        self._searches = searches
        self._stale = stale
        self._stale_seed = stale_seed

    def task_ids(self, split: str) -> NumberedTaskIds:
        """See `TaskSource`; task types come in turn."""
        return task_ids(resolve_split(split, SEARCHQA.env_id), self._task_type)

    def load(self, task_id: str) -> Task:
        """See `TaskSource`."""
        split, index = parse_task_id(task_id, SPLIT_SIZES, SEARCHQA.env_id)
        world = self._libraries(split).world
        return task_of(world, draw_question(world, index, topk=self._topk, searches=self._searches))

    def skill_bank(self) -> SkillBank:
        """See `TaskSource`."""
        return _skill_bank(self._size, self._world_seed, self._stale, self._stale_seed)


@lru_cache(maxsize=64)
def _skill_bank(size: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    statements = regularities(size, world_seed).statements()
    return SkillBank.from_assets(SEARCHQA.skill_folder, statements, stale=stale, stale_seed=stale_seed)
