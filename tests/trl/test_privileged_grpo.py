"""SDAR and its neighbours inside TRL's GRPO trainer: the same losses as here, and nothing of the teacher's in a row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.trl
pytest.importorskip("trl.trainer")  # without TRL, `trl` is this folder
torch = pytest.importorskip("torch")

import trl  # noqa: E402
from toy_world import ToyWorld  # noqa: E402
from trl_player import HORIZON, boxes, player  # noqa: E402
from trl_recording import GROUP, Ours, Recording, differences, recorded, sampled_places, settings  # noqa: E402

from agents.base import View  # noqa: E402
from agents.rendering import ChatRenderer  # noqa: E402
from agents.teacher import Teacher  # noqa: E402
from sdar_envs.bridges.trl import FAILED, environment_for, task_dataset  # noqa: E402
from sdar_envs.core import Transition  # noqa: E402
from trainers.bridges.trl import PrivilegedGRPOTrainer  # noqa: E402
from trainers.bridges.trl_limits import refusal  # noqa: E402
from trainers.forward.passes import score_views  # noqa: E402
from trainers.forward.root import PolicyModel  # noqa: E402
from trainers.methods import METHODS, get_method  # noqa: E402
from trainers.options import MethodOptions  # noqa: E402

CANARY = "canary-of-the-teacher"
ACCEPTED = [name for name, method in METHODS.items() if not refusal(method) and method.injection != "none"]
AUXILIARY = [name for name in ACCEPTED if get_method(name).injection == "aux"]
CLOSE = 1e-6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return player(tmp_path_factory.mktemp("player"))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def coined(**kwargs: Any) -> ToyWorld:
    """The toy world with a word in its hints that stands nowhere else."""
    world = boxes(**kwargs)
    world.secret = CANARY + " "
    return world


@pytest.fixture(scope="module")
def sdar(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Twelve steps of SDAR, with hints that only the teacher reads and a KL to the first policy."""
    options = MethodOptions(method="sdar", privilege="hints", distill_coef=1.0)
    trainer = recorded(tmp_path_factory.mktemp("sdar"), model, options, coined, max_steps=12, beta=0.05)
    trainer.train()
    return trainer


def text_of(trainer: Recording, ids: Any) -> str:
    return str(trainer.processing_class.decode([int(token) for token in ids]))


def test_twelve_steps_of_grpo_are_trls_own(model: Path, tmp_path: Path) -> None:
    weights = []
    for own in (True, False):
        environment = environment_for(boxes, list_actions=False, teacher=own)
        extra: dict[str, Any] = {"method_options": MethodOptions(method="grpo")} if own else {}
        trainer = (PrivilegedGRPOTrainer if own else trl.GRPOTrainer)(
            model=str(model),
            args=settings(tmp_path, max_steps=12),
            train_dataset=task_dataset(boxes, n=16),
            environment_factory=environment,
            **extra,
        )
        assert [tool.__name__ for tool in trainer.tools] == ["act"]
        trainer.train()
        assert trainer.state.global_step == 12
        rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
        assert len(rewards) == 6 and max(rewards) > 0.0
        weights.append([parameter.detach().clone() for parameter in trainer.model.parameters()])
    for ours, theirs in zip(*weights, strict=True):
        assert torch.equal(ours, theirs)


def test_twelve_steps_of_sdar_run_with_one_tool_and_one_task_a_group(sdar: Recording) -> None:
    assert sdar.state.global_step == 12 and len(sdar.rounds) == 6
    assert [tool.__name__ for tool in sdar.tools] == ["act"]
    for found in sdar.rounds:
        played = [episode.decisions[0].view.task_id for episode in found["episodes"]]
        assert played == [row["task_id"] for row in found["inputs"]]
        for start in range(0, len(played), GROUP):
            assert len(set(played[start : start + GROUP])) == 1
    entries = [entry for entry in sdar.state.log_history if "distill/weight" in entry]
    assert len(entries) == 12 and all(0.0 < entry["distill/weight"] < 1.0 for entry in entries)


