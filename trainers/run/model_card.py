"""The card of a trained model: a README.md beside its weights, with what it was trained on and what was measured.

The head is the YAML that the Hub reads. What is not known is left out, and nothing of a machine is in it: no path, and
a base model only by a name of the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sdar_envs.bounded_files import load_json
from sdar_envs.files import write_file

from ..options import Options

CARD = "README.md"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def write_card(folder: Path, env_id: str, options: Options, step: int, *, run: Path | None, base: str | None) -> None:
    """Write the card of a model into its folder.

    Args:
        folder: Holds the model.
        env_id: What it was trained on.
        options: Of the run.
        step: Iterations that it has been trained for.
        run: The run directory, whose `summary.json` is quoted where the run has ended; None quotes nothing.
        base: The model that adapters belong to; None for whole weights.
    """
    path = None if run is None else run / "summary.json"
    summary = load_json(path) if path is not None and path.is_file() else None
    text = model_card(env_id, options, step, summary=summary if isinstance(summary, Mapping) else None, base=base)
    write_file(folder / CARD, text)


def model_card(env_id: str, options: Options, step: int, *, summary: Mapping[str, Any] | None, base: str | None) -> str:
    """The text of a card; arguments are those of `write_card`, `summary` the content of `summary.json`."""
    named = base if base is not None and _HUB_NAME.fullmatch(base) and not Path(base).exists() else None
    head: dict[str, Any] = {"library_name": "peft" if base is not None else "transformers"}
    head |= {"pipeline_tag": "text-generation", "tags": ["sdar-gym", "reinforcement-learning", options.method]}
    head |= {"base_model": named} if named else {}
    parts = ["---\n" + yaml.safe_dump(head, sort_keys=False) + "---", f"# {options.method} on {env_id}"]
    what = "Low-rank adapters" if base is not None else "A language model"
    parts.append(
        f"{what} trained with the method `{options.method}` of sdar-gym for {step:,} iterations of "
        f"{options.tasks_per_step} tasks, {options.num_generations} episodes each, in `{env_id}`; seed {options.seed}."
    )
    parts += _measured(summary, step)
    kwargs = ", ".join(f"`{name}={value!r}`" for name, value in options.environment_kwargs.items() if _is_plain(value))
    rows = [f"- options of the environment: {kwargs}"] if kwargs else []
    rows += [
        f"- {name}: `{getattr(options, name)}`"
        for name in ("learning_rate", "beta", "distill_coef", "gate_beta", "privilege", "context", "prompt_style")
    ]
    parts += ["## Settings", "\n".join(rows)]
    parts += [
        "## Use",
        "The model acts in text: it reads an observation and writes an action, in the prompt format of the run "
        "(`prompt_style`). It was measured in this environment alone, and is not meant for anything else.",
        f"```bash\nsdar eval FOLDER --env {env_id}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _measured(summary: Mapping[str, Any] | None, step: int) -> list[str]:
    """The rates before and after training, with intervals; that there are none where the run has not ended."""
    if summary is None or summary.get("steps") != step:
        return ["The run has no results for this iteration: nothing is claimed about it."]
    rows = ["| success on the same tasks | before | after |", "|---|---|---|"]
    for label, found in (("student", summary), ("privileged-prompt policy", summary.get("teacher") or {})):
        before, after = found.get("before"), found.get("after")
        if after:
            rows.append(f"| {label}, `{after['split']}` | {_rate(before)} | {_rate(after)} |")
    difference = summary.get("difference")
    parts = ["## Results", "\n".join(rows)]
    if difference:
        low, high = difference["ci95"]
        parts.append(
            f"Paired difference {100 * difference['mean']:+.1f} points, 95 % interval {100 * low:+.1f} to "
            f"{100 * high:+.1f}. One seed; another processor gives other figures."
        )
    return parts


def _rate(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "not measured"
    low, high = found["ci95"]
    return (
        f"{100 * found['success_rate']:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {found['wins']} of "
        f"{found['episodes']}"
    )


def _is_plain(value: object) -> bool:
    """Whether an option can be shown: a number or a word, and no path."""
    return isinstance(value, bool | int | float) or (isinstance(value, str) and "/" not in value and "\\" not in value)
