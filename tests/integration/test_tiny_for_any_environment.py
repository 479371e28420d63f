"""`sdar tiny`: a model of any environment's own text, the same for the same seed, that knows what it was shown."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from safetensors.torch import load_file
from scripted_agents import EchoEnv
from transformers import AutoModelForCausalLM, AutoTokenizer

from sdar_envs.demonstrations import Demonstration
from sdar_envs.text_only import NotTextError
from trainers import SDARConfig, make_tiny_model
from trainers.cli import main
from trainers.presets import preset_of
from trainers.rollout.environments import EnvironmentSource
from trainers.warm_start.behaviour_cloning import CloningConfig
from trainers.warm_start.demonstrations import demonstration_views, play_demonstrations
from trainers.warm_start.own_environment import OWN_START, fitted
from trainers.warm_start.own_episodes import PlayedEpisodes
from trainers.warm_start.tiny_build import build_tiny, wording_policies
from trainers.warm_start.tiny_model import TinyModelConfig
from trainers.warm_start.warm_start import WarmStartConfig

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = TinyModelConfig(hidden_size=16, num_hidden_layers=1, intermediate_size=32, head_dim=8)
START = dataclasses.replace(
    OWN_START,
    demonstrations=80,  # in every hundred, the first 55 have the privileged context
    min_steps=3,
    decay_steps=2,
    gate_every=2,
    gate_episodes=4,
    model=SMALL,
    cloning=CloningConfig(batch_size=8),
)
SHORT = ["--warm-start", "demonstrations=80", "min_steps=3", "decay_steps=2", "gate_episodes=4"]
ARGS = SDARConfig.preset("any-tiny")


@pytest.fixture(autouse=True)
def _parcels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's folder as the current one, as its reader has it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    forget_parcels()  # a test of another file may have left the module without its id
    yield
    forget_parcels()


def forget_parcels() -> None:
    gym.registry.pop("Parcels-v0", None)
    sys.modules.pop("parcels", None)


def made(folder: Path, **changes: Any) -> Any:
    given: dict[str, Any] = {"demonstrator": "parcels:act", "teacher_context": "parcels:context", "config": START}
    return make_tiny_model(changes.pop("args", ARGS), "parcels:Parcels-v0", folder, **{**given, **changes})


def test_the_same_seed_makes_the_same_folder_and_another_seed_another_model(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    other = made(tmp_path / "other", args=dataclasses.replace(ARGS, seed=1))
    for name in ("model.safetensors", "tokenizer.json", "warm_start.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name
    assert (one.folder / "model.safetensors").read_bytes() != (other.folder / "model.safetensors").read_bytes()
    assert one.steps == 5 and one.student_success is not None and one.teacher_success is not None


def test_the_folder_is_an_ordinary_model_whose_tokenizer_knows_the_environments_words(tmp_path: Path) -> None:
    folder = made(tmp_path / "tiny").folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.model_type == "qwen3" and model.config.vocab_size == len(tokenizer)
    assert len(tokenizer("Shelves: north, south, east, west, upper, lower.")["input_ids"]) < 8
    unseen = "Ärger mit 7 Paketen"
    assert tokenizer.decode(tokenizer(unseen)["input_ids"]) == unseen
    longest = ARGS.max_prompt_length + ARGS.teacher_budget + ARGS.max_completion_length
    assert model.config.max_position_embeddings >= longest


def test_a_demonstrator_is_given_what_its_prompt_shows_and_no_more() -> None:
    import parcels

    given: list[dict[str, Any]] = []

    def watched(observation: str, info: dict[str, Any], rng: np.random.Generator) -> str:
        given.append(info)
        return parcels.act(observation, info, rng)

    source = EnvironmentSource("Parcels-v0", workers=0)
    worded = wording_policies(ARGS, source, (), parcels.context)
    episodes = PlayedEpisodes(source, watched, max_turns=5, seal_info=worded.seals_info)
    played: list[Demonstration] = []
    for number in range(12):
        before = len(given)
        played.append(episodes.play((0, number), hinted=number % 2 == 0))
        assert all(("privileged" in info) == (number % 2 == 0) for info in given[before:])
    built = build_tiny(ARGS, source, episodes, played, worded, fitted(SMALL, ARGS), parcels.context)
    views = demonstration_views(played, built.policies.evaluator, built.policies.privileged_policy)
    for demonstration, view in zip(played, views, strict=True):
        text = str(built.tokenizer.decode(view.ids))
        assert ("It belongs on the" in text) == demonstration.hinted
        assert demonstration.success or not demonstration.hinted
    episodes.close()
    source.close()


def test_without_a_demonstrator_the_parameters_are_random_and_the_words_the_environments(tmp_path: Path) -> None:
    lines: list[str] = []
    tiny = made(tmp_path / "tiny", demonstrator=None, report=lines.append)
    assert (tiny.steps, tiny.student_success, tiny.teacher_success) == (0, None, None)
    assert any("parameters are random" in line for line in lines)
    assert len(AutoTokenizer.from_pretrained(tiny.folder)("put north")["input_ids"]) <= 2


def test_an_environment_without_a_privileged_side_is_cloned_under_the_plain_prompt(tmp_path: Path) -> None:
    tiny = make_tiny_model(
        dataclasses.replace(ARGS, method="grpo"),
        EchoEnv,
        tmp_path / "tiny",
        demonstrator=lambda observation, info: observation.removeprefix("say "),
        config=START,
    )
    assert tiny.demonstrator_success == 1.0 and tiny.teacher_success is None and tiny.student_success is not None
    facts = json.loads((tiny.folder / "warm_start.json").read_text())
    assert facts["demonstration_success"] == {"hinted": 0.0, "unhinted": 1.0}


def test_a_world_of_this_suite_gets_the_model_that_a_run_would_build(tmp_path: Path) -> None:
    args = SDARConfig.preset("haggle-tiny")
    config = WarmStartConfig(
        demonstrations=24, min_steps=2, gate_every=1, decay_steps=1, max_steps=2, gate_episodes=2, teacher_lead=-1.0,
        student_low=0.0, student_high=1.0, model=SMALL,
    )  # fmt: skip
    tiny = make_tiny_model(args, "sdar/Haggle-v0", tmp_path / "tiny", config=config, cache_dir=tmp_path / "cache")
    [kept] = (tmp_path / "cache" / "warm-start").iterdir()
    assert {k: v.tolist() for k, v in load_file(kept / "model.safetensors").items()} == {
        k: v.tolist() for k, v in load_file(tiny.folder / "model.safetensors").items()
    }


# What is wrong is said where it is, with the remedy.


@pytest.mark.parametrize(
    ("demonstrator", "expected"),
    [
        ("parcels:atc", 'the nearest is "act"'),
        ("parcels:SHELVES", "expected a function of observation and info, got a tuple"),
        ("no_such_module:act", "expected an importable module 'no_such_module'"),
        (
            lambda observation, info: info["privileged"]["facts"]["shelf"],
            r"raised KeyError: 'privileged'.*public part of info alone.*info.get",
        ),
        (lambda observation, info: 3, "expected the demonstrator to return an action as a str, got int"),
    ],
)
def test_a_wrong_demonstrator_is_named_with_what_was_expected(tmp_path: Path, demonstrator: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        made(tmp_path / "tiny", demonstrator=demonstrator)
    assert not (tmp_path / "tiny").exists()


def test_an_observation_that_is_no_text_is_refused(tmp_path: Path) -> None:
    class Numbers(EchoEnv):
        def step(self, action: str) -> Any:
            return (3, *super().step(action)[1:])

    with pytest.raises(NotTextError, match=r"step 1: expected an observation that is text .*, got int: wrap"):
        make_tiny_model(ARGS, Numbers, tmp_path / "tiny", demonstrator=lambda observation, info: "red", config=START)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something that is no tiny model: choose another --output-dir"):
        made(tmp_path / "letters")
    assert (tmp_path / "letters" / "mine.txt").read_text() == "mine"


def test_demonstrations_are_of_no_split(tmp_path: Path) -> None:
    source = EnvironmentSource(EchoEnv, workers=0)
    seeds: list[int] = []

    class Watched(EchoEnv):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            seeds.append(int(seed or 0))
            return super().reset(seed=seed, options=options)

    episodes = PlayedEpisodes(EnvironmentSource(Watched, workers=0), None, max_turns=3)
    play_demonstrations(episodes, 20, 0.0, seed=0)
    assert len(set(seeds)) > 10
    for split in ("train", "valid", "test"):
        assert not set(map(str, seeds)) & set(source.task_ids(split))


# The command.


def test_the_command_makes_a_model_and_offers_the_training_that_fits_it(tmp_path: Path, capsys: Any) -> None:
    folder, run = tmp_path / "tiny", tmp_path / "run"
    words = ["tiny", "--env", "parcels:Parcels-v0", "--demonstrator", "parcels:act", "--output-dir", str(folder)]
    words += ["--teacher-context", "parcels:context", "--max-turns", "4", "--no-list-actions", *SHORT]
    assert main([*words, "model.hidden_size=16", "model.num_hidden_layers=1", "cloning.batch_size=8"]) == 0
    shown = capsys.readouterr().out
    assert "measured on valid: student" in shown and "5 cloning steps" in shown
    offered = shlex.split(shown.partition("next:\n")[2].strip())[1:]
    assert offered[offered.index("--max-turns") + 1] == "4" and "--no-list-actions" in offered
    offered[offered.index("--output-dir") + 1] = str(run)
    short = ["--max-steps", "1", "--tasks-per-step", "2", "--num-generations", "2", "--eval-episodes", "4"]
    assert main([*offered, *short, "--test-episodes", "0", "--env-workers", "0", "--num-mini-batches", "1"]) == 0
    assert "preset any-tiny" in capsys.readouterr().out
    record = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert "distill/weight" in record


def test_the_command_wants_an_environment(tmp_path: Path, capsys: Any) -> None:
    assert main(["tiny", "--output-dir", str(tmp_path / "tiny")]) == 2
    assert "expected an environment" in capsys.readouterr().err


def test_the_preset_of_a_tiny_folder_is_that_of_its_world_and_elsewhere_the_one_for_any(tmp_path: Path) -> None:
    (tmp_path / "warm_start.json").write_text("{}")

    def name(model: Any, env_id: str) -> str | None:
        found = preset_of(model, env_id)
        return None if found is None else found.name

    assert name(tmp_path, "sdar/Household-v0") == "household-tiny"
    assert name(tmp_path, "parcels:Parcels-v0") == "any-tiny"
    assert name(None, "parcels:Parcels-v0") is None and name("gpt2", "parcels:Parcels-v0") is None


def test_a_run_without_a_model_names_the_command_that_makes_one(capsys: Any, tmp_path: Path) -> None:
    assert main(["train", "--env", "parcels:Parcels-v0", "--output-dir", str(tmp_path / "run")]) == 2
    assert "sdar tiny --env parcels:Parcels-v0 --output-dir tiny/" in capsys.readouterr().err
