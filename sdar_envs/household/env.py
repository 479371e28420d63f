"""The household as a Gymnasium environment: sdar/Household-v0.

ALFWorld's six task types, verbs and wording in houses that are generated from a task id. `generator.py` makes the game,
an engine plays it, `planner.py` knows the shortest way; this file only translates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from ..assets import asset_path
from ..choices import require_choice
from ..core import PublicFields, TextEnv, Transition, resolve_split
from ..privileged import PrivilegedFields, RetrievedSkills
from ..skills import RETRIEVALS, SkillBank
from . import tables
from .engine import NativeGame, household_rules
from .generator import GeneratedTask, TaskIds, generate
from .planner import NoPlanError, Planner, PlayableGame
from .problem import Problem
from .regularities import regularities

ENGINES = ("native", "textworld")


class Game(PlayableGame, Protocol):
    """What both engines offer."""

    def reset(self) -> str:
        """Begin; the introduction."""

    def step(self, command: str) -> tuple[str, bool]:
        """Play a command: feedback, and whether it was understood."""

    def admissible(self) -> list[str]:
        """The commands that do something now."""

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""

    def close(self) -> None:
        """Release what the engine holds."""


@cache
def _version() -> str:
    """A short hash of everything that scores depend on: tables, laws, generator, domain, grammar and skills."""
    here = Path(__file__).parent
    sources = [here / f"{name}.py" for name in ("tables", "regularities", "layouts", "goals", "generator")]
    for folder in (asset_path("household"), asset_path("skills", "household")):
        sources += sorted(path for path in folder.iterdir() if path.is_file())
    digest = hashlib.sha256()
    for path in sources:
        # The same text checked out with other line ends is the same world.
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:12]


@lru_cache(maxsize=64)
def _skill_bank(size: str, world_seed: int, stale: float, stale_seed: int) -> SkillBank:
    claims = regularities(size, world_seed).claims()
    return SkillBank.from_assets("household", claims, stale=stale, stale_seed=stale_seed)


def _native(problem: Problem, task: str) -> Game:
    return NativeGame(*household_rules(), problem, task=task)


def _textworld(problem: Problem, task: str) -> Game:
    from .textworld_engine import TextWorldGame  # TextWorld takes seconds to import

    return TextWorldGame(*household_rules(), problem, task=task)


_MAKERS: dict[str, Callable[[Problem, str], Game]] = {"native": _native, "textworld": _textworld}


class HouseholdEnv(TextEnv):
    """A generated house to act in.

    Args:
        split: ``train``, ``valid`` (both in 24 seen layouts per room kind) or ``test`` (6 unseen ones), or an alias.
        task_type: Restrict `task_ids` to one of ``place``, ``two``, ``light``, ``clean``, ``heat``, ``cool``.
        size: ``full`` rooms as in ALFWorld, or ``small`` ones of 8 to 12 receptacles for tiny models.
        regularity: Probability with which a task's targets stand where the laws of the house say.
        world_seed: Which laws, and which layouts.
        stale: Share of the skill bank's keys whose claims are wrong; the house does not change with it.
        stale_seed: Which keys.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        horizon: Steps until truncation; by default 50 for ``full``, and for ``small`` the one at which knowledge of
            the house decides (see `tables.SIZE_TABLES`).
        reward_scale: The reward for winning; every other step gives 0.
        engine: ``native``, or ``textworld`` for TextWorld's own PDDL engine.
        expose_privileged: Whether `info` has ``"privileged"``. Without it no plan is computed.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    env_id = "sdar/Household-v0"
    world_version = _version()

    def __init__(
        self,
        split: str = "train",
        task_type: str | None = None,
        size: str = "full",
        regularity: float = 0.85,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int | None = None,
        reward_scale: float = 1.0,
        engine: str = "native",
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        require_choice("size", size, tables.SIZES, self.env_id)
        super().__init__(
            split=split,
            horizon=tables.SIZE_TABLES[size].horizon if horizon is None else horizon,
            expose_privileged=expose_privileged,
            render_mode=render_mode,
        )
        if task_type is not None:
            require_choice("task_type", task_type, tables.TASK_TYPES, self.env_id)
        if not 0.0 <= regularity <= 1.0:
            raise ValueError(f"{self.env_id} expects regularity in [0, 1], got {regularity}")
        self.task_type = task_type
        self.size = size
        self.regularity = regularity
        self.world_seed = world_seed
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, self.env_id)
        self.reward_scale = reward_scale
        self.engine = require_choice("engine", engine, ENGINES, self.env_id)
        self.skill_bank = _skill_bank(size, world_seed, stale, stale_seed)
        self._game: Game | None = None
        self._loaded: _Loaded | None = None

    def task_ids(self, split: str | None = None) -> TaskIds:
        """The task ids of a split, e.g. ``train:000123``; task types come in turn."""
        chosen = self.split if split is None else resolve_split(split, self.env_id)
        return TaskIds(chosen, self.task_type)

    def close(self) -> None:
        """Release what the engine holds."""
        if self._game is not None:
            self._game.close()
            self._game = None

    def _begin(self, task_id: str) -> str:
        task = generate(task_id, size=self.size, world_seed=self.world_seed, regularity=self.regularity)
        self.close()
        self._game = _MAKERS[self.engine](task.problem, task.draft.sentence.removesuffix("."))
        text = self._game.reset()
        draft = task.draft
        keys = [draft.task_type, draft.target] + ([draft.destination] if draft.task_type == "light" else [])
        skills = planner = None
        if self.expose_privileged:
            skills = self.skill_bank.retrieve(
                self.retrieval,
                task_type=draft.task_type,
                keys=keys,
                text=draft.sentence,
                seed_key=(self.world_seed, task_id),
            )
            planner = Planner(self._game, task.statics)
        self._loaded = _Loaded(task, keys, skills, planner)
        return text

    def _act(self, action: str) -> Transition:
        assert self._game is not None
        feedback, matched = self._game.step(action)
        won = self._game.won
        return Transition(feedback, tables.WIN_REWARD * self.reward_scale if won else 0.0, won, matched)

    def _public(self) -> PublicFields:
        assert self._game is not None and self._loaded is not None
        won = self._game.won
        draft = self._loaded.task.draft
        return {
            "task_type": draft.task_type,
            "skill_keys": list(self._loaded.skill_keys),
            "instruction": draft.sentence,
            "admissible_actions": self._game.admissible(),
            "success": won,
            "score": float(won),
        }

    def _privileged(self) -> PrivilegedFields:
        assert self._game is not None and self._loaded is not None
        skills, planner = self._loaded.skills, self._loaded.planner
        assert skills is not None and planner is not None
        try:
            plan = planner.plan()
        except NoPlanError:  # not reachable in a generated game, and no reason to stop an episode
            plan = []
        facts = _facts(self._game, self._loaded.task)
        return {
            "task_type": self._loaded.task.draft.task_type,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": _hints(self._loaded.task, facts, plan),
            "facts": facts,
            "skills": _copied(skills),
        }


