"""Whole iterations of the tiny preset, step by step: GRPO and SDAR from the same weights, on the same tasks.

    python -m benchmarks.training [--model DIR] [--repeats 6] [--json]

Each counted step puts the initial weights back, so that both methods sample the same episodes; the order of the
methods alternates. A step is what a run's iteration is, log files included; evaluation is not in it. CPU seconds of
this process. Without ``--model`` the preset's warm start is taken from the cache, or made (minutes); ``--model random``
takes random weights, whose answers run to the token limit: good for trying the program, not for figures.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess, load_model
from trainers.evaluation.measured import measured_name
from trainers.presets import load_preset
from trainers.run.directory import RunDirectory
from trainers.run.log import RunLog
from trainers.trainer import SDARTrainer

from .measure import emit, parser, table

PHASES = ("rollout", "reference", "teacher", "update")


class CpuEngine(SingleProcess):
    """The machine with a clock of CPU seconds, so that a trainer's own figures are in them."""

    def clock(self) -> float:
        """CPU seconds of this process."""
        return time.process_time()


class Bench:
    """One method's trainer on the preset, set back to the initial weights before every step."""

    def __init__(self, method: str, model: Any, tokenizer: Any, env_id: str, options: dict[str, Any]) -> None:
        self.config = SDARConfig(**{**options, "method": method})
        self.trainer = SDARTrainer(model, env_id, self.config, processing_class=tokenizer)
        engine = CpuEngine(**asdict(self.trainer.engine))
        self.trainer.engine = self.trainer.scorer.engine = self.trainer.updater.engine = engine
        self.initial = {name: tensor.clone() for name, tensor in self.trainer.model.state_dict().items()}
        self.directory = RunDirectory(self.config.output_dir, self.config, resume=False)
        self.log = RunLog(self.directory, self.config, lambda token: str(tokenizer.decode([token])))
        self.steps: list[dict[str, float]] = []

    def step(self, number: int, *, counts: bool) -> None:
        """One iteration on the tasks of iteration `number`."""
        self.trainer.model.load_state_dict(self.initial)
        self.trainer.state.step = number
        start = time.process_time()
        figures = self.trainer.iteration(self.log)
        self.log.metrics(number, figures)
        figures["seconds"] = time.process_time() - start
        if counts:
            self.steps.append(figures)

    def close(self) -> None:
        """Close files and environments."""
        self.log.close()
        self.directory.close()

    def figures(self) -> dict[str, Any]:
        """Medians over the counted steps."""
        seconds = self._median("seconds")
        shares = {phase: self._total(f"seconds/{phase}") / self._total("seconds") for phase in PHASES}
        return {
            "cpu_seconds_per_step": seconds,
            "cpu_seconds": {phase: self._median(f"seconds/{phase}") for phase in PHASES},
            "share": {**shares, "rest": 1 - sum(shares.values())},
            "sampled_tokens_per_step": self._mean("tokens/sampled"),
            "trained_tokens_per_step": self._mean("tokens/rows"),
            "sampled_tokens_per_cpu_second": self._total("tokens/sampled") / self._total("seconds"),
            "trained_tokens_per_cpu_second": self._total("tokens/rows") / self._total("seconds"),
            "turns_per_episode": self._mean("turns"),
            "success": self._mean("success"),
        }

    def _median(self, name: str) -> float:
        return statistics.median(step[name] for step in self.steps)

    def _mean(self, name: str) -> float:
        known = name if name in self.steps[0] else measured_name(name, "privileged")
        return statistics.mean(step[known] for step in self.steps)

    def _total(self, name: str) -> float:
        return sum(step[name] for step in self.steps)


def initial_model(model: str | None, env_id: str, config: SDARConfig) -> tuple[Any, Any]:
    """Weights and tokenizer: of a folder, of the preset's warm start, or random ones of the preset's size."""
    if model == "random":
        from sdar_envs.demonstrations import script_of
        from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer

        size = TinyModelConfig()
        tokenizer = build_tokenizer(list(script_of(env_id).texts()), size.vocab_size)
        return build_model(tokenizer, size, seed=config.seed), tokenizer
    if model is None:
        from trainers.warm_start.warm_start import warm_start

        model = str(warm_start(config, env_id).model_dir)
    return load_model(model)


