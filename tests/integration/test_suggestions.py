"""Whoever mistypes a name, or uses another library's, is told the nearest that there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.choices import nearest, unknown_choice
from sdar_envs.conformance import ConformanceError, check_text_env
from sdar_envs.packaged_models import PACKAGED_MODELS
from trainers.cli import main
from trainers.config import SDARConfig
from trainers.engine.model_shape import built_in_shapes, shape_of
from trainers.options.other_names import OTHER_NAMES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--env", "Household"], 'the nearest is "sdar/Household-v0"'),
        (["train", "--env", "sdar/houshold-v0"], 'the nearest is "sdar/Household-v0"'),
        (["play", "webshop"], 'the nearest is "sdar/WebShop-v0"'),
        (["envs", "--env", "SearchQA"], 'the nearest is "sdar/SearchQA-v0"'),
        (["train", "--set", "lr=1e-4"], 'the nearest is "learning_rate"'),
        (["train", "--set", "Learning-Rate=1e-4"], 'the nearest is "learning_rate"'),
        (["train", "--lr", "1e-4"], "the nearest is --learning-rate"),
        (["train", "--kl-coef", "0.1"], "the nearest is --beta"),
        (["train", "--prompt-style", "papr"], 'the nearest is "paper"'),
        (["train", "--method", "SDAR"], 'the nearest is "sdar"'),
        (["train", "--privilege", "skills"], 'the nearest is "skill"'),
        (["train", "--preset", "household_tiny"], 'the nearest is "household-tiny"'),
        (["trian"], 'the nearest is "train"'),
        (["train", "--env-kwargs", "sise=small"], 'the nearest is "size"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_of_the_command_line_gets_the_nearest(
    words: list[str], expected: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_other_names_lead_to_options_and_are_none_themselves() -> None:
    options = {field.name for field in dataclasses.fields(SDARConfig)}
    assert set(OTHER_NAMES.values()) <= options
    assert not set(OTHER_NAMES) & options


def test_a_name_that_is_near_to_nothing_gets_no_suggestion() -> None:
    assert nearest("xyzzy", ["sdar", "grpo"]) is None
    assert "nearest" not in str(unknown_choice("method", "xyzzy", ["sdar", "grpo"], "a test"))
    assert nearest("lr", ["beta", "gamma"], other_names=OTHER_NAMES) is None


def test_every_world_is_near_to_its_own_name() -> None:
    for env_id in sdar_envs.ENVIRONMENTS:
        bare = env_id.removeprefix("sdar/").removesuffix("-v0")
        assert nearest(bare, sdar_envs.ENVIRONMENTS) == nearest(bare.lower(), sdar_envs.ENVIRONMENTS) == env_id


# A packaged model's name stands for it wherever a model is named, in the estimate of memory too.


def test_the_memory_of_a_packaged_model_is_estimated_before_it_is_here_and_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, packaged in PACKAGED_MODELS.items():
        before = shape_of(name)
        assert before.parameters == shape_of(packaged.shape).parameters
        packaged.folder.mkdir(parents=True)
        config = {**built_in_shapes()[packaged.shape], "vocab_size": 123}
        import json

        (packaged.folder / "config.json").write_text(json.dumps(config))
        (packaged.folder / "packaged_model.json").write_text("{}")
        assert shape_of(name).vocabulary == 123


# The checker names what helps.


class Spoken(gym.Env[str, str]):
    """A world that says something with blanks in a space of letters and digits."""

    def __init__(self, render_mode: str | None = None, *, space: gym.Space[str] | None = None) -> None:
        self.observation_space = space or gym.spaces.Text(100)
        self.action_space = gym.spaces.Text(100)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "a door", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "a door", 0.0, True, False, {}


@pytest.mark.parametrize("check", ["gymnasium", "text"])
def test_the_checker_names_free_text_where_gymnasiums_text_refuses_a_blank(check: str) -> None:
    with pytest.raises(ConformanceError, match=r"' ' is not in it: declare sdar_envs.spaces.FreeText\(100\)"):
        check_text_env(Spoken, only=(check,), episodes=1)


def test_another_fault_of_a_text_space_is_not_blamed_on_its_alphabet() -> None:
    with pytest.raises(ConformanceError, match="Return a str within the space's bounds"):
        check_text_env(lambda **_: Spoken(space=gym.spaces.Text(3)), only=("text",), episodes=1)
