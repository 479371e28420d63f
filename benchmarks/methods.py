"""What every method of the table costs over GRPO: CPU-seconds of whole iterations of the tiny preset.

    python -m benchmarks.methods [--model DIR] [--methods NAME ...] [--repeats 5] [--json]

Each step of a method stands beside a step of GRPO from the same weights on the same tasks, in turns before and after
it, and the figure is the median ratio of the pairs: a drift of the machine meets both. Methods that act behind the
plain prompt sample the same episodes as GRPO; the two that act behind the privileged one sample others, so their own
tokens stand in the table. Schedules are held at their start (``distill_decay=0``), so every method is measured with
what it does while it teaches. A step is what a run's iteration is, log files included, evaluation not. ``--model`` is
as for `benchmarks.training`.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.presets import load_preset

from .measure import emit, parser, table
from .training import PHASES, Bench, add_sizes, initial_model, sizes

BASE = "grpo"


def measure(model: str | None, steps: int, methods: Sequence[str], overrides: dict[str, Any]) -> dict[str, Any]:
    """All figures: GRPO's own, and per method its step and what that is over GRPO's beside it."""
    preset = load_preset("household-tiny")
    with tempfile.TemporaryDirectory() as folder:
        options = {**preset.config, "max_steps": steps + 1, "device": "cpu", "distill_decay": 0, **overrides}
        weights, tokenizer = initial_model(model, preset.env_id, SDARConfig(**options))

        def bench(method: str, place: str) -> Bench:
            own = {**options, "output_dir": str(Path(folder) / place)}
            return Bench(method, copy.deepcopy(weights), tokenizer, preset.env_id, own)

        base = bench(BASE, BASE)
        figures: dict[str, Any] = {}
        for index, name in enumerate(methods):
            rival, beside = bench(name, f"method{index}"), len(base.steps)
            for number in range(steps + 1):  # the first is warm-up
                for turn in (base, rival) if number % 2 == 0 else (rival, base):
                    turn.step(number, counts=number > 0)
            rival.close()
            pairs = list(zip(rival.steps, base.steps[beside:], strict=True))
            figures[name] = {
                **rival.figures(),
                "over_grpo": statistics.median(own["seconds"] / other["seconds"] for own, other in pairs),
                "cpu_seconds_over_grpo": statistics.median(own["seconds"] - other["seconds"] for own, other in pairs),
                "same_episodes": all(own["tokens/sampled"] == other["tokens/sampled"] for own, other in pairs),
            }
        base.close()
        return {
            "episodes_per_step": base.config.tasks_per_step * base.config.num_generations,
            "steps": steps,
            "parameters": sum(parameter.numel() for parameter in weights.parameters()),
            BASE: base.figures(),
            "methods": figures,
        }


def main() -> None:
    """Measure and print."""
    options = parser("methods", str(__doc__).partition("\n")[0])
    options.add_argument("--model", help="folder of a model, or random; none takes the preset's warm start")
    learning = [name for name, method in METHODS.items() if method.learns and name != BASE]
    options.add_argument("--methods", nargs="+", default=learning, choices=learning, metavar="NAME", help="which; all")
    add_sizes(options)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    figures = measure(chosen.model, chosen.repeats, chosen.methods, sizes(chosen))
    base = figures[BASE]
    rows = [
        [
            name,
            entry["over_grpo"],
            entry["cpu_seconds_over_grpo"],
            *(entry["cpu_seconds"][phase] for phase in PHASES),
            entry["sampled_tokens_per_step"],
            entry["sampled_tokens_per_cpu_second"],
            "" if entry["same_episodes"] else "other episodes",
        ]
        for name, entry in [(BASE, _neutral(base)), *figures["methods"].items()]
    ]
    title = (
        f"{figures['episodes_per_step']} episodes per step, {figures['parameters']:,} parameters, medians of "
        f"{figures['steps']} pairs of steps. GRPO alone: {base['cpu_seconds_per_step']:.3g} CPU-s per step, "
        f"{base['sampled_tokens_per_cpu_second']:,.0f} sampled and {base['trained_tokens_per_cpu_second']:,.0f} "
        "trained tokens per CPU-s"
    )
    headers = ["method", "step over grpo's", "CPU-s more", *(f"{phase} CPU-s" for phase in PHASES)]
    headers += ["sampled tokens", "sampled/CPU-s", "note"]
    emit("methods", figures, [title, table(headers, rows)], as_json=chosen.json)


def _neutral(base: dict[str, Any]) -> dict[str, Any]:
    return {**base, "over_grpo": 1.0, "cpu_seconds_over_grpo": 0.0, "same_episodes": True}


if __name__ == "__main__":
    main()
