"""What every household environment does alike: play a game of either engine and translate it for Gymnasium.

`env.py` brings generated games, `alfworld.py` the official files. A subclass loads a game in `_begin` and hands an
`Episode` to `_start`; everything else - stepping, the public fields, plan and facts - is here. The words of the hints
are in `hints.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ..choices import require_choice, require_number
from ..core import PublicFields, TextEnv, Transition
from ..privileged import PrivilegedFields, RetrievedSkills, copied_skills
from ..randomness import Key
from ..skills import RETRIEVALS, SkillBank
from ..tool_sets import ToolSet
from ..wrong_actions import NO_PLAN, WrongActions, by_plan_lengths
from . import tables
from .domain import Domain
from .engine import NativeGame
from .grammar import Grammar
from .hints import BOTH, hints
from .planner import NoPlanError, Planner, PlayableGame, Statics
from .problem import Problem
from .tools import TOOLS


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


def _native(domain: Domain, grammar: Grammar, problem: Problem, task: str) -> Game:
    return NativeGame(domain, grammar, problem, task=task)


def _textworld(domain: Domain, grammar: Grammar, problem: Problem, task: str) -> Game:
    from .textworld_engine import TextWorldGame  # TextWorld takes seconds to import

    return TextWorldGame(domain, grammar, problem, task=task)


ENGINES: dict[str, Callable[[Domain, Grammar, Problem, str], Game]] = {"native": _native, "textworld": _textworld}


@dataclass(slots=True)
class Episode:
    """What an environment knows of the game it has loaded.

    Attributes:
        game: The game, ready to be reset.
        statics: Its unchanging facts.
        instruction: The task as the student reads it; "" to have it taken from the introduction.
        about: Fields of ``privileged["facts"]`` that do not change, besides those read off the game.
        seed_key: Key of the draws that random and wrong skill retrieval make.
    """

    game: Game
    statics: Statics
    instruction: str
    about: dict[str, Any]
    seed_key: tuple[Key, ...]
    planner: Planner | None = None
    skills: RetrievedSkills | None = None
    target: str = field(init=False)
    destination: str = field(init=False)  # for `light`, the lamp

    def __post_init__(self) -> None:
        self.target = self.statics.goal.target.removesuffix("type")
        self.destination = self.statics.goal.destination.removesuffix("type")

    @property
    def task_type(self) -> str:
        """One of the six."""
        return self.statics.goal.task_type

    @property
    def skill_keys(self) -> list[str]:
        """What the skill bank is asked with: the task type, the target, and for `light` the lamp."""
        return [self.task_type, self.target] + ([self.destination] if self.task_type == "light" else [])


class GameEnv(TextEnv):
    """Base class of the household environments.

    Args:
        split: As `TextEnv`.
        horizon: Steps until truncation.
        task_type: The only task type that is played; None for all.
        skill_bank: What skills are retrieved from.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        reward_scale: The reward for winning; every other step gives 0.
        engine: ``native``, or ``textworld`` for TextWorld's own PDDL engine.
        expose_privileged: Whether `info` has ``"privileged"``. Without it no plan is computed.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    env_id: ClassVar[str] = "sdar/GameEnv"
    rebuilt = frozenset({"_episode"})  # games are compiled, and played again

    def __init__(
        self,
        *,
        split: str,
        horizon: int,
        task_type: str | None,
        skill_bank: SkillBank,
        retrieval: str,
        reward_scale: float,
        engine: str,
        expose_privileged: bool,
        render_mode: str | None,
    ) -> None:
        super().__init__(split=split, horizon=horizon, expose_privileged=expose_privileged, render_mode=render_mode)
        if task_type is not None:
            require_choice("task_type", task_type, tables.TASK_TYPES, self.env_id)
        self.task_type = task_type
        self.retrieval = require_choice("retrieval", retrieval, RETRIEVALS, self.env_id)
        require_number("reward_scale", reward_scale, self.env_id)
        self.reward_scale = reward_scale
        self.engine = require_choice("engine", engine, ENGINES, self.env_id)
        self.skill_bank = skill_bank
        self._episode: Episode | None = None

    def tool_set(self) -> ToolSet:
        """The verbs as tools, for agents that call tools."""
        return TOOLS

    def close(self) -> None:
        """Release what the engine holds."""
        super().close()
        self._release()

    def _release(self) -> None:
        if self._episode is not None:
            self._episode.game.close()
            self._episode = None

    def _start(self, episode: Episode) -> str:
        """Take over a loaded game and reset it; returns the introduction."""
        self._episode = episode
        text = episode.game.reset()
        if not episode.instruction:
            episode.instruction = text.rpartition("Your task is to: ")[2].strip()
        return text

    def _act(self, action: str) -> Transition:
        game = self._playing.game
        feedback, matched = game.step(action)
        won = game.won
        return Transition(feedback, tables.WIN_REWARD * self.reward_scale if won else 0.0, won, matched)

    def _public(self) -> PublicFields:
        episode = self._playing
        won = episode.game.won
        return {
            "task_type": episode.task_type,
            "skill_keys": episode.skill_keys,
            "instruction": episode.instruction,
            "admissible_actions": episode.game.admissible(),
            "success": won,
            "score": float(won),
        }

    def _wrong_actions(self) -> WrongActions:
        # Played again, so that an episode of which nobody asks this costs nothing.
        game, planner = self._playing.game, self._planner
        game.reset()
        lengths = [_length(planner)]
        for action in self._played:
            game.step(action)
            lengths.append(_length(planner))
        return by_plan_lengths(lengths, self.horizon)

    @property
    def _planner(self) -> Planner:
        episode = self._playing
        # Made when first asked for: whoever needs the teacher's side for some turns only can switch it.
        if episode.planner is None:
            episode.planner = Planner(episode.game, episode.statics)
        return episode.planner

    def _privileged(self) -> PrivilegedFields:
        episode, planner = self._playing, self._planner
        if episode.skills is None:
            episode.skills = self.skill_bank.retrieve(
                self.retrieval,
                task_type=episode.task_type,
                keys=episode.skill_keys,
                text=episode.instruction,
                seed_key=episode.seed_key,
            )
        try:
            plan = planner.plan()
        except NoPlanError:  # an official game can be spoiled for good; no reason to stop an episode
            plan = []
        facts = state_facts(episode)
        return {
            "task_type": episode.task_type,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": hints(
                episode.task_type,
                episode.target,
                episode.destination,
                plan=plan,
                facts=facts,
                won=episode.game.won,
            ),
            "facts": facts,
            "skills": copied_skills(episode.skills),
        }

    @property
    def _playing(self) -> Episode:
        assert self._episode is not None
        return self._episode


