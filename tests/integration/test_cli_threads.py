"""Commands compute with one thread where the model is tiny, say so, and leave alone what somebody has chosen."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from scripted_agents import EchoEnv
from short_runs import SHORT_RUN, save_random_model

from trainers import SDARConfig, make_tiny_model
from trainers.cli import main, threads
from trainers.cli.threads import TINY_PARAMETERS, parameters_of, use_one_thread_if_tiny
from trainers.warm_start.own_environment import OWN_START

MANY = torch.get_num_threads() + 2


@pytest.fixture(autouse=True)
def _several_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process with several threads, in which nobody has chosen how many."""
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(MANY)
    yield
    torch.set_num_threads(before)


def asked(parameters: int | None, device: str = "cpu") -> tuple[str, int]:
    """What is said, and how many threads a command then computes with; they are given back."""
    said = io.StringIO()
    use_one_thread_if_tiny(Console(file=said, width=1000), parameters, device)
    during = torch.get_num_threads()
    threads.give_back_threads()
    assert torch.get_num_threads() == MANY
    return said.getvalue(), during


def test_a_tiny_model_on_the_cpu_is_computed_with_one_thread_and_one_line_says_so() -> None:
    said, during = asked(200_000)
    assert during == 1 and len(said.splitlines()) == 1
    assert f"one of {MANY}" in said and "OMP_NUM_THREADS" in said


@pytest.mark.parametrize("name", threads.CHOICES)
def test_whoever_has_chosen_keeps_the_choice(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "2")
    assert asked(200_000) == ("", MANY)


@pytest.mark.parametrize(("parameters", "device"), [(TINY_PARAMETERS + 1, "cpu"), (None, "cpu"), (200_000, "cuda:0")])
def test_large_models_models_of_unknown_size_and_gpus_keep_their_threads(parameters: int | None, device: str) -> None:
    assert asked(parameters, device) == ("", MANY)


def test_the_size_is_read_from_the_configuration_without_the_weights(tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model")
    whole = torch.nn.utils.parameters_to_vector(load(model).parameters()).numel()
    (model / "model.safetensors").unlink()
    assert parameters_of(str(model)) == whole
    embedded = parameters_of(None)
    assert embedded is not None and 100_000 < embedded < 300_000
    assert parameters_of(str(tmp_path / "nothing")) is None


def load(folder: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(folder)
    return model


def test_train_eval_and_tiny_say_it_and_give_the_threads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    forward = torch.nn.functional.embedding

    def counting(*args: object, **kwargs: object) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return forward(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "embedding", counting)
    run = tmp_path / "run"
    words = [*SHORT_RUN, "--max-steps", "1", "--device", "cpu", "--test-episodes", "0", "--output-dir", str(run)]
    tiny = ["--demonstrator", "parcels:act", "--warm-start", "demonstrations=20", "min_steps=1", "decay_steps=1"]
    tiny += ["gate_episodes=2", "--output-dir", str(tmp_path / "tiny")]
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "examples"))
    for command in (
        ["train", "--model", str(save_random_model(tmp_path / "model")), *words],
        ["eval", str(run), "--episodes", "2", "--device", "cpu"],
        ["tiny", "parcels:Parcels-v0", *tiny],
    ):
        seen.clear()
        assert main(command) == 0
        said = capsys.readouterr()
        assert f"threads: one of {MANY}" in said.out + said.err, command[0]
        assert set(seen) == {1} and torch.get_num_threads() == MANY, command[0]


def test_the_library_leaves_the_threads_of_the_program_that_imports_it_alone(tmp_path: Path) -> None:
    start = OWN_START.__class__(demonstrations=4, min_steps=1, decay_steps=1, gate_episodes=2)
    make_tiny_model(
        SDARConfig.preset("any-tiny"), EchoEnv, tmp_path / "tiny", demonstrator=lambda *_: "echo", config=start
    )
    assert torch.get_num_threads() == MANY
