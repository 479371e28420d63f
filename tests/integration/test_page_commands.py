"""Every command on a page is run, whole or shortened by stated flags, or stands in a list with its reason."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest
from page_material import NOT_RUN, Material, not_run, without
from pages import PAGES, ROOT, commands

from trainers.cli import command_parser
from trainers.cli.setup import resolve_setup
from trainers.methods import METHODS

# What somebody meets first is run by default; the rest with the slow tests.
FIRST = {"README.md", "examples/README.md"}
RUNNABLE = ("sdar", "python")
# What takes 5 to 30 CPU-seconds, as it is: the statistics of a whole study, its page, and every world's data.
HEAVY = re.compile(r"sdar (report studies/|study (export|merge)|envs)")


def is_heavy(words: list[str]) -> bool:
    """Whether a command is run with the slow tests wherever it stands."""
    return HEAVY.match(" ".join(words)) is not None


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def is_first(page: Path) -> bool:
    """Whether a page is one of those that a reader begins with."""
    return name_of(page) in FIRST or page.stem in ("index", "install", "quickstart")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Material]:
    """The folder of the commands; afterwards as if nothing had been imported from it."""
    folder = tmp_path_factory.mktemp("pages")
    modules, methods, ids = set(sys.modules), dict(METHODS), set(gym.registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield Material(folder)
    METHODS.clear()
    METHODS.update(methods)
    for env_id in set(gym.registry) - ids:
        del gym.registry[env_id]
    for module in set(sys.modules) - modules:
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[module]


def unheard_of(words: list[str]) -> bool:
    """Whether a command is neither run here nor listed."""
    return words[0] not in RUNNABLE and not_run(words) is None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_run_or_listed_with_its_reason(page: Path) -> None:
    for words in commands(page):
        assert not unheard_of(words), f"{words} of {name_of(page)} is neither run nor listed in page_material.NOT_RUN"


def test_what_is_listed_is_on_a_page() -> None:
    found = [" ".join(words) for page in PAGES for words in commands(page)]
    for listed in NOT_RUN:
        assert any(listed.covers(command) for command in found), f"no page has {listed.beginning!r} any more"


def test_a_command_of_another_kind_would_be_noticed() -> None:
    assert unheard_of(["docker", "run", "sdar"]) and not unheard_of(["sdar", "envs"]) and not unheard_of(["tox"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_values_of_runs_are_valid(page: Path, material: Material) -> None:
    for words in commands(page):
        if words[:2] == ["sdar", "train"] and len(words) > 2 and "=" not in words[2]:
            resolve_setup(command_parser("train")[0].parse_args(words[2:]))


def run_all(chosen: list[list[str]], page: Path, material: Material, capfd: pytest.CaptureFixture[str]) -> None:
    """Run commands in their shorter forms, and expect all of them to end well."""
    for words in chosen:
        if not_run(words) is not None:
            continue
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(""))  # `sdar play` ends with its input
            status = material.run(words)
        assert status == 0, f"{words} of {name_of(page)} ended with {status}:\n{capfd.readouterr().err[-2000:]}"


@pytest.mark.parametrize("page", [page for page in PAGES if is_first(page)], ids=name_of)
def test_the_commands_of_a_first_page_run(page: Path, material: Material, capfd: pytest.CaptureFixture[str]) -> None:
    run_all([words for words in commands(page) if not is_heavy(words)], page, material, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_all_other_commands_run(page: Path, material: Material, capfd: pytest.CaptureFixture[str]) -> None:
    run_all([words for words in commands(page) if is_heavy(words) or not is_first(page)], page, material, capfd)


def test_a_command_that_fails_would_be_noticed(material: Material, capfd: pytest.CaptureFixture[str]) -> None:
    assert material.run(["sdar", "train", "--env", "sdar/NoSuchWorld-v0"]) == 2
    assert material.run(["sdar", "methods", "sdarr"]) == 2
    assert without(["a", "--b", "c", "--d"], "--b") == ["a", "--d"]
