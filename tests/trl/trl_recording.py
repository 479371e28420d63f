"""TRL's trainer with all that its losses were made of, and the same losses by this suite's own objective."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig
from trl_player import HORIZON, boxes

from agents.base import View
from sdar_envs.bridges.trl import environment_for, task_dataset
from trainers.batch.outcome import EpisodeOutcome
from trainers.batch.row import ScoredRow
from trainers.batch.token_batch import collate
from trainers.bridges.privileged_rows import answers
from trainers.bridges.trl import PrivilegedGRPOTrainer
from trainers.methods import IterationPlan, get_method, weigh
from trainers.methods.objective import objective
from trainers.options import MethodOptions, PolicyOptions

GROUP = 4


def settings(folder: Path, **changes: Any) -> GRPOConfig:
    """Two micro-batches of eight rows an optimiser step, on the CPU."""
    fixed: dict[str, Any] = {
        "max_steps": 2, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "num_generations": GROUP,
        "num_iterations": 2, "max_completion_length": 200, "max_tool_calling_iterations": HORIZON + 1, "bf16": False,
        "use_cpu": True, "report_to": [], "logging_steps": 1, "save_strategy": "no", "learning_rate": 3e-3,
        "gradient_checkpointing": False, "disable_tqdm": True,
    }  # fmt: skip
    return GRPOConfig(str(folder), **fixed | changes)


@dataclass
class Loss:
    """One micro-batch of TRL: what went in, the live log-probs and entropies, the loss and its gradient on them."""

    inputs: dict[str, Any]
    student_BT: Tensor
    entropy_BT: Tensor
    loss: float
    gradient_BT: Tensor


class Recording(PrivilegedGRPOTrainer):
    """Keeps what `losses` and `rounds` say; computes nothing of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.losses: list[Loss] = []
        self.rounds: list[dict[str, Any]] = []
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        episodes = [environment.episode for environment in self.environments]
        with torch.no_grad():
            ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
            seen = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
            width = output["completion_ids"].shape[1]
            _, entropy, _ = self._get_per_token_logps_and_entropies(self.model, ids, seen, width, compute_entropy=True)
        # With the sampler's entropies, and with rows as they are before TRL pads them.
        kept = {"episodes": episodes, "rolled": copy.deepcopy(self._rolled), "inputs": inputs, "entropy": entropy}
        self.rounds.append({**output, **kept})
        return output

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self.last = found[:2]
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss = super()._compute_loss(model, inputs)
        student_BT, entropy_BT = self.last
        (gradient_BT,) = torch.autograd.grad(loss, student_BT, retain_graph=True)
        kept = {name: value.clone() if isinstance(value, Tensor) else value for name, value in inputs.items()}
        self.losses.append(Loss(kept, student_BT.detach(), entropy_BT.detach(), float(loss), gradient_BT))
        return loss


def recorded(folder: Path, model: Path, options: MethodOptions, world: Any = boxes, **changes: Any) -> Recording:
    """A trainer of the toy world; it has not been run."""
    return Recording(
        model=str(model),
        args=settings(folder, **changes),
        train_dataset=task_dataset(world, n=16),
        environment_factory=environment_for(world, list_actions=False, teacher=True),
        method_options=options,
    )


# The same losses by this suite's objective, from lists of numbers.


def sampled_places(inputs: dict[str, Any], row: int) -> Tensor:
    """The columns of a row's sampled tokens."""
    return (inputs["completion_mask"][row] * inputs["tool_mask"][row]).bool().nonzero()[:, 0]


def parts_of(found: dict[str, Any], number: int) -> list[tuple[Tensor, list[int], list[bool], bool]]:
    """A row of TRL as this suite has it: what was said while the episode ran, and what was said after its end.

    For each part that there is: columns, turns, whether tokens are of an action that was not understood, and whether a
    teacher can say something of it.
    """
    places = sampled_places(found, number)
    begins = [at for at in range(len(places)) if at == 0 or places[at] != places[at - 1] + 1]
    said = answers(found["rolled"][3][number], found["episodes"][number])
    assert len(begins) == len(said)
    turns = [sum(at >= begin for begin in begins) - 1 for at in range(len(places))]
    parts = []
    for running in (True, False):
        own = [at for at, turn in enumerate(turns) if (said[turn][0] is not None) == running]
        invalid = [not said[turns[at]][1] for at in own]
        if own:
            parts.append((places[own], [turns[at] for at in own], invalid, running))
    return parts


