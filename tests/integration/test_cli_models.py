"""What the command line says to a model that is none, and to one that brings code of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from foreign_code import bring_code
from short_runs import SHORT_RUN, save_random_model

from trainers.cli import main


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: pytest.fail("asked the Hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "runs/none"],
        ["play", "--agent", "runs/none"],
        ["inspect", "--model", "runs/none"],
        ["train", "--model", "runs/none"],
    ],
)
def test_a_missing_run_is_one_line_with_both_readings_and_at_once(words: list[str], capsys) -> None:
    start = time.monotonic()
    assert main(words) == 2
    assert time.monotonic() - start < 10.0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no folder runs/none" in error and "owner/name" in error and "Accepted here" in error


def test_a_slip_in_the_name_of_an_agent_is_asked_of_nobody(capsys) -> None:
    assert main(["eval", "--agent", "exprt"]) == 2
    assert "there is no 'exprt' here: expected expert, random, a scripted player" in capsys.readouterr().err


def test_a_name_of_the_hub_is_asked_for_once(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(name: str, **_: object) -> None:
        asked.append(name)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    assert main(["eval", "nobody-there/no-such-model"]) == 2
    error = capsys.readouterr().err
    assert "was read as a folder, and there is none here, and as the name of a model on the Hub" in error
    assert asked == ["nobody-there/no-such-model"]


@pytest.mark.parametrize("command", ["eval", "play", "train", "inspect"])
def test_code_of_a_model_is_refused_in_one_line_and_named(
    command: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run foreign code"))
    folder = save_random_model(tmp_path / "model")
    mark = bring_code(folder, tokenizer=True)
    capsys.readouterr()
    words = {"eval": [str(folder)], "play": ["--agent", str(folder)]}.get(command, ["--model", str(folder)])
    assert main([command, *words, *(["--output-dir", str(tmp_path / "run")] if command == "train" else [])]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"sdar {command}: {folder} brings code of its own")
    assert not mark.exists()


def test_trust_is_said_on_screen_and_in_the_versions_of_the_run(tmp_path: Path, capsys) -> None:
    model = save_random_model(tmp_path / "model")
    words = ["train", "--model", str(model), *SHORT_RUN, "--max-steps", "1", "--test-episodes", "0"]
    for name, flag in (("plain", []), ("trusting", ["--trust-remote-code"])):
        assert main([*words, *flag, "--output-dir", str(tmp_path / name)]) == 0
        assert ("code that the model brings may run" in capsys.readouterr().out) == bool(flag)
        versions = json.loads((tmp_path / name / "versions.json").read_text())
        assert versions.get("trust_remote_code") == (True if flag else None)
    # A run that goes on with trust says so from then on.
    resumed = [*words, "--max-steps", "2", "--resume", "--trust-remote-code", "--output-dir", str(tmp_path / "plain")]
    assert main(resumed) == 0
    assert json.loads((tmp_path / "plain" / "versions.json").read_text())["trust_remote_code"] is True


def test_scripted_players_stand_in_one_table(capsys) -> None:
    words = ["--agent", "generic", "--agent", "generic+skills", "--episodes", "30"]
    assert main(["eval", *words, "--env-kwargs", "size=short", "instruction=habit", "--json", "-"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["generic"]["success_rate"] + 0.4 < results["generic+skills"]["success_rate"]


def test_a_scripted_player_of_another_world_is_refused_with_those_that_there_are(capsys) -> None:
    assert main(["eval", "--env", "sdar/WebShop-v0", "--agent", "seen", "--episodes", "2"]) == 2
    assert "choose from generic, generic+skills, first-hit" in capsys.readouterr().err


def test_the_environments_are_listed_with_their_players(capsys) -> None:
    assert main(["envs", "--env", "sdar/Household-v0"]) == 0
    assert "expert, random, generic, generic+skills, uninformed" in capsys.readouterr().out


def test_a_model_that_does_not_speak_the_form_of_actions_is_said_to_be_one(tmp_path: Path, capsys) -> None:
    model = save_random_model(tmp_path / "model")
    words = ["--episodes", "2", "--max-turns", "2", "--max-completion-length", "8", "--max-prompt-length"]
    assert main(["eval", str(model), *words, "900", "--env-kwargs", "size=small", "--prompt-style", "paper"]) == 0
    assert "WARNING: 100% of the completions are malformed (prompt_style paper)" in capsys.readouterr().out
    assert main(["eval", str(model), *words, "20", "--env-kwargs", "size=small", "--prompt-style", "paper"]) == 0
    assert "WARNING: 100% of the episodes ended because their prompt no longer fits" in capsys.readouterr().out
