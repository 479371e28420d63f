"""The optimiser step: rows in, parameters changed, metrics out.

A mini-batch is one optimiser step. Micro-batches only divide its work, because every loss is divided by the loss tokens
of the whole step. A non-finite gradient changes nothing: the step is skipped and counted, and too many skipped steps
end the run. Not here: the loss itself (`methods.objective`), where rows come from (`rollout.rows`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..batch.row import SampledRow, WeighedRow, require_stage
from ..batch.token_batch import collate, loss_tokens, mini_batches
from ..forward.distributions import against
from ..forward.passes import score_views
from ..forward.root import PolicyModel
from ..methods.method import IterationPlan
from ..methods.objective import Objective, combined, objective, summarise
from ..options import Options
from .adapters import base_norm, change_norm
from .base import Engine, owns
from .held_weights import AveragedWeights
from .optimizers import HostState, make_optimizer, set_rate, step_scope
from .whole_tensors import copy_into

# The share of skipped updates is judged against at least this many, so that one early skip does not end a run.
SKIP_WINDOW = 500


class NonFiniteGradientsError(RuntimeError):
    """Updates were skipped too often because their gradients were not finite."""


@dataclass(slots=True)
class UpdateCounters:
    """Counts over the optimiser steps of a run; they go into checkpoints."""

    updates: int = 0  # optimiser steps, skipped ones included
    skipped: int = 0
    skipped_in_a_row: int = 0
    tokens: int = 0  # loss tokens of the steps that were not skipped


@dataclass(slots=True)
class MasterWeights:
    """Float32 copies (masters) of 16-bit parameters, which the optimiser updates.

    A float32 parameter is its own master, and so is every parameter where `separate_masters` is False: an update that
    is smaller than a step of its 16 bits is then lost. Sharded parameters are float32 whatever the model computes in
    (`computes_in`), and a checkpoint, whose model is in that precision, then holds them besides.
    """

    named: list[tuple[str, nn.Parameter]]
    separate_masters: bool = True
    computes_in: torch.dtype = torch.float32
    masters: list[nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.masters = [
            parameter
            if parameter.dtype == torch.float32 or not self.separate_masters
            else nn.Parameter(parameter.detach().float().clone())
            for _, parameter in self.named
        ]

    def take_gradients(self) -> None:
        """Add the gradients of 16-bit parameters to those of their masters, and clear them.

        Called after every micro-batch: a sum in 16 bits would lose small parts, and would depend on how a step is cut.
        """
        for (_, parameter), master in zip(self.named, self.masters, strict=True):
            if master is not parameter and parameter.grad is not None:
                # Added without a float32 copy of the 16-bit gradient, but for the first, which becomes the sum.
                if master.grad is None:
                    master.grad = parameter.grad.float()
                else:
                    master.grad.add_(parameter.grad)
                parameter.grad = None

    @torch.no_grad()
    def probe_rounded(self) -> list[Tensor]:
        """Up to 256 evenly spaced values of every 16-bit parameter without a master: small updates of it are lost."""
        found = []
        for (_, parameter), master in zip(self.named, self.masters, strict=True):
            if master is parameter and parameter.dtype != torch.float32:
                flat = parameter.detach().reshape(-1)
                found.append(flat[:: max(1, flat.numel() // 256)][:256].clone())
        return found

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the parameters, rounded to their precision."""
        for (_, parameter), master in zip(self.named, self.masters, strict=True):
            if master is not parameter:
                parameter.copy_(master)

    def named_masters(self) -> list[tuple[str, nn.Parameter]]:
        """The masters by parameter name: what the optimiser updates."""
        return [(name, master) for (name, _), master in zip(self.named, self.masters, strict=True)]

    def separate(self) -> dict[str, Tensor]:
        """The masters that are no parameters, or more precise than what computes, for a checkpoint."""
        pairs = zip(self.named, self.masters, strict=True)
        return {name: m for (name, p), m in pairs if m is not p or (p.dtype == torch.float32 != self.computes_in)}

    @torch.no_grad()
    def load_separate(self, path: Path) -> None:
        """Load what `separate` returned, and copy it into the parameters."""
        from safetensors.torch import load_file

        saved = load_file(path)
        for (name, _), master in zip(self.named, self.masters, strict=True):
            if name in saved:
                copy_into(master, saved[name])
        self.publish()


def learning_rate_at(options: Options, step: int) -> float:
    """The learning rate of iteration `step` (from 0): linear warm-up, then constant or linearly to 0 at the end."""
    rate, total = options.learning_rate, options.max_steps
    if step < options.warmup_steps:
        return rate * (step + 1) / options.warmup_steps
    if options.lr_scheduler_type == "constant":
        return rate
    return rate * max(0.0, (total - step) / max(1, total - options.warmup_steps))