def measure(model: str | None, steps: int, methods: Sequence[str], overrides: dict[str, Any]) -> dict[str, Any]:
    """All figures: per method, and each step's cost over the first method's same step."""
    import copy

    preset = load_preset("household-tiny")
    with tempfile.TemporaryDirectory() as folder:
        options = {**preset.config, "max_steps": steps + 1, "device": "cpu", **overrides}
        weights, tokenizer = initial_model(model, preset.env_id, SDARConfig(**options))
        benches = {}
        for method in methods:
            own = {**options, "output_dir": str(Path(folder) / method)}
            benches[method] = Bench(method, copy.deepcopy(weights), tokenizer, preset.env_id, own)
        for number in range(steps + 1):  # the first is warm-up
            for method in list(methods) if number % 2 == 0 else list(methods)[::-1]:
                benches[method].step(number, counts=number > 0)
        for bench in benches.values():
            bench.close()
    base = benches[methods[0]].steps
    config = benches[methods[0]].config
    return {
        "episodes_per_step": config.tasks_per_step * config.num_generations,
        "steps": steps,
        "parameters": sum(parameter.numel() for parameter in weights.parameters()),
        "methods": {method: bench.figures() for method, bench in benches.items()},
        "over_first": {
            method: statistics.median(
                step["seconds"] / other["seconds"] for step, other in zip(bench.steps, base, strict=True)
            )
            for method, bench in benches.items()
        },
    }


def add_sizes(options: argparse.ArgumentParser) -> None:
    """Declare how many episodes an iteration has, and how long they are."""
    options.add_argument("--tasks-per-step", type=int, help="groups per iteration; none takes the preset's")
    options.add_argument("--num-generations", type=int, help="episodes per group; none takes the preset's")
    options.add_argument("--horizon", type=int, help="turns per episode; none takes the world's")


def sizes(chosen: argparse.Namespace) -> dict[str, Any]:
    """The options of `SDARConfig` that were chosen with `add_sizes`."""
    overrides: dict[str, Any] = {
        name: value for name in ("tasks_per_step", "num_generations") if (value := getattr(chosen, name)) is not None
    }
    if chosen.horizon is not None:
        overrides["env_kwargs"] = {**load_preset("household-tiny").config["env_kwargs"], "horizon": chosen.horizon}
    return overrides


def main() -> None:
    """Measure and print."""
    options = parser("training", str(__doc__).partition("\n")[0], repeats=6)
    options.add_argument("--model", help="folder of a model, or random; none takes the preset's warm start")
    options.add_argument("--methods", nargs="+", default=["grpo", "sdar"], help="methods; ratios are over the first")
    add_sizes(options)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    figures = measure(chosen.model, chosen.repeats, chosen.methods, sizes(chosen))
    of = figures["methods"]
    rates = table(
        [
            "method",
            "CPU-s per step",
            "sampled tokens/CPU-s",
            "trained tokens/CPU-s",
            f"step over {chosen.methods[0]}'s",
        ],
        [
            [
                method,
                entry["cpu_seconds_per_step"],
                entry["sampled_tokens_per_cpu_second"],
                entry["trained_tokens_per_cpu_second"],
                figures["over_first"][method],
            ]
            for method, entry in of.items()
        ],
    )
    shares = table(
        ["share of the step", *of],
        [[phase, *(entry["share"][phase] for entry in of.values())] for phase in (*PHASES, "rest")],
    )
    first = next(iter(of.values()))
    title = (
        f"{figures['episodes_per_step']} episodes of {first['turns_per_episode']:.1f} turns per step, "
        f"{first['sampled_tokens_per_step']:,.0f} sampled of {first['trained_tokens_per_step']:,.0f} tokens, "
        f"{figures['parameters']:,} parameters; medians of {figures['steps']} steps"
    )
    emit("training", figures, [title, rates, shares], as_json=chosen.json)


if __name__ == "__main__":
    main()
