"""Models are loaded without running anything of theirs, and a name that leads nowhere is one clear line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from foreign_code import bring_code
from tiny_models import CHATML, make_model, make_tokenizer

from sdar_envs.model_files import ModelFilesError, load_causal_lm, load_encoder, load_tokenizer, locate
from trainers.engine.single import load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = make_tokenizer(CHATML)
    make_model("qwen2", len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("load", [load_causal_lm, load_encoder, load_model])
def test_code_of_a_model_folder_never_runs_and_nobody_is_asked(
    load: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = bring_code(folder)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run foreign code"))
    with pytest.raises(
        ModelFilesError, match=r"brings code of its own \(.*AutoModelForCausalLM.*\), which is not run"
    ) as error:
        load(str(folder))  # type: ignore[operator]
    assert "\n" not in str(error.value)
    assert not mark.exists()


def test_the_code_runs_when_somebody_trusts_it_in_so_many_words(folder: Path) -> None:
    mark = bring_code(folder)
    with pytest.raises(Exception):  # noqa: B017  # the made-up model itself is of no use; that it was read is the point
        load_causal_lm(folder, trust_remote_code=True)
    assert mark.exists()


def test_a_known_architecture_is_loaded_whatever_its_auto_map_says(folder: Path) -> None:
    mark = bring_code(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]})
    )
    assert type(load_causal_lm(folder)).__name__ == "Qwen2ForCausalLM"
    assert not mark.exists()


def test_pickled_parameters_are_not_opened(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFilesError, match=r"expected parameters as safetensors, got pytorch_model.bin"):
        load_causal_lm(folder)


def test_a_sound_folder_is_loaded(folder: Path) -> None:
    assert load_tokenizer(folder).chat_template
    model, tokenizer = load_model(folder)
    assert model.config.vocab_size >= len(tokenizer)


@pytest.mark.parametrize("name", ["runs/none", "./none", "/none/at/all", "~/none", "a/b/c", "here/none"])
def test_what_can_only_be_a_path_is_never_asked_of_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises(ModelFilesError, match=f"there is no folder {name}"):
        locate(name)


def test_a_name_that_is_nowhere_has_both_readings_and_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(name: str, **_: object) -> None:
        asked.append(name)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    start = time.monotonic()
    with pytest.raises(ModelFilesError, match=r"read as a folder, and there is none here.*Hub cannot be reached"):
        locate("nobody-there/no-such-model")
    assert asked == ["nobody-there/no-such-model"]
    assert time.monotonic() - start < 5.0


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    with pytest.raises(ModelFilesError, match="got the file"):
        locate(tmp_path / "weights")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFilesError, match=r"with config.json in it"):
        load_causal_lm(tmp_path / "empty")
