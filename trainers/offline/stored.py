"""Stored episodes: the lines of run logs and of curated folders, with what a choice among them looks at.

A curated line is made of named parts of a logged one. What is privileged, or computed from what is privileged (ids of
skill statements, a teacher's log-probs, signals and weights), is in no part that is named here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import bounded_lines, parse_json

from ..run.directory import EPISODE_SCHEMA, RunDirectoryError, json_records
from ..run.packed_tokens import PackedTokensError, unpack_tokens

CURATED_SCHEMA = "sdar/curated-episode/1"
EPISODES = "episodes.jsonl"
# What a curated line keeps of a logged one, and of each of its turns.
EPISODE_KEYS = (
    *("run", "iteration", "group", "member", "seed", "env_id", "world", "policy", "task_id", "task_type", "role"),
    *("instruction", "success", "score", "return", "stop_reason"),
)
TURN_KEYS = ("observation", "completion", "action", "parse", "valid", "reward", "messages")
_DIGITS = re.compile(r"\d+")


class StoredEpisodesError(ValueError):
    """Stored episodes that cannot be read or do not belong together; the message says where and what helps."""


class NothingKeptError(StoredEpisodesError):
    """All episodes were thrown away; the message has the counts."""


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """What is looked at of a logged episode when some are chosen; the line itself stays in its file.

    Attributes:
        path: The log.
        offset: Where its line begins.
        run: Index of the run, in the order in which the runs were named.
        id: Of the episode: a hash of where it comes from and of its token ids. "" where no ids were logged.
        env_id: Its environment.
        phase: Why it was played.
        view: The prompt that it was acted under.
        group: What the episodes of one group share.
        task: What the episodes of one task in one world share, of a game those of one seat; the task's id is the last.
        shape: What episodes share whose actions are the same but for numbers.
        order: Where it stands among all, whatever the order of runs and lines.
        success: Whether it was won.
        failed: Whether its environment broke.
        return_: Sum of rewards.
        turns: How many.
        tokens: Sampled tokens.
    """

    path: Path
    offset: int
    run: int
    id: str
    env_id: str
    phase: str
    view: str
    group: tuple[int, int, int]
    task: tuple[str, str]
    shape: str
    order: tuple[str, int, int, int, int, str]
    success: bool
    failed: bool
    return_: float
    turns: int
    tokens: int


def log_of(run: str | Path) -> Path:
    """The episode log of a run directory.

    Raises:
        StoredEpisodesError: There is none.
    """
    path = Path(run) / EPISODES
    if not path.is_file():
        raise StoredEpisodesError(f"{run}: expected a run directory with {EPISODES}, got none: name one that has a log")
    return path


def read_log(path: Path, run: int = 0) -> Iterator[StoredEpisode]:
    """The episodes of a run's log, one at a time; a last line that a crash cut short is left out.

    Raises:
        StoredEpisodesError: A line is no episode of a known schema.
    """
    for offset, record in records(path, EPISODE_SCHEMA):
        try:
            yield _stored(path, offset, run, record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoredEpisodesError(f"{path}, byte {offset}: expected an episode, got {error!r}") from None


def records(path: Path, schema: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file of JSON lines with the offsets of their lines.

    Raises:
        StoredEpisodesError: A line is no JSON object of this schema.
    """
    try:
        for offset, record in json_records(path):
            found = record.get("schema")
            if found != schema or not isinstance(record.get("turns"), list):
                raise StoredEpisodesError(
                    f"{path}, byte {offset}: expected an episode of schema {schema}, got {found!r}"
                )
            yield offset, record
    except RunDirectoryError as error:
        raise StoredEpisodesError(str(error)) from None


def read_lines(episodes: list[StoredEpisode]) -> Iterator[dict[str, Any]]:
    """The logged records of chosen episodes, in their order."""
    files = {path: path.open("rb") for path in dict.fromkeys(each.path for each in episodes)}
    try:
        for episode in episodes:
            file = files[episode.path]
            file.seek(episode.offset)
            yield parse_json(next(bounded_lines(file)))
    finally:
        for file in files.values():
            file.close()


def curated_record(record: Mapping[str, Any], episode_id: str) -> dict[str, Any]:
    """A curated line: the named parts of a logged one, under its id."""
    return {
        "schema": CURATED_SCHEMA,
        "id": episode_id,
        **{key: record[key] for key in EPISODE_KEYS if key in record},
        "turns": [{key: turn[key] for key in TURN_KEYS if key in turn} for turn in record["turns"]],
        "packed": record["packed"],
    }


def read_curated(folder: str | Path) -> list[dict[str, Any]]:
    """The curated episodes of a folder.

    Raises:
        StoredEpisodesError: It has none, or a line is no curated episode.
    """
    path = Path(folder) / EPISODES
    if not path.is_file():
        raise StoredEpisodesError(f"{folder}: expected a folder that sdar curate has written, got none with {EPISODES}")
    try:
        found = [record for _, record in records(path, CURATED_SCHEMA)]
    except StoredEpisodesError as error:
        raise StoredEpisodesError(f"{error}. Of a run directory, curate first: sdar curate RUN --out DIR") from None
    if not found:
        raise StoredEpisodesError(f"{path} holds no episode: curate with fewer filters, or from more runs")
    return found


def world_key(record: Mapping[str, Any]) -> str:
    """The world of an episode: its id, keyword arguments and version."""
    world = record.get("world") or {}
    return json.dumps([record["env_id"], world.get("kwargs"), world.get("version")], sort_keys=True)


def _stored(path: Path, offset: int, run: int, record: Mapping[str, Any]) -> StoredEpisode:
    turns = record["turns"]
    text, tokens = "", 0
    if "packed" in record:
        try:
            held = unpack_tokens(record["packed"])
        except PackedTokensError as error:
            raise StoredEpisodesError(f"{path}, byte {offset}: {error}") from None
        if len(held) != len(turns):
            raise StoredEpisodesError(f"{path}, byte {offset}: expected tokens of {len(turns)} turns, got {len(held)}")
        tokens = sum(len(turn.completion_ids) for turn in held)
        text = _id_of(record, [(turn.prompt_ids, turn.completion_ids) for turn in held])
    place = (int(record["iteration"]), int(record["group"]), int(record["member"]))
    return StoredEpisode(
        path=path,
        offset=offset,
        run=run,
        id=text,
        env_id=str(record["env_id"]),
        phase=str(record["phase"]),
        view=str(record.get("view", "plain")),
        group=(run, place[0], place[1]),
        task=(f"{world_key(record)} {record.get('role', '')}", str(record["task_id"])),
        shape=_shape_of(record),
        order=(str(record["run"]), int(record["seed"]), *place, text),
        success=bool(record["success"]),
        failed=record["stop_reason"] == "failed",
        return_=float(record["return"]),
        turns=len(turns),
        tokens=tokens,
    )


def _id_of(record: Mapping[str, Any], tokens: list[Any]) -> str:
    """16 hexadecimal digits that name an episode: the same for its copy, another for anything else."""
    place = [record[key] for key in ("run", "seed", "iteration", "group", "member", "task_id")]
    policy = (record.get("policy") or {}).get("initial_weights")
    content = json.dumps([world_key(record), policy, place, tokens])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _shape_of(record: Mapping[str, Any]) -> str:
    """The actions without their numbers, so that "open drawer 1" and "open drawer 2" are one."""
    actions = [_DIGITS.sub("#", str(turn.get("action")).casefold()) for turn in record["turns"]]
    return json.dumps([record["env_id"], record["task_type"], actions])
