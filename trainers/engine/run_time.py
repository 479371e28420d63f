"""How long a run takes, from its sizes and from rates that were measured on the machine; nothing is guessed.

    forward, update    floating-point operations over operations per second, each measured on the machine
    decode             per token of all rows: bytes that are read over bytes per second, plus operations as above

Rates are measured by ``python -m benchmarks.gpu``, whose JSON `Rates.read` takes. Where there is none, the estimate
says so. Episodes are taken to use all their turns and completions all their tokens, so real runs are shorter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json

from ..methods import get_method
from ..options import Options
from .memory import measured_constants
from .model_shape import ModelShape
from .workload import Lengths, Precision


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine does in a second.

    Attributes:
        card: Its name.
        forward_flops: Floating-point operations in passes without gradients, prompts of the sampler included.
        update_flops: The same in the update, where a backward pass counts twice a forward pass.
        decode_flops: The same while tokens are drawn one by one, beside the reading of weights.
        read_bytes: Bytes of weights and cache that decoding reads.
        bytes: Of a parameter when it was measured.
    """

    card: str
    forward_flops: float
    update_flops: float
    decode_flops: float
    read_bytes: float
    bytes: int

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Rates:
        """From plain values.

        Raises:
            ValueError: One is missing or not above 0.
        """
        names = ("forward_flops", "update_flops", "decode_flops", "read_bytes")
        try:
            numbers = {name: float(values[name]) for name in names}
            found = cls(str(values["card"]), **numbers, bytes=int(values["bytes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{where}: expected the rates {', '.join(names)}, card and bytes, got {error!r}") from None
        if min(numbers.values()) <= 0:
            raise ValueError(f"{where}: expected rates above 0, got {numbers}")
        return found

    @classmethod
    def read(cls, path: str | Path) -> Rates:
        """From the JSON of ``python -m benchmarks.gpu``.

        Raises:
            ValueError: It is not that.
        """
        try:
            content = load_json(path)
            values = (content.get("figures") or content)["rates"]
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ValueError(f"{path}: expected the JSON of `python -m benchmarks.gpu`, with rates in it") from None
        return cls.of(values, str(path))


def known_rates(card: str | None, *, size: int) -> Rates | None:
    """The rates of a machine by its name, as shipped with the suite; None where it was not measured.

    Args:
        card: The name of a GPU or of a processor, as the machine gives it.
        size: Bytes of a parameter.
    """
    for values in measured_constants()["rates"]:
        if values["card"] == card and values["bytes"] == size:
            return Rates.of(values, "assets/machines/measured.json")
    return None


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds of a run.

    Attributes:
        per_iteration: By part: ``rollout``, ``reference``, ``teacher``, ``update``.
        iterations: How many.
        evaluation: Seconds of all evaluations together.
    """

    per_iteration: Mapping[str, float]
    iterations: int
    evaluation: float

    @property
    def iteration(self) -> float:
        """Seconds of an iteration."""
        return sum(self.per_iteration.values())

    @property
    def total(self) -> float:
        """Seconds of the run."""
        return self.iteration * self.iterations + self.evaluation

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seconds": self.total,
            "seconds_per_iteration": dict(self.per_iteration),
            "seconds_of_evaluation": self.evaluation,
        }


def forward_flops(shape: ModelShape, tokens: float, row: float, loss_tokens: float) -> float:
    """Floating-point operations of a forward pass.

    Args:
        shape: Of the model.
        tokens: All tokens of it.
        row: Tokens of a row: attention reads half of them on average.
        loss_tokens: Tokens that the LM head reads.
    """
    layers = 2.0 * shape.layers * shape.layer_matrices * tokens
    attention = 2.0 * shape.layers * shape.query_width * tokens * row
    return layers + attention + 2.0 * shape.embedding * loss_tokens


def estimate_time(
    shape: ModelShape, options: Options, rates: Rates, *, on_gpu: bool, lengths: Lengths | None = None
) -> TimeEstimate:
    """Seconds of a run on a machine with these rates; arguments as for `memory.estimate_memory`."""
    lengths = lengths or Lengths.limits(options)
    precision = Precision.of(options, on_gpu=on_gpu)
    method = get_method(options.method)
    plan = method.at(0, options)
    episodes = options.tasks_per_step * options.num_generations
    window = options.context == "window"
    rows = episodes * (lengths.turns if window else 1)
    sampled = episodes * lengths.turns * lengths.completion  # loss tokens, too
    tokens = rows * lengths.row
    once = forward_flops(shape, tokens, lengths.row, sampled)
    teacher_row = lengths.row + lengths.context
    parts = {"rollout": _episodes(shape, options, lengths, precision, rates, episodes)}
    if method.learns:
        if plan.reads_reference:
            parts["reference"] = once / rates.forward_flops
        if plan.reads_teacher:
            read = forward_flops(shape, rows * teacher_row, teacher_row, sampled)
            parts["teacher"] = read / rates.forward_flops
        passes = 4.0 if precision.recompute else 3.0
        parts["update"] = options.num_iterations * passes * once / rates.update_flops
    iterations = options.max_steps if method.learns else 0
    watched = int(options.eval_before) + (options.max_steps // options.eval_steps if options.eval_steps else 1)
    played = watched * options.eval_episodes * (2 if plan.reads_teacher else 1) + 2 * options.test_episodes
    return TimeEstimate(parts, iterations, _episodes(shape, options, lengths, precision, rates, played))


def _episodes(
    shape: ModelShape, options: Options, lengths: Lengths, precision: Precision, rates: Rates, episodes: int
) -> float:
    """Seconds in which `episodes` are played, as many together as the options say."""
    if not episodes:
        return 0.0
    together = min(episodes, options.episodes_together)
    batches = episodes / together
    window = options.context == "window"
    prompts = together * (lengths.turns * lengths.prompt if window else lengths.row)
    reading = forward_flops(shape, prompts, lengths.prompt, together * lengths.turns) / rates.forward_flops
    steps = lengths.turns * lengths.completion
    weights = (shape.layers * shape.layer_parameters + shape.embedding) * precision.bytes
    held = together * lengths.row * shape.cache_values * precision.bytes * (1.0 if window else 0.5)
    drawing = forward_flops(shape, together, lengths.row, together) / rates.decode_flops
    return batches * (reading + steps * ((weights + held) / rates.read_bytes + drawing))
