"""A few of a run's logged episodes, chosen by rule, and with the teacher's side only where that is asked for.

The choice depends on the order of the log alone: the tasks of the last evaluation from its beginning (types come in
turn there, and arms of one seed play the same), the same tasks before training, and training episodes spread evenly
over the iterations. Episodes with logged tokens go first; those whose text was withheld (they were acted under the
privileged prompt) are not shown. Of a game of several roles all sides are taken that were logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import bounded_lines, parse_json

from ..run.directory import EPISODE_SCHEMA, RunDirectoryError, json_records

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies in the log, and what the choice looks at."""

    offset: int
    phase: str
    iteration: int
    group: int
    member: int
    task_id: str
    has_tokens: bool
    withheld: bool = False
    game: int = -1

    @property
    def key(self) -> tuple[str, int, int, int, str]:
        """What the record of the privileged side is found by."""
        return self.phase, self.iteration, self.group, self.member, self.task_id


def load_episodes(run: Path, count: int) -> list[Record]:
    """At most `count` episodes of a run directory, as they stand in `episodes.jsonl`.

    Raises:
        RunDirectoryError: A line is no episode of a known schema; the message names it.
    """
    path = run / "episodes.jsonl"
    if not path.is_file() or count < 1:
        return []
    chosen = choose([place for place in _places(path) if not place.withheld], count)
    records = []
    with path.open("rb") as file:
        for place in chosen:
            file.seek(place.offset)
            records.append(parse_json(next(bounded_lines(file))))
    return records


def load_privileged(run: Path, episodes: Sequence[Record]) -> list[list[Any] | None]:
    """The teacher's side of episodes, turn by turn, parallel to them; None where it was not logged.

    Raises:
        RunDirectoryError: The run has no `privileged.jsonl`.
    """
    path = run / "privileged.jsonl"
    if not path.is_file():
        raise RunDirectoryError(
            f"{run} has no privileged.jsonl: the teacher's side is logged only with log_privileged (sdar train "
            "--log-privileged); leave out --with-privileged"
        )
    wanted = {_key(episode): index for index, episode in enumerate(episodes)}
    found: list[list[Any] | None] = [None] * len(episodes)
    for _, record in json_records(path):
        index = wanted.get(_key(record))
        if index is not None and isinstance(record.get("turns"), list):
            found[index] = record["turns"]
    return found


def records_of(path: Path) -> Iterator[Record]:
    """The episodes of a log, one at a time; none where there is no log.

    Raises:
        RunDirectoryError: A line of the log is no record.
    """
    if path.is_file():
        for _, record in json_records(path):
            if isinstance(record.get("turns"), list):
                yield record


def episodes_of_phase(run: Path, phase: str, iteration: int) -> dict[str, bool | None]:
    """Whether each task of an evaluation was won, by task; None where its environment broke.

    Args:
        run: The run directory.
        phase: Name of the evaluation.
        iteration: Iterations done when it was played.

    Raises:
        RunDirectoryError: A line of the log is no record.
    """
    found: dict[str, bool | None] = {}
    for _, record in json_records(run / "episodes.jsonl"):
        if record.get("phase") == phase and record.get("iteration") == iteration:
            failed = record.get("stop_reason") == "failed"
            found[str(record.get("task_id"))] = None if failed else bool(record.get("success"))
    return found


def choose(places: Sequence[Place], count: int) -> list[Place]:
    """At most `count` of a log's episodes: half from the end, a sixth from before training, the rest from training.

    What one part does not have, the others get. A game counts once, with all of its sides.
    """
    panels = [place for place in places if place.phase != "train"]
    last = max((place.iteration for place in panels), default=0)
    ends = [place for place in panels if place.iteration == last]
    split = "test" if any(place.phase == "test" for place in ends) else next((place.phase for place in ends), "")
    end = _tokens_first([place for place in ends if place.phase == split])
    rank = {place.task_id: number for number, place in enumerate(end)}
    start = [place for place in panels if last and place.phase == split and not place.iteration]
    start = sorted((place for place in start if place.task_id in rank), key=lambda place: rank[place.task_id])
    train = [place for place in places if place.phase == "train"]
    sides = sides_of(train)
    train = [own[0] for own in sides.values() if any(place.has_tokens for place in own)] or [
        own[0] for own in sides.values()
    ]
    wanted = [count - count // 3 - count // 6, count // 6, count // 3]
    shares = shared_out(wanted, [len(end), len(start), len(train)])
    trained = [side for place in spread_over(train, shares[2]) for side in sides[game_of(place)]]
    return [*end[: shares[0]], *start[: shares[1]], *trained]


def game_of(place: Place) -> tuple[int, int]:
    """What the sides of one game share; an episode outside games is by itself."""
    return (place.iteration, place.game) if place.game >= 0 else (-1, place.offset)


def sides_of(places: Sequence[Place]) -> dict[tuple[int, int], list[Place]]:
    """The episodes of each game, in the order of the log."""
    found: dict[tuple[int, int], list[Place]] = {}
    for place in places:
        found.setdefault(game_of(place), []).append(place)
    return found


def shared_out(wanted: Sequence[int], available: Sequence[int]) -> list[int]:
    """What each gets who wants so much and has so much; what one leaves goes to the others, the first first."""
    shares = [min(pair) for pair in zip(wanted, available, strict=True)]
    for index, most in enumerate(available):
        shares[index] += min(most - shares[index], sum(wanted) - sum(shares))
    return shares


def _tokens_first(places: Sequence[Place]) -> list[Place]:
    return sorted(places, key=lambda place: not place.has_tokens)


def spread_over(places: Sequence[Place], count: int) -> list[Place]:
    """`count` of `places` at even distances, the first and the last among them."""
    if count >= len(places):
        return list(places)
    if count < 2:
        return list(places[:count])
    return [places[round(step * (len(places) - 1) / (count - 1))] for step in range(count)]


def _places(path: Path) -> Iterator[Place]:
    for offset, record in json_records(path):
        turns = record.get("turns")
        if record.get("schema") != EPISODE_SCHEMA or not isinstance(turns, list):
            raise RunDirectoryError(
                f"{path}, byte {offset}: expected an episode of schema {EPISODE_SCHEMA}, got {record.get('schema')!r}"
            )
        tokens = any("tokens" in turn for turn in turns)
        withheld = any(turn.get("observation") is None for turn in turns)
        yield Place(offset, *_key(record), tokens, withheld, int(record.get("game", -1)))


def _key(record: Record) -> tuple[str, int, int, int, str]:
    return (
        str(record.get("phase")),
        int(record.get("iteration", 0)),
        int(record.get("group", 0)),
        int(record.get("member", 0)),
        str(record.get("task_id")),
    )
