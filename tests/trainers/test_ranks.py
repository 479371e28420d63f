"""Two processes compute what one computes, from the gradients of recorded episodes to whole runs and their resumption.

The whole table of methods, with two and four processes, is `test_ranks_table`.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_iterations import BankedWorld, Result, above_noise, apart, iterate, record
from safetensors.torch import load_file, save_file
from small_runs import make_trainer, save_model

from benchmarks.forked_ranks import ForkedRanks, run_ranks

RELATIVE = 1e-6
RUN: dict[str, Any] = {
    "method": "sdar",
    "distill_coef": 0.5,
    "beta": 0.1,
    "save_steps": 1,
    "num_mini_batches": 2,
    "micro_batch_tokens": 600,
}
LEARN: dict[str, Any] = {**RUN, "save_steps": 0, "num_mini_batches": 1, "max_grad_norm": 1e9, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("ranks")
    save_model(made / "model")
    return made


CASES: dict[str, dict[str, Any]] = {
    "sdar, window, two mini-batches": {"context": "window", "num_mini_batches": 2, "num_iterations": 2},
    "opsd-full": {"method": "opsd-full", "distill_coef": 1.0},
    "agent-opsd, sgd, recomputed": {"method": "agent-opsd", "optim": "sgd", "gradient_checkpointing": True},
    "ucb": {"retrieval": "ucb", "ucb_reward": "gap"},
}


def test_gradients_losses_and_weights_of_recorded_episodes_are_those_of_one_process(folder: Path) -> None:
    options = {name: {**LEARN, **own} for name, own in CASES.items()}
    episodes = {name: record(folder, **own) for name, own in options.items()}

    def all_cases(**more: Any) -> dict[str, Result]:
        return {name: iterate(folder, episodes[name], steps=3, **{**own, **more}) for name, own in options.items()}

    alone = all_cases()
    for sharding in ("ddp", "fsdp"):
        for found in run_ranks(lambda sharding=sharding: all_cases(sharding=sharding), 2):
            for name, one in alone.items():
                two = found[name]
                case = f"{name}, {sharding}"
                assert two.losses == pytest.approx(one.losses, rel=1e-5, abs=1e-6), case
                assert apart(one.gradients, two.gradients) < RELATIVE, case
                counts = above_noise(one) if one.roots else None
                assert apart(one.weights, two.weights, counts) < RELATIVE, case
                for first, second in zip(one.metrics, two.metrics, strict=True):
                    assert second == pytest.approx(first, rel=1e-4, abs=1e-5), case


def run(folder: Path, name: str, *, resume: bool = False, **options: Any) -> dict[str, Any]:
    """A whole run in this process, or in all that have been started."""
    trainer = make_trainer(folder, BankedWorld, output_dir=str(folder / name), **{**RUN, **options})
    summary: dict[str, Any] = trainer.train(resume_from_checkpoint=resume)
    return summary


def lines(folder: Path, name: str, log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name / f"{log}.jsonl").read_text().splitlines()]


def without_clocks(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.items() if not key.startswith("seconds")} for each in records]


def drawn(folder: Path, name: str) -> list[tuple[Any, ...]]:
    """What was played: task, place in the iteration, and every completion."""
    keys = ("phase", "iteration", "group", "member", "task_id")
    return [
        (*(each[key] for key in keys), *(turn["completion"] for turn in each["turns"]))
        for each in lines(folder, name, "episodes")
    ]


def test_whole_runs_play_the_same_tasks_with_the_same_draws_and_log_the_same_figures(folder: Path) -> None:
    run(folder, "one")
    run_ranks(lambda: run(folder, "two"), 2)
    run_ranks(lambda: run(folder, "cut", sharding="fsdp"), 2)
    for name in ("two", "cut"):
        assert drawn(folder, name) == drawn(folder, "one")
        for own, other in zip(lines(folder, "one", "metrics"), lines(folder, name, "metrics"), strict=True):
            (own,), (other,) = without_clocks([own]), without_clocks([other])
            assert other == pytest.approx(own, rel=1e-4, abs=1e-4)


@pytest.mark.distributed
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_a_process_with_nothing_to_play_takes_part(folder: Path, sharding: str) -> None:
    if not (folder / "one").exists():
        run(folder, "one")
    name = f"four-{sharding}"
    run_ranks(lambda: run(folder, name, sharding=sharding), 4)  # there are three tasks
    assert drawn(folder, name) == drawn(folder, "one")


ACTS_CHOSEN = {
    "method": "skill-grpo",
    "distill_coef": None,
    "retrieval": "ucb",
    "dynamic_sampling": 2,
    "num_generations": 2,
}


def test_a_skill_to_act_with_is_chosen_alike_and_the_same_groups_are_replaced(folder: Path) -> None:
    run(folder, "chooses", **ACTS_CHOSEN)
    run_ranks(lambda: run(folder, "both-choose", **ACTS_CHOSEN), 2)
    own, other = (without_clocks(lines(folder, name, "metrics")) for name in ("chooses", "both-choose"))
    assert sum(each.get("groups/replaced", 0) for each in own) > 0
    for first, second in zip(own, other, strict=True):
        assert second == pytest.approx(first, rel=1e-4, abs=1e-4)
    states = [
        json.loads((folder / name / "checkpoints/step-00000002/training_state.json").read_text())
        for name in ("chooses", "both-choose")
    ]
    assert states[0]["progressed"]["retrieval"] == states[1]["progressed"]["retrieval"] != {}


def checkpoint_bytes(folder: Path, name: str, step: int) -> dict[str, bytes]:
    path = folder / name / "checkpoints" / f"step-{step:08d}"
    return {each.name: each.read_bytes() for each in path.glob("*.safetensors")}


@pytest.mark.parametrize("sharding", ["ddp", pytest.param("fsdp", marks=pytest.mark.distributed)])
def test_two_processes_resume_to_the_same_bytes(folder: Path, sharding: str) -> None:
    whole, halves = f"whole-{sharding}", f"halves-{sharding}"
    run_ranks(lambda: run(folder, whole, sharding=sharding), 2)
    ends = ForkedRanks.start(lambda: killed_after(folder, halves, 1, sharding=sharding), 2).wait(60)
    assert [end.status for end in ends] == [-signal.SIGKILL, 1]
    assert "RankLostError: rank 0 of 2" in str(ends[1].error)
    run_ranks(lambda: run(folder, halves, resume=True, sharding=sharding), 2)
    assert checkpoint_bytes(folder, halves, 2) == checkpoint_bytes(folder, whole, 2)
    assert without_clocks(lines(folder, halves, "metrics")) == without_clocks(lines(folder, whole, "metrics"))
    other = [{**each, "run": whole} for each in lines(folder, halves, "episodes")]
    assert other == lines(folder, whole, "episodes")


class Killer:
    """Kills rank 0 when the episodes of an iteration have been played."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_rollout_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if os.environ["RANK"] == "0" and state.global_step == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_after(folder: Path, name: str, iteration: int, **options: Any) -> None:
    make_trainer(
        folder,
        BankedWorld,
        trainer={"callbacks": [Killer(iteration)]},
        output_dir=str(folder / name),
        **{**RUN, **options},
    ).train()


