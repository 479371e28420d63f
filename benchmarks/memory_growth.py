"""Whether a run's memory grows with its episodes: resident memory after every iteration, and its slope.

    python -m benchmarks.memory_growth [--iterations 400] [--warm-up 50] [--json]

A tiny model with random weights plays and learns in the small household; tasks are new in every iteration, so that
texts are, too. The slope is that of a straight line through the iterations after the warm-up, in which caches fill.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.config import SDARConfig
from trainers.presets import load_preset

from .measure import emit, parser, table
from .training import Bench, add_sizes, initial_model, sizes


def resident() -> int:
    """Bytes of this process that are in memory; what the allocator only keeps for later is given back first."""
    with contextlib.suppress(AttributeError, OSError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status: expected a line VmRSS")


def growth(iterations: int, warm_up: int, overrides: dict[str, Any]) -> dict[str, Any]:
    """Resident memory over iterations.

    Args:
        iterations: All of them.
        warm_up: Of these, the first that are not counted.
        overrides: Options.
    """
    if not 0 <= warm_up <= iterations - 2:
        raise ValueError(f"--warm-up: expected 0 to {iterations - 2}, got {warm_up}")
    preset = load_preset("household-tiny")
    with tempfile.TemporaryDirectory() as folder:
        options = {**preset.config, "max_steps": iterations, "device": "cpu", "max_completion_length": 8, **overrides}
        options |= {"output_dir": str(Path(folder) / "run")}
        weights, tokenizer = initial_model("random", preset.env_id, SDARConfig(**options))
        bench = Bench("sdar", weights, tokenizer, preset.env_id, options)
        memory = []
        for number in range(iterations):
            bench.step(number, counts=False)
            gc.collect()
            memory.append(resident())
        each = bench.config.tasks_per_step * bench.config.num_generations
        bench.close()
    episodes = each * np.arange(warm_up + 1, iterations + 1)
    slope = float(np.polyfit(episodes, np.array(memory[warm_up:], dtype=float), 1)[0])
    return {
        "iterations": iterations,
        "warm_up": warm_up,
        "episodes": each * iterations,
        "first_mib": memory[0] / 2**20,
        "after_warm_up_mib": memory[warm_up] / 2**20,
        "last_mib": memory[-1] / 2**20,
        "bytes_per_episode": slope,
    }


def main() -> None:
    """Measure and print."""
    options = parser("memory_growth", str(__doc__).partition("\n")[0], repeats=1)
    options.add_argument("--iterations", type=int, default=400, help="iterations [400]")
    options.add_argument("--warm-up", type=int, default=50, help="of these, the first that are not counted [50]")
    add_sizes(options)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    figures = growth(chosen.iterations, chosen.warm_up, sizes(chosen))
    rows = [[name, value] for name, value in figures.items()]
    emit("memory_growth", figures, [table(["", "value"], rows)], as_json=chosen.json)


if __name__ == "__main__":
    main()
