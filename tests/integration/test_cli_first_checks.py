"""What can be said before minutes are spent is said first: one line with the remedy, and nothing is made on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from short_runs import SHORT_RUN, save_random_model

from trainers.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.cli.train.warm_model", lambda *_, **__: pytest.fail("a warm start began"))
    monkeypatch.setattr("trainers.trainer.load_model", lambda *_, **__: pytest.fail("a model was loaded"))


def refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    capsys.readouterr()
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("below", ["", "/run", "/deep/run"])
def test_a_file_in_the_place_of_the_output_directory(below: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("mine")
    error = refused(capsys, ["--output-dir", f"{tmp_path / 'file'}{below}"])
    assert f"{tmp_path / 'file'} is a file: choose another output_dir" in error
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_directory_that_may_not_be_written(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.run.directory.os.access", lambda *_: False)  # root may write anywhere
    assert "nothing may be written in" in refused(capsys, ["--output-dir", str(tmp_path / "run")])


def test_a_folder_that_is_no_model(model: Path, tmp_path: Path, capsys) -> None:
    words = ["--output-dir", str(tmp_path / "run"), "--model"]
    (tmp_path / "empty").mkdir()
    assert "with config.json in it" in refused(capsys, [*words, str(tmp_path / "empty")])
    assert "got the file" in refused(capsys, [*words, str(model / "config.json")])
    pickled = shutil.copytree(model, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "expected parameters as safetensors" in refused(capsys, [*words, str(pickled)])
    assert not (tmp_path / "run").exists()


def test_lengths_that_do_not_fit_the_model(model: Path, tmp_path: Path, capsys) -> None:
    words = ["--output-dir", str(tmp_path / "run"), "--max-prompt-length", "100000"]
    assert "lower one of them" in refused(capsys, ["--model", str(model), *words])
    assert "lower one of them" in refused(capsys, words)  # of the tiny model, before its warm start
    assert not (tmp_path / "run").exists()


def test_own_data_needs_a_model_that_can_read(tmp_path: Path, capsys) -> None:
    (tmp_path / "questions.jsonl").write_text('{"question": "Who?", "golden_answers": ["Nobody"]}\n')
    data = f"dataset={tmp_path / 'questions.jsonl'}"
    words = ["--env", "sdar/SearchQA-v0", "--output-dir", str(tmp_path / "run"), "--env-kwargs", data]
    assert "pass --model, or leave out env_kwargs.dataset" in refused(capsys, words)
    words = ["--env", "sdar/WebShop-v0", "--output-dir", str(tmp_path / "run"), "--env-kwargs", f"data_dir={tmp_path}"]
    assert "leave out env_kwargs.data_dir" in refused(capsys, words)


def test_data_and_packages_that_the_environment_lacks(
    model: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--model", str(model), "--output-dir", str(tmp_path / "run")]
    missing = ["--preset", "none", "--env", "sdar/WebShop-v0", "--env-kwargs", f"data_dir={tmp_path / 'none'}"]
    missing += ["--max-prompt-length", "300", "--max-completion-length", "20"]
    assert str(tmp_path / "none") in refused(capsys, [*words, *missing])

    def lacks(*_: object, **__: object) -> None:
        raise ImportError("the engine needs a package: pip install sdar-gym[textworld]")

    monkeypatch.setattr("sdar_envs.household.env.HouseholdEnv.__init__", lacks)
    assert "pip install" in refused(capsys, [*words, *SHORT_RUN])


def test_options_of_a_warm_start_beside_a_model(model: Path, capsys) -> None:
    assert "leave out --model" in refused(capsys, ["--model", str(model), "--warm-start", "max_steps=3"])
