"""What can be said before minutes are spent is said first: one line with the remedy, and nothing is made on disk."""

from __future__ import annotations

import importlib.util
import json
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
    for name in ("warm_tiny_model", "warm_pretrained_model"):
        monkeypatch.setattr(f"trainers.cli.warm_models.{name}", lambda *_, **__: pytest.fail("a warm start began"))
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
    error = refused(capsys, ["--model", str(model), "--warm-start", "max_steps=3"])
    assert "--warm-start demonstrations max_steps=3" in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "expected a causal language model, got BertForMaskedLM"),
        ({"is_encoder_decoder": True, "architectures": []}, "got an encoder and a decoder"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0"),
        ({"logit_scale": 0.25}, "logit_scale=0.25"),
    ],
    ids=str,
)
def test_a_model_with_another_head_is_refused_by_its_configuration(
    changes: dict[str, object], message: str, model: Path, tmp_path: Path, capsys
) -> None:
    other = shutil.copytree(model, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, **changes}))
    words = ["--model", str(other), "--output-dir", str(tmp_path / "run"), "--skip-memory-check", *SHORT_RUN]
    assert message in refused(capsys, words)
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_chat_template_is_refused_before_its_weights_are_read(
    model: Path, tmp_path: Path, capsys
) -> None:
    bare = shutil.copytree(model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    words = ["--model", str(bare), "--output-dir", str(tmp_path / "run"), *SHORT_RUN]
    assert "expected to have a chat template" in refused(capsys, words)


def test_a_gpu_that_is_not_there_is_refused_by_its_name(
    model: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    words = ["--model", str(model), "--output-dir", str(tmp_path / "run"), "--device", "cuda", *SHORT_RUN]
    assert "torch sees 0 GPUs: use auto or cpu" in refused(capsys, words)


def test_attention_kernels_that_are_not_installed_are_refused_in_one_line(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("transformers")
    from trainers.engine.single import load_model

    if importlib.util.find_spec("flash_attn") is not None:
        pytest.skip("flash attention is installed here")
    with pytest.raises(ValueError, match="attn_implementation: flash_attention_2 is not to be had here") as caught:
        load_model(str(model), attn_implementation="flash_attention_2")
    assert "\n" not in str(caught.value)
