"""SDAR from the first task to the gradient, in one file that is read from top to bottom.

The student plays; the same parameters, given what the student may not read, score the student's tokens again; a sigmoid
gate on the difference decides how much of each token is distilled, on top of GRPO. Formulas are written out here, and
playing, prompts and log-probs are the suite's. `SDARTrainer` does the same with micro-batches, evaluations, checkpoints
and every other method; a test holds that losses and gradients are the same to 1e-6. In this folder, after
``sdar tiny --env parcels:Parcels-v0 --demonstrator parcels:act --teacher-context parcels:context --output-dir tiny``:

    python sdar_loop.py --model tiny --iterations 40

Symbols, per sampled token: S log-prob of the student, `old` the same when it was sampled, T given the privileged
prompt, R of the reference (the initial parameters), A the advantage of its episode.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import parcels
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.base import View
from trainers import SDARConfig
from trainers.batch.token_batch import mini_batches, pad_rows
from trainers.forward.passes import score_rows, score_views
from trainers.forward.root import PolicyModel
from trainers.methods import get_method
from trainers.rollout.batch_env import LoopBatchEnv
from trainers.rollout.collect import Rollout, collect
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.policies import Policies, make_policies
from trainers.rollout.rows import build_rows, read_teachers
from trainers.rollout.tasks import TaskPlan

SDAR = get_method("sdar")  # its entry in the table of methods: the published coefficient, and which prompt is read


@dataclass
class Row:
    """An episode, or a part of one, as one sequence of tokens; lists have one number per sampled token."""

    view: View  # ids, and the positions of the sampled ones
    old: Sequence[float]
    reference: Sequence[float]
    teacher: Sequence[float] | None  # None where the privileged context did not fit
    advantages: Sequence[float]

    def __len__(self) -> int:
        return len(self.view.loss_positions)


def episode_advantages(rollouts: Sequence[Rollout]) -> dict[int, float]:
    """GRPO: the return of an episode against those of the same task. Episodes whose environment broke have none."""
    groups: dict[int, list[int]] = {}
    for index, rollout in enumerate(rollouts):
        if not rollout.episode.failed:
            groups.setdefault(rollout.task.group, []).append(index)
    advantages: dict[int, float] = {}
    for members in groups.values():
        returns = [rollouts[index].episode.return_ for index in members]
        flat = max(returns) == min(returns)  # nothing to compare
        for index, value in zip(members, returns, strict=True):
            advantages[index] = 0.0 if flat else (value - fmean(returns)) / (stdev(returns) + 1e-6)
    return advantages


def read_rows(
    rollouts: Sequence[Rollout], policy: PolicyModel, reference: PolicyModel, policies: Policies, args: SDARConfig
) -> list[Row]:
    """Everything that is known of the sampled tokens before the update: `old`, R, T and A."""

    def logprobs(model: PolicyModel, views: Sequence[View]) -> list[list[float]]:
        pad = policies.renderer.pad_id
        return score_rows(model, views, temperature=args.temperature, pad_id=pad, token_budget=args.micro_batch_tokens)

    sampled = build_rows(rollouts)
    # The teacher is the policy itself: the same sampled ids, after a prompt that also holds the privileged context.
    readings, _ = read_teachers(sampled, rollouts, policies.readers)
    read = [index for index, reading in enumerate(readings) if "teacher" in reading]
    teacher = dict(zip(read, logprobs(policy, [readings[index]["teacher"] for index in read]), strict=True))
    of_reference = logprobs(reference, [row.student for row in sampled])
    advantages = episode_advantages(rollouts)
    return [
        Row(
            view=row.student,
            old=row.behaviour_logprobs_T,
            reference=of_reference[index],
            teacher=teacher.get(index),
            # An action that the environment did not understand costs its own tokens something.
            advantages=[advantages[row.episode_id] - args.invalid_action_penalty * wrong for wrong in row.invalid_T],
        )
        for index, row in enumerate(sampled)
    ]


def sdar_loss(policy: PolicyModel, rows: Sequence[Row], args: SDARConfig, pad_id: int) -> Tensor:
    """The loss of one optimiser step: the mean over its sampled tokens of PG + beta KL + coefficient * distillation."""
    scored = score_views(policy, [row.view for row in rows], temperature=args.temperature, pad_id=pad_id, grad=True)
    S, mask = scored.logprobs_BT, scored.mask_BT

    def padded(values: Sequence[Sequence[float]]) -> Tensor:
        return pad_rows(values, S.shape[1], torch.float32)

    old, R = padded([row.old for row in rows]), padded([row.reference for row in rows])
    A, T = padded([row.advantages for row in rows]), padded([row.teacher or () for row in rows])
    taught = mask & torch.tensor([row.teacher is not None for row in rows])[:, None]

    # GRPO's policy gradient: clipped, and for a bad episode at most `delta` times its advantage.
    ratio = torch.exp(S - old)
    high = args.epsilon if args.epsilon_high is None else args.epsilon_high
    policy_gradient = torch.maximum(-A * ratio, -A * ratio.clamp(1 - args.epsilon, 1 + high))
    if args.delta is not None:
        policy_gradient = torch.where(A < 0, torch.minimum(policy_gradient, -A * args.delta), policy_gradient)

    # The estimate k3 of the KL to the reference.
    kl = torch.exp(R - S) - (R - S) - 1

    # SDAR: the gate is a constant of the gradient, so a token is raised by at most the coefficient, and by next to
    # nothing where the teacher finds it less likely than the student does.
    gate = torch.sigmoid(args.gate_beta * (T - S)).detach()
    distillation = torch.where(taught, -gate * S, 0.0)

    per_token = policy_gradient + args.beta * kl + SDAR.coefficient(0, args) * distillation
    return torch.where(mask, per_token, 0.0).sum() / mask.sum()


def train(model_folder: str, args: SDARConfig) -> list[float]:
    """Train the model of a folder on parcels; returns the success rate of each iteration's episodes."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    policy, reference = PolicyModel(model), PolicyModel(copy.deepcopy(model).requires_grad_(False))
    source = EnvironmentSource("Parcels-v0", workers=0)  # played in this process, and not in worker processes
    policies = make_policies(model, tokenizer, args, SDAR, source, parcels.context)
    pad_id = policies.renderer.pad_id
    environments = LoopBatchEnv.of(source, "train", args.episodes_together)
    tasks = TaskPlan(source.task_ids("train"), args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    successes = []
    for step in range(args.max_steps):
        # Play: the teacher's side of every turn is sealed in the rollouts, where no student's prompt can reach it.
        rollouts = collect(policies.student, environments, tasks.draws(step), max_turns=args.max_turns, seal_info=True)
        successes.append(fmean(rollout.episode.success for rollout in rollouts))
        # Read.
        rows = read_rows(rollouts, policy, reference, policies, args)
        # Update.
        for part in mini_batches(rows, args.num_mini_batches, key=(args.seed, step, 0)):
            loss = sdar_loss(policy, part, args, pad_id)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
        policies.sampler.sync_weights(model, step + 1)
        print(f"iteration {step + 1}: success {successes[-1]:.2f}, loss of the last step {loss.item():.3f}")
    environments.close()
    source.close()
    model.save_pretrained("trained")
    tokenizer.save_pretrained("trained")
    return successes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a folder that sdar tiny has made")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train(given.model, SDARConfig.preset("any-tiny", max_steps=given.iterations, seed=given.seed))
