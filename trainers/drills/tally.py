"""What drills come to, in one form: tries, survived, lost, silent. Records of several calls are added up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json
from sdar_envs.files import write_file

_EXAMPLES = 20


@dataclass(slots=True)
class Tally:
    """The result of rounds of one drill.

    Attributes:
        drill: Its name.
        subject: What it was done to.
        tries: Faults, kills, texts, damages, requests or searched places.
        survived: Those after which everything was as it should be, or that were refused by name.
        lost: Those that cost something that should have been kept, or ended in an error of no name.
        silent: Those after which something was wrong without a word: the worst that can happen.
        kinds: Tries by kind, and other counts.
        rounds: Rounds that were done; the next call goes on with the next one.
        seconds: Wall-clock time.
        cpu_seconds: Of this process and the children that it has waited for.
        examples: The first few that were lost or silent, in words.
    """

    drill: str
    subject: str = ""
    tries: int = 0
    survived: int = 0
    lost: int = 0
    silent: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or silent, and anything tried."""
        return self.tries > 0 and not (self.lost or self.silent)

    def count(self, kind: str, outcome: str = "survived", said: str = "") -> None:
        """Count one try.

        Args:
            kind: What was tried.
            outcome: ``survived``, ``lost`` or ``silent``.
            said: What happened, where it was not survived.
        """
        self.tries += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome != "survived" and len(self.examples) < _EXAMPLES:
            self.examples.append(f"{outcome}: {kind}: {said}"[:1000])

    def add(self, other: Tally) -> None:
        """Add up."""
        for name in ("tries", "survived", "lost", "silent", "rounds", "seconds", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds = dict(sorted((Counter(self.kinds) + Counter(other.kinds)).items()))
        self.examples = [*self.examples, *other.examples][:_EXAMPLES]
        names = [*self.subject.split(", "), *other.subject.split(", ")]
        self.subject = ", ".join(dict.fromkeys(filter(None, names)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(self.kinds.items()))
        lines = [
            f"{self.drill} of {self.subject}: {self.tries:,} tries, {self.survived:,} survived, {self.lost:,} lost, "
            f"{self.silent:,} silent; {self.seconds:.0f} s ({self.cpu_seconds:.0f} CPU-s)",
            kinds,
        ]
        return "\n".join([*filter(None, lines), *(f"  {example}" for example in self.examples)])


def read_records(folder: Path) -> dict[str, Tally]:
    """The sums of a folder's records, by drill; a folder that does not exist has none.

    Raises:
        ValueError: A record is none; the message names it.
    """
    sums: dict[str, Tally] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = load_json(path)
            content.pop("passed", None)
            each = Tally(**content)
            sums.setdefault(each.drill, Tally(each.drill)).add(each)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: expected a record of sdar drill, got something else: {error}") from None
    return sums


def write_record(folder: Path, tally: Tally, number: int) -> Path:
    """Write the record of a call that began with round `number`."""
    path = folder / f"{tally.drill}-{number:06d}.json"
    write_file(path, json.dumps(tally.to_json(), indent=1) + "\n")
    return path


def markdown_table(tallies: Iterable[Tally]) -> str:
    """The sums as a Markdown table."""
    rows: list[Sequence[str]] = [("drill", "subject", "tries", "survived", "lost", "silent", "CPU-s")]
    rows.append(("---", "---", "---:", "---:", "---:", "---:", "---:"))
    for each in tallies:
        numbers = (each.tries, each.survived, each.lost, each.silent, round(each.cpu_seconds))
        rows.append((each.drill, each.subject, *(f"{number:,}" for number in numbers)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
