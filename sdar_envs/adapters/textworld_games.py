"""Where TextWorld's games come from: files of a user's own, or challenges that are generated into the cache."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from ..cache import cache_folder
from ..choices import require_choice, require_number
from ..core import SPLITS, resolve_split
from ..files import replaced_folder
from ..randomness import counted_generator
from ..task_ids import NumberedTaskIds, parse_task_id, task_id
from ..versioning import digest

FORMATS = ("z8", "json")
# Settings of each challenge as `tw-make` names them, at a size that a short run can learn.
CHALLENGES: dict[str, dict[str, Any]] = {
    "coin_collector": {"level": 5},
    "cooking": {
        "recipe": 1, "take": 1, "go": 1, "open": True, "cook": False, "cut": False, "drop": False, "recipe_seed": 0,
    },
    "simple": {"rewards": "dense", "goal": "brief", "test": False},
    "treasure_hunter": {"level": 3},
}  # fmt: skip
_LONGEST_MAKING = 600  # seconds
_MAKING = threading.Lock()  # environments that play at once ask for the same games


class GameSource(Protocol):
    """Some games, by split and task id."""

    version: str
    kind: str

    def task_ids(self, split: str) -> Sequence[str]:
        """The tasks of a split."""
        ...

    def path(self, task_id: str) -> Path:
        """The file of a task's game; ValueError where there is no such task."""
        ...


class GameFiles:
    """Games in files.

    Args:
        games: Split -> pattern of ``.z8`` or ``.json`` files, as `glob.glob` reads it; or a folder with a folder for
            each split. The ``.json`` that lies beside a ``.z8`` is a part of it, and no game of its own.
        where: Who asks, for messages.

    Raises:
        ValueError: An unknown split, two games of one name, no game at all, or a ``.z8`` without its ``.json``.
    """

    kind = "files"

    def __init__(self, games: str | os.PathLike[str] | Mapping[str, str], where: str) -> None:
        if not isinstance(games, Mapping):
            games = {split: str(Path(glob.escape(os.fspath(games)), split, "*")) for split in SPLITS}
        self._where = where
        self._paths: dict[str, dict[str, Path]] = {split: {} for split in SPLITS}
        for split, pattern in games.items():
            self._read(resolve_split(split, where), str(pattern))
        if not any(self._paths.values()):
            raise ValueError(f"{where} expects .z8 or .json games, found none in {dict(games)}")
        content = {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for named in self._paths.values()
            for name, path in named.items()
        }
        self.version = digest(content)

    def _read(self, split: str, pattern: str) -> None:
        found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
        for path in found:
            beside = path.with_suffix(".json" if path.suffix == ".z8" else ".z8")
            if path.suffix == ".z8" and not beside.is_file():
                raise ValueError(f"{self._where} expects {beside.name} beside {path}, which has the facts of the game")
            if path.suffix not in (".z8", ".json") or (path.suffix == ".json" and beside in found):
                continue
            name = f"{split}:{path.stem}"
            if name in self._paths[split]:
                raise ValueError(f"{self._where} expects games of different names, got {path} as well: rename one")
            self._paths[split][name] = path

    def task_ids(self, split: str) -> Sequence[str]:
        """The tasks of a split: its name and that of the file without its ending."""
        return list(self._paths[split])

    def path(self, task_id: str) -> Path:
        """The file of a task's game.

        Raises:
            ValueError: There is no such task.
        """
        known = {name: path for named in self._paths.values() for name, path in named.items()}
        require_choice("task id", task_id, known, self._where)
        return known[task_id]


class GeneratedGames:
    """Games of a challenge, each made when it is first played and kept in the cache; the same on any machine.

    Args:
        challenge: A name of `CHALLENGES`.
        settings: Settings of ``tw-make`` that replace those of `CHALLENGES`.
        file_format: ``z8``, compiled by Inform, or ``json``, which is made and played faster.
        sizes: Split -> number of games.
        game_seed: Another seed gives other games.
        cache_dir: Where games are kept; None is the suite's cache.
        where: Who asks, for messages.

    Raises:
        ValueError: An unknown challenge, format or setting.
    """

    def __init__(
        self,
        challenge: str,
        settings: Mapping[str, Any] | None,
        *,
        file_format: str,
        sizes: Mapping[str, int],
        game_seed: int,
        cache_dir: str | os.PathLike[str] | None,
        where: str,
    ) -> None:
        self.kind = require_choice("challenge", challenge, CHALLENGES, where)
        self._format = require_choice("file_format", file_format, FORMATS, where)
        for name in settings or {}:
            require_choice(f"setting of {challenge}", name, CHALLENGES[challenge], where)
        for split, size in sizes.items():
            require_number(f"number of {split} games", size, where, low=1, whole=True)
        require_number("game_seed", game_seed, where, whole=True)
        self._settings = {**CHALLENGES[challenge], **(settings or {})}
        self._sizes = dict(sizes)
        self._game_seed = game_seed
        self._where = where
        made_by = {"textworld": _textworld_version(), "challenge": challenge, "settings": self._settings}
        self.version = digest({**made_by, "format": file_format, "game_seed": game_seed})
        self._folder = Path(cache_dir or cache_folder() / "textworld") / f"{challenge}-{self.version}"

    def task_ids(self, split: str) -> Sequence[str]:
        """The tasks of a split, by number."""
        return NumberedTaskIds(split, range(self._sizes[split]))

    def path(self, task_id: str) -> Path:
        """The file of a task's game, which is made now where it has not been.

        Raises:
            ValueError: There is no such task, or TextWorld cannot make games of these settings.
        """
        split, number = parse_task_id(task_id, self._sizes, self._where)
        name = f"{split}-{number:06d}"
        path = self._folder / name / f"game.{self._format}"
        with _MAKING:
            if not path.is_file():
                with replaced_folder(path.parent, keep_existing=True) as partial:
                    self._make(split, number, partial / path.name)
        return path

    def seed(self, split: str, number: int) -> int:
        """The seed of a game; no two splits share a stream."""
        drawn = counted_generator("textworld", self.kind, self._game_seed, split, number)
        return int(drawn.integers(2**31))

    def _make(self, split: str, number: int, path: Path) -> None:
        settings = dict(self._settings)
        if self.kind == "cooking":
            settings["split"] = split  # TextWorld keeps some ingredients for valid and for test
        order = {"challenge": self.kind, "settings": settings, "seed": self.seed(split, number), "path": str(path)}
        command = [sys.executable, "-m", f"{__package__}.textworld_maker", json.dumps(order)]
        here = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        made = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST_MAKING,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": paths},
        )
        if made.returncode != 0 or not path.is_file():
            said = made.stderr.strip().rpartition("\n")[2]
            raise ValueError(
                f"{self._where}: TextWorld cannot make {task_id(split, number)} of {self.kind} with {settings}: {said}"
            )


def _textworld_version() -> str:
    try:
        return version("textworld")
    except PackageNotFoundError as missing:
        raise ImportError('TextWorld is not installed: pip install "sdar-envs[textworld]"') from missing
