"""What a method's weight does to tokens that the teacher endorses and to those it rejects, from the logs of runs.

    python -m benchmarks.gate_by_gap studies/house [--arm sdar] [--phase train] [--json]
    python -m benchmarks.gate_by_gap runs/house

Reads the tokens that runs log (`episodes.jsonl`: some training episodes of each iteration) and sorts them by the gap,
the teacher's log-probability less the student's. Per bin: the share of tokens, their mean weight, and what part of all
push they get. *Push* is the sum of weights, as the loss has it; *push beyond the mean* is the sum of weights less the
mean weight of all tokens, since a weight that is the same everywhere pushes nowhere in expectation on policy. Both
are per token of the log, so that their sums over bins are the mean weight and zero.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.run_directory import read_json_lines
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

    @property
    def name(self) -> str:
        """The range in nats, for people."""
        if self.low == float("-inf"):
            return f"under {self.high:g}"
        return f"over {self.low:g}" if self.high == float("inf") else f"{self.low:g} to {self.high:g}"


def gaps_and_weights(log: Path, phase: str) -> Iterator[tuple[float, float]]:
    """Gap and weight of every logged token that has both, of the episodes of a phase."""
    for record in read_json_lines(log):
        if record["phase"] != phase:
            continue
        for turn in record["turns"]:
            arrays = turn.get("tokens") or {}
            columns = [arrays.get(name) or [] for name in ("student", "teacher", "weight")]
            for student, teacher, weight in zip(*columns, strict=False):
                yield teacher - student, weight


def binned(pairs: Iterable[tuple[float, float]], bounds: Sequence[float] = BOUNDS) -> list[Bin]:
    """Tokens by gap; a gap on a bound belongs to the bin above it."""
    edges = [float("-inf"), *bounds, float("inf")]
    bins = [Bin(low, high) for low, high in itertools.pairwise(edges)]
    for gap, weight in pairs:
        one = bins[bisect.bisect_right(bounds, gap)]
        one.tokens += 1
        one.weights += weight
    return bins


def summary(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    """Per bin, and for all: share of tokens, mean weight, push and push beyond the mean, both per token of the log."""
    tokens, weights = sum(one.tokens for one in bins), sum(one.weights for one in bins)
    if not tokens:
        return []
    mean = weights / tokens
    rows = [
        {
            "gap": one.name,
            "share_of_tokens": one.tokens / tokens,
            "mean_weight": one.weights / one.tokens if one.tokens else None,
            "push": one.weights / tokens,
            "push_beyond_mean": (one.weights - mean * one.tokens) / tokens,
        }
        for one in bins
    ]
    return [*rows, {"gap": "all", "share_of_tokens": 1.0, "mean_weight": mean, "push": mean, "push_beyond_mean": 0.0}]


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
    pairs = (pair for log in files for pair in gaps_and_weights(log, args.phase))
    bins = binned(pairs)
    rows = summary(bins)
    if not rows:
        sys.exit(
            f"expected logged tokens with a teacher's reading in phase {args.phase!r}; {len(files)} logs have none: "
            "a study's runs log them where they were made, an export holds none"
        )
    figures = {"runs": len(files), "phase": args.phase, "tokens": sum(one.tokens for one in bins), "results": rows}
    headers = ["gap T - S, nats", "tokens, %", "mean weight", "push", "push beyond mean"]
    cells = [
        [
            row["gap"],
            round(100 * row["share_of_tokens"], 1),
            "-" if row["mean_weight"] is None else round(row["mean_weight"], 3),
            round(row["push"], 4),
            round(row["push_beyond_mean"], 4),
        ]
        for row in rows
    ]
    title = f"{figures['tokens']:,} tokens of {len(files)} runs, phase {args.phase}"
    emit("gate_by_gap", figures, [title, table(headers, cells)], as_json=args.json)


if __name__ == "__main__":
    main()
