"""The peak memory of one optimiser step on this device, beside what was computed for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config import SDARConfig

ROW, SAMPLED = 128, 32  # tokens of a row, and how many of them are sampled
ROWS = 8


def measured_step(device_name: str, sizes: Mapping[str, Any], env_id: str) -> tuple[int, int]:
    """Bytes that the second optimiser step of a random model took at most, and the estimate of the same.

    On a CPU it is the growth of resident memory since before the model was there; on a GPU the allocator's peak.

    Args:
        device_name: As the option names it.
        sizes: Of the model, as in ``config.json``.
        env_id: Whose words the tokenizer is made of.

    Raises:
        OSError: The system does not say what a process holds.
    """
    from ..config import SDARConfig
    from ..engine.host_memory import give_freed_blocks_back
    from ..engine.memory import estimate_memory
    from ..engine.model_shape import ModelShape
    from ..engine.workload import Lengths

    config = SDARConfig(
        method="grpo",
        device=device_name,
        tasks_per_step=2,
        num_generations=ROWS // 2,
        max_turns=1,
        micro_batch_tokens=ROW * ROWS // 2,
        beta=0.0,
        learning_rate=1e-5,
    )
    give_freed_blocks_back()
    # What is imported and kept at a first step, whatever its size, is none of the step's.
    _peak({**sizes, "hidden_size": 24, "intermediate_size": 24, "vocab_size": 1000}, env_id, config)
    measured, on_gpu = _peak(sizes, env_id, config)
    shape = ModelShape.of_config(sizes, "a random model")
    lengths = Lengths(ROW - SAMPLED, SAMPLED, 1, 0)
    parts = estimate_memory(shape, config, on_gpu=on_gpu, lengths=lengths).parts["update"]
    return measured, sum(size for name, size in parts.items() if name != "runtime")


def _peak(sizes: Mapping[str, Any], env_id: str, config: SDARConfig) -> tuple[int, bool]:
    """Bytes that the second optimiser step took beyond what was there before the model, and whether on a GPU."""
    import torch

    from agents.base import View

    from ..batch.row import WeighedRow
    from ..engine.single import SingleProcess
    from ..engine.updater import Updater
    from ..methods import get_method
    from ..warm_start.random_model import random_model

    engine = SingleProcess.of(config)
    on_gpu = engine.device.type == "cuda"
    before = 0 if on_gpu else resident("VmRSS")
    if on_gpu:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(engine.device)
    model, _ = random_model(sizes, env_id)
    updater = Updater(engine.prepare(model), config, engine, pad_id=0)
    ids, positions = [i % 900 for i in range(ROW)], list(range(ROW - SAMPLED, ROW))
    rows = [
        WeighedRow(
            index=index,
            student=View(ids, positions),
            behaviour_logprobs_T=[-9.0] * SAMPLED,
            turn_ids_T=[0] * SAMPLED,
            episode_id=index,
            group_id=0,
            invalid_T=[False] * SAMPLED,
            advantages_T=[1.0 - 2.0 * (index % 2)] * SAMPLED,
        )
        for index in range(ROWS)
    ]
    plan = get_method("grpo").at(0, config)
    updater.optimiser_step(rows, plan)  # makes the optimiser's state
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(engine.device)
    else:
        reset_peak()
    updater.optimiser_step(rows, plan)
    top = torch.cuda.max_memory_allocated(engine.device) if on_gpu else resident("VmHWM")
    return top - before, on_gpu


def resident(field: str) -> int:
    """Bytes of resident memory of this process: ``VmRSS`` now, ``VmHWM`` at most since `reset_peak`.

    Raises:
        OSError: The system has no ``/proc``.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status: expected a line {field}, got none")


def reset_peak() -> None:
    """Begin anew with ``VmHWM``.

    Raises:
        OSError: The system has no ``/proc``, or does not allow it.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
