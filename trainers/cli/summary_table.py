"""What a finished run shows: success before and after with intervals, the teacher's health, cost, and where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report.type_remark import type_remark
from .terminal import duration, interval, kind_name, percent, show_table

if TYPE_CHECKING:
    from rich.console import Console

# What stands in a run directory, in the order in which a reader wants it.
CONTENT = {
    "summary.json": "the metrics above",
    "metrics.jsonl": "one line per iteration",
    "episodes.jsonl": "every episode, turn by turn",
    "privileged.jsonl": "the teacher's side of the episodes (log_privileged)",
    "checkpoints": "models that AutoModelForCausalLM loads, with the state to resume from",
    "panels": "the tasks that were evaluated; sdar eval --evaluation-set plays them again",
    "config.yaml": "the configuration; sdar train --config repeats it",
    "versions.json": "what it ran on",
    "warm_start.json": "how the initial model was warmed up",
    "report.html": "the page of sdar report",
    "tensorboard": "scalars for TensorBoard",
    "wandb": "what was logged for Weights & Biases",
}


def show_summary(console: Console, summary: Mapping[str, Any], *, warm_seconds: float = 0.0) -> None:
    """The table of one run, from what it wrote into ``summary.json``; `warm_seconds` went before it."""
    before, after = summary["before"] or {}, summary["after"]  # there is no before with eval_before off
    rows = [_row("all tasks", before, after)]
    kinds_before = before.get("by_task_type", {})
    for kind in sorted({*kinds_before, *after["by_task_type"]}):
        rows.append(_row(kind_name(kind), kinds_before.get(kind, {}), after["by_task_type"].get(kind, {})))
    for view, found in (summary.get("views") or {}).items():
        if view != after.get("view", view):
            rows.append(_row(f"all tasks, {view} prompt", found["before"] or {}, found["after"]))
    teacher = summary.get("teacher") or {}
    if played := teacher.get("before") or teacher.get("after"):
        first, last = (teacher.get(when) or {} for when in ("before", "after"))
        rows.append(_row(f"privileged-prompt policy, {played['split']}", first, last))
    columns = ["success in %", "episodes", "before", "95 % interval", "after", "95 % interval", "difference"]
    title = (
        f"{summary['method']}, seed {summary['seed']}: {after['episodes']} episodes of the "
        f"{after.get('split', 'test')} split" + (", the same before and after" if before else "")
    )
    if after.get("view", "plain") != "plain":
        title += f"; all under the {after['view']} prompt"
    show_table(console, title, columns, rows)
    difference = summary.get("difference")
    if difference:
        low, high = difference["ci95"]
        console.print(
            f"paired difference {round(100 * difference['mean'], 6):+.1f} points, 95 % interval {100 * low:+.1f} to "
            f"{100 * high:+.1f}, clustered by what tasks share"
        )
    if remark := type_remark(before, after):
        console.print(remark)
    for finding in summary.get("health") or ():
        console.print(f"WARNING: since iteration {finding['since']}: {finding['message']}", style="bold yellow")
    before_that = f" after a warm start of {duration(warm_seconds)}" if warm_seconds else ""
    console.print(
        f"time {duration(float(summary['seconds']))}{before_that}; {summary['tokens']:,} tokens sampled in training"
    )


def _row(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    first, last = before.get("success_rate"), after.get("success_rate")
    # Rounded before it is formatted: binary fractions must not make two lines of one table disagree by a tenth.
    change = "-" if first is None or last is None else f"{round(100 * (last - first), 6):+.1f}"
    episodes = str(after.get("episodes", before.get("episodes", "-")))
    return [
        *(name, episodes, percent(first), interval(before.get("ci95"))),
        *(percent(last), interval(after.get("ci95")), change),
    ]


def show_directory(console: Console, path: Path) -> None:
    """List what is in a run directory, with what it is for."""
    rows: list[Sequence[str]] = []
    for name, meaning in CONTENT.items():
        place = path / name
        if place.is_file():
            rows.append((name, _size(place.stat().st_size), meaning))
        elif place.is_dir():
            rows.append((name + "/", _size(sum(p.stat().st_size for p in place.rglob("*") if p.is_file())), meaning))
    show_table(console, str(path), ("file", "size", "what it is"), rows, left=3)


def _size(size: int) -> str:
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.0f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"


def show_next_steps(console: Console, path: Path, baselines: Sequence[str] = ("expert", "random")) -> None:
    """The commands that show and play the result; `baselines` are the agents that can play this environment."""
    console.print("next:")
    commands = [
        (f"sdar report {path}", "a page with its metrics and its episodes, token by token"),
        (f"sdar play --agent {path}", "watch it play"),
        (f"sdar inspect --model {path}", "what student and teacher read"),
    ]
    if baselines:
        words = " and ".join({"expert": "the expert", "random": "a random agent"}[name] for name in baselines)
        commands.append(
            (" ".join([f"sdar eval {path}", *(f"--agent {name}" for name in baselines)]), f"beside {words}")
        )
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        console.print(f"  {command:<{width}}  {purpose}")
