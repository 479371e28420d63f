"""The optimiser step: rows in, weights changed, figures out.

Mini-batches are optimiser steps; micro-batches only cut their work, because every loss is divided by the loss tokens of
the whole step. A non-finite gradient changes nothing: the step is skipped and counted, and too many of them end the
run. Not here: the loss itself (`objective`), where rows come from (`rows`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .batch import Row
from .batching import collate, loss_denominator, loss_tokens, micro_batches, mini_batches
from .engine import Engine
from .logprobs import score_views
from .methods import Method, needs_entropy, needs_vocabulary
from .objective import Objective, objective, summarise
from .vocabulary import against

if TYPE_CHECKING:
    from .config import SDARConfig

# The share of skipped updates is judged against at least this many, so that one early skip does not end a run.
SKIP_WINDOW = 500


class NonFiniteGradientsError(RuntimeError):
    """Updates were skipped too often because their gradients were not finite."""


@dataclass(slots=True)
class UpdateCounters:
    """What a run must remember of its updates."""

    updates: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    tokens: int = 0


@dataclass(slots=True)
class MasterWeights:
    """Float32 masters of 16-bit parameters; a float32 parameter is its own master."""

    named: list[tuple[str, nn.Parameter]]
    masters: list[nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.masters = [
            parameter if parameter.dtype == torch.float32 else nn.Parameter(parameter.detach().float().clone())
            for _, parameter in self.named
        ]

    def take_gradients(self) -> None:
        """Move the gradients of 16-bit parameters to their masters, adding to what is there.

        Called after every micro-batch: added up in 16 bits, small parts would be lost, and the sum would depend on how
        a step is cut.
        """
        for (_, parameter), master in zip(self.named, self.masters, strict=True):
            if master is not parameter and parameter.grad is not None:
                own, parameter.grad = parameter.grad.float(), None
                master.grad = own if master.grad is None else master.grad.add_(own)

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the parameters."""
        for (_, parameter), master in zip(self.named, self.masters, strict=True):
            if master is not parameter:
                parameter.copy_(master)

    def named_masters(self) -> list[tuple[str, nn.Parameter]]:
        """What the optimiser updates, by parameter name."""
        return [(name, master) for (name, _), master in zip(self.named, self.masters, strict=True)]

    def separate(self) -> dict[str, Tensor]:
        """The masters that are not the parameters themselves, for a checkpoint."""
        pairs = zip(self.named, self.masters, strict=True)
        return {name: master for (name, parameter), master in pairs if master is not parameter}

    @torch.no_grad()
    def load_separate(self, path: Path) -> None:
        """Put back what `separate` gave, and round it into the parameters."""
        from safetensors.torch import load_file

        saved = load_file(path)
        for (name, parameter), master in zip(self.named, self.masters, strict=True):
            if master is not parameter:
                master.copy_(saved[name])
        self.publish()


def learning_rate_at(config: SDARConfig, step: int) -> float:
    """The learning rate of iteration `step` (from 0): linear warm-up, then constant or linearly to 0 at the end."""
    rate = config.learning_rate
    if step < config.warmup_steps:
        return rate * (step + 1) / config.warmup_steps
    if config.lr_scheduler_type == "constant":
        return rate
    return rate * max(0.0, (config.max_steps - step) / max(1, config.max_steps - config.warmup_steps))


