"""Peak memory of whole runs of SmolLM2-135M's shape on the CPU, against what `sdar memory` computes beforehand.

    python -m benchmarks.memory [--settings full no-reference ...] [--json]

Each setting is an iteration of the household in a process of its own, with random weights. The peak of each phase is
the process's resident memory (``VmHWM``), set back through ``/proc/self/clear_refs`` before the phase begins. Linux
only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers.cli.doctor_memory import reset_peak, resident
from trainers.warm_start.random_model import save_random_model

from .measure import emit, parser, table

# What the settings share: one iteration of 2 x 4 episodes of one turn, in two optimiser steps, so that the second finds
# the optimiser's state; rows of some two hundred tokens.
SHARED = {
    "method": "sdar",
    "tasks_per_step": 2,
    "prompt_style": "compact",
    "num_generations": 4,
    "max_turns": 1,
    "max_prompt_length": 2048,
    "max_completion_length": 16,
    "max_steps": 1,
    "num_mini_batches": 2,
    "eval_before": False,
    "eval_steps": 0,
    "eval_episodes": 8,
    "test_episodes": 0,
    "save_steps": 0,
    "device": "cpu",
    "gradient_checkpointing": False,
    "micro_batch_tokens": 4096,
    "env_kwargs": {"size": "small"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {},
    "no reference": {"beta": 0.0},
    "small micro-batches": {"micro_batch_tokens": 512},
    "checkpointing": {"gradient_checkpointing": True},
    "adapters": {"lora": True},
}
ENV_ID = "sdar/Household-v0"


def child(options: dict[str, Any], model: str) -> dict[str, Any]:
    """Run one setting here, and return its peaks by phase."""
    import torch

    torch.set_num_threads(1)
    from trainers.config import SDARConfig
    from trainers.engine.host_memory import give_freed_blocks_back
    from trainers.engine.memory import estimate_memory
    from trainers.engine.model_shape import shape_of
    from trainers.engine.workload import Lengths
    from trainers.trainer import SDARTrainer

    give_freed_blocks_back()  # as a run does where memory is scarce, which is where its peak is of interest
    config = SDARConfig(**options)
    before = resident("VmRSS")
    trainer = SDARTrainer(model, ENV_ID, config)
    loaded = resident("VmRSS")
    peaks: dict[str, int] = {}
    seen = {"prompt": 0, "row": 0, "teacher": 0}

    def watched(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            reset_peak()
            result = work(*arguments, **named)
            peaks[phase] = max(peaks.get(phase, 0), resident("VmHWM"))
            if phase == "scoring":
                for row in result[0]:
                    seen["row"] = max(seen["row"], len(row.student.ids))
                    seen["prompt"] = max(seen["prompt"], len(row.student.ids) - len(row.student.loss_positions))
                    seen["teacher"] = max(seen["teacher"], *(len(view.ids) for view in row.teachers.values()), 0)
            return result

        return call

    iteration = trainer._iteration
    for owner, name, phase in (
        (iteration.collector, "collect", "rollout"),
        (iteration.scorer, "score", "scoring"),
        (iteration.updater, "update", "update"),
    ):
        setattr(owner, name, watched(phase, getattr(owner, name)))
    trainer.train()
    context = max(0, seen["teacher"] - seen["row"])
    lengths = Lengths(seen["prompt"], config.max_completion_length, config.max_turns, context, "the run itself")
    estimate = estimate_memory(shape_of(model), config, on_gpu=False, lengths=lengths)
    return {
        "imports": before,
        "loaded": loaded,
        "measured": peaks,
        "estimate": estimate.to_json(),
        "moment": estimate.moment,
        "tokens": seen,
    }


def run_child(options: dict[str, Any], model: str) -> dict[str, Any]:
    """`child` in a process of its own, so that no setting inherits another's memory."""
    words = [sys.executable, "-m", "benchmarks.memory", "--child", json.dumps(options), "--model", model]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a setting failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(settings: dict[str, dict[str, Any]], shape: str, model: str | None) -> dict[str, Any]:
    """All settings: measured and estimated peaks."""
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = str(Path(folder) / "model")
            save_random_model(shape, ENV_ID, Path(model))
        return {
            name: run_child({**SHARED, **own, "output_dir": str(Path(folder) / f"run-{index}")}, model)
            for index, (name, own) in enumerate(settings.items())
        }


def main() -> None:
    """Measure and print."""
    options = parser("memory", str(__doc__).partition("\n")[0], repeats=1)
    options.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options.add_argument("--shape", default="smollm2-135m", help="a built-in shape")
    options.add_argument("--model", help="folder of a model, in the place of random weights")
    options.add_argument("--child", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child:
        print(json.dumps(child(json.loads(chosen.child), chosen.model)))
        return
    figures = compare({name: SETTINGS[name] for name in chosen.settings}, chosen.shape, chosen.model)
    rows = []
    for name, found in figures.items():
        for phase, measured in found["measured"].items():
            computed = sum(found["estimate"]["phases"][phase].values())
            rows.append([name, phase, measured / 1e9, computed / 1e9, f"{computed / measured - 1:+.1%}"])
    text = table(["setting", "phase", "measured GB", "computed GB", "difference"], rows)
    emit("memory", figures, [text], as_json=chosen.json)


if __name__ == "__main__":
    main()
