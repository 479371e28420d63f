"""What the page's episode viewer is given: chosen episodes, small and cleaned, with every text stored once.

Of a game of several roles the sides are put together, turn by turn, and each keeps its own prompts and its own
privileged side. Numbers keep three decimals. Where the episodes of an arm would be larger than its share of the file,
later ones are left out, and the page says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .episodes import Record
from .palette import colour_index
from .plain_text import clean, kind_name

SCHEMA = "sdar/viewer/1"
COLUMNS = ("behaviour", "student", "teacher", "signal", "weight", "entropy")
BYTES = 8_000_000  # of all viewer data together


@dataclass(frozen=True, slots=True)
class ViewedArm:
    """The episodes of one arm. `privileged` runs parallel to `episodes` and is None where nothing may be shown.

    `stale` says for tasks of the evaluation set whether a skill statement about them is wrong, where the episodes
    themselves do not know: a method that reads no statements still plays tasks that have some.
    """

    label: str
    colour: int
    note: str
    episodes: Sequence[Record]
    privileged: Sequence[list[Any] | None] | None = None
    stale: Mapping[str, bool] = field(default_factory=dict)


class _Texts:
    """Each text once, by number."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self.size = 0

    def number(self, text: Any) -> int:
        cleaned = clean(str(text))
        if cleaned not in self._numbers:
            self._numbers[cleaned] = len(self.texts)
            self.texts.append(cleaned)
            self.size += len(json.dumps(cleaned)) + 1
        return self._numbers[cleaned]

    def forget(self, count: int) -> None:
        """Drop all texts but the first `count`."""
        for text in self.texts[count:]:
            del self._numbers[text]
            self.size -= len(json.dumps(text)) + 1
        del self.texts[count:]


def viewer_data(arms: Sequence[ViewedArm], *, limit: int | None = None) -> dict[str, Any] | None:
    """Everything that the viewer shows, as plain JSON values; None where no arm has an episode.

    Args:
        arms: The arms, in the order of their menu.
        limit: Bytes for all of them, None for `BYTES`; each arm has an equal share.
    """
    arms = [arm for arm in arms if arm.episodes]
    if not arms:
        return None
    texts = _Texts()
    share = (BYTES if limit is None else limit) / len(arms)
    listed: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    left_out = 0
    for index, arm in enumerate(arms):
        spent, kept = 0, []
        for sides in games_of(arm.episodes):
            size, count = texts.size, len(texts.texts)
            known = [None if arm.privileged is None else arm.privileged[number] for number in sides]
            compact = _game([arm.episodes[number] for number in sides], known, index, arm.stale, texts)
            wanted = len(json.dumps(compact, separators=(",", ":"))) + texts.size - size
            if spent + wanted > share:
                left_out += 1
                texts.forget(count)
                continue
            spent += wanted
            kept.append(compact)
        label, note = clean(arm.label), clean(arm.note)
        listed.append({"label": label, "colour": colour_index(arm.colour), "note": note, "scales": scales(kept)})
        shown += kept
    return {
        "schema": SCHEMA,
        "privileged": any(arm.privileged is not None for arm in arms),
        "left_out": left_out,
        "arms": listed,
        "texts": texts.texts,
        "episodes": shown,
    }


