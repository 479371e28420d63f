"""Our formulas and published code on the same random tensors: values and gradients to 1e-5."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from official_code import published
from test_methods_successors import CONFIG, advantages, random_episodes
from torch import Tensor

from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import pad_rows
from trainers.maths.divergences import divergence, with_tail
from trainers.maths.losses import clipped_policy_gradient
from trainers.methods import METHODS

pytestmark = pytest.mark.official
SHAPES = [(1, 1), (4, 7), (16, 64)]


def random_tensors(shape: tuple[int, int], seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """S, O, T and a mask in which every row has a token."""
    generator = torch.Generator().manual_seed(seed)
    behaviour = -3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    student, teacher = (
        behaviour + scale * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    lengths = torch.randint(1, shape[1] + 1, (shape[0],), generator=generator)
    return student, behaviour, teacher, torch.arange(shape[1])[None] < lengths[:, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_the_sequence_ratio_is_that_of_verls_gspo(
    shape: tuple[int, int], scale: float, held: Callable[[str], None]
) -> None:
    class Config:
        clip_ratio = clip_ratio_low = 0.2
        clip_ratio_high = 0.28
        global_batch_info: ClassVar[dict[str, Any]] = {}

    theirs: list[Tensor] = []

    def kept(loss_mat: Tensor, loss_mask: Tensor, **_: Any) -> Tensor:
        theirs.append(loss_mat)
        return loss_mat.sum()

    masked_mean = SimpleNamespace(masked_mean=lambda values, mask: (values * mask).sum() / mask.sum())
    official = published(
        "core_algos.py", "compute_policy_loss_gspo", torch=torch, agg_loss=kept, verl_F=masked_mean, ActorConfig=Config
    )
    for seed in range(4):
        student, behaviour, _, mask = random_tensors(shape, seed, scale)
        advantages = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        student.requires_grad_()
        official(behaviour, student, advantages, mask.double(), config=Config())
        found = clipped_policy_gradient(
            student, behaviour, advantages, mask, epsilon=0.2, epsilon_high=0.28, level="sequence"
        ).loss_BT
        assert torch.allclose(found[mask], theirs[-1][mask], atol=1e-9)
        gradients = [torch.autograd.grad(loss[mask].sum(), student)[0] for loss in (found, theirs[-1])]
        assert torch.allclose(*gradients, atol=1e-9)
    held("4 batches of GSPO's loss")


def padded(rows: list[WeighedRow], name: str) -> Tensor:
    """A field of the rows, one turn each, as ``[B, T]``."""
    values = [row.teacher_logprobs_T["teacher"] if name == "teacher" else getattr(row, name) for row in rows]
    return pad_rows(values, max(len(row) for row in rows), torch.float32).double()  # what ours reads, and then exact


def turns_of_episodes(seed: int) -> tuple[list[WeighedRow], dict[str, Tensor]]:
    """Episodes as rows of one turn, and what published code takes of them."""
    rows = random_episodes(seed, windows=True)
    mask = pad_rows([[1.0] * len(row) for row in rows], max(len(row) for row in rows), torch.float32)
    return rows, {
        "student_log_probs": padded(rows, "behaviour_logprobs_T"),
        "teacher_log_probs": padded(rows, "teacher"),
        "response_mask": mask,
    }


def compare(rows: list[WeighedRow], found: list[list[float]], official_BT: Tensor) -> None:
    for own, theirs in zip(found, official_BT.tolist(), strict=True):
        assert own == pytest.approx(theirs[: len(own)], abs=1e-5)


@pytest.mark.parametrize("band", [0.2, 1.0])
def test_agent_opsd_by_token_is_the_published_codes(band: float, held: Callable[[str], None]) -> None:
    import math  # the code's own modules

    def cumulative(values: Tensor, gamma: float, dim: int) -> Tensor:
        assert gamma == 1.0
        return values.cumsum(dim)

    official = published(
        "opsd_utils.py", "compute_opsd_token_advantage", torch=torch, math=math, _discounted_cumsum=cumulative
    )
    config = dataclasses.replace(CONFIG, weight_clip=band)
    for seed in range(20):
        rows, given = turns_of_episodes(seed)
        returns: dict[int, dict[int, float]] = {}
        for row in rows:
            returns.setdefault(row.group_id, {})[row.episode_id] = row.return_
        prior = {group: sum(own.values()) / len(own) for group, own in returns.items()}
        theirs = official(
            token_level_rewards=torch.zeros_like(given["response_mask"]),
            v0_per_traj=torch.tensor([prior[row.group_id] for row in rows]),
            seq_advantage_per_row=torch.tensor([row.advantages_T[0] for row in rows]),
            belief_mult=True,
            signed=True,
            mult_lambda=0.5,
            mult_band=band,
            **given,
        )
        compare(rows, advantages("agent-opsd-token", rows, 0.5, config), theirs)
    held("20 batches of AgentOPSD's advantages by token")


@pytest.mark.parametrize("band", [0.2, 1.0])
@pytest.mark.parametrize("coef", [0.1, 0.5, 0.9])
def test_grsd_is_the_published_codes(band: float, coef: float, held: Callable[[str], None]) -> None:
    def mean_by_row(values: Tensor, mask: Tensor) -> Tensor:
        return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)

    official = published(
        "grsd_utils.py",
        "compute_grsd_turn_advantage",
        torch=torch,
        np=np,
        _turn_level_logprob=mean_by_row,
        _EXP_INPUT_CLIP=20.0,
    )
    config = dataclasses.replace(CONFIG, weight_clip=band)
    for seed in range(20):
        rows, given = turns_of_episodes(seed)
        outcomes: dict[int, set[bool]] = {}
        for row in rows:
            outcomes.setdefault(row.group_id, set()).add(row.kept)
        theirs, _ = official(
            seq_advantages=padded(rows, "advantages_T"),
            traj_index=np.array([row.episode_id for row in rows]),
            valid_mask=np.array([len(outcomes[row.group_id]) == 2 for row in rows]),
            uid_index=np.array([row.group_id for row in rows]),
            grsd_lambda=coef,
            g_hat_max=band,
            **given,
        )
        compare(rows, advantages("grsd", rows, coef, config), theirs)
    held("20 batches of GRSD's advantages")


@pytest.mark.parametrize(("kind", "alpha"), [("forward_kl", 0.0), ("jsd", 0.5), ("jsd", 0.3), ("reverse_kl", 1.0)])
@pytest.mark.parametrize("top_k", [None, 5])
def test_the_loss_of_sdpo_is_the_published_codes(
    kind: str, alpha: float, top_k: int | None, held: Callable[[str], None]
) -> None:
    theirs: list[Tensor] = []

    def kept(loss_mat: Tensor, **_: Any) -> Tensor:
        theirs.append(loss_mat)
        return loss_mat.sum()

    official = published("core_algos.py", "compute_self_distillation_loss", torch=torch, F=F, agg_loss=kept)
    config = SimpleNamespace(
        full_logit_distillation=True, distillation_topk=top_k, distillation_add_tail=True, alpha=alpha, is_clip=2.0
    )
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        logits_BTV, teacher_BTV = (torch.randn(3, 4, 11, generator=generator, dtype=torch.float64) for _ in range(2))
        logits_BTV.requires_grad_()
        teacher_BTV = torch.log_softmax(teacher_BTV, -1)
        student_BTV = torch.log_softmax(logits_BTV, -1)
        sampled_BT1 = torch.randint(11, (3, 4, 1), generator=generator)
        student_BT = student_BTV.gather(-1, sampled_BT1)[..., 0]
        behaviour_BT = student_BT.detach() + torch.randn(3, 4, generator=generator, dtype=torch.float64)
        ids_BTK = teacher_BTV.topk(5, -1).indices
        name = "all_log_probs" if top_k is None else "topk_log_probs"
        seen = [x if top_k is None else x.gather(-1, ids_BTK) for x in (student_BTV, teacher_BTV)]
        official(
            student_BT,
            teacher_BTV.gather(-1, sampled_BT1)[..., 0],
            torch.ones(3, 4),
            config,
            old_log_probs=behaviour_BT,
            **{f"student_{name}": seen[0], f"teacher_{name}": seen[1]},
        )
        ours = [x if top_k is None else with_tail(x, ids_BTK) for x in (student_BTV, teacher_BTV)]
        batch = cast(Any, SimpleNamespace(live_student=lambda s=student_BT: s, behaviour_BT=behaviour_BT))
        weight_BT = METHODS["sdpo"].weight(student_BT, batch, CONFIG)
        found = weight_BT * divergence(ours[0], ours[1], kind, alpha)
        assert torch.allclose(found, theirs[-1], atol=1e-7)
        gradients = [torch.autograd.grad(loss.sum(), logits_BTV, retain_graph=True)[0] for loss in (found, theirs[-1])]
        assert torch.allclose(*gradients, atol=1e-7)
    held("6 batches of SDPO's loss")
