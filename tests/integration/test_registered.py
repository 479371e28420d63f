"""A misspelt id of a module's own is answered with what that module registers, by every command that takes an id."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from sdar_envs.commands.check import target_of
from sdar_envs.registered import ids_of, unknown_environment
from trainers.cli import main

MODULE = """
import gymnasium as gym

class Trip(gym.Env):
    pass

def make_trip():
    return Trip()

gym.register("ownpkg/Trip-v0", entry_point=Trip)
gym.register("ownpkg/Walk-v0", entry_point="ownworlds:Trip")
gym.register("ownpkg/Borrowed-v0", entry_point="gymnasium.envs.toy_text:CliffWalkingEnv")
"""
IDS = ["ownpkg/Trip-v0", "ownpkg/Walk-v0", "ownpkg/Borrowed-v0"]


@pytest.fixture(autouse=True)
def _worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "ownworlds.py").write_text(MODULE)
    (tmp_path / "ownnothing.py").write_text("def make_it():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("ownworlds", "ownnothing"):
        sys.modules.pop(name, None)
    for env_id in IDS:
        gym.registry.pop(env_id, None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "--agent", "random", "--env"],
        ["play"],
        ["inspect"],
        ["check"],
        ["serve-env"],
        ["serve-mcp"],
        ["tiny", "--output-dir", "tiny", "--env"],
        ["train", "--output-dir", "run", "--env"],
        ["memory", "--env"],
    ],
)
def test_the_nearest_is_an_id_that_the_named_module_registers_and_none_of_this_suite(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "ownworlds:ownpkg/Tripp-v0"]) == 2
    said = capsys.readouterr().err
    assert (
        "there is no environment 'ownworlds:ownpkg/Tripp-v0': the module ownworlds registers " + ", ".join(IDS) in said
    )
    assert 'the nearest is "ownworlds:ownpkg/Trip-v0"' in said and "sdar/Trip-v0" not in said


def test_what_a_module_registers_is_what_it_makes_and_what_came_with_its_import() -> None:
    before = frozenset(gym.registry)
    with pytest.raises(ValueError, match="ownworlds registers"):
        target_of("ownworlds:nothing-v0", {})
    assert ids_of("ownworlds", before) == IDS
    assert ids_of("ownworlds") == IDS[:2]  # imported long ago: what it makes itself


def test_a_module_that_registers_nothing_is_said_to() -> None:
    with pytest.raises(ValueError, match=r"ownnothing registers none .*, and makes one by make_it.*ownnothing:make_it"):
        target_of("ownnothing:make_itt", {})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sdar/Tripp-v0", "sdar/Trip-v0"),
        ("Trip", "sdar/Trip-v0"),
        ("sdr/Trip-v0", "sdar/Trip-v0"),
        ("ownpkg/Trip-v0", ""),
    ],
)
def test_an_id_of_another_namespace_is_none_of_this_suite_misspelt(written: str, meant: str) -> None:
    said = str(unknown_environment(written))
    assert (f'the nearest is "{meant}"' in said) is bool(meant)
    assert ("sdar/" in said) is bool(meant) or written.startswith("sdar/")
