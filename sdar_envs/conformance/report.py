"""What a run of the checks found: as text for people, as JSON for programs."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .walks import ConformanceError


class Status(enum.StrEnum):
    """How a check ended."""

    HELD = "held"
    FAILED = "failed"
    WARNED = "warned"  # it failed, and is no duty of an environment outside the contract
    SKIPPED = "skipped"  # there was nothing to look at: nothing is known
    ERROR = "error"  # the environment raised where the check only wanted to play


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check.

    Attributes:
        name: The check.
        status: How it ended.
        seconds: Wall time.
        what: What was expected and what came, or why it was skipped.
        remedy: What to mend.
        measured: Figures.
        blind: What this check cannot see, where that is not obvious.
        looked_at: How much of what there is was looked at, and why no more; empty where all was.
    """

    name: str
    status: Status
    seconds: float
    what: str = ""
    remedy: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    blind: str = ""
    looked_at: str = ""

    @property
    def skipped(self) -> str:
        """Why it was skipped; empty where it was not."""
        return self.what if self.status is Status.SKIPPED else ""

    @property
    def bad(self) -> bool:
        """Whether the environment has to be mended."""
        return self.status in (Status.FAILED, Status.ERROR)

    def __str__(self) -> str:
        head = f"  {self.status:<8} {self.name:<22}"
        match self.status:
            case Status.HELD:
                figures = ", ".join(f"{key} {_short(value)}" for key, value in self.measured.items())
                only = f"\n{' ' * 11}looked at {self.looked_at}" if self.looked_at else ""
                return f"{head} {self.seconds:7.2f} s{'  ' + figures if figures else ''}{only}"
            case Status.SKIPPED:
                return f"{head} {self.what}"
        return f"{head} {self.what}\n{' ' * 11}remedy: {self.remedy}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """All checks of one environment, in the order in which they ran."""

    env: str
    results: tuple[CheckResult, ...]

    @property
    def failures(self) -> list[CheckResult]:
        """The checks that found something to mend."""
        return [result for result in self.results if result.bad]

    def by_status(self, status: Status) -> list[str]:
        """Names of the checks that ended so."""
        return [result.name for result in self.results if result.status is status]

    @property
    def cut_short(self) -> list[str]:
        """Names of the checks that had no time to look at all there is."""
        return [result.name for result in self.results if result.looked_at]

    def require(self) -> None:
        """Raise what the first failing check found; the message counts the others.

        Raises:
            ConformanceError: A check failed.
        """
        if not self.failures:
            return
        first, *others = self.failures
        also = f" ({len(others)} more failed: {', '.join(result.name for result in others)})" if others else ""
        error = ConformanceError(first.name, f"{self.env}: {first.what}", f"{first.remedy}{also}")
        error.report = self
        raise error

    def __str__(self) -> str:
        counts = ", ".join(f"{len(names)} {status}" for status in Status if (names := self.by_status(status)))
        cut = len(self.cut_short)
        return "\n".join([self.env, *map(str, self.results), f"  {counts}" + (f"; {cut} cut short" if cut else "")])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "env": self.env,
            "verdict": "fail" if self.failures else "pass",
            "results": [asdict(result) | {"status": str(result.status)} for result in self.results],
        }
