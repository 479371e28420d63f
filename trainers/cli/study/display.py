"""What a study shows on a terminal: its plan before it runs, its table afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ...study.plan_records import Job, Plan
    from ...study.pooling import Pooled


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
    from ...study.table_files import (
        collapse_words,
        headings,
        missing_words,
        software_words,
        table_rows,
        untuned_words,
        write_table,
    )

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
    for words in software_words(table.software):
        console.print(f"mixed: {words}")
    if untuned := untuned_words(table):
        console.print(f"not tuned: {untuned}")
    if missing := missing_words(table):
        console.print(f"not complete: {missing}")
    console.print(f"table.json, results.csv and report.md are in {path}; sdar report {path} shows it")


def show_pooled(console: Console, pooled: Pooled) -> None:
    """What each arm leads by over the seeds of several studies: by endpoint, then by iteration."""
    from ...study.endpoints import ENDPOINTS
    from ...study.table_files import CURVES_SAID, curve_headings, curve_rows, points_words, software_words

    labels, names = pooled.labels, list(pooled.arms[0].contrasts) if pooled.arms else []
    shown = [name for name in names if any(arm.contrasts[name].estimate.n for arm in pooled.arms)]
    rows = [
        [labels[arm.arm], labels[arm.reference], str(len(arm.contrasts[shown[0]].seeds))]
        + [points_words(arm.contrasts[name].estimate) for name in shown]
        for arm in pooled.arms
        if shown
    ]
    title = "in points less the reference of the same seed, mean with its 95 % t interval"
    title += f"; B = {pooled.budget} iterations"
    show_table(console, title, ("arm", "less", "seeds", *shown), rows, left=2)
    for name in shown:
        console.print(f"{name}: {ENDPOINTS[name].meaning}")
    curves = [arm.curve for arm in pooled.arms if arm.curve.iterations]
    if curves:
        console.print("")
        show_table(console, CURVES_SAID, curve_headings(curves), curve_rows(curves, labels), left=2)
    for words in software_words(pooled.software):
        console.print(f"mixed: {words}")
    console.print("no verdict follows: which studies are taken together was chosen when their results were known")
