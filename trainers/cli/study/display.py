"""What a study shows on a terminal: its plan before it runs, its table afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ...study.plan_records import Job, Plan


def show_plan(console: Console, path: Path, plan: Plan, jobs: dict[tuple[str, int], Job]) -> None:
    """Arms, seeds and work in a few lines."""
    from ...study.jobs import tuned_as
    from ...study.study_dir import read_tuned

    chosen = read_tuned(path)
    steps = sum(int(job.config.get("max_steps", 150)) for job in {job.key: job for job in jobs.values()}.values())
    keys = {job.key for job in jobs.values()}
    console.print(
        f"study {plan.name}: {plan.env_id}, {len(plan.arms)} arms, seeds {', '.join(map(str, plan.seeds))}; "
        f"{len(keys)} runs, {steps:,} iterations; budget B = {plan.budget} iterations of "
        f"{plan.episodes_per_iteration} episodes"
    )
    for arm in plan.arms:
        seeds = plan.seeds_of(arm)
        extra = "" if seeds == plan.seeds else f", seeds {', '.join(map(str, seeds))}"
        source = tuned_as(plan, arm, chosen)
        tuned = "" if source is None else f", tuned as {source}"
        derived = "".join(f", {option} from {source.arm}" for option, source in arm.derived.items())
        console.print(f"  {arm.label}: {arm.method}{tuned}{derived}{extra} {arm.overrides or ''}".rstrip())
    for hypothesis in plan.hypotheses:
        console.print(f"  {hypothesis.id}: {hypothesis.statement}")


def show_table_of(console: Console, path: Path) -> None:
    """Analyse, write the table's files, and show it."""
    from ...study.table_files import collapse_words, headings, mixed_words, table_rows, untuned_words, write_table

    table = write_table(path)
    console.print("")
    show_table(
        console,
        f"success in %, mean over seeds, 95 % t intervals; B = {table.budget} iterations",
        headings(table),
        table_rows(table),
    )
    for verdict in table.verdicts:
        word = f"{verdict.verdict}{' (provisional)' if verdict.provisional else ''}"
        console.print(f"{verdict.id} {verdict.statement.rstrip('.')}: {word}\n  {verdict.reason}")
    for row in table.arms:
        for words in collapse_words(row):
            console.print(f"collapsed: {words}")
    for words in mixed_words(table):
        console.print(f"mixed: {words}")
    if untuned := untuned_words(table):
        console.print(f"not tuned: {untuned}")
    if table.missing:
        console.print(f"not complete: {len(table.missing)} runs are missing")
    console.print(f"table.json, results.csv and report.md are in {path}; sdar report {path} shows it")