def test_the_teacher_reads_the_ids_that_the_student_sampled(sdar: Recording, model: Path) -> None:
    """Its log-probs are those of this suite's forward pass over the same chat, written by the chat template anew."""
    found = sdar.rounds[0]
    fresh = trl.trainer.utils.create_model_from_path(str(model), dtype=torch.float32)
    renderer = ChatRenderer(sdar.processing_class)
    teacher = Teacher(renderer, privilege="hints")
    prompts, completions, masks, _ = found["rolled"]
    several = 0
    for number, episode in enumerate(found["episodes"]):
        ids, places, answer = list(prompts[number]), [], 0
        # The student's row, with the context of each state in front of its last control tokens.
        chunks = [[masks[number][0], []]]
        for token, sampled in zip(completions[number], masks[number], strict=True):
            if sampled != chunks[-1][0]:
                chunks.append([sampled, []])
            chunks[-1][1].append(token)
        for sampled, own in [(0, prompts[number]), *chunks]:
            if sampled:
                places += range(len(ids), len(ids) + len(own))
                ids += own
                continue
            state = 0 if answer == 0 else episode.replies[answer - 1].decision
            ids = [] if answer == 0 else ids
            if state is None:
                ids += own
                continue
            said = teacher.block(episode.decisions[state].privileged)
            end = max(at for at, token in enumerate(own) if text_of(sdar, [token]) == "<|im_end|>")
            cut, gap = (end, "") if answer == 0 else (end - 1, "\n")
            ids += [*own[:cut], *renderer.encode_text(("\n" if gap else "\n\n") + said + gap), *own[cut:]]
            answer += 1
        several += answer > 1
        scored = score_views(PolicyModel(fresh), [View(ids, places)], temperature=1.0, pad_id=0, grad=False)
        theirs = found["privileged_logprobs_BT"][number, sampled_places(found, number)]
        assert torch.allclose(scored.logprobs_BT[0], theirs, atol=1e-4)
        assert CANARY in text_of(sdar, ids)
    assert several > len(found["episodes"]) // 2


def test_nothing_of_the_teachers_is_in_a_students_row(sdar: Recording) -> None:
    for found in sdar.rounds:
        for name in ("prompt_ids", "completion_ids"):
            for row in found[name]:
                text = text_of(sdar, row)
                assert CANARY not in text and "Hints for this task" not in text
        assert CANARY not in str(found["rolled"][3]) + str(found["inputs"])
    assert CANARY not in str(sdar.state.log_history) + str(sdar._logs)


def test_the_whole_loss_is_ours_and_a_wrong_number_would_be_seen(sdar: Recording) -> None:
    """Policy gradient, KL and SDAR's term, at both updates of the first round."""
    losses, options = sdar.losses[:4], sdar.method_options
    assert float(sdar.rounds[0]["advantages"].abs().max()) > 0.5
    moved = [float((loss.student_BT - loss.inputs["old_per_token_logps"]).abs().max()) for loss in losses]
    assert max(moved[:2]) < 1e-4 and max(moved[2:]) > 1e-2  # the second update is off policy
    in_value, in_gradient = differences(losses, Ours(sdar, options, 1.0, beta=0.05))
    assert in_value < CLOSE and in_gradient < CLOSE
    controls = [
        Ours(sdar, dataclasses.replace(options, gate_beta=4.0), 1.0, beta=0.05),
        Ours(sdar, options, 0.9, beta=0.05),
        Ours(sdar, dataclasses.replace(options, method="grpo+opsd"), 1.0, beta=0.05),
    ]
    for wrong in controls:
        in_value, in_gradient = differences(losses, wrong)
        assert in_value > 1e-4 and in_gradient > 1e-5


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_method_that_is_accepted_has_our_loss(name: str, model: Path, tmp_path: Path) -> None:
    options = MethodOptions(method=name, privilege="plan", distill_coef=0.5, distill_decay=0)
    trainer = recorded(tmp_path, model, options)
    trainer.train()
    assert len(trainer.losses) == 4
    assert any(float(loss.inputs["advantages"].abs().max()) > 0.5 for loss in trainer.losses)
    in_value, in_gradient = differences(trainer.losses, Ours(trainer, options, 0.5))
    assert in_value < CLOSE and in_gradient < CLOSE
    in_value, in_gradient = differences(trainer.losses, Ours(trainer, options, 0.3))
    assert in_gradient > 1e-5, "half of the coefficient would be seen"
    assert name not in AUXILIARY or in_value > 1e-4


