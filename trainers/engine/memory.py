"""What a run takes in memory, computed before anything is loaded: parts by phase, from sizes and options alone.

A run holds the same things throughout (weights, the reference's, optimiser) and others in one phase only:

========  ==========================================================================================================
rollout   the cache of keys and values, with the copies that are made of it; the reading of whole prompts; draws
scoring   a forward pass without gradients over the longest rows, the teacher's; logits of one chunk
update    gradients, what the backward pass needs of a micro-batch, logits of one chunk and their gradients; the step
========  ==========================================================================================================

The largest phase is what must fit. What a layer keeps for its backward pass is counted tensor by tensor
(`layer_activations`; tests hold it equal to what autograd saves). On a CPU this is resident memory; on a GPU the
allocator's. Not here: seconds (`run_time`), and which options would help (`remedies`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sdar_envs.assets import asset_path

from ..forward.logprobs import CHUNKED_VOCABULARY
from ..methods import get_method
from ..options import Options
from .model_shape import ModelShape
from .workload import LINEAR_LAYERS, Adapters, Lengths, Precision, Work

PHASES = ("rollout", "scoring", "update")
# The order in which parts are listed.
PARTS = (
    "runtime",
    "weights",
    "reference",
    "teacher",
    "masters",
    "optimiser",
    "gradients",
    "activations",
    "logits",
    "cache",
)
PREFILL_TOKENS = 32_768  # padded prompt tokens that the sampler reads in one forward pass at most
SPARE_COLUMNS = 1.5  # what the cache of a padded block allocates, over what is written
ROW_BLOCK = 64  # columns that the cache of rows is allocated in multiples of
SMALL_ON_CPU = 20_000_000  # parameters up to which a CPU samples over a padded block
# Tensors of the size of a chunk's float32 logits that exist at once: forward and backward, or forward alone; with the
# entropy, too. Counted with torch's memory profiler.
LOGITS_LEARNING, LOGITS_LEARNING_ENTROPY = 5.0, 5.26
LOGITS_SCORING, LOGITS_DIVERGENCE = 2.0, 5.0
# Of the optimiser's state, per parameter that learns; 8-bit moments have a float32 scale per 256 values.
MOMENT_BYTES = {"adamw": 8.0, "adamw_8bit": 2.0 + 2 * 4 / 256, "sgd": 0.0}
DRAW_BYTES = 28  # per row and token of the vocabulary while a token is drawn: float32 thrice, float64 twice


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes by phase and part.

    Attributes:
        shape: The model.
        lengths: What was assumed of the rows.
        precision: What was assumed of the device.
        parts: Phase -> part -> bytes; parts of 0 are left out.
        moment: Of the update, which moment is its largest: ``head``, ``layers``, ``first layer`` or ``step``.
        least: Bytes that the run takes however short its rows are: what is held, and the optimiser's step.
    """

    shape: ModelShape
    lengths: Lengths
    precision: Precision
    parts: Mapping[str, Mapping[str, int]]
    moment: str
    least: int

    def total(self, phase: str) -> int:
        """Bytes of a phase."""
        return sum(self.parts[phase].values())

    @property
    def peak_phase(self) -> str:
        """The largest phase."""
        return max(self.parts, key=self.total)

    @property
    def peak(self) -> int:
        """Bytes of the largest phase: what must fit."""
        return self.total(self.peak_phase)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.shape.name,
            "parameters": self.shape.parameters,
            "bytes_per_parameter": self.precision.bytes,
            "gradient_checkpointing": self.precision.recompute,
            "row_tokens": {"prompt": self.lengths.prompt, "completion": self.lengths.completion},
            "lengths_from": self.lengths.source,
            "peak_bytes": self.peak,
            "peak_phase": self.peak_phase,
            "least_bytes": self.least,
            "phases": {phase: dict(parts) for phase, parts in self.parts.items()},
        }


@cache
def measured_constants() -> dict[str, Any]:
    """What cannot be computed and was measured: ``assets/machines/measured.json``, by kind of device."""
    content: dict[str, Any] = json.loads(asset_path("machines", "measured.json").read_text(encoding="utf-8"))
    return content


def runtime_bytes(*, on_gpu: bool) -> int:
    """What a process takes before it holds a model: its packages and tables, or the driver's context on a GPU."""
    return int(measured_constants()["runtime"]["gpu" if on_gpu else "cpu"]["bytes"])


