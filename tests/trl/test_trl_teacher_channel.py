"""A remote world in TRL's trainer: the policy over an OpenEnv server, its teacher over the teacher's channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.trl
pytest.importorskip("trl.trainer")
pytest.importorskip("openenv.core")
pytest.importorskip("uvicorn")

from running_server import TOKEN, Running  # noqa: E402
from trl_player import boxes, player  # noqa: E402
from trl_recording import Ours, Recording, differences, settings  # noqa: E402

from sdar_envs.bridges.trl import environment_for, task_dataset  # noqa: E402
from trainers.options import MethodOptions  # noqa: E402

CANARY = "canary-of-the-teacher"


def served(**kwargs: Any) -> Any:
    """The toy world with a word in its hints that stands nowhere else."""
    world = boxes(**kwargs)
    world.secret = CANARY + " "
    return world


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    server = Running(served)
    yield server
    server.stop()


def trained(folder: Path, running: Running, token: str = TOKEN) -> Recording:
    world = {"env_id": "sdar/OpenEnv-v0", "url": running.url}
    trainer = Recording(
        model=str(player(folder / "player")),
        args=settings(folder / "run"),
        train_dataset=task_dataset(n=16, **world),
        environment_factory=environment_for(
            list_actions=False, teacher=True, teacher_url=running.teacher, teacher_token=token, **world
        ),
        method_options=MethodOptions(method="sdar", privilege="hints", distill_coef=1.0),
    )
    trainer.train()
    return trainer


def test_what_a_teacher_knows_of_every_turn_comes_over_its_channel(running: Running, tmp_path: Path) -> None:
    trainer = trained(tmp_path, running)
    [found] = trainer.rounds
    local = boxes()
    turns = 0
    for episode, row in zip(found["episodes"], found["inputs"], strict=True):
        local.reset(options={"task_id": row["task_id"]})
        box = local.teacher_view()["facts"]["box"]
        for decision in episode.decisions:
            assert decision.privileged is not None
            assert decision.privileged.reveal()["hints"] == [f"{CANARY} look in box {box}"]
            turns += 1
    assert turns > len(found["episodes"])  # episodes have several
    said = trainer.processing_class.batch_decode(found["prompt_ids"]) + trainer.processing_class.batch_decode(
        found["completion_ids"]
    )
    assert CANARY not in "".join(said) + str(found["rolled"][3])
    assert bool(found["privileged_taught_BT"].any())
    in_value, in_gradient = differences(trainer.losses, Ours(trainer, trainer.method_options, 1.0))
    assert in_value < 1e-6 and in_gradient < 1e-6


def test_a_refused_teacher_ends_the_run_and_does_not_train_without_one(
    running: Running, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="the environment failed"):
        trained(tmp_path, running, token=TOKEN[:-1] + "x")
    assert "status 401" in capfd.readouterr().err
