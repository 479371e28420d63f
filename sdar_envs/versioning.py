"""What the version of a world is made of: digests of plain data, the skill prose, and episodes of sample tasks.

A score compares with another only in the same world. Each world's own ``version.py`` says what makes the world, as
plain data, and hashes it with the functions of this file. So a comment, a renamed function or another layout of a file
changes no version; one word that a student or a teacher may read does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .assets import asset_path
from .core import SPLITS, TextEnv
from .skills import parse_skill_file

# Builds an environment from its keyword arguments: the environment's class, which passes itself.
MakeEnv = Callable[..., TextEnv]


def digest(content: Any) -> str:
    """Twelve hexadecimal digits of plain data; the order of sets and of a mapping's entries does not count.

    Raises:
        TypeError: `content` holds something other than mappings, sets, sequences and JSON's values.
        ValueError: `content` holds NaN or an infinity.
    """
    text = json.dumps(_plain(content), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text_digest(text)


def text_digest(text: str) -> str:
    """Twelve hexadecimal digits of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def skill_prose(bank: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """Keywords and prose of every skill file under ``assets/skills/<bank>``, by file name without its ending.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A file's front matter is malformed.
    """
    paths = sorted(asset_path("skills", bank).glob("*.md"))
    return {path.stem: parse_skill_file(path.read_text("utf-8"), path.name) for path in paths}


def play_samples(
    make_env: MakeEnv,
    worlds: Iterable[Mapping[str, Any]],
    tasks_per_split: int,
    play: Callable[[TextEnv, str], list[Any]],
) -> list[Any]:
    """Play the first tasks of every split in each of some worlds, and collect what both sides read.

    Args:
        make_env: Builds an environment from keyword arguments.
        worlds: The keyword arguments of each world.
        tasks_per_split: How many tasks of a split are played.
        play: Plays one task (environment, task id) and returns what is hashed of it, call by call.

    Returns:
        What `play` returned, one list after the other.
    """
    shown: list[Any] = []
    for kwargs in worlds:
        env = make_env(**kwargs)
        for split in SPLITS:
            for task_id in env.task_ids(split)[:tasks_per_split]:
                shown += play(env, task_id)
        env.close()
    return shown


def _plain(content: Any) -> Any:
    """JSON's own values: sets are sorted, keys become text."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, frozenset | set):
        return sorted(_plain(part) for part in content)
    if isinstance(content, list | tuple | range):
        return [_plain(part) for part in content]
    return content