def _length(planner: Planner) -> float:
    """Actions of the shortest way to win from the game's present state."""
    try:
        return len(planner.moves())
    except NoPlanError:  # an official game can be spoiled for good
        return NO_PLAN


def state_facts(episode: Episode) -> dict[str, Any]:
    """The world's own fields: where the targets (and the lamp) are now, and where they have to go."""
    game, statics = episode.game, episode.statics
    places: dict[str, list[str]] = {}
    for fact in game.facts("inreceptacle"):
        places.setdefault(fact[1], []).append(game.display(fact[2]))
    # In official games an object may be in two receptacles, and stays in the one that it is not taken from.
    where = {name: BOTH.join(displayed) for name, displayed in places.items()}
    held = [fact[2] for fact in game.facts("holds")]
    targets, lamps = sorted(statics.targets), sorted(statics.lamps)
    appliance = tables.APPLIANCES.get(episode.task_type, "")
    return {
        "target_type": episode.target,
        "targets": [game.display(name) for name in targets],
        # Parallel to the targets; "" stands for the agent's hand, or for nowhere in official games.
        "target_receptacles": [where.get(name, "") for name in targets],
        "holding": game.display(held[0]) if held else "",
        "lamp": next((game.display(name) for name in lamps), ""),
        "lamp_receptacle": next((where.get(name, "") for name in lamps), ""),
        "destination_type": "" if episode.task_type == "light" else episode.destination,
        "destinations": [game.display(name) for name in statics.by_type.get(statics.goal.destination, ())],
        "appliances": [game.display(name) for name in statics.by_type.get(f"{appliance}type", ())],
        **episode.about,
    }