class Ours:
    """The rows of a trainer's first round of generation, and the losses that this suite's objective makes of them.

    Args:
        trainer: Whose rows they are; it keeps O (`num_iterations` of 2).
        options: Of the method.
        coefficient: Of its injection.
        beta: Of the KL to the reference.
    """

    def __init__(self, trainer: Recording, options: MethodOptions, coefficient: float, beta: float = 0.0) -> None:
        self.found = found = trainer.rounds[0]
        self.method = method = get_method(options.method)
        reads, kl = bool(method.teacher_views), beta != 0.0
        self.plan = IterationPlan(method, options, 0, 42, coefficient, reads, False, False, kl, False)
        self.policy = PolicyOptions(
            beta=beta, kl_estimator="k3", epsilon=0.2, use_bias_correction_kl=trainer.args.use_bias_correction_kl
        )
        outcomes = [
            EpisodeOutcome(number, number // GROUP, one.return_, one.failed, one.success, len(one.replies))
            for number, one in enumerate(found["episodes"])
        ]
        kept = method.keep(outcomes, options) if method.keep is not None else [True] * len(outcomes)
        self.places: list[Tensor] = []  # the columns of each row's tokens
        rows: list[ScoredRow] = []
        for number, episode in enumerate(found["episodes"]):
            for places, turns, invalid, running in parts_of(found, number):

                def numbers(name: str, number: int = number, places: Tensor = places) -> list[float]:
                    return found[name][number, places].tolist()  # type: ignore[no-any-return]

                rows.append(
                    ScoredRow(
                        student=View(list(range(len(places))), list(range(len(places)))),
                        behaviour_logprobs_T=numbers("old_per_token_logps"),
                        turn_ids_T=turns,
                        episode_id=number,
                        group_id=number // GROUP,
                        index=len(rows),
                        entropies_T=numbers("entropy"),
                        invalid_T=invalid,
                        return_=episode.return_,
                        kept=kept[number],
                        teacher_logprobs_T={"teacher": numbers("privileged_logprobs_BT")} if reads and running else {},
                        reference_logprobs_T=numbers("ref_per_token_logps") if kl else None,
                    )
                )
                self.places.append(places)
        advantages = {row.index: [float(found["advantages"][row.episode_id])] * len(row) for row in rows}
        self.tokens = sum(len(row) for row in rows)
        self.rows = weigh(self.plan, rows, advantages, mask_truncated=False)

    def loss(self, of: Loss) -> tuple[float, Tensor]:
        """The loss of a micro-batch, and its gradient at the columns of TRL's, ``[B, T]``."""
        numbers = of.inputs["privileged_episodes_B"].tolist()
        chosen = [row for number in numbers for row in self.rows if row.episode_id == number]
        batch = collate(chosen, teacher_views=self.method.teacher_views)
        at = [(numbers.index(row.episode_id), self.places[row.index]) for row in chosen]
        student_BT, entropy_BT = torch.zeros(batch.mask_BT.shape), torch.zeros(batch.mask_BT.shape)
        for own, (row, places) in enumerate(at):
            student_BT[own, : len(places)] = of.student_BT[row, places]
            entropy_BT[own, : len(places)] = of.entropy_BT[row, places]
        batch.student_BT, batch.entropy_BT = student_BT.requires_grad_(), entropy_BT
        value = objective(self.plan, batch, self.policy, denominator=self.tokens).loss
        (gradient_BT,) = torch.autograd.grad(value, batch.student_BT)
        placed_BT = torch.zeros_like(of.gradient_BT)
        for own, (row, places) in enumerate(at):
            placed_BT[row, places] = gradient_BT[own, : len(places)]
        return float(value), placed_BT


def differences(losses: list[Loss], ours: Ours) -> tuple[float, float]:
    """The largest difference of losses, and of gradients on log-probs, over micro-batches."""
    found = [(loss, *ours.loss(loss)) for loss in losses]
    return (
        max(abs(loss.loss - value) for loss, value, _ in found),
        max(float((loss.gradient_BT - gradient).abs().max()) for loss, _, gradient in found),
    )
