"""`sdar wrong-actions`: a run and the model it began with read the same episodes. Some 10 CPU-seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from short_runs import ENV_ID, SHORT_RUN, save_random_model

from trainers.cli import main
from trainers.cli.wrong_actions import short_names

ASKED = ["--privilege", "plan", "skill", "none", "--episodes", "12", "--env-kwargs", "horizon=4", "stale=0.5"]
ROOMY = ["--max-prompt-length", "900", "--teacher-budget", "300"]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A short run, and the cache in which its first model stands as a warm start would."""
    folder = tmp_path_factory.mktemp("wrong")
    cache = folder / "cache" / "sdar-gym" / "warm-start"
    model = save_random_model(cache / "key")
    shutil.copytree(model, cache / "another")
    record = {"env_id": ENV_ID, "seed": 0}
    (model / "warm_start.json").write_text(json.dumps(record))
    (cache / "another" / "warm_start.json").write_text(json.dumps({**record, "env_id": "sdar/Trip-v0"}))
    run = folder / "run"
    words = ["train", "--env", ENV_ID, "--model", str(model), "--method", "sdar", "--output-dir", str(run)]
    assert main([*words, *SHORT_RUN, "--prompt-style", "compact", "--eval-steps", "0", *ROOMY]) == 0
    return run, cache


@pytest.fixture
def found(played: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    run, cache = played
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent.parent))
    file = tmp_path / "found.json"
    assert main(["wrong-actions", str(run), "--untrained", *ASKED, *ROOMY, "--json", str(file)]) == 0
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def test_all_readers_are_given_the_same_episodes_and_without_a_context_nothing_is_known(
    found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(found["readers"]) == ["run", "run, untrained"] and found["player"] == "run"
    first = [each["skill"]["loss"]["first"] for each in found["readers"].values()]
    assert first[0] == first[1] and sum(first[0].values()) == found["episodes"] == 12
    for reader in found["readers"].values():
        for area in reader["none"]["loss"]["areas"].values():
            assert area["value"] == 0.5
        assert any(reader[name]["loss"]["areas"]["whole action"]["value"] != 0.5 for name in ("plan", "skill"))
    cells = found["readers"]["run"]["skill"]["cells"]
    assert sum(cell["episodes"] for cell in cells) <= 12 and found["readers"]["run"]["plan"]["cells"] == []


def test_the_untrained_model_can_be_the_one_that_plays(
    played: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cache = played
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent.parent))
    file = tmp_path / "found.json"
    words = ["wrong-actions", str(run), "--untrained", "plays", "--privilege", "none", "--episodes", "2"]
    assert main([*words, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["player"] == "run, untrained" == next(iter(found["readers"])) and len(found["readers"]) == 2


def test_the_tables_say_readers_contexts_and_counts_and_nothing_privileged(
    played: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = played
    assert main(["wrong-actions", str(run), *ASKED, *ROOMY]) == 0
    shown = capsys.readouterr().out
    assert "12 episodes of run" in shown and "12 of 12 with a detour" in shown and "lower marks the first loss" in shown
    assert "wrong / right turns" in shown and "usually" not in shown


def test_a_context_that_fits_into_no_prompt_is_said(
    played: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = played
    assert main(["wrong-actions", str(run), "--episodes", "2", "--privilege", "plan", "--teacher-budget", "1"]) == 0
    assert "plan did not fit into any prompt of run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}", "--episodes", "1"], "at least 2"),
        (["{run}", "--privilege", "skil"], "skill"),
        (["nowhere/at-all/x"], "expected|no folder|there is no"),
        (["{run}", "--temperature", "0"], "temperature"),
        (["{model}", "--untrained", "--env", ENV_ID], "run directory"),
    ],
)
def test_mistakes_are_one_line(
    played: tuple[Path, Path], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    run, cache = played
    assert main(["wrong-actions", *(word.format(run=run, model=cache / "key") for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sdar wrong-actions: ") and error.count("\n") == 1
    assert any(each in error for each in said.split("|"))


def test_a_warm_start_that_is_gone_is_said(
    played: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["wrong-actions", str(played[0]), "--untrained", "--episodes", "2"]) == 2
    assert "none of the 0 warm starts" in capsys.readouterr().err


def test_names_are_the_last_part_of_a_path_unless_two_share_it() -> None:
    assert short_names(["runs/a", "runs/b"]) == {"runs/a": "a", "runs/b": "b"}
    assert short_names(["x/a", "y/a"]) == {"x/a": "x/a", "y/a": "y/a"}
