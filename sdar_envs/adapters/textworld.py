"""TextWorld's games as a Gymnasium world: ``gym.make("sdar/TextWorld-v0", challenge="coin_collector")``.

This file translates; `textworld_games` knows where games come from, and `textworld_play` plays one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..choices import require_number
from ..core import PublicFields, TextEnv, Transition, resolve_split
from ..privileged import PrivilegedFields
from ..skills import SkillBank
from ..versioning import digest
from ..wrong_actions import NO_PLAN, UNKNOWN, WrongActions, by_plan_lengths
from .textworld_games import GameFiles, GameSource, GeneratedGames
from .textworld_play import LOST, NOT_UNDERSTOOD, WON, TextWorldPlay
from .textworld_words import SAMPLE, describe

_NO_SKILLS = SkillBank.empty()
# How often a demonstrator that may not read the plan takes another command than the plan's first, see `demonstrate`.
_ASTRAY = 0.5


class TextWorldEnv(TextEnv):
    """Games of TextWorld, of a challenge or of your own files.

    The reward of a step is what it adds to `score`, the game's points as a share of the most there are: an episode
    that is won has returned 1. Points that are lost again are taken off.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias.
        challenge: ``coin_collector``, ``cooking``, ``simple`` or ``treasure_hunter``. Its games are made by TextWorld
            when they are first played, some seconds each, and kept in the cache.
        settings: Settings of the challenge as ``tw-make`` names them, such as ``{"level": 10}``.
        games: Your own games instead: split -> pattern of ``.z8`` and ``.json`` files, or a folder with the folders
            ``train``, ``valid`` and ``test``.
        file_format: Of generated games: ``z8``, told by the narrator that Inform compiles, or ``json``, which takes no
            compiler, plays two to three times as fast, and is told from the facts in sight.
        train_games: Number of generated games to train on.
        held_out_games: Number of generated games in each of ``valid`` and ``test``.
        game_seed: Another seed gives other games.
        cache_dir: Where generated games are kept; None is ``$XDG_CACHE_HOME/sdar-gym/textworld``.
        horizon: Steps until truncation.
        expose_privileged: Whether `info` has ``"privileged"``.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ImportError: TextWorld is not installed.
        ValueError: An unknown choice, a number out of range, or no games.
    """

    env_id: ClassVar[str] = "sdar/TextWorld-v0"
    rebuilt = frozenset({"_play"})

    def __init__(
        self,
        split: str = "train",
        challenge: str = "coin_collector",
        settings: Mapping[str, Any] | None = None,
        games: str | os.PathLike[str] | Mapping[str, str] | None = None,
        file_format: str = "z8",
        train_games: int = 40,
        held_out_games: int = 20,
        game_seed: int = 0,
        cache_dir: str | os.PathLike[str] | None = None,
        horizon: int = 30,
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, horizon=horizon, expose_privileged=expose_privileged, render_mode=render_mode)
        require_number("train_games", train_games, self.env_id, low=1, whole=True)
        self._source: GameSource
        if games is not None:
            self._source = GameFiles(games, self.env_id)
        else:
            self._source = GeneratedGames(
                challenge,
                settings,
                file_format=file_format,
                sizes={"train": train_games, "valid": held_out_games, "test": held_out_games},
                game_seed=game_seed,
                cache_dir=cache_dir,
                where=self.env_id,
            )
        self._play: TextWorldPlay | None = None
        self._plan_lengths: list[float] = []  # at the beginning and after each action

    @property
    def world_version(self) -> str:  # type: ignore[override]  # of the games, so the class alone has none
        """The version of these games and of every word that this adapter says about them."""
        return digest({"games": self._source.version, "adapter": _WORDING})

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The tasks of a split: numbers of generated games, names of files."""
        return self._source.task_ids(self.split if split is None else resolve_split(split, self.env_id))

    def close(self) -> None:
        """End the episode, and let the interpreter go."""
        super().close()
        self._let_go()

    def _let_go(self) -> None:
        play, self._play = self._play, None
        if play is not None:
            play.close()

    def _begin(self, task_id: str) -> str:
        path = self._source.path(task_id)
        if self._play is None or self._play.path != path:
            self._let_go()
            self._play = TextWorldPlay(path)
        observation = self._play.reset()
        self._plan_lengths = [_plan_length(self._play)]
        return observation

    def _act(self, action: str) -> Transition:
        play = self._playing
        before = play.score
        observation, understood = play.step(action)
        self._plan_lengths.append(_plan_length(play))
        return Transition(observation, play.score - before, play.over, understood)

    def _public(self) -> PublicFields:
        play = self._playing
        return {
            "task_type": self._source.kind,
            "skill_keys": [],
            "instruction": play.objective,
            "admissible_actions": play.admissible,
            "success": play.won,
            "score": play.score,
        }

    def _wrong_actions(self) -> WrongActions:
        # The plan is the game's own policy, which need not be the shortest way; games of others may have none.
        lengths = self._plan_lengths
        return UNKNOWN if lengths[0] == NO_PLAN else by_plan_lengths(lengths, self.horizon)

    def _privileged(self) -> PrivilegedFields:
        play = self._playing
        plan = play.plan
        return {
            "task_type": self._source.kind,
            "plan": plan,
            "next_action": plan[0] if plan else "",
            "hints": hints(plan),
            "facts": {"room": play.room, "facts": [f"{name}({', '.join(rest)})" for name, *rest in play.known]},
            "skills": _NO_SKILLS.retrieve("none", task_type=self._source.kind, keys=[]),
        }

    @property
    def _playing(self) -> TextWorldPlay:
        assert self._play is not None
        return self._play


def _plan_length(play: TextWorldPlay) -> float:
    """Commands of the game's own policy until it is won."""
    return 0 if play.won else len(play.plan) or NO_PLAN


def hints(plan: Sequence[str]) -> list[str]:
    """Sentences about a plan, each more helpful than the one before; none where there is nothing left to do."""
    if not plan:
        return []
    return [
        f"It takes {len(plan)} more command{'s' if len(plan) > 1 else ''}.",
        f"The last of them is: {plan[-1]}.",
        f"The next is: {plan[0]}.",
    ]


# What this adapter says in its own words, for the version.
_WORDING = [NOT_UNDERSTOOD, WON, LOST, describe(SAMPLE), hints(["go north", "take coin"])]


def demonstrate(observation: str, info: Mapping[str, Any], rng: np.random.Generator) -> str:
    """A demonstrator for ``sdar tiny``: follows the plan where it may read it, else tries what is admissible.

    Without the plan it looks like somebody who takes what can be taken and walks on at random half of the time.
    """
    privileged = info.get("privileged")
    if privileged and privileged["next_action"]:
        return str(privileged["next_action"])
    commands = [name for name in info["admissible_actions"] if name not in ("look", "inventory")]
    commands = [name for name in commands if not name.startswith("examine ")] or list(info["admissible_actions"])
    promising = [name for name in commands if name.startswith(("take ", "prepare ", "eat ", "open "))]
    if promising and rng.random() >= _ASTRAY:
        commands = promising
    return commands[int(rng.integers(len(commands)))] if commands else "look"