def layer_activations(shape: ModelShape, bytes_: int, adapters: Adapters | None = None) -> int:
    """Bytes per token that one layer keeps for its backward pass.

    RMS norms compute in float32 and keep their input so, and the normed value where they learn. A matrix keeps what it
    reads where it, or its adapter, learns. Attention keeps queries, keys, values and its output (and a float32 per
    head); the MLP the gate before and after its activation, and the other factor.
    """
    targets = frozenset(LINEAR_LAYERS) if adapters is None else adapters.targets

    def norm(width: int) -> int:
        return width * (4 + (bytes_ if adapters is None else 0))

    reading = shape.hidden * bytes_  # what the matrices after a norm read
    kept = 2 * (norm(shape.hidden) + 4)
    kept += reading if targets & {"q_proj", "k_proj", "v_proj"} else 0
    kept += reading if targets & {"gate_proj", "up_proj"} else 0
    kept += (2 * shape.query_width + 2 * shape.kv_width) * bytes_ + 4 * shape.heads
    if shape.qk_norm:
        kept += norm(shape.query_width) + norm(shape.kv_width) + 4 * (shape.heads + shape.kv_heads)
    kept += (4 if "down_proj" in targets else 3) * shape.intermediate * bytes_
    return kept + (0 if adapters is None else len(targets) * adapters.rank * bytes_)


def layer_passing(shape: ModelShape, bytes_: int) -> int:
    """Bytes per token that exist for a moment while one layer computes, forward or backward."""
    return (3 * shape.intermediate + 3 * shape.hidden) * bytes_


def estimate_memory(
    shape: ModelShape, options: Options, *, on_gpu: bool, lengths: Lengths | None = None
) -> MemoryEstimate:
    """What a run takes.

    Args:
        shape: Of the model.
        options: Of the run; its method decides what is read.
        on_gpu: Where it computes; decides what ``auto`` means.
        lengths: Of the rows; None takes the longest that the options allow.
    """
    lengths = lengths or Lengths.limits(options)
    precision = Precision.of(options, on_gpu=on_gpu)
    held = _held(shape, options, precision)
    phases = {
        "rollout": _rollout(shape, options, precision, lengths),
        "scoring": _scoring(shape, options, precision, lengths),
    }
    moment = "none"
    if get_method(options.method).learns:
        phases["update"], moment = _update(shape, options, precision, lengths)
    parts = {phase: _ordered({**held, **own}) for phase, own in phases.items()}
    least = sum(held.values())
    if get_method(options.method).learns:
        gradient = 4 if separate_masters(options, precision) else precision.bytes
        least += learning_parameters(shape, options) * gradient + _step_temporaries(shape, options, precision)
    return MemoryEstimate(shape, lengths, precision, parts, moment, round(least))


def _ordered(parts: Mapping[str, float]) -> dict[str, int]:
    return {name: round(parts[name]) for name in PARTS if parts.get(name)}


def _held(shape: ModelShape, options: Options, precision: Precision) -> dict[str, float]:
    """What is there in every phase."""
    adapters = Adapters.of(options)
    added = 0 if adapters is None else adapters.parameters(shape)
    learning = shape.parameters if adapters is None else added
    method = get_method(options.method)
    plan = method.at(0, options)
    whole = shape.parameters * precision.bytes
    # With adapters the initial policy is the same weights with these off.
    teacher = method.teacher_weights_for(options) if plan.reads_teacher else "current"
    initial = method.learns and (options.beta != 0.0 or teacher == "initial") and adapters is None
    kept = {"current": 0, "initial": 0, "ema": learning * 4}.get(teacher, whole)
    separate = method.learns and separate_masters(options, precision)
    return {
        "runtime": runtime_bytes(on_gpu=precision.on_gpu),
        "weights": whole + added * precision.bytes,
        "reference": whole if initial else 0,
        "teacher": kept,
        "masters": learning * 4 if separate else 0,
        "optimiser": learning * MOMENT_BYTES[options.optim] if method.learns else 0,
    }


def separate_masters(options: Options, precision: Precision) -> bool:
    """Whether 16-bit parameters have float32 copies that the optimiser updates."""
    return precision.bytes == 2 and options.master_weights != "none"


def learning_parameters(shape: ModelShape, options: Options) -> int:
    """Parameters that the optimiser updates: all, or those of the adapters."""
    adapters = Adapters.of(options)
    return shape.parameters if adapters is None else adapters.parameters(shape)


def _head_chunk(shape: ModelShape, options: Options, tokens: int) -> int:
    """Loss tokens whose logits exist at once."""
    chunks = options.logprob_chunk and shape.vocabulary >= CHUNKED_VOCABULARY
    return min(tokens, options.logprob_chunk) if chunks else tokens