class _Loaded:
    """What an episode keeps besides its game."""

    __slots__ = ("planner", "skill_keys", "skills", "task")

    def __init__(
        self, task: GeneratedTask, skill_keys: list[str], skills: RetrievedSkills | None, planner: Planner | None
    ) -> None:
        self.task = task
        self.skill_keys = skill_keys
        self.skills = skills
        self.planner = planner


def _copied(skills: RetrievedSkills) -> RetrievedSkills:
    return {
        "general": skills["general"],
        "task": skills["task"],
        "lines": list(skills["lines"]),
        "compact_lines": list(skills["compact_lines"]),
        "claim_ids": list(skills["claim_ids"]),
        "stale": list(skills["stale"]),
    }


def _facts(game: Game, task: GeneratedTask) -> dict[str, Any]:
    """The world's own fields: where the targets (and the lamp) are now, and where they have to go."""
    statics, draft = task.statics, task.draft
    where = {fact[1]: game.display(fact[2]) for fact in game.facts("inreceptacle")}
    held = [fact[2] for fact in game.facts("holds")]
    targets = sorted(statics.targets)
    appliance = tables.APPLIANCES.get(draft.task_type, "")
    return {
        "target_type": draft.target,
        "targets": [game.display(name) for name in targets],
        # Parallel to the targets; "" stands for the agent's hand.
        "target_receptacles": [where.get(name, "") for name in targets],
        "holding": game.display(held[0]) if held else "",
        "lamp": next((game.display(name) for name in sorted(statics.lamps)), ""),
        "lamp_receptacle": next((where[name] for name in sorted(statics.lamps)), ""),
        "destination_type": "" if draft.task_type == "light" else draft.destination,
        "destinations": [game.display(name) for name in statics.by_type.get(statics.goal.destination, ())],
        "appliances": [game.display(name) for name in statics.by_type.get(f"{appliance}type", ())],
        "room_kind": draft.layout.kind,
        "layout_id": draft.layout.layout_id,
        "regular": draft.regular,
        "shortest": task.shortest,
    }


_RULES = {
    "place": "Take one {target} and move it to a {destination}.",
    "two": "Move one {target} to a {destination}, then move another {target} to the same {destination}.",
    "light": "Take one {target}, go to the {destination} with it, and use the {destination}.",
    "clean": "Take one {target}, clean it with a sinkbasin, then move it to a {destination}.",
    "heat": "Take one {target}, heat it with a microwave, then move it to a {destination}.",
    "cool": "Take one {target}, cool it with a fridge, then move it to a {destination}.",
}


def _hints(task: GeneratedTask, facts: dict[str, Any], plan: list[str]) -> list[str]:
    """True sentences, rising in help: the rule of the task, where to fetch the thing, what to do now."""
    draft = task.draft
    hints = [_RULES[draft.task_type].format(target=draft.target, destination=draft.destination)]
    if not plan:
        return [*hints, "Nothing is left to do."]
    fetched = next((words for words in (action.split(" from ") for action in plan) if len(words) == 2), None)
    if fetched is not None:
        hints.append(f"The {fetched[0].removeprefix('take ')} is in or on the {fetched[1]}.")
    elif facts["holding"]:
        hints.append(f"You are holding the {facts['holding']}.")
    hints.append(f"The next action is: {plan[0]}")
    return hints
