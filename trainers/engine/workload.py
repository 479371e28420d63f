"""What a run asks of a machine, as far as options and a model's sizes say it: rows, precision, adapters, micro-batches.

Memory (`memory`) and time (`run_time`) are computed from these.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options
from ..options.option import AUTO
from .adapters import ALL_LINEAR
from .model_shape import ModelShape

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the rows of a run.

    Attributes:
        prompt: In front of a completion at most; in a transcript with the turns before it.
        completion: Of a completion at most.
        turns: Of an episode at most.
        context: That the privileged context adds to a teacher's row at most.
        source: Where the numbers are from, for whoever reads the estimate.
    """

    prompt: int
    completion: int
    turns: int
    context: int
    source: str = "the limits of the options"

    @classmethod
    def limits(cls, options: Options) -> Lengths:
        """The longest that the options allow."""
        return cls(options.max_prompt_length, options.max_completion_length, options.max_turns, options.teacher_budget)

    @property
    def row(self) -> int:
        """Tokens of a row of the student."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Precision:
    """How a run computes on a kind of device."""

    on_gpu: bool
    bytes: int  # of a parameter and of an activation
    recompute: bool  # gradient checkpointing

    @classmethod
    def of(cls, options: Options, *, on_gpu: bool) -> Precision:
        """What the options mean there."""
        bf16 = on_gpu if options.bf16 == AUTO else bool(options.bf16)
        recompute = on_gpu if options.gradient_checkpointing == AUTO else bool(options.gradient_checkpointing)
        return cls(on_gpu, 2 if bf16 else 4, recompute)


@dataclass(frozen=True, slots=True)
class Adapters:
    """Which linear layers have low-rank adapters, and of what rank."""

    rank: int
    targets: frozenset[str]

    @classmethod
    def of(cls, options: Options) -> Adapters | None:
        """Those of a run; None where the weights themselves are trained."""
        if not options.lora:
            return None
        if ALL_LINEAR in options.lora_targets:
            return cls(options.lora_rank, frozenset(LINEAR_LAYERS))
        chosen = {name for name in LINEAR_LAYERS if any(name.endswith(end) for end in options.lora_targets)}
        return cls(options.lora_rank, frozenset(chosen))

    def parameters(self, shape: ModelShape) -> int:
        """Of all adapters together."""
        widths = dict.fromkeys(("gate_proj", "up_proj"), (shape.hidden, shape.intermediate))
        widths |= dict.fromkeys(("k_proj", "v_proj"), (shape.hidden, shape.kv_width))
        widths |= dict.fromkeys(("q_proj", "o_proj"), (shape.hidden, shape.query_width))
        widths["down_proj"] = (shape.hidden, shape.intermediate)
        return shape.layers * self.rank * sum(sum(widths[name]) for name in self.targets)


@dataclass(frozen=True, slots=True)
class Work:
    """What one optimiser step and one forward pass are made of, in rows and padded tokens.

    Attributes:
        step_rows: Rows of an optimiser step.
        micro_rows: Rows of its largest micro-batch.
        micro_batches: Of a step.
        row_loss_tokens: Sampled tokens of a row.
    """

    step_rows: int
    micro_rows: int
    micro_batches: int
    row_loss_tokens: int

    @classmethod
    def of(cls, options: Options, lengths: Lengths, row: int) -> Work:
        """The work of rows of `row` tokens."""
        turns = 1 if options.context == "window" else lengths.turns
        rows = options.tasks_per_step * options.num_generations * (lengths.turns if turns == 1 else 1)
        step = options.mini_batch_rows or -(-rows // options.num_mini_batches)
        step = min(step, rows)
        micro = max(1, min(step, options.micro_batch_tokens // row))
        return cls(step, micro, -(-step // micro), min(turns * lengths.completion, row - 1))