def _update(
    shape: ModelShape, options: Options, precision: Precision, lengths: Lengths
) -> tuple[dict[str, float], str]:
    """The largest moment of an optimiser step, and its name."""
    size = precision.bytes
    work = Work.of(options, lengths, lengths.row)
    tokens = work.micro_rows * lengths.row
    loss_tokens = work.micro_rows * work.row_loss_tokens
    adapters = Adapters.of(options)
    parameters = learning_parameters(shape, options)
    kept = layer_activations(shape, size, adapters)
    passing = layer_passing(shape, size) * tokens
    # What the backward pass finds: everything, or each layer's input and one layer computed again.
    layers = shape.layers * shape.hidden * size if precision.recompute else shape.layers * kept
    activations = tokens * (layers + shape.hidden * (4 + size))
    again = tokens * kept if precision.recompute else 0
    # The head's part: logits of a chunk, and the states that it reads. The gradient of its matrix stands beside the sum
    # while chunks are added up, and with a tied embedding until that has its own.
    plan = get_method(options.method).at(0, options)
    copies = LOGITS_LEARNING_ENTROPY if plan.reads_entropy else LOGITS_LEARNING
    copies += LOGITS_DIVERGENCE if plan.reads_vocabulary else 0.0
    chunk = _head_chunk(shape, options, loss_tokens)
    matrix = shape.embedding * size if adapters is None else 0
    logits = chunk * shape.vocabulary * 4 * copies + 2 * loss_tokens * shape.hidden * size
    logits += matrix if chunk < loss_tokens else 0
    waiting = matrix if shape.tied else 0
    # The sum over micro-batches, and those of the parameters themselves where they are not the sum.
    separate = separate_masters(options, precision)
    summed = parameters * (4 if separate else size)
    own = parameters * size if separate else 0
    several = work.micro_batches > 1
    moments: dict[str, dict[str, float]] = {
        "head": {"activations": activations, "logits": logits, "gradients": summed if several else 0},
        "layers": {"activations": activations + again + passing, "gradients": waiting + (summed if several else 0)},
        "first layer": {
            "activations": again + passing,
            "gradients": (summed if several or not separate else 0) + own + waiting * (2 if several else 1),
        },
        "step": {"gradients": summed, "activations": _step_temporaries(shape, options, precision)},
    }
    moment = max(moments, key=lambda name: sum(moments[name].values()))
    return moments[moment], moment


def _step_temporaries(shape: ModelShape, options: Options, precision: Precision) -> float:
    """What AdamW computes with beside its state: nothing on a GPU, where it is fused; one matrix at a time on a CPU."""
    if precision.on_gpu and options.optim == "adamw":
        return 0
    return 2 * 4 * (shape.largest_matrix if not options.lora else options.lora_rank * shape.intermediate)


def _scoring(shape: ModelShape, options: Options, precision: Precision, lengths: Lengths) -> dict[str, float]:
    """A forward pass without gradients, over the longest rows that are read."""
    plan = get_method(options.method).at(0, options)
    row = lengths.row + (lengths.context if plan.reads_teacher else 0)
    work = Work.of(options, lengths, row)
    tokens, loss_tokens = work.micro_rows * row, work.micro_rows * work.row_loss_tokens
    chunk = _head_chunk(shape, options, loss_tokens)
    copies = LOGITS_SCORING + (1.0 if plan.reads_vocabulary else 0.0)
    return {
        "activations": tokens * layer_passing(shape, precision.bytes),
        "logits": chunk * shape.vocabulary * 4 * copies + loss_tokens * shape.hidden * precision.bytes,
    }


def _rollout(shape: ModelShape, options: Options, precision: Precision, lengths: Lengths) -> dict[str, float]:
    """The cache of all episodes that act together at its largest, and the reading of their prompts.

    A generation server keeps all of that in a process of its own.
    """
    if options.rollout == "vllm":
        return {}
    size, rows = precision.bytes, options.episodes_together
    per_token = shape.cache_values * size
    if precision.on_gpu or shape.parameters > SMALL_ON_CPU:
        # A row per episode, in whole blocks of columns, and one layer of them twice while they grow.
        columns = -(-(lengths.row + 1) // ROW_BLOCK) * ROW_BLOCK
        cache = rows * columns * per_token * (1.0 + 1.0 / shape.layers)
    else:
        # A padded block with spare columns; prompts that are read in several passes are merged into another.
        parts = rows * lengths.prompt if rows * lengths.prompt > PREFILL_TOKENS else 0
        cache = (rows * lengths.row * SPARE_COLUMNS + parts) * per_token
    # Prompts are read in passes of so many tokens; a layer's keys and values are repeated for every query head.
    prefill = min(rows * lengths.prompt, max(PREFILL_TOKENS, lengths.prompt))
    reading = prefill * (layer_passing(shape, size) + lengths.prompt * (1 + size))
    repeated = 2 * rows * lengths.row * shape.query_width * size if shape.kv_heads < shape.heads else 0
    return {
        "cache": cache,
        "activations": max(reading, repeated),
        "logits": rows * shape.vocabulary * DRAW_BYTES,
    }
