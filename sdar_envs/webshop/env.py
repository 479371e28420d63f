"""The store as a Gymnasium environment: sdar/WebShop-v0.

Generated, or on the official files. The world below searches, shows pages and judges purchases; this file only
translates.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, ClassVar

from .. import WEBSHOP
from ..choices import require_bool, require_choice, require_number
from ..core import PublicFields, TextEnv, Transition, clean_action, resolve_split
from ..privileged import PrivilegedFields, RetrievedSkills, copied_skills
from ..skills import RETRIEVALS, SkillBank
from ..tool_sets import ToolSet
from ..wrong_actions import NO_PLAN, UNKNOWN, WrongActions, by_plan_lengths
from .facts import state_facts
from .goals import SHUFFLE_SEED
from .hints import hints
from .html import page_html
from .official_tasks import OfficialTasks
from .planner import plan
from .regularities import regularities
from .reward import Purchase
from .session import Session
from .tasks import GeneratedTasks, Task, TaskSource
from .taxonomy import SIZE_TABLES, SIZES, taxonomy
from .tools import TOOLS
from .verdict import verdict

OBSERVATION_MODES = ("text", "text_rich", "html", "url")
CLICKED_MARKS = ("chosen", "original")
DONE_PAGES = ("original", "explained")
REWARDS = ("score", "sparse10")

# Longest observation, in characters: official descriptions are long, and HTML is longer.
_TEXT_LENGTH, _HTML_LENGTH = 1 << 16, 1 << 18

_OFFICIAL_SKILLS = WEBSHOP.official_skill_folder or WEBSHOP.skill_folder

SEARCH_TEMPLATE = "search[<query>]"

# Of a generated store.
PRODUCTS = 1000
REGULARITY = 0.85

# What means something only in a generated store, and what means something only on official files. (Seeds are let pass:
# a study gives one to every world.)
_GENERATED = {"size": "full", "regularity": REGULARITY, "stale": 0.0}
_OFFICIAL = {
    "data_variant": "auto",
    "goals": "auto",
    "split_by": "index",
    "price_seed": SHUFFLE_SEED,
    "title_tokens": "simple",
}


@lru_cache(maxsize=64)
def _skill_bank(size: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    statements = regularities(size, world_seed).statements()
    return SkillBank.from_assets(WEBSHOP.skill_folder, statements, stale=stale, stale_seed=stale_seed)


@lru_cache(maxsize=1)
def _official_skill_bank() -> SkillBank:
    # The regularities of generated stores say nothing about other goods.
    return SkillBank.from_assets(_OFFICIAL_SKILLS)


def _cleaned(action: str) -> str:
    return clean_action(action, len(action))


# Environments with the same arguments share one source, and so one store per split.
_generated_tasks = lru_cache(maxsize=64)(GeneratedTasks)
_official_tasks = lru_cache(maxsize=2)(OfficialTasks)


def _require_in_place(given: Mapping[str, object], data_dir: object, where: str) -> None:
    """Refuse what would be passed over in silence, because it is about the other kind of store."""
    if data_dir is not None and not isinstance(data_dir, str | os.PathLike):
        raise ValueError(f"{where} expects data_dir to be the path of a folder, got {repr(data_dir)[:100]}")
    idle, kind, remedy = _OFFICIAL, "official files", "name their folder with data_dir, or leave it out"
    if data_dir is not None:
        idle, kind, remedy = _GENERATED, "generated stores", "leave it out, or data_dir"
    for name, default in idle.items():
        if given[name] != default:
            raise ValueError(f"{where} expects {name} only of {kind}, got {repr(given[name])[:100]}: {remedy}")


@dataclass(slots=True)
class _Episode:
    """What the environment knows of the running episode; `walk` has the session after each action, as it was then."""

    task: Task
    session: Session
    walk: list[Session] = field(default_factory=list)
    bought: Purchase | None = None
    skills: RetrievedSkills | None = None


class WebShopEnv(TextEnv):
    """A store to shop in.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias.
        task_type: Restrict `task_ids` to one department, e.g. ``footwear``.
        size: Of a generated store: ``full``, or ``small`` for tiny models.
        num_products: Products per generated store (1,000 by default; below about 60 there are departments, and so
            splits, without a task), or records of the official file to read (all).
        regularity: Probability with which a family of products obeys the regularities of its department.
        world_seed: Which regularities the store has, and which goods.
        stale: Corrupted share: of so many departments the skill statements are wrong; the store does not change with
            it.
        stale_seed: Which departments.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        horizon: Steps until truncation; by default 15, and fewer in a small store.
        observation_mode: ``text`` (segments joined by `` [SEP] ``), ``text_rich`` (a line each, marked), ``html`` or
            ``url``.
        clicked_marks: Which options ``text_rich`` marks as clicked: those that are ``chosen``, or, as the ``original``
            does, those that stand in quotes in the page's address, see `pages.Page.rich_text`.
        done_page: What is shown behind a purchase: the ``original``'s page, which names the score alone, or that page
            ``explained``, with lines on what was missed. The episode is over then either way.
        reward: ``score`` pays the purchase's score, 0 to 1; ``sparse10`` pays 10 for a score of 1 and nothing else.
        show_attributes: Whether item pages have the `Attributes` sub-page, as an option of the original.
        strict_options: Whether options must be equal to what is wanted, instead of similar by the official rule.
        data_dir: Folder with the official files; nothing is generated then.
        data_variant: Which of them: ``full``, ``1000`` or ``auto``.
        goals: Official goals: ``human``, ``synthetic``, or ``auto``, which takes the human ones where there are at
            least 3,000, as in the full files, else the more numerous kind. What was taken is logged, and stands in
            `goal_counts` and `goals`.
        split_by: Official goals are split by ``index``, as in the original, so that products of ``test`` have goals in
            ``train`` too; with ``product`` none has.
        title_tokens: How the nouns of official titles are found for the score: ``simple``, or ``spacy`` (the extra
            ``sdar-gym[spacy]`` and its model ``en_core_web_sm``; ``spacy:MODEL`` for another), as the original does.
        price_seed: Seed of official prices and bounds, see `official_tasks.OfficialTasks`.
        expose_privileged: Whether `info` has ``"privileged"``. Without it no plan is computed.
        render_mode: ``"ansi"`` or ``"human"``.

    Attributes:
        goals: Of official files, which goals are played: ``human`` or ``synthetic``; None of a generated store.
        goal_counts: Of official files, how many goals there are of each kind that was counted.

    Raises:
        ImportError: ``title_tokens="spacy"`` without spaCy or its model.
        ValueError: An unknown choice or a number out of range, or official files that are missing or broken.
    """

    env_id: ClassVar[str] = WEBSHOP.env_id
    reads_first_line: ClassVar[bool] = True
    rebuilt = frozenset({"_episode", "source"})  # the store is large, and others walk through it too

    def __init__(
        self,
        split: str = "train",
        task_type: str | None = None,
        size: str = "full",
        num_products: int | None = None,
        regularity: float = REGULARITY,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int | None = None,
        observation_mode: str = "text",
        clicked_marks: str = "chosen",
        done_page: str = "original",
        reward: str = "score",
        show_attributes: bool = False,
        strict_options: bool = False,
        data_dir: str | None = None,
        data_variant: str = "auto",
        goals: str = "auto",
        split_by: str = "index",
        price_seed: int = SHUFFLE_SEED,
        title_tokens: str = "simple",
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        given = {"size": size, "regularity": regularity, "stale": stale, "data_variant": data_variant}
        given |= {"goals": goals, "split_by": split_by, "price_seed": price_seed, "title_tokens": title_tokens}
        _require_in_place(given, data_dir, self.env_id)
        require_choice("size", size, SIZES, self.env_id)
        if num_products is not None:
            require_number("num_products", num_products, self.env_id, low=0, whole=True)
        require_number("regularity", regularity, self.env_id, low=0, high=1)
        require_number("world_seed", world_seed, self.env_id, whole=True)
        require_choice("observation_mode", observation_mode, OBSERVATION_MODES, self.env_id)
        require_choice("clicked_marks", clicked_marks, CLICKED_MARKS, self.env_id)
        require_choice("done_page", done_page, DONE_PAGES, self.env_id)
        require_bool("show_attributes", show_attributes, self.env_id)
        require_bool("strict_options", strict_options, self.env_id)
        super().__init__(
            split=split,
            horizon=SIZE_TABLES[size].horizon if horizon is None else horizon,
            expose_privileged=expose_privileged,
            render_mode=render_mode,
            max_observation_length=_HTML_LENGTH if observation_mode == "html" else _TEXT_LENGTH,
        )
        if task_type is not None:
            require_choice("task_type", task_type, taxonomy().departments, self.env_id)
        self.task_type = task_type
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, self.env_id)
        self.reward = require_choice("reward", reward, REWARDS, self.env_id)
        self.observation_mode = observation_mode
        self.clicked_marks = clicked_marks
        self.done_page = done_page
        self.size = size
        self.official = data_dir is not None
        self.goals: str | None = None
        self.goal_counts: dict[str, int] = {}
        rules = {"show_attributes": show_attributes, "strict_options": strict_options}
        self._source_of: dict[str, Any]
        if data_dir is not None:
            self.skill_bank = _official_skill_bank()
            self._source_of = {
                "data_dir": data_dir,
                "variant": data_variant,
                "goals": goals,
                "num_products": num_products,
                "split_by": split_by,
                "price_seed": price_seed,
                "title_tokens": title_tokens,
                **rules,
            }
        else:
            self.skill_bank = _skill_bank(size, world_seed, stale, stale_seed)
            products = PRODUCTS if num_products is None else num_products
            self._source_of = {
                "size": size,
                "world_seed": world_seed,
                "regularity": regularity,
                "num_products": products,
                **rules,
            }
        self.source = self._make_source()
        self._episode: _Episode | None = None

    def _make_source(self) -> TaskSource:
        if not self.official:
            return _generated_tasks(**self._source_of)
        source = _official_tasks(**self._source_of)
        self.goals, self.goal_counts = source.goals, dict(source.goal_counts)
        return source

    @property
    def world_version(self) -> str:  # type: ignore[override]  # of the size, so the class alone has none
        """The version of everything that scores in this store depend on, see `version.py`."""
        from .version import told_version, world_version  # not needed to play

        return told_version(_OFFICIAL_SKILLS) if self.official else world_version(WebShopEnv, self.size)

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The task ids of a split, e.g. ``train:000123``; departments come in turn."""
        chosen = self.split if split is None else resolve_split(split, self.env_id)
        return self.source.ids(chosen, self.task_type)

    def tool_set(self) -> ToolSet:
        """Searching and clicking as tools, for agents that call tools."""
        return TOOLS

    def cluster_of(self, task_id: str) -> str:
        """The family of products that a task is about: success rates of tasks that share one are not independent."""
        return self.source.task(task_id).cluster

    @property
    def session(self) -> Session:
        """The walk through the store."""
        return self._playing.session

    @property
    def purchase(self) -> Purchase | None:
        """The purchase with the parts of its score (`Purchase.parts`), None before it."""
        return None if self._episode is None else self._episode.bought

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the purchase missed, a line for each part of the score; empty before it."""
        return () if self._episode is None else self._verdict()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play the first line of an action; what an agent says behind it is ignored, as in the original.

        Raises:
            TypeError: `action` is not a `str`.
            gymnasium.error.ResetNeeded: No episode is running.
        """
        return super().step(self._first_line(action) if isinstance(action, str) else action)

    def _first_line(self, action: str) -> str:
        # One character more than may be read, so that what is too long is still seen to be.
        text = action[: self.max_action_length + 1].strip(" \t\r\n")
        line, broken, _ = text.partition("\n")
        if not broken or self._episode is None:
            return action
        # A line break can stand in the name of an option.
        whole = clean_action(action, self.max_action_length)
        return action if whole in map(_cleaned, self._episode.session.page.click_actions) else line

    def _begin(self, task_id: str) -> str:
        task = self.source.task(task_id)
        self._episode = _Episode(task, self._new_session(task))
        return self._observation()

    def _new_session(self, task: Task) -> Session:
        session = Session(task.store, partial(self._worth, task))
        if self.done_page == "explained":
            session.explain = self._verdict
        return session

    def _worth(self, task: Task, asin: str, chosen: dict[str, str]) -> float:
        bought = task.store.judge(asin, chosen, task.goal)
        self._playing.bought = bought
        return bought.reward

    def _verdict(self) -> tuple[str, ...]:
        episode = self._playing
        return () if episode.bought is None else verdict(episode.bought, episode.task.goal)

    def _observation(self) -> str:
        episode = self._playing
        session, instruction = episode.session, episode.task.goal.instruction
        if self.observation_mode == "text":
            return session.page.text(instruction)
        if self.observation_mode == "text_rich":
            address = session.url(episode.task.task_id) if self.clicked_marks == "original" else None
            return session.page.rich_text(instruction, session.chosen, session.visited, address)
        if self.observation_mode == "url":
            return session.url(episode.task.task_id)
        return page_html(session, instruction)

    def _act(self, action: str) -> Transition:
        episode = self._playing
        understood = episode.session.act(action)
        episode.walk.append(episode.session.as_it_is())
        if episode.bought is None:
            return Transition(self._observation(), 0.0, False, understood)
        score = episode.bought.reward
        reward = score if self.reward == "score" else 10.0 * (score == 1.0)
        return Transition(self._observation(), reward, True, understood)

    def _public(self) -> PublicFields:
        episode = self._playing
        task, page = episode.task, episode.session.page
        score = 0.0 if episode.bought is None else episode.bought.reward
        actions = [SEARCH_TEMPLATE] if page.has_search_bar else []
        return {
            "task_type": task.task_type,
            "skill_keys": list(task.skill_keys),
            "instruction": task.goal.instruction,
            "admissible_actions": [*actions, *page.click_actions],
            "success": score == 1.0,
            "score": score,
        }

    def _wrong_actions(self) -> WrongActions:
        if self.official:  # nothing proves there that the target is the only best purchase, or that it can be reached
            return UNKNOWN
        task = self._playing.task
        walk = [self._new_session(task), *self._playing.walk]
        return by_plan_lengths([_plan_length(session, task) for session in walk], self.horizon)

    def _privileged(self) -> PrivilegedFields:
        episode = self._playing
        task = episode.task
        if episode.skills is None:
            episode.skills = self.skill_bank.retrieve(
                self.retrieval,
                task_type=task.task_type,
                keys=task.skill_keys,
                text=task.goal.instruction,
                seed_key=(task.task_id,),
            )
        actions = plan(episode.session, task.store, task.errand)
        return {
            "task_type": task.task_type,
            "plan": actions,
            "next_action": actions[0] if actions else "",
            "hints": hints(task, actions, over=episode.bought is not None),
            "facts": state_facts(task, episode.session),
            "skills": copied_skills(episode.skills),
        }

    @property
    def _playing(self) -> _Episode:
        assert self._episode is not None
        return self._episode


def _plan_length(session: Session, task: Task) -> float:
    """Actions of the shortest way to the only purchase that scores 1."""
    if session.reward is not None:
        return 0 if session.reward == 1.0 else NO_PLAN
    return len(plan(session, task.store, task.errand)) or NO_PLAN
