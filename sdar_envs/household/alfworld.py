"""ALFWorld's official games as a Gymnasium environment: sdar/ALFWorld-v0.

The text is the files' own, read from each game; nothing of ALFWorld is contained here, and its Python package is not
needed to play.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

from .. import ALFWORLD
from ..core import PublicFields, Transition, resolve_split
from ..privileged import PrivilegedFields
from ..skills import SkillBank
from .adapter import ENGINES, Episode, GameEnv
from .games import GameFile, GameFileError, read_game
from .official import FOLDERS, IndexedGame, find_root, official_games
from .planner import Statics
from .version import told_version


@lru_cache(maxsize=1)
def _skill_bank() -> SkillBank:
    """General and task skills; what is regular in generated houses says nothing about these games."""
    return SkillBank.from_assets(ALFWORLD.skill_folder)


@lru_cache(maxsize=256)
def _cached_game(path: str, modified: int) -> GameFile:
    return read_game(path)


class ALFWorldEnv(GameEnv):
    """The official games, from files that the user has downloaded.

    Task ids are the paths of the game files relative to the data's root, e.g.
    ``valid_seen/pick_and_place_simple-Mug-None-Desk-308/trial_T2019.../game.tw-pddl``.

    Args:
        split: ``train``, ``valid`` (``valid_seen``) or ``test`` (``valid_unseen``), or an official name.
        task_type: Restrict `task_ids` to one of ``place``, ``two``, ``light``, ``clean``, ``heat``, ``cool``.
        data_dir: Where the games are: the folder with ``train``, ``valid_seen`` and ``valid_unseen``, or the one above
            it; ``$ALFWORLD_DATA`` by default.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        horizon: Steps until truncation.
        reward_scale: The reward for winning; every other step gives 0. The published recipes use 10.
        engine: ``native``, or ``textworld`` for TextWorld's own PDDL engine.
        expose_privileged: Whether `info` has ``"privileged"``. Without it no plan is computed.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        FileNotFoundError: There are no games; the message says what to download.
        ValueError: An unknown choice or a number out of range.
    """

    env_id = ALFWORLD.env_id

    def __init__(
        self,
        split: str = "train",
        task_type: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        retrieval: str = "task_type",
        horizon: int = 50,
        reward_scale: float = 1.0,
        engine: str = "native",
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            split=split,
            horizon=horizon,
            task_type=task_type,
            skill_bank=_skill_bank(),
            retrieval=retrieval,
            reward_scale=reward_scale,
            engine=engine,
            expose_privileged=expose_privileged,
            render_mode=render_mode,
        )
        self.root = find_root(data_dir)
        self._indexes: dict[str, dict[str, IndexedGame]] = {}
        self._task_ids: dict[str, tuple[str, ...]] = {}
        self.task_ids()  # a split without games is an error now, not at the first reset

    @property
    def world_version(self) -> str:  # type: ignore[override]  # as the household's
        """The version of the skills and hints that a teacher reads; the games are files, which task ids name."""
        return told_version()

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The games of a split, sorted by path.

        Raises:
            FileNotFoundError: The split has none; the message says what to download.
            ValueError: Unknown split, or the split has no game of `task_type`.
        """
        chosen = self.split if split is None else resolve_split(split, self.env_id)
        if chosen not in self._task_ids:
            games = self._index(chosen).values()
            ids = tuple(game.path for game in games if self.task_type in (None, game.task_type))
            if not ids:
                raise ValueError(f"{self.env_id}: split {chosen!r} in {self.root} has no game of type {self.task_type}")
            self._task_ids[chosen] = ids
        return self._task_ids[chosen]

    def _index(self, split: str) -> dict[str, IndexedGame]:
        if split not in self._indexes:
            self._indexes[split] = {game.path: game for game in official_games(self.root, split)}
        return self._indexes[split]

    def _begin(self, task_id: str) -> str:
        split = next((ours for ours, folder in FOLDERS.items() if task_id.startswith(f"{folder}/")), None)
        if split is None or task_id not in self._index(split):
            known = self._index(split or self.split)
            # Character by character is what is wanted: folder names differ in their last words.
            nearest = max(known, key=lambda path: len(os.path.commonprefix([path, task_id])))  # noqa: RUF071
            raise ValueError(
                f"{self.env_id} expects the relative path of one of the {len(known):,} games of its split in "
                f"{self.root}, got {repr(task_id)[:200]}; the nearest is {nearest!r}"
            )
        path = self.root / task_id
        with self._naming(task_id):
            try:
                game = _cached_game(str(path), path.stat().st_mtime_ns)
            except OSError as error:
                raise GameFileError(f"{path}: cannot be read: {error.strerror or error}") from error
            statics = Statics.of(game.problem)
            self._release()
            play = ENGINES[self.engine](game.domain, game.grammar, game.problem, game.task)
            sentence = f"{game.task}." if game.task else ""
            return self._start(Episode(play, statics, sentence, {"scene": _scene(task_id)}, (task_id,)))

    def _act(self, action: str) -> Transition:
        with self._naming(self._task_id):
            return super()._act(action)

    def _public(self) -> PublicFields:
        with self._naming(self._task_id):
            return super()._public()

    def _privileged(self) -> PrivilegedFields:
        with self._naming(self._task_id):
            return super()._privileged()

    @contextlib.contextmanager
    def _naming(self, task_id: str | None) -> Iterator[None]:
        """Have every complaint about a game say which file it is: some of a grammar is only tried in play."""
        try:
            yield
        except GameFileError:
            raise
        except ValueError as error:
            raise GameFileError(f"{self.root / str(task_id)}: {error}") from error


def _scene(task_id: str) -> str:
    """The number of the floor plan, which ends the name of a task's folder."""
    return task_id.split("/")[1].rpartition("-")[2]
