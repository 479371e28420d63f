"""`sdar memory` and the first line of a run: what fits is said, what cannot is refused before anything is loaded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from short_runs import SHORT_RUN, save_random_model

from trainers.cli import main
from trainers.engine.run_time import Rates

QWEN = ["memory", "--model", "qwen2.5-3b", "--limits"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "m")


def shown(capsys: pytest.CaptureFixture[str], words: list[str], status: int = 0) -> str:
    capsys.readouterr()
    assert main(words) == status
    return capsys.readouterr().out


def test_a_shape_is_estimated_without_weights_with_parts_phases_and_what_would_help(capsys) -> None:
    text = shown(capsys, [*QWEN, "--gpu", "80GiB"])
    assert text.startswith("memory: ") and "of 80.0 GiB: fits" in text.splitlines()[0]
    for part in ("weights", "reference", "masters", "optimiser", "gradients", "activations", "logits", "cache"):
        assert f"\n{part} " in text
    assert "rollout" in text and "smaller with, one after another" in text and "--lora" in text
    assert "time" not in text.splitlines()[0]  # nothing is said there that nobody could act on
    assert "python -m benchmarks.gpu" in text
    assert "no GPU has been measured" in text and "time: not measured on a GPU with 80.0 GiB" in text


def test_what_cannot_fit_and_what_may_not_have_their_words_and_a_status(capsys) -> None:
    seven = shown(capsys, ["memory", "--model", "qwen2.5-7b", "--limits", "--gpu", "80GiB"], 1)
    assert "does not fit" in seven.splitlines()[0]
    cramped = shown(capsys, [*QWEN, "--gpu", "68GiB"], 1)
    assert "may not fit" in cramped.splitlines()[0]


def test_the_json_has_the_same_figures_and_rates_make_a_time(tmp_path: Path, capsys) -> None:
    path = tmp_path / "drill.json"
    path.write_text(json.dumps({"rates": dataclasses.asdict(Rates("a card", 3e14, 2e14, 3e14, 2e12, 2))}))
    found = json.loads(shown(capsys, [*QWEN, "--gpu", "80GiB", "--json", "--rates", str(path)]))
    assert found["fits"] and found["parameters"] == 3_085_938_688
    assert found["peak_bytes"] == max(sum(parts.values()) for parts in found["phases"].values())
    assert len(found["helps"]) == 3 and found["time"]["seconds"] > 0 and found["rates"]["card"] == "a card"
    text = shown(capsys, [*QWEN, "--gpu", "80GiB", "--rates", str(path)])
    assert "on a card: 150 iterations" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nobody/nothing", "--gpu", "80GiB"], "built-in shapes"),
        (["--model", "qwen2.5-3b", "--gpu", "much"], "80GiB"),
        (["--model", "qwen2.5-3b", "--device", "cuda:7"], "torch sees 0 GPUs"),
        (["--model", "qwen2.5-3b", "--gpu", "80GiB", "--rates", "nothing.json"], "nothing.json"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main(["memory", "--limits", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error


def test_prompts_are_measured_by_playing_with_the_models_own_tokenizer(model: Path, capsys) -> None:
    text = shown(capsys, ["memory", "--model", str(model), *SHORT_RUN, "--device", "cpu"])
    assert "the model's tokenizer" in text and "turns of train:" in text
    assert "bytes a token" in shown(capsys, ["memory", "--model", "qwen2.5-0.5b", *SHORT_RUN, "--gpu", "80GiB"])


def test_a_run_begins_with_its_estimate_and_one_that_cannot_fit_is_refused(
    model: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--model", str(model), *SHORT_RUN, "--device", "cpu", "--output-dir", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("trainers.engine.hardware.host_bytes", lambda: 2**20)
        patch.setattr("trainers.trainer.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
        assert main(words) == 2
        error = capsys.readouterr().err
        assert "does not fit" in error and "What would help" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    lines = shown(capsys, words).splitlines()
    assert lines[1].startswith("memory: ") and lines[1].split(": ")[2].startswith("fits")


def test_a_model_of_an_unknown_architecture_is_trained_without_an_estimate(tmp_path: Path, capsys) -> None:
    from trainers.cli.memory import say_memory
    from trainers.cli.setup import Setup
    from trainers.cli.terminal import make_console
    from trainers.config import SDARConfig

    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    setup = Setup("sdar/Household-v0", str(tmp_path), SDARConfig(device="cpu"), None)
    say_memory(make_console(), setup, refuses=True)
    assert "memory: not estimated" in capsys.readouterr().out