def make_optimizer(config: SDARConfig, named: Sequence[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """The configured optimiser; weight decay acts on matrices only, as usual for transformers."""
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optim == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate)
    betas = (config.adam_beta1, config.adam_beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.adam_epsilon)


class Updater:
    """Owns the optimiser of a model.

    Args:
        model: A causal LM, prepared by the engine.
        method: Row of the methods table.
        config: Optimiser, clip and batch options.
        engine: The machine; knows the mode of a backward pass.
        pad_id: Any valid id.
    """

    def __init__(self, model: Any, method: Method, config: SDARConfig, engine: Engine, pad_id: int) -> None:
        self.model = model
        self.method = method
        self.config = config
        self.engine = engine
        self.pad_id = pad_id
        self.weights = MasterWeights([(name, p) for name, p in model.named_parameters() if p.requires_grad])
        self.optimizer = make_optimizer(config, self.weights.named_masters())
        self.counters = UpdateCounters()

    def update(self, rows: Sequence[Row], *, step: int, coef: float) -> dict[str, float]:
        """All optimiser steps of an iteration.

        Args:
            rows: Rows with advantages, and with the teacher and reference log-probs that the method wants.
            step: Iteration, from 0: sets the learning rate and the counted order of rows.
            coef: The method's coefficient at this iteration.

        Returns:
            Figures of the iteration; ``sampling/logp_diff_*`` compare the sampler's log-probs with the trainer's at
            the first optimiser step, before any weight has moved.

        Raises:
            NonFiniteGradientsError: Too many updates were skipped.
        """
        rate = learning_rate_at(self.config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        usable = [row for row in rows if len(row)]
        wanted = self.config.mini_batch_rows
        count = self.config.num_mini_batches if wanted is None else math.ceil(len(usable) / wanted)
        parts: list[Objective] = []
        first: list[Objective] = []
        norms: list[float] = []
        losses = 0.0
        skipped = 0
        for repeat in range(self.config.num_iterations if usable else 0):
            for rows_of_step in mini_batches(usable, max(count, 1), key=(self.config.seed, step, repeat)):
                own, norm = self.optimiser_step(rows_of_step, coef=coef)
                first = first or own
                parts += own
                losses += sum(float(part.loss.detach()) for part in own)
                norms.append(norm)
                skipped += not math.isfinite(norm)
        figures = dict(summarise(parts))
        shift = summarise(first)
        finite = [norm for norm in norms if math.isfinite(norm)]
        figures |= {
            "loss": losses / max(len(norms), 1),
            "grad_norm": sum(finite) / max(len(finite), 1),
            "learning_rate": rate,
            "updates_skipped": float(skipped),
            "sampling/logp_diff_mean": shift.get("policy/logprob_shift", 0.0),
            "sampling/logp_diff_max": shift.get("policy/logprob_shift_max", 0.0),
        }
        return figures

    def optimiser_step(self, rows: Sequence[Row], *, coef: float) -> tuple[list[Objective], float]:
        """One optimiser step over `rows`; returns its micro-batches' figures and the gradient norm before clipping."""
        with self.engine.learning(self.model):
            parts = self.accumulate(rows, coef=coef)
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.masters, self.config.max_grad_norm))
        self.counters.updates += 1
        if math.isfinite(norm):
            self.optimizer.step()
            self.weights.publish()
            self.counters.skipped_in_a_row = 0
            self.counters.tokens += loss_tokens(rows, mask_truncated=self.config.mask_truncated_completions)
        else:
            self._count_skip(rows)
        self.optimizer.zero_grad(set_to_none=True)
        return parts, norm

    def accumulate(self, rows: Sequence[Row], *, coef: float) -> list[Objective]:
        """Add the gradient of the whole step's loss to the masters, micro-batch by micro-batch."""
        mask_truncated = self.config.mask_truncated_completions
        denominator = loss_denominator(rows, self.config)
        with_entropy = needs_entropy(self.method, self.config, coef)
        with_divergence = needs_vocabulary(self.method, coef)
        parts = []
        for indices in micro_batches([len(row.student.ids) for row in rows], self.config.micro_batch_tokens):
            picked = [rows[index] for index in indices]
            read = with_divergence and any(row.teacher_tokens is not None for row in picked)
            scored = score_views(
                self.model,
                [row.student for row in picked],
                temperature=self.config.temperature,
                pad_id=self.pad_id,
                chunk=self.config.logprob_chunk,
                grad=True,
                entropy=with_entropy,
                look=against(picked, self.config, self.engine.device) if read else None,
            )
            views = self.method.teacher_views if coef else ()
            batch = collate(
                picked, device=scored.logprobs_BT.device, teacher_views=views, mask_truncated=mask_truncated
            )
            batch.student_BT = scored.logprobs_BT
            if scored.entropy_BT is not None:
                batch.entropy_BT = scored.entropy_BT
            if with_divergence:
                # Where no row was read, there is nothing to differ from, and no token where it would count.
                batch.divergence_BT = scored.spread(*scored.looked) if read else torch.zeros_like(scored.logprobs_BT)
            part = objective(self.method, batch, self.config, coef=coef, denominator=denominator)
            part.loss.backward()
            self.weights.take_gradients()
            part.loss = part.loss.detach()
            parts.append(part)
        return parts

    def _count_skip(self, rows: Sequence[Row]) -> None:
        counters = self.counters
        counters.skipped += 1
        counters.skipped_in_a_row += 1
        allowed = self.config.max_skipped_share * max(counters.updates, SKIP_WINDOW)
        if counters.skipped_in_a_row >= self.config.max_consecutive_skips or counters.skipped > allowed:
            raise NonFiniteGradientsError(
                f"{counters.skipped} of {counters.updates} updates had non-finite gradients, the last "
                f"{counters.skipped_in_a_row} in a row, and were skipped; episodes of the last one: "
                f"{sorted({row.episode_id for row in rows})[:8]}. Lower learning_rate or max_grad_norm, or check the "
                "rewards; no skipped update changed a weight"
            )