def games_of(episodes: Sequence[Record]) -> list[list[int]]:
    """The episodes that belong together, by their places: the sides of a game, else each by itself."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for number, record in enumerate(episodes):
        game = record.get("game", -1)
        alone = not isinstance(game, int) or game < 0
        key = ("", number) if alone else (record.get("phase"), record.get("iteration"), game)
        found.setdefault(key, []).append(number)
    return list(found.values())


def _game(
    records: Sequence[Record],
    privileged: Sequence[list[Any] | None],
    arm: int,
    stale: Mapping[str, bool],
    texts: _Texts,
) -> dict[str, Any]:
    """An episode, or the sides of a game as one: its turns in the order of play, each with the number of its side."""
    sides = [_episode(record, known, arm, stale, texts) for record, known in zip(records, privileged, strict=True)]
    whole = dict(sides[0])
    if not records[0].get("role"):
        return whole
    whole["sides"] = [
        {
            "role": clean(str(record.get("role"))),
            **{name: side[name] for name in ("goal", "success", "score", "stop", "claims", "claim_ids")},
        }
        for record, side in zip(records, sides, strict=True)
    ]
    whole["success"] = any(side["success"] for side in sides)
    turns = [
        (_move(turn, place), number, {**side["turns"][place], "s": number})
        for number, (record, side) in enumerate(zip(records, sides, strict=True))
        for place, turn in enumerate(record.get("turns") or [])
    ]
    whole["turns"] = [turn for _, _, turn in sorted(turns, key=lambda each: each[:2])]
    return whole


def _move(turn: Record, place: int) -> int:
    """Which turn of its game; logs from before it was noted have the seats in turn."""
    move = turn.get("move")
    return move if isinstance(move, int) else place


def _episode(
    record: Record, privileged: list[Any] | None, arm: int, stale: Mapping[str, bool], texts: _Texts
) -> dict[str, Any]:
    turns = record.get("turns") or []
    known = [*(privileged or ()), *[None] * len(turns)]
    wrong = record.get("first_wrong_turn")
    return {
        "arm": arm,
        "phase": clean(str(record.get("phase"))),
        "iteration": int(record.get("iteration", 0)),
        "task": clean(str(record.get("task_id"))),
        "type": kind_name(clean(str(record.get("task_type") or ""))),
        "goal": clean(str(record.get("instruction") or "")),
        "success": bool(record.get("success")),
        "score": _number(record.get("score")),
        "stop": clean(str(record.get("stop_reason"))),
        "failure": None if record.get("failure") is None else clean(str(record.get("failure"))),
        "claims": staleness(record, stale),
        "claim_ids": [texts.number(claim) for claim in record.get("claim_ids") or []],
        "member": int(record.get("member", 0)),
        "wrong": wrong if type(wrong) is int else None,
        "turns": [_turn(turn, known[number], texts) for number, turn in enumerate(turns)],
    }


def staleness(record: Record, stale: Mapping[str, bool]) -> str:
    """``stale`` where a statement that was read, or about the task, is wrong; ``true`` where none is; else ``none``."""
    read = record.get("stale") or []
    if read:
        return "stale" if any(read) else "true"
    known = stale.get(str(record.get("task_id")))
    return "none" if known is None else "stale" if known else "true"


def _turn(turn: Record, privileged: Any, texts: _Texts) -> dict[str, Any]:
    compact: dict[str, Any] = {
        "o": texts.number(turn.get("observation", "")),
        "c": texts.number(turn.get("completion", "")),
        "a": texts.number(turn.get("action", "")),
        "p": clean(str(turn.get("parse", ""))),
        "v": bool(turn.get("valid")),
        "r": _number(turn.get("reward")),
    }
    messages = turn.get("messages")
    if isinstance(messages, list):
        compact["m"] = [[clean(str(said.get("role"))), texts.number(said.get("content", ""))] for said in messages]
    tokens = turn.get("tokens")
    if isinstance(tokens, Mapping):
        compact["t"] = [texts.number(text) for text in tokens.get("text") or []]
        for name in COLUMNS:
            values = tokens.get(name)
            if values:
                compact[name] = [_number(value) for value in values]
    if privileged is not None:
        compact["k"] = [[clean(name), texts.number(said)] for name, said in privileged_lines(privileged)]
    return compact


def privileged_lines(known: Any) -> list[tuple[str, str]]:
    """The teacher's side as names and texts; lists and nested fields a line each."""
    if not isinstance(known, Mapping):
        return [("privileged", _lines_of(known))]
    return [(str(name), text) for name, value in known.items() if (text := _lines_of(value))]


def _lines_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {said}" for name, inner in value.items() if (said := _lines_of(inner)))
    if isinstance(value, list | tuple):
        if all(isinstance(inner, str) for inner in value):
            return "\n".join(value)
        return "\n".join(_lines_of(inner) for inner in value)
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(float(value), 3) + 0.0


def scales(episodes: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Per signal ``[low, middle, high]`` of the shading; `middle` is None where a signal has no neutral value.

    Weights between 0 and 1 are neutral at 1/2 (a gate of no opinion), positive ones with larger values at 1 (a factor
    of no effect), any others at 0. Extremes are cut at the 98th percentile, or a single token would set the scale.
    """
    turns = [turn for episode in episodes for turn in episode["turns"]]
    found: dict[str, list[float | None]] = {}
    for name in ("weight", "signal", "entropy", "student"):
        values = sorted(value for turn in turns for value in turn.get(name) or [] if value is not None)
        if values:
            found[name] = _scale(name, values)
    gaps = sorted(
        abs(teacher - student)
        for turn in turns
        for teacher, student in zip(turn.get("teacher") or [], turn.get("student") or [], strict=False)
        if teacher is not None and student is not None
    )
    if gaps:
        reach = max(_quantile(gaps, 0.98), 0.1)
        found["gap"] = [-reach, 0.0, reach]
    return found


def _scale(name: str, values: Sequence[float]) -> list[float | None]:
    if name == "entropy":
        return [0.0, None, max(_quantile(values, 0.98), 0.1)]
    if name == "student":
        return [min(_quantile(values, 0.02), -0.1), None, 0.0]
    if name == "weight" and values[0] >= 0.0:
        if values[-1] <= 1.0:
            return [0.0, 0.5, 1.0]
        reach = max(_quantile(sorted(abs(value - 1.0) for value in values), 0.98), 0.01)
        return [1.0 - reach, 1.0, 1.0 + reach]
    reach = max(_quantile(sorted(map(abs, values)), 0.98), 0.01)
    return [-reach, 0.0, reach]


def _quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return round(values[min(len(values) - 1, int(share * len(values)))], 3)
