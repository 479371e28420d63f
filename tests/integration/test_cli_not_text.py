"""An environment that does not speak text: one sentence from every command that plays it, and no traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from short_runs import save_random_model

from trainers.cli import main

MODULE = """
import gymnasium as gym
from sdar_envs.spaces import FreeText

class Door(gym.Env):
    observation_space, action_space = FreeText(100), FreeText(100)
    first, later = "A door.", "Nothing."
    metadata = {"render_modes": []}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return self.first, self.info()

    def step(self, action):
        self.taken += 1
        return self.later, 0.0, self.taken > 2, False, self.info()

    def info(self):
        return {"admissible_actions": ["open", "wait"]}

class DictAtReset(Door):
    first = {"door": 1}

class BytesAtStep(Door):
    later = b"Nothing."

for made in (DictAtReset, BytesAtStep):
    gym.register(f"{made.__name__}-v0", entry_point=made)
"""
REMEDY = (
    r"expected an observation that is text \(a str, as in gymnasium.spaces.Text\), got {}[^\n]*: wrap the environment"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def _doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with an environment of a stranger, as the current one."""
    (tmp_path / "doors.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("doors", None)
    import gymnasium as gym

    for name in ("DictAtReset-v0", "BytesAtStep-v0"):
        gym.registry.pop(name, None)


def commands(env_id: str, model: Path) -> dict[str, list[str]]:
    short = [
        "--device",
        "cpu",
        "--max-prompt-length",
        "900",
        "--max-steps",
        "1",
        "--eval-episodes",
        "2",
        "--test-episodes",
        "2",
    ]
    return {
        "tiny": [env_id, "--output-dir", "tiny", "--warm-start", "demonstrations=4"],
        "train": ["--env", env_id, "--model", str(model), "--method", "grpo", *short, "--output-dir", "run"],
        "eval": ["--env", env_id, "--agent", "random", "--episodes", "2"],
        "play": [env_id, "--agent", "random"],
        "inspect": [env_id],
    }


@pytest.mark.parametrize(
    ("env_id", "kind", "step"), [("doors:DictAtReset-v0", "dict", "reset"), ("doors:BytesAtStep-v0", "bytes", "step 1")]
)
@pytest.mark.parametrize("command", ["tiny", "train", "eval", "play", "inspect"])
def test_every_command_says_what_was_expected_what_came_where_and_the_remedy(
    model: Path, capsys: pytest.CaptureFixture[str], env_id: str, kind: str, step: str, command: str
) -> None:
    assert main([command, *commands(env_id, model)[command]]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"sdar {command}: ") and f"{env_id}, task " in said and f", {step}: " in said
    assert re.search(REMEDY.format(kind), said)


@pytest.mark.parametrize(("env_id", "kind"), [("doors:DictAtReset-v0", "dict"), ("doors:BytesAtStep-v0", "bytes")])
def test_check_fails_it_with_the_same_sentence(capsys: pytest.CaptureFixture[str], env_id: str, kind: str) -> None:
    assert main(["check", env_id, "--only", "text"]) == 1
    said = capsys.readouterr().out
    assert f"text (a str, as in gymnasium.spaces.Text), got {kind}" in said and "remedy: Wrap the environment" in said


def test_a_fault_that_comes_in_every_episode_is_warned_of_a_few_times_and_not_by_the_hundred(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["eval", "--env", "doors:BytesAtStep-v0", "--agent", "random", "--episodes", "12", "--env-workers", "0"])
        == 2
    )
    assert len([record for record in caplog.records if "counts as failed" in record.message]) <= 3


def test_nothing_is_served_that_does_not_speak_text() -> None:
    from sdar_envs.bridges.sessions import Registry, Session, Worlds
    from sdar_envs.commands.check import target_of
    from sdar_envs.text_only import NotTextError, require_text_world

    make = target_of("doors:DictAtReset-v0", {})
    with pytest.raises(NotTextError, match=REMEDY.format("dict")):
        require_text_world(make, "doors:DictAtReset-v0")
    later = target_of("doors:BytesAtStep-v0", {})
    require_text_world(later, "doors:BytesAtStep-v0")  # begins with text
    session = Session(Worlds(later), Registry())
    session.reset(seed=0)
    with pytest.raises(RuntimeError, match="the environment failed"):  # and sends nothing that is none
        session.step("open")