def test_a_run_goes_on_with_another_number_of_processes_and_says_what_is_lost(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(folder, "steady", max_steps=3)
    run_ranks(lambda: run(folder, "grown"), 2)
    run(folder, "grown", resume=True, max_steps=3)
    assert "resumed with 1 process where it was written by 2" in caplog.text
    trained = [each for each in drawn(folder, "grown") if each[0] == "train"]
    assert trained == [each for each in drawn(folder, "steady") if each[0] == "train"]


class Failing:
    """Rank 1 fails in its second iteration."""

    def on_rollout_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if os.environ["RANK"] == "1" and state.global_step == 1:
            raise ValueError("no more of this")


def test_a_process_that_fails_ends_the_others_with_its_rank_and_reason(folder: Path) -> None:
    def work() -> None:
        make_trainer(folder, trainer={"callbacks": [Failing()]}, output_dir=str(folder / "fails"), **RUN).train()

    ends = ForkedRanks.start(work, 2).wait(60)
    assert "ValueError: no more of this" in str(ends[1].error)
    assert "RankLostError: rank 1 of 2" in str(ends[0].error)
    assert "ended the run: ValueError: no more of this" in str(ends[0].error)


class Meddling:
    """Changes a parameter in one process only."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if os.environ["RANK"] == "1":
            with torch.no_grad():
                self.trainer.model.get_output_embeddings().weight.mul_(1.5)

    trainer: Any = None


def test_copies_that_have_come_apart_are_not_saved(folder: Path) -> None:
    def work() -> None:
        meddling = Meddling()
        meddling.trainer = make_trainer(
            folder, trainer={"callbacks": [meddling]}, output_dir=str(folder / "apart"), **RUN
        )
        meddling.trainer.train()

    ends = ForkedRanks.start(work, 2).wait(60)
    assert "copies of the parameters have come apart: those of rank 1" in str(ends[0].error)
    assert not (folder / "apart/checkpoints").exists()


def test_processes_with_other_options_or_weights_are_refused_by_name(folder: Path) -> None:
    def other_options() -> None:
        make_trainer(folder, learning_rate=0.1 + int(os.environ["RANK"]), **RUN)

    def other_weights() -> None:
        own = folder / f"own-{os.environ['RANK']}"
        path = save_model(own / "model") / "model.safetensors"
        scale = 1.0 + int(os.environ["RANK"])
        save_file({name: scale * tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})
        make_trainer(own, output_dir=str(folder / "never"), **RUN)

    for work, words in ((other_options, "learning_rate is 0.1 on rank 0, 1.1 on rank 1"), (other_weights, "weights")):
        ends = ForkedRanks.start(work, 2).wait(60)
        for end in ends:
            assert "RanksDifferError" in str(end.error)
            assert words in str(end.error)
    assert not (folder / "never").exists()
