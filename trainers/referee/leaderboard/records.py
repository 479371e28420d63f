"""What the leaderboard's files hold, typed: a protocol, an entry, and the rows that come of both.

Rates are in [0, 1], times in seconds of a processor, tokens are those that a policy sampled in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...evaluation.evaluation_set import EvaluationSet

FORMAT = 1


class LeaderboardError(ValueError):
    """A file of the leaderboard that does not hold what it should, or that another file contradicts."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What all rows of a board have in common.

    Attributes:
        name: Of the protocol, and of its folder of entries.
        title: Its heading.
        description: What is measured, in a sentence or two.
        model: What is trained, in words.
        training_episodes: How many episodes an entry may play in training.
        reference: The method that differences are to.
        code: Where worlds and models of this protocol are made: a commit of this repository.
        sets: Evaluation sets by seed, as `EvaluationSet.save` writes them.
        starts: By seed, the fingerprint of the weights that every entry begins with; paired differences rest on it.
        open: Whether entries are taken. A protocol whose world has changed since is kept, and closed.
        format: Of the file.
    """

    name: str
    title: str
    description: str
    model: str
    training_episodes: int
    reference: str
    code: str
    sets: dict[str, dict[str, Any]]
    starts: dict[str, str]
    open: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One run of an entry.

    Attributes:
        evaluation_set: Hash of the set it was measured on.
        start: Fingerprint of the weights it began with.
        tokens: Sampled in training.
        cpu_seconds: Of training, evaluation not counted.
        gpu_seconds: The same on an accelerator.
    """

    evaluation_set: str
    start: str
    tokens: int
    cpu_seconds: float
    gpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StatedRate:
    """The success rate that an entry states: mean over seeds and its interval, rounded to four digits."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One method on one protocol, as its authors hand it in.

    Attributes:
        protocol: The protocol's name.
        method: A short name, the row's identity.
        label: What the table shows.
        description: What distinguishes it, in a sentence; where privileged context was read.
        repository: Where its code can be had.
        commit: Of that code.
        runs: By seed.
        outcomes: The file of outcomes, beside the entry.
        outcomes_sha256: Of that file's bytes.
        success: What the authors find; the outcomes have to give it.
        reads_privileged: Whether privileged context was read while the outcomes were made; such a row is shown, and
            ordered with nothing.
        format: Of the file.
    """

    protocol: str
    method: str
    label: str
    description: str
    repository: str
    commit: str
    runs: dict[str, SeedRun]
    outcomes: str
    outcomes_sha256: str
    success: StatedRate
    reads_privileged: bool = False
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Row:
    """An entry with what its outcomes say.

    Attributes:
        entry: As handed in, and found to be right.
        rates: Success rate by seed.
        wins: Tasks won, over all seeds.
        episodes: Tasks played, over all seeds.
    """

    entry: Entry
    rates: Mapping[int, float]
    wins: int
    episodes: int


@dataclass(frozen=True, slots=True)
class Board:
    """A protocol and its rows, in no order."""

    protocol: Protocol
    sets: Mapping[int, EvaluationSet]
    rows: tuple[Row, ...] = field(default=())