def loss_denominator(tokens: float, options: Options) -> float:
    """The divisor of the loss sums of an optimiser step, over all its micro-batches.

    ``dapo``: the step's loss tokens, so that each token counts the same within a step, and less in a step of long
    episodes. ``dr_grpo`` (arXiv 2503.20783, with ``scale_rewards`` ``none``): the tokens that a step can have at most,
    the same at every step, so that a token counts the same however long its episode and its step are.

    Args:
        tokens: Loss tokens of the whole optimiser step, over all micro-batches and ranks.
        options: Kind of loss, and the sizes that bound a step.
    """
    if options.loss_type == "dapo":
        return tokens
    # The largest number of loss tokens: a row is one turn in a window, and a whole episode in a transcript.
    if options.mini_batch_rows is not None:
        turns = options.max_turns if options.context == "transcript" else 1
        return options.mini_batch_rows * turns * options.max_completion_length
    episodes = options.tasks_per_step * options.num_generations
    return episodes * options.max_turns * options.max_completion_length / options.num_mini_batches


class Updater:
    """Owns the optimiser of a policy.

    Args:
        root: The policy, prepared by the engine.
        options: Optimiser, clip and batch options.
        engine: Where the model computes; gives the scope of a backward pass, clipping, and sums over processes.
        pad_id: Any valid id, for padding.
    """

    def __init__(self, root: PolicyModel, options: Options, engine: Engine, pad_id: int) -> None:
        self.root = root
        self.options = options
        self.engine = engine
        self.pad_id = pad_id
        named = root.language_model.named_parameters()
        learning = [(name, p) for name, p in named if p.requires_grad]
        self.masters = MasterWeights(
            learning, separate_masters=options.master_weights != "none", computes_in=engine.dtype
        )
        self.optimizer = make_optimizer(options, self.masters.named_masters())
        self.host_state: HostState | None = None
        if options.offload_optimizer:
            pairs = zip(learning, self.masters.masters, strict=True)
            self.host_state = HostState(self.optimizer, [(parameter, master) for (_, parameter), master in pairs])
        self.counters = UpdateCounters()
        self._base_norm = base_norm(root.language_model)  # 0 without adapters
        self.average: AveragedWeights | None = None  # of the parameters, where the teacher is one (`engine.policies`)

    def update(self, rows: Sequence[WeighedRow], plan: IterationPlan) -> dict[str, float]:
        """All optimiser steps of an iteration.

        Args:
            rows: The rows that the iteration learns from, weighed: those of all processes, the same in each.
            plan: The method at this iteration; its step sets the learning rate and the counted order of rows.

        Returns:
            Metrics of the iteration; ``sampling/logp_diff_*`` compare the sampler's log-probs with the trainer's at
            the first optimiser step, before any parameter has changed.

        Raises:
            NonFiniteGradientsError: Too many updates were skipped.
            TypeError: A row was not weighed.
        """
        require_stage(rows, WeighedRow, "Updater.update", "weigh the rows first (methods.weigh)")
        with nullcontext() if self.host_state is None else self.host_state.in_use():
            return self._update(rows, plan)

    def _update(self, rows: Sequence[WeighedRow], plan: IterationPlan) -> dict[str, float]:
        """`update`, with the optimiser's state at hand."""
        rate = learning_rate_at(self.options, plan.step)
        set_rate(self.optimizer, rate)
        probed = self.masters.probe_rounded()
        # How many mini-batches, hence optimiser steps, per pass over the rows.
        usable = [row for row in rows if len(row)]
        wanted = self.options.mini_batch_rows
        count = self.options.num_mini_batches if wanted is None else math.ceil(len(usable) / wanted)
        parts: list[Objective] = []  # of all micro-batches
        first: list[Objective] = []  # of those of the first optimiser step
        norms: list[float] = []  # of gradients before clipping, one per optimiser step
        losses = 0.0
        skipped = 0
        for repeat in range(self.options.num_iterations if usable else 0):
            for rows_of_step in mini_batches(usable, max(count, 1), key=(plan.seed, plan.step, repeat)):
                own, norm = self.optimiser_step(rows_of_step, plan)
                first = first or own
                parts += own
                losses += sum(float(part.loss.detach()) for part in own)
                norms.append(norm)
                skipped += not math.isfinite(norm)
        if self.average is not None:
            self.average.update()
        probes = zip(probed, self.masters.probe_rounded(), strict=True)
        unchanged = [(before == after).double() for before, after in probes]
        # Metrics: means over the iteration's steps, and the first step's difference to the sampler.
        metrics = dict(summarise(parts))
        shift = summarise(first)
        finite = [norm for norm in norms if math.isfinite(norm)]
        metrics |= {
            "loss": losses / max(len(norms), 1),
            "grad_norm": sum(finite) / max(len(finite), 1),
            "learning_rate": rate,
            "updates_skipped": float(skipped),
        }
        if not any(row.sampler_logprobs_T for row in usable):  # else O is the trainer's, and the scorer has compared
            metrics["sampling/logp_diff_mean"] = shift.get("policy/logprob_shift", 0.0)
            metrics["sampling/logp_diff_max"] = shift.get("policy/logprob_shift_max", 0.0)
        if self._base_norm:
            # How far the adapters have gone, and where they end if every iteration goes as straight and as far.
            change = change_norm(self.root.language_model) / self._base_norm
            rates = [learning_rate_at(self.options, step) for step in range(max(self.options.max_steps, plan.step + 1))]
            gone = sum(rates[: plan.step + 1])
            metrics["adapter/change"] = change
            metrics["adapter/change_at_end"] = change * sum(rates) / gone if gone else change
        if unchanged:
            metrics["update/unchanged"] = float(torch.cat(unchanged).mean())
        return metrics

    def optimiser_step(self, rows: Sequence[WeighedRow], plan: IterationPlan) -> tuple[list[Objective], float]:
        """One optimiser step over `rows`; returns its micro-batches' metrics and the gradient norm before clipping."""
        # Each process learns from the rows of its own groups; gradients and metrics are those of all.
        with self.engine.learning(self.root):
            own = self.accumulate([row for row in rows if owns(self.engine, row.group_id)], plan)
        parts = combined(own, self.engine.gather)
        self.engine.sum_gradients(self.masters.masters)
        norm = self.engine.clip(self.masters.masters, self.options.max_grad_norm)
        self.counters.updates += 1
        if math.isfinite(norm):
            with step_scope(self.engine.device):
                self.optimizer.step()
            self.masters.publish()
            self.counters.skipped_in_a_row = 0
            self.counters.tokens += loss_tokens(rows, mask_truncated=self.options.mask_truncated_completions)
        else:
            self._count_skip(rows)
        self.optimizer.zero_grad(set_to_none=True)
        return parts, norm

    def accumulate(self, rows: Sequence[WeighedRow], plan: IterationPlan) -> list[Objective]:
        """Add the gradient of the whole step's loss to the masters, micro-batch by micro-batch.

        Args:
            rows: The rows of the step that this process learns from; the loss is divided by the tokens of all.
            plan: The method at this iteration.
        """
        # The denominator is that of the whole step, so gradients of micro-batches simply add up.
        options = self.options
        mask_truncated = options.mask_truncated_completions
        tokens = self.engine.sum_over_ranks(loss_tokens(rows, mask_truncated=mask_truncated))
        denominator = loss_denominator(tokens, options)
        views = plan.method.teacher_views if plan.coefficient else ()
        parts = []
        batches = self.root.cut([row.student for row in rows], options.micro_batch_tokens)
        for indices in self.root.in_step(batches):
            if not indices:
                self.root.idle_pass(self.pad_id)
                continue
            # Forward: S, with entropies and with the divergence to the teacher's distributions where they are read.
            picked = [rows[index] for index in indices]
            read = plan.reads_vocabulary and any(row.teacher_tokens is not None for row in picked)
            scored = score_views(
                self.root,
                [row.student for row in picked],
                temperature=options.temperature,
                pad_id=self.pad_id,
                chunk=options.logprob_chunk,
                grad=True,
                entropy=plan.reads_entropy,
                look=against(picked, options, self.engine.device, temperature=options.temperature) if read else None,
            )
            # The batch: what is known of the rows, and what the forward pass computed.
            batch = collate(
                picked, device=scored.logprobs_BT.device, teacher_views=views, mask_truncated=mask_truncated
            )
            batch.student_BT = scored.logprobs_BT
            if scored.entropy_BT is not None:
                batch.entropy_BT = scored.entropy_BT
            if plan.reads_vocabulary:
                # Where the teacher read no row, the divergence is 0 and all tokens are outside the teacher's mask.
                batch.divergence_BT = scored.spread(*scored.looked) if read else torch.zeros_like(scored.logprobs_BT)
            # Backward; afterwards only numbers are kept of the micro-batch.
            part = objective(plan, batch, options, denominator=denominator)
            part.loss.backward()
            self.masters.take_gradients()
            part.loss = part.loss.detach()
            parts.append(part)
        return parts

    def _count_skip(self, rows: Sequence[SampledRow]) -> None:
        """Count a skipped step; `NonFiniteGradientsError` when there are too many."""
        counters = self.counters
        counters.skipped += 1
        counters.skipped_in_a_row += 1
        allowed = self.options.max_skipped_share * max(counters.updates, SKIP_WINDOW)
        if counters.skipped_in_a_row >= self.options.max_consecutive_skips or counters.skipped > allowed:
            raise NonFiniteGradientsError(
                f"{counters.skipped} of {counters.updates} updates had non-finite gradients, the last "
                f"{counters.skipped_in_a_row} in a row, and were skipped; episodes of the last one: "
                f"{sorted({row.episode_id for row in rows})[:8]}. Lower learning_rate or max_grad_norm, or check the "
                "rewards; no skipped update changed a parameter"
            )
