"""Resuming goes on: the same weights, the same logs, as if nothing had stopped."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, weights

from trainers.engine.checkpoint import CheckpointError
from trainers.run.directory import RunDirectoryError, read_json_lines

OPTIONS: dict[str, Any] = {
    "method": "sdar",
    "beta": 0.05,
    "num_mini_batches": 2,
    "save_steps": 2,
    "eval_steps": 2,
    "max_steps": 4,
}


class StopAfter:
    """Ends a run after so many iterations, as an interruption at a boundary would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


def story(folder: Path, name: str) -> list[dict[str, Any]]:
    """A log without what a clock says."""
    records = read_json_lines(folder / "run" / f"{name}.jsonl")
    return [{k: v for k, v in r.items() if not k.startswith("seconds")} for r in records]


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(torch.equal(left[name], tensor) for name, tensor in right.items())


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Four iterations without an interruption."""
    folder = tmp_path_factory.mktemp("straight")
    trainer = make_trainer(folder, **OPTIONS)
    trainer.train()
    return folder, weights(trainer)


def test_two_and_two_iterations_are_four_to_the_last_bit(tmp_path: Path, straight: tuple[Path, dict[str, Any]]) -> None:
    folder, final = straight
    make_trainer(tmp_path, trainer={"callbacks": [StopAfter(2)]}, **OPTIONS).train()
    resumed = make_trainer(tmp_path, **OPTIONS)
    summary = resumed.train(resume_from_checkpoint=True)
    assert summary["steps"] == 4 and equal(final, weights(resumed))
    assert story(tmp_path, "metrics") == story(folder, "metrics")
    assert story(tmp_path, "episodes") == story(folder, "episodes")


def test_a_finished_run_can_be_lengthened(tmp_path: Path, straight: tuple[Path, dict[str, Any]]) -> None:
    make_trainer(tmp_path, **{**OPTIONS, "max_steps": 2}).train()
    longer = make_trainer(tmp_path, **OPTIONS)
    longer.train(resume_from_checkpoint=True)
    assert equal(straight[1], weights(longer))


def test_work_after_the_last_checkpoint_is_done_again_and_logged_once(
    tmp_path: Path, straight: tuple[Path, dict[str, Any]]
) -> None:
    trainer = make_trainer(tmp_path, **OPTIONS)
    real = trainer.iteration

    def dying(log: Any) -> Any:
        if trainer.state.step == 3:
            raise MemoryError
        return real(log)

    trainer.iteration = dying
    with pytest.raises(MemoryError):
        trainer.train()
    assert [record["step"] for record in story(tmp_path, "metrics")] == [0, 1, 2, 3]
    resumed = make_trainer(tmp_path, **OPTIONS)
    resumed.train(resume_from_checkpoint=True)
    assert equal(straight[1], weights(resumed))
    assert story(tmp_path, "metrics") == story(straight[0], "metrics")


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, straight: tuple[Path, dict[str, Any]]
) -> None:
    make_trainer(tmp_path, **OPTIONS).train()
    newest = tmp_path / "run" / "checkpoints" / "step-00000004" / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    resumed = make_trainer(tmp_path, **OPTIONS)
    resumed.train(resume_from_checkpoint=True)
    assert equal(straight[1], weights(resumed))
    (tmp_path / "run" / "checkpoints" / "step-00000002" / "model.safetensors").unlink()
    newest.unlink()
    with pytest.raises(CheckpointError, match="no checkpoint verifies"):
        make_trainer(tmp_path, **OPTIONS).train(resume_from_checkpoint=True)


def test_a_run_without_a_checkpoint_starts_over_with_empty_logs(
    tmp_path: Path, straight: tuple[Path, dict[str, Any]]
) -> None:
    trainer = make_trainer(tmp_path, **OPTIONS)
    trainer.iteration = lambda log: (_ for _ in ()).throw(MemoryError)
    with pytest.raises(MemoryError):
        trainer.train()
    again = make_trainer(tmp_path, **OPTIONS)
    again.train(resume_from_checkpoint=True)
    assert equal(straight[1], weights(again))
    assert story(tmp_path, "metrics") == story(straight[0], "metrics")


def test_a_run_directory_is_not_overwritten(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=1).train()
    with pytest.raises(RunDirectoryError, match="holds an earlier part of this run"):
        make_trainer(tmp_path, max_steps=1).train()
    with pytest.raises(RunDirectoryError, match=r"gate_beta \(5.0 there, 2.0 here\)"):
        make_trainer(tmp_path, max_steps=1, gate_beta=2.0).train(resume_from_checkpoint=True)


def test_another_initial_model_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=1).train()
    other = make_trainer(tmp_path, max_steps=2)
    other.model.get_input_embeddings().weight.data.add_(1.0)
    other.model.save_pretrained(tmp_path / "model")
    with pytest.raises(RunDirectoryError, match="differs in initial_weights"):
        make_trainer(tmp_path, max_steps=2).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_an_interrupted_run_finishes_its_iteration_and_saves(
    tmp_path: Path, number: signal.Signals, raised: type[BaseException], straight: tuple[Path, dict[str, Any]]
) -> None:
    class Interrupt:
        def on_rollout_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    trainer = make_trainer(tmp_path, trainer={"callbacks": [Interrupt()]}, **OPTIONS)
    with pytest.raises(raised):
        trainer.train()
    assert signal.getsignal(number) is before
    assert (tmp_path / "run" / "checkpoints" / "step-00000003").is_dir()
    resumed = make_trainer(tmp_path, **OPTIONS)
    resumed.train(resume_from_checkpoint=True)
    assert equal(straight[1], weights(resumed))


def test_a_checkpoint_can_be_named(tmp_path: Path, straight: tuple[Path, dict[str, Any]]) -> None:
    make_trainer(tmp_path, **OPTIONS).train()
    resumed = make_trainer(tmp_path, **OPTIONS)
    resumed.train(resume_from_checkpoint=tmp_path / "run" / "checkpoints" / "step-00000002")
    assert equal(straight[1], weights(resumed))
    state = json.loads((tmp_path / "run" / "checkpoints" / "step-00000004" / "training_state.json").read_text())
    assert state["progressed"]["step"] == 4


def test_after_an_earlier_checkpoint_was_named_the_later_ones_are_gone_and_the_run_can_be_resumed_again(
    tmp_path: Path, straight: tuple[Path, dict[str, Any]]
) -> None:
    make_trainer(tmp_path, **OPTIONS).train()
    folder = tmp_path / "run" / "checkpoints"
    dying = make_trainer(tmp_path, **OPTIONS)
    dying.iteration = lambda log: (_ for _ in ()).throw(MemoryError)
    with pytest.raises(MemoryError):
        dying.train(resume_from_checkpoint=folder / "step-00000002")
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]
    resumed = make_trainer(tmp_path, **OPTIONS)
    resumed.train(resume_from_checkpoint=True)
    assert equal(straight[1], weights(resumed))
    assert story(tmp_path, "metrics") == story(straight[0], "metrics")
    assert story(tmp_path, "episodes") == story(straight[0], "episodes")


def test_a_run_can_go_on_in_a_new_directory_and_never_in_one_with_checkpoints_of_its_own(
    tmp_path: Path, straight: tuple[Path, dict[str, Any]]
) -> None:
    make_trainer(tmp_path, **{**OPTIONS, "max_steps": 2}).train()
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    moved = make_trainer(tmp_path, **OPTIONS, output_dir=str(tmp_path / "moved" / "run"))
    moved.train(resume_from_checkpoint=checkpoint)
    assert equal(straight[1], weights(moved))
    assert [record["step"] for record in story(tmp_path / "moved", "metrics")] == [3, 4]
    again = make_trainer(tmp_path, **OPTIONS, output_dir=str(tmp_path / "moved" / "run"))
    with pytest.raises(RunDirectoryError, match="has checkpoints of its own"):
        again.train(resume_from_checkpoint=checkpoint)


def test_resuming_a_finished_run_logs_nothing_twice(tmp_path: Path, straight: tuple[Path, dict[str, Any]]) -> None:
    make_trainer(tmp_path, **OPTIONS).train()
    summary = make_trainer(tmp_path, **OPTIONS).train(resume_from_checkpoint=True)
    assert summary["steps"] == 4
    assert story(tmp_path, "metrics") == story(straight[0], "metrics")
    assert story(tmp_path, "episodes") == story(straight[0], "episodes")


def test_sixteen_bit_runs_go_on_from_their_masters(tmp_path: Path) -> None:
    options = {**OPTIONS, "bf16": True, "eval_steps": 0, "learning_rate": 1e-4}
    (tmp_path / "straight").mkdir()
    straight = make_trainer(tmp_path / "straight", **options)
    straight.train()
    make_trainer(tmp_path, trainer={"callbacks": [StopAfter(2)]}, **options).train()
    resumed = make_trainer(tmp_path, **options)
    resumed.train(resume_from_checkpoint=True)
    assert next(resumed.model.parameters()).dtype == torch.bfloat16
    assert equal(weights(straight), weights(resumed))
    masters = [trainer.updater.masters.separate() for trainer in (straight, resumed)]
    assert masters[0] and equal(*masters)


def test_a_log_that_is_shorter_than_the_checkpoint_says_falls_back_to_an_older_one_that_fits(
    tmp_path: Path, straight: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(tmp_path, **OPTIONS).train()
    log = tmp_path / "run" / "metrics.jsonl"
    os.truncate(log, log.stat().st_size - 5)  # as a copy that was broken off would be
    resumed = make_trainer(tmp_path, **OPTIONS)
    resumed.train(resume_from_checkpoint=True)
    assert "metrics.jsonl" in caplog.text and "trying the one before" in caplog.text
    assert equal(straight[1], weights(resumed))
    assert story(tmp_path, "metrics") == story(straight[0], "metrics")
    os.truncate(log, 3)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl"):
        make_trainer(tmp_path, **OPTIONS).train(resume_from_checkpoint=True)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    from small_runs import save_model
    from transformers import AutoModelForCausalLM

    from trainers.engine.finite_weights import NonFiniteWeightsError

    model = AutoModelForCausalLM.from_pretrained(save_model(tmp_path / "model"))
    model.model.layers[0].mlp.up_proj.weight.data[1, 2] = float("nan")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(NonFiniteWeightsError, match=r"model\.layers\.0\.mlp\.up_proj\.weight: 1 of .* not finite"):
        make_trainer(tmp_path, **OPTIONS)
