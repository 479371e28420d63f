"""ALFWorld's official files on disk: where they are, which of them are played, and an index of them.

The selection rules are those of ALFWorld's own loader: a folder counts when it has ``traj_data.json`` and
``game.tw-pddl``, its path has neither ``movable`` nor ``Sliced``, its task type is one of the six, and the game is
marked as solvable; one without the mark is left out, and a warning counts these. Finding that out opens thousands of
JSON files, so the result is kept in the user's cache folder, under the fingerprint of the directory listing (paths,
sizes and times): a changed file makes a new index.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import ALFWORLD
from ..cache import cache_folder
from ..files import write_file
from .games import GameFileError, load_json

GAME_FILE = "game.tw-pddl"
TRAJECTORY_FILE = "traj_data.json"

# The suite's split -> the official folder.
FOLDERS = {"train": "train", "valid": "valid_seen", "test": "valid_unseen"}

# The official task type -> ours.
TASK_TYPES = {
    "pick_and_place_simple": "place",
    "pick_two_obj_and_place": "two",
    "look_at_obj_in_light": "light",
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}

DOWNLOAD = (
    'They come with "pip install alfworld && alfworld-download", which unpacks json_2.1.1_json.zip (trajectories) and '
    "json_2.1.2_tw-pddl.zip (games) from ALFWorld's releases; then set ALFWORLD_DATA (or data_dir=) to the folder it "
    "has filled, ~/.cache/alfworld unless told otherwise."
)


class NoGamesError(FileNotFoundError):
    """There are no official games where they were looked for; the message says what to download."""


@dataclass(frozen=True, slots=True)
class IndexedGame:
    """A game that is played: its path relative to the data root, with ``/``, and our task type."""

    path: str
    task_type: str


def find_root(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder that holds ``train``, ``valid_seen`` and ``valid_unseen``.

    Args:
        data_dir: That folder or the one above it; None for ``$ALFWORLD_DATA``.

    Raises:
        NoGamesError: Nothing there; the message says what to download.
    """
    chosen = data_dir if data_dir is not None else os.environ.get("ALFWORLD_DATA")
    if not chosen:
        raise NoGamesError(f"{ALFWORLD.env_id} found neither data_dir= nor $ALFWORLD_DATA. {DOWNLOAD}")
    base = Path(chosen).expanduser()
    candidates = [base]
    if base.is_dir():
        candidates += sorted(path for path in base.iterdir() if path.name.startswith("json_2"))
    for candidate in candidates:
        if any((candidate / folder).is_dir() for folder in FOLDERS.values()):
            return candidate
    raise NoGamesError(
        f"{ALFWORLD.env_id} expected a folder json_2.1.1 with {', '.join(FOLDERS.values())} in {base}, and there is "
        f"{'none' if base.is_dir() else 'no such folder'}. {DOWNLOAD}"
    )


def official_games(root: Path, split: str) -> tuple[IndexedGame, ...]:
    """The games of a split that are played, sorted by path.

    Games whose files are broken are left out with a warning that counts them and names the first, and so are games
    without the key ``solvable``.

    Args:
        root: From `find_root`.
        split: ``train``, ``valid`` or ``test``.

    Raises:
        NoGamesError: The split's folder is missing, or nothing in it is played.
    """
    folder = root / FOLDERS[split]
    listing = list(_listing(folder))
    fingerprint = hashlib.sha256(json.dumps([str(root.resolve()), listing]).encode("utf-8", "surrogateescape"))
    cached = cache_folder() / f"alfworld-{fingerprint.hexdigest()[:32]}.json"
    index = _read_index(cached)
    if index is None:
        index = _select(root, [name for name, *_ in listing])
        _write_index(cached, index)
    for said in index.left_out:
        warnings.warn(said, stacklevel=2)
    if not index.games:
        state = "has no game that is played" if listing else "is missing or empty"
        reasons = "".join(f" ({said})" for said in index.left_out)
        raise NoGamesError(f"{ALFWORLD.env_id}, split {split!r}: {folder} {state}{reasons}. {DOWNLOAD}")
    return index.games


@dataclass(frozen=True, slots=True)
class _Index:
    """The games of a split, and what to say of those that were left out."""

    games: tuple[IndexedGame, ...]
    left_out: tuple[str, ...]


def _listing(folder: Path) -> Iterator[tuple[str, int, int, int, int]]:
    """Candidate folders, sorted: path relative to the data root, size and time of the game and of its trajectory."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        if GAME_FILE not in files or TRAJECTORY_FILE not in files:
            continue
        name = Path(place).relative_to(folder.parent).as_posix()
        if "movable" in name or "Sliced" in name:
            continue
        try:
            game, trajectory = os.stat(os.path.join(place, GAME_FILE)), os.stat(os.path.join(place, TRAJECTORY_FILE))
        except OSError:
            continue  # a link to nowhere
        yield name, game.st_size, game.st_mtime_ns, trajectory.st_size, trajectory.st_mtime_ns


def _select(root: Path, names: list[str]) -> _Index:
    games: list[IndexedGame] = []
    broken: list[GameFileError] = []
    unmarked: list[str] = []
    for name in names:
        try:
            task_type = TASK_TYPES.get(str(load_json(root / name / TRAJECTORY_FILE).get("task_type")))
            if task_type is not None:
                game = load_json(root / name / GAME_FILE)
                if "solvable" not in game:
                    unmarked.append(f"{name}/{GAME_FILE}")
                elif game["solvable"] is True:
                    games.append(IndexedGame(f"{name}/{GAME_FILE}", task_type))
        except GameFileError as error:
            broken.append(error)
    said = []
    if broken:
        said.append(f"{len(broken)} of {len(names)} official games are broken and left out; the first: {broken[0]}")
    if unmarked:
        said.append(
            f"{len(unmarked)} of {len(names)} official games have no key 'solvable' and are left out, as ALFWorld's "
            f"own loader does; the first: {unmarked[0]}"
        )
    return _Index(tuple(games), tuple(said))


def _read_index(path: Path) -> _Index | None:
    try:
        found = load_json(path)
        games = tuple(IndexedGame(str(name), str(task_type)) for name, task_type in found["games"])
        index = _Index(games, tuple(str(said) for said in found["left_out"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # none yet, a damaged one, or one of an older layout: made anew
    return index if all(game.task_type in TASK_TYPES.values() for game in games) else None


def _write_index(path: Path, index: _Index) -> None:
    content = {"games": [[game.path, game.task_type] for game in index.games], "left_out": list(index.left_out)}
    with contextlib.suppress(OSError):  # a home that is missing or read-only costs time at the next start, nothing else
        write_file(path, json.dumps(content))
