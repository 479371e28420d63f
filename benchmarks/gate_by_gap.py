"""What a method's weight does to tokens that the teacher endorses and to those it rejects, from the logs of runs.

    python -m benchmarks.gate_by_gap studies/house [--arm sdar] [--phase train] [--json]
    python -m benchmarks.gate_by_gap runs/house

Reads the tokens that runs log (`episodes.jsonl`: some training episodes of each iteration) and sorts them by the gap,
the teacher's log-probability less the student's. Per bin: the share of tokens, their mean weight, and two shares in
what a method does: of all weights, by size, and of all *push*, the size of a weight times 1 - p, where p is what the
student gave the token. The slope of log p along the token's own logit is 1 - p: a token that is certain anyway hardly
moves, however large its weight.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainers.run.directory import read_json_lines
from trainers.study import load_study

from .measure import emit, table

# Bounds between bins, in nats; around zero both readings agree.
BOUNDS = (-3.0, -1.0, -0.1, -0.01, 0.01, 0.1, 1.0)


@dataclass(slots=True)
class Bin:
    """Tokens whose gap lies between two bounds."""

    low: float
    high: float
    tokens: int = 0
    weights: float = 0.0
    size: float = 0.0
    push: float = 0.0

    @property
    def name(self) -> str:
        """The range in nats, for people."""
        if self.low == float("-inf"):
            return f"under {self.high:g}"
        return f"over {self.low:g}" if self.high == float("inf") else f"{self.low:g} to {self.high:g}"


class Token(NamedTuple):
    """What is known of a logged token: the gap in nats, its weight, and the student's probability of it."""

    gap: float
    weight: float
    probability: float


def logged_tokens(log: Path, phase: str) -> Iterator[Token]:
    """Every logged token that a teacher read, of the episodes of a phase."""
    for record in read_json_lines(log):
        if record["phase"] != phase:
            continue
        for turn in record["turns"]:
            arrays = turn.get("tokens") or {}
            columns = [arrays.get(name) or [] for name in ("student", "teacher", "weight")]
            for student, teacher, weight in zip(*columns, strict=False):
                yield Token(teacher - student, weight, min(math.exp(student), 1.0))


def binned(tokens: Iterable[Token], bounds: Sequence[float] = BOUNDS) -> list[Bin]:
    """Tokens by gap; a gap on a bound belongs to the bin above it."""
    edges = [float("-inf"), *bounds, float("inf")]
    bins = [Bin(low, high) for low, high in itertools.pairwise(edges)]
    for token in tokens:
        one = bins[bisect.bisect_right(bounds, token.gap)]
        one.tokens += 1
        one.weights += token.weight
        one.size += abs(token.weight)
        one.push += abs(token.weight) * (1.0 - token.probability)
    return bins


def summary(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    """Per bin, and for all: share of tokens, mean weight, shares of the size of all weights and of all push."""
    tokens, size, push = (sum(getattr(one, name) for one in bins) for name in ("tokens", "size", "push"))
    if not tokens:
        return []
    whole = Bin(float("-inf"), float("inf"), tokens, sum(one.weights for one in bins), size, push)
    return [
        {
            "gap": "all" if one is whole else one.name,
            "share_of_tokens": one.tokens / tokens,
            "mean_weight": one.weights / one.tokens if one.tokens else None,
            "share_of_weights": one.size / size if size else None,
            "share_of_push": one.push / push if push else None,
        }
        for one in (*bins, whole)
    ]


def logs(path: Path, arm: str) -> list[Path]:
    """The episode logs of a run directory, or of one arm of a study."""
    if (path / "episodes.jsonl").is_file():
        return [path / "episodes.jsonl"]
    study = load_study(path)
    found = [study.run_dir(result) / "episodes.jsonl" for result in study.of(arm)]
    return [log for log in found if log.is_file()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="DIR", help="run directories, or studies")
    parser.add_argument("--arm", default="sdar", help="arm of a study")
    parser.add_argument("--phase", default="train", help="train, or the panel's name: test, valid")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    files = [log for path in args.paths for log in logs(path, args.arm)]
    bins = binned(token for log in files for token in logged_tokens(log, args.phase))
    rows = summary(bins)
    if not rows:
        sys.exit(
            f"expected logged tokens with a teacher's reading in phase {args.phase!r}; {len(files)} logs have none: "
            "a study's runs log them where they were made, an export holds none"
        )
    figures = {"runs": len(files), "phase": args.phase, "tokens": sum(one.tokens for one in bins), "results": rows}
    headers = ["gap T - S, nats", "tokens, %", "mean weight", "of all weights, %", "of all push, %"]
    cells = [
        [
            row["gap"],
            round(100 * row["share_of_tokens"], 1),
            "-" if row["mean_weight"] is None else round(row["mean_weight"], 3),
            "-" if row["share_of_weights"] is None else round(100 * row["share_of_weights"], 1),
            "-" if row["share_of_push"] is None else round(100 * row["share_of_push"], 1),
        ]
        for row in rows
    ]
    title = f"{figures['tokens']:,} tokens of {len(files)} runs, phase {args.phase}"
    emit("gate_by_gap", figures, [title, table(headers, cells)], as_json=args.json)


if __name__ == "__main__":
    main()
