"""What a run will take in memory, and how long it will last, before anything of it is loaded.

Takes the options of `sdar train`. The model may be a folder, a name whose config.json can be had, or one of the
built-in shapes, such as qwen2.5-3b: weights are never read. Prompts are measured by playing the environment; without a
tokenizer a token is taken to be four bytes. What was not measured is said to be so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs import world_entry

from .terminal import duration, make_console, one_line, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..engine.hardware import Hardware
    from ..engine.memory import MemoryEstimate
    from ..engine.model_shape import ModelShape
    from ..engine.remedies import Remedy
    from ..engine.run_time import Rates, TimeEstimate
    from ..engine.workload import Lengths
    from .setup import Setup

EPILOGUE = """examples:
  sdar memory --model Qwen/Qwen2.5-3B-Instruct --gpu 80GiB
  sdar memory --model qwen2.5-7b --gpu 80GiB --micro-batch-tokens 8192
  sdar memory --model smollm2-135m --device cpu --json"""

TIGHT = 0.9  # of the memory: above it an estimate says that it is tight
PLAYED_TURNS = 6  # turns of a task that prompts are measured on
BYTES_PER_TOKEN = 4  # where there is no tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar memory``."""
    from .setup import add_setup_arguments

    parser.add_argument("--gpu", metavar="SIZE", help="a GPU with this memory, e.g. 80GiB [this machine's device]")
    parser.add_argument("--card", metavar="NAME", help="the GPU's name, for rates that were measured on it")
    parser.add_argument("--rates", metavar="FILE", help="JSON of `python -m benchmarks.gpu` from that machine")
    parser.add_argument(
        "--limits", action="store_true", help="take every row at its limit, in the place of playing the environment"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_setup_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the estimate; status 0 when it fits, 1 when it does not."""
    from ..engine.hardware import Hardware, parse_size
    from ..engine.run_time import Rates
    from .envs import check_env_kwargs
    from .setup import resolve_setup

    setup = resolve_setup(options)
    check_env_kwargs(setup.env_id, setup.config.environment_kwargs)
    hardware = None
    if options.gpu is not None:
        hardware = Hardware(options.card, True, parse_size(options.gpu))
    rates = Rates.read(options.rates) if options.rates else None
    found = assess(setup, hardware, rates, plays=not options.limits)
    if options.json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        show(make_console(), found)
    return 0 if found.fits else 1


@dataclasses.dataclass(frozen=True, slots=True)
class Assessment:
    """The estimate of a run on a machine, with what would help.

    Attributes:
        memory: By phase and part.
        hardware: Where.
        helps: The changes that lower the peak most, each beside those before it.
        time: Of the run; None where the machine's rates were not measured.
        rates: What `time` was computed with.
        speeds: The changes that shorten it most and fit.
        server_share: Of the memory that a generation server on the same card has while episodes are played.
    """

    memory: MemoryEstimate
    hardware: Hardware
    helps: list[Remedy]
    time: TimeEstimate | None
    rates: Rates | None
    speeds: list[Remedy]
    server_share: float = 0.0

    @property
    def share(self) -> float:
        """The most that a phase takes of what it may take of the machine's memory."""
        room = {"rollout": 1.0 - self.server_share}
        return max(self.memory.total(phase) / room.get(phase, 1.0) for phase in self.memory.parts) / self.hardware.bytes

    @property
    def fits(self) -> bool:
        """Whether the peak is within the machine's memory."""
        return self.share <= 1.0

    @property
    def cannot_fit(self) -> bool:
        """Whether what the run takes with the shortest of rows is more than the machine's memory."""
        return self.memory.least > self.hardware.bytes

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.cannot_fit:
            return "does not fit"
        if not self.fits:
            return "may not fit"
        return "fits, and is tight" if self.share > TIGHT else "fits"

    def line(self) -> str:
        """The estimate in one line."""
        from ..engine.hardware import gib

        memory = self.memory
        parts = sorted(memory.parts[memory.peak_phase].items(), key=lambda part: -part[1])[:3]
        largest = ", ".join(f"{name} {gib(size)}" for name, size in parts)
        when = "" if self.time is None else f"; at most {duration(self.time.total)}"
        return (
            f"memory: {gib(memory.peak)} at most, in the {memory.peak_phase} ({largest}), of "
            f"{gib(self.hardware.bytes)}: {self.verdict}{when}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.memory.to_json(),
            "machine": {"name": self.hardware.name, "gpu": self.hardware.on_gpu, "bytes": self.hardware.bytes},
            "verdict": self.verdict,
            "fits": self.fits,
            "helps": [remedy.to_json() for remedy in self.helps],
            "time": None if self.time is None else self.time.to_json(),
            "rates": None if self.rates is None else dataclasses.asdict(self.rates),
            "speeds": [remedy.to_json() for remedy in self.speeds],
        }


def assess(
    setup: Setup, hardware: Hardware | None = None, rates: Rates | None = None, *, plays: bool = True
) -> Assessment:
    """Estimate a run.

    Args:
        setup: The run; the model is the embedded tiny one where it names none.
        hardware: Where it is to compute; None is the device of its options on this machine.
        rates: The machine's; None takes those that are shipped for its name.
        plays: Whether prompts are measured by playing the environment.

    Raises:
        UnknownShapeError: The sizes of the model are not known.
        ValueError: The machine has no such device.
        OSError: The environment's data is not there.
    """
    from ..engine.hardware import this_machine
    from ..engine.memory import SMALL_ON_CPU, estimate_memory
    from ..engine.remedies import faster, smaller
    from ..engine.run_time import estimate_time, known_rates
    from ..engine.single import choose_device, fitted_to
    from ..engine.workload import Lengths, Precision
    from ..warm_start.tiny_model import tiny_shape

    shape = tiny_shape() if setup.model is None else _shape(setup.model)
    if hardware is None:
        hardware = this_machine(choose_device(setup.config.device))
    on_gpu = hardware.on_gpu
    config = fitted_to(setup.config, shape.parameters, on_cpu=not on_gpu)
    lengths = Lengths.limits(config)
    if plays:
        try:
            lengths = played_lengths(setup)
        except ValueError as error:  # whoever trains on it will say more
            source = f"the limits of the options; it could not be played: {one_line(str(error))}"
            lengths = dataclasses.replace(lengths, source=source)
    memory = estimate_memory(shape, config, on_gpu=on_gpu, lengths=lengths)
    helps = smaller(shape, config, on_gpu=on_gpu, lengths=lengths)
    # With a tiny model time goes where no arithmetic is: rates of larger ones would be no bound.
    if rates is None and shape.parameters > SMALL_ON_CPU:
        rates = known_rates(hardware.name, size=Precision.of(config, on_gpu=on_gpu).bytes)
    time, speeds = None, []
    if rates is not None:
        time = estimate_time(shape, config, rates, on_gpu=on_gpu, lengths=lengths)
        speeds = faster(shape, config, rates, on_gpu=on_gpu, capacity=hardware.bytes, lengths=lengths)
    shared = config.vllm_memory_share if config.rollout == "vllm" and config.vllm_colocate else 0.0
    return Assessment(memory, hardware, helps, time, rates, speeds, shared)


def _shape(model: str) -> ModelShape:
    from ..engine.model_shape import shape_of

    return shape_of(model)


def say_memory(console: Console, setup: Setup, *, refuses: bool) -> None:
    """Print the estimate of a run that is about to begin, with what would help where it may not fit.

    The embedded tiny model's rows are taken at their limits, since its tokenizer is only made by its warm start.

    Args:
        console: Where to.
        setup: The run.
        refuses: Whether a run that cannot fit is refused, and not only warned of.

    Raises:
        ValueError: It cannot fit however short its rows are; the message has what would help.
    """
    from ..engine.hardware import gib
    from ..engine.model_shape import UnknownShapeError

    entry, kwargs = world_entry(setup.env_id), setup.config.environment_kwargs
    own_data = [name for name in (entry.data_options if entry else ()) if kwargs.get(name) is not None]
    try:
        # Data of one's own can take minutes to read: not twice.
        found = assess(setup, plays=setup.model is not None and not own_data)
    except UnknownShapeError as error:
        console.print(f"memory: not estimated: {one_line(str(error))}")
        return
    helps = "; ".join(f"{remedy.flags} ({gib(remedy.peak)})" for remedy in found.helps)
    if found.cannot_fit and refuses:
        raise ValueError(
            f"{found.memory.shape.name} does not fit: {gib(found.memory.least)} are needed however short its rows are, "
            f"and there are {gib(found.hardware.bytes)} ({found.hardware}). What would help, one after another: "
            f"{helps or 'a smaller model'}. --skip-memory-check tries it all the same"
        )
    console.print(found.line())
    if not found.fits:
        console.print(
            f"  WARNING: rows at their longest do not fit; smaller with, one after another: {helps or 'none'}"
        )


def played_lengths(setup: Setup) -> Lengths:
    """The longest prompts of a few turns of one task, as student and teacher read them; within the options' limits.

    The model's own tokenizer counts where its folder or the cache has one; else four bytes are a token.

    Raises:
        ValueError: The environment cannot be played.
    """
    from ..engine.workload import Lengths
    from ..rollout.environments import EnvironmentSource
    from ..rollout.policies import load_teacher_context
    from .inspection import chatml_tokenizer, inspect_prompts, tiny_tokenizer

    config = setup.config
    source = EnvironmentSource(setup.env_id, config.environment_kwargs)
    context = None if setup.teacher_context is None else load_teacher_context(setup.teacher_context)
    try:
        per_token, how = 1, "the model's tokenizer"
        if setup.model is None:
            tokenizer = tiny_tokenizer(config, source)
        else:
            tokenizer = _own_tokenizer(setup.model)
            if tokenizer is None:
                tokenizer, per_token, how = chatml_tokenizer(), BYTES_PER_TOKEN, f"{BYTES_PER_TOKEN} bytes a token"
        # Nothing is cut while it is measured; the limits are applied to what was found.
        wide = dataclasses.replace(
            config,
            max_prompt_length=config.max_prompt_length * per_token * 8,
            teacher_budget=config.teacher_budget * per_token * 8,
        )
        turns = min(PLAYED_TURNS, config.max_turns)
        task = source.task_ids("train")[0]
        seen = inspect_prompts(source, tokenizer, wide, "train", task, turns, teacher_context=context)
    finally:
        source.close()
    sizes = {name: (own, max(teachers, default=own)) for name, own, teachers in seen.parts}
    total, teacher = (-(-size // per_token) for size in sizes["total"])
    answers = -(-sizes["completions"][0] // per_token)
    prompt = total - answers
    if config.context == "transcript" and seen.turns < config.max_turns:
        # A transcript goes on growing, by a turn's words and a whole completion each time.
        prompt = round(prompt * config.max_turns / seen.turns) + (config.max_turns - 1) * config.max_completion_length
    elif config.context == "window":
        # Completions in a window's history may be longer than those that were played.
        prompt += config.history_length * (config.max_completion_length - answers // max(1, seen.turns))
    return Lengths(
        prompt=min(max(prompt, 1), config.max_prompt_length),
        completion=config.max_completion_length,
        turns=config.max_turns,
        context=min(max(0, teacher - total), config.teacher_budget),
        source=f"{seen.turns} turns of {task}, {how}",
    )


def _own_tokenizer(model: str) -> Any:
    """The model's tokenizer where it can be had without the network; None elsewhere."""
    from huggingface_hub import try_to_load_from_cache

    from sdar_envs.model_files import load_tokenizer

    here = (Path(model).expanduser() / "tokenizer_config.json").is_file()
    if not here and "/" in model and not Path(model).expanduser().exists():
        try:
            here = isinstance(try_to_load_from_cache(model, "tokenizer_config.json"), str)
        except ValueError:  # a text that is no name of a model
            here = False
    return load_tokenizer(model) if here else None


def show(console: Console, found: Assessment) -> None:
    """Print an assessment: the line, the table, what would help, the time."""
    from ..engine.hardware import gib
    from ..engine.memory import PARTS, PHASES

    memory = found.memory
    kind = "bfloat16" if memory.precision.bytes == 2 else "float32"
    again = "recomputed" if memory.precision.recompute else "kept"
    console.print(found.line())
    console.print(
        f"  {memory.shape.name}: {memory.shape.parameters:,} parameters in {kind}, activations {again}; rows of "
        f"{memory.lengths.prompt} + {memory.lengths.completion} tokens ({memory.lengths.source}); on {found.hardware}"
    )
    if found.hardware.on_gpu:
        console.print("  the GPU's figures are computed: no GPU has been measured against them")
    console.print("")
    phases = [phase for phase in PHASES if phase in memory.parts]
    rows = [
        [part, *(gib(memory.parts[phase][part]) if part in memory.parts[phase] else "-" for phase in phases)]
        for part in PARTS
        if any(part in memory.parts[phase] for phase in phases)
    ]
    rows.append(["sum", *(gib(memory.total(phase)) for phase in phases)])
    show_table(console, "", ("part", *phases), rows)
    if found.helps:
        console.print("")
        console.print("smaller with, one after another:")
        for remedy in found.helps:
            console.print(f"  {gib(remedy.peak):>10}  {one_line(remedy.flags)}  ({remedy.cost})")
    console.print("")
    if found.time is None or found.rates is None:
        console.print(
            f"time: not measured on {found.hardware}; `python -m benchmarks.gpu --json` in a checkout measures it on "
            "that machine, and --rates FILE reads that"
        )
        return
    parts = ", ".join(f"{name} {duration(value)}" for name, value in found.time.per_iteration.items())
    console.print(
        f"time: at most {duration(found.time.total)} on {found.rates.card}: {found.time.iterations} iterations of "
        f"{duration(found.time.iteration)} ({parts}), evaluations {duration(found.time.evaluation)}"
    )
    for remedy in found.speeds:
        console.print(f"  {duration(remedy.seconds or 0.0):>12}  {one_line(remedy.flags)}  ({remedy.cost})")