def test_most_auxiliary_methods_are_accepted() -> None:
    refused = {name for name, method in METHODS.items() if method.injection == "aux"} - set(AUXILIARY)
    # `seed` has its policy write texts about the iteration, which this trainer does not.
    assert refused == {"context-distillation", "rft", "seed"} and len(AUXILIARY) >= 14


class BreakingWorld(ToyWorld):
    """Breaks at an action, with an exception that says what only a teacher may know."""

    def _act(self, action: str) -> Transition:
        if action == "open 2":
            raise LookupError(f"{CANARY}: the coin is in box {self._coin}")
        return super()._act(action)


def breaking(**kwargs: Any) -> ToyWorld:
    return BreakingWorld(horizon=HORIZON, **kwargs)


def test_an_exception_of_the_world_reaches_no_row_and_teaches_nothing(model: Path, tmp_path: Path) -> None:
    trainer = recorded(tmp_path, model, MethodOptions(privilege="plan"), breaking)
    trainer.train()
    [found] = trainer.rounds
    broken = [number for number, episode in enumerate(found["episodes"]) if episode.failed]
    assert broken and len(broken) < len(found["episodes"])
    for number in range(len(found["episodes"])):
        text = text_of(trainer, found["prompt_ids"][number]) + text_of(trainer, found["completion_ids"][number])
        assert CANARY not in text and "LookupError" not in text
        assert (FAILED in text) == (number in broken)
        if number in broken:
            assert float(found["advantages"][number]) == 0.0
            assert not bool(found["privileged_taught_BT"][number].any())
    assert CANARY not in str(trainer._logs)


def test_a_context_over_its_budget_is_not_read_and_the_reward_still_teaches(model: Path, tmp_path: Path) -> None:
    trainer = recorded(
        tmp_path, model, MethodOptions(privilege="plan", teacher_budget=3), num_iterations=1, max_steps=1
    )
    trainer.train()
    assert not bool(trainer.rounds[0]["privileged_taught_BT"].any())
    plain = recorded(tmp_path, model, MethodOptions(method="grpo"), num_iterations=1, max_steps=1)
    plain.train()
    assert [loss.loss for loss in trainer.losses] == [loss.loss for loss in plain.losses]


def test_without_old_log_probs_the_policy_itself_is_the_one_that_sampled(model: Path, tmp_path: Path) -> None:
    """One update a round: TRL computes no O then."""
    options = MethodOptions(method="skill-sd", privilege="plan", distill_coef=0.5)
    trainer = recorded(tmp_path, model, options, num_iterations=1, max_steps=1)
    trainer.train()
    assert all("old_per_token_logps" not in loss.inputs for loss in trainer.losses)
    found = trainer.rounds[0]
    found["old_per_token_logps"] = torch.zeros(found["completion_ids"].shape)
    for loss in trainer.losses:
        for row, number in enumerate(loss.inputs["privileged_episodes_B"].tolist()):
            found["old_per_token_logps"][number, : loss.student_BT.shape[1]] = loss.student_BT[row]
    in_value, in_gradient = differences(trainer.losses, Ours(trainer, options, 0.5))
    assert in_value < CLOSE and in_gradient < CLOSE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss_type": "grpo"}, "GRPOConfig.loss_type is expected to be 'dapo'"),
        ({"mask_truncated_completions": True}, "mask_truncated_completions is expected to be False"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level is expected to be 'token'"),
    ],
)
def test_settings_whose_sums_would_be_others_are_refused(
    changes: dict[str, Any], said: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        recorded(tmp_path, model, MethodOptions(), **changes)


def test_environments_that_keep_nothing_for_a_teacher_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"environment_for\(..., teacher=True\), got boxes"):
        PrivilegedGRPOTrainer(
            model=str(model),
            args=settings(tmp_path),
            train_dataset=task_dataset(boxes, n=8),
            environment_factory=environment_for(boxes, list_actions=False),
        )
