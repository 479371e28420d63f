"""Fixtures for all tests. This file imports no torch: the environments' tests run where it is not installed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Benchmarks are part of the checkout and of no package. Last on the path, so that what is installed is what is tested.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# No test is timed: a busy machine must not fail one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Directories of tiny random models with tokenizers, by kind (``qwen2``, ``qwen3``), made once per session."""
    from tiny_models import save_tiny

    made: dict[tuple[object, ...], Path] = {}

    def path(kind: str = "qwen3", template: str | None = None, *, pad: str = "<|endoftext|>") -> Path:
        key = (kind, template, pad)
        if key not in made:
            made[key] = save_tiny(tmp_path_factory.mktemp(f"tiny-{kind}"), kind, template, pad=pad)
        return made[key]

    return path


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty folder for what is kept between runs, so that no test reads another's or the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


# --- tests on parts of published data sets, and on a GPU: how many ran, and why the others did not ---

# Of this run, or (with workers) of all of them, since reports come together in the process that prints.
OFFICIAL: list[tuple[str, str]] = []  # (test, what it held), where it said so with `held`
KINDS = {"official": "tests on published data", "gpu": "tests on a GPU"}
COUNTS: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
REASONS: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}


@pytest.fixture
def held(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say how much of the published data a test has held, e.g. "100 games": it is printed at the end of the run."""
    return lambda what: request.node.user_properties.append(("held", what))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        OFFICIAL.extend((report.nodeid, what) for name, what in report.user_properties if name == "held")
    for kind in KINDS:
        if kind in report.keywords and (report.when == "call" or report.skipped):
            COUNTS[kind]["skipped" if report.skipped else report.outcome] += 1
            if report.skipped and isinstance(report.longrepr, tuple):
                REASONS[kind][report.longrepr[2]] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of each kind ran and what they held, or why none did."""
    for kind, title in KINDS.items():
        if not COUNTS[kind]:
            continue
        terminalreporter.section(f"{kind}: {title}")
        terminalreporter.line(", ".join(f"{count} {outcome}" for outcome, count in sorted(COUNTS[kind].items())))
        for reason, count in REASONS[kind].most_common():
            terminalreporter.line(f"  {count} times: {reason}")
        for test, what in OFFICIAL if kind == "official" else []:
            terminalreporter.line(f"  {what}  ({test.partition('::')[2]})")
