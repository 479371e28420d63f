"""What the subcommands of ``sdar study`` do, each from its parsed options to an exit status."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import make_console
from .display import show_plan, show_pooled, show_table_of
from .planning import listed_seeds, plan_of, planning_flags

if TYPE_CHECKING:
    from rich.console import Console

    from ...study.plan_records import Job, Plan


def run(options: argparse.Namespace) -> int:
    """Plan, run what is missing, analyse."""
    return _run(options, tuning_first=False)


def tune(options: argparse.Namespace) -> int:
    """Run the plan's tuning first, and take what it chooses; then as `run`."""
    return _run(options, tuning_first=True)


def _run(options: argparse.Namespace, *, tuning_first: bool) -> int:
    from ...study.parts import arms_at, jobs_at
    from ...study.study_dir import prepare, read_tuned
    from ...study.tuning import untuned

    console, path = make_console(), Path(options.output_dir)
    if options.merge:
        bring_in(console, path, options, prepare_first=bool(planning_flags(options)))
    asked = asked_plan(path, options)
    arms = arms_at(asked, options.only)  # what there is not is refused before anything is written
    plan, jobs = prepare(path, asked, amend=options.amend, job_files=not tuning_first)
    show_plan(console, path, plan, jobs)
    if not tuning_first and (lacking := untuned(plan, read_tuned(path), arms)):
        console.print(
            f"  not tuned: {', '.join(lacking)}. The plan has a tuning, which sdar study tune runs first; without it, "
            "arms have their defaults"
        )
    if tuning_first:
        status, plan, jobs = run_tuning(console, path, plan, options)
        if status:
            return status
    if options.reuse:
        take_over(console, path, options)
    status = run_jobs(console, path, "jobs", jobs_at(jobs, arms), options)
    if status != 130:
        show_table_of(console, path)
    return status


def asked_plan(path: Path, options: argparse.Namespace) -> Plan:
    """The plan that the flags make; without any of them the directory's own, else the default study."""
    from ...study.study_dir import held_plan

    return (None if planning_flags(options) else held_plan(path)) or plan_of(options)


def show(options: argparse.Namespace) -> int:
    """Show arms, jobs and hypotheses, and run nothing."""
    from ...study.jobs import jobs_of
    from ...study.study_dir import read_tuned

    path = Path(options.output_dir)
    plan = asked_plan(path, options)
    show_plan(make_console(), path, plan, jobs_of(plan, read_tuned(path)))
    return 0


def table(options: argparse.Namespace) -> int:
    """Analyse what is there."""
    show_table_of(make_console(), Path(options.output_dir))
    return 0


def pool(options: argparse.Namespace) -> int:
    """Show what each arm leads by over the seeds of several studies."""
    from ...study.merging import opened
    from ...study.pooling import pool as taken_together
    from ...study.records import load_study

    studies = {}
    for source in [options.output_dir, *options.sources]:
        with opened(Path(source)) as place:
            studies[source] = load_study(place)
    show_pooled(make_console(), taken_together(studies))
    return 0


def merge(options: argparse.Namespace) -> int:
    """Bring in results of the same study; with --table, analyse what is there then."""
    console, path = make_console(), Path(options.output_dir)
    bring_in(console, path, options, prepare_first=False)
    if options.table:
        show_table_of(console, path)
    return 0


def reuse(options: argparse.Namespace) -> int:
    """Take over the runs of other studies that are jobs of this study's plan."""
    take_over(make_console(), Path(options.output_dir), options)
    return 0


def export(options: argparse.Namespace) -> int:
    """Write what is finished to one file, and say what is in it."""
    from ...study.archive import MOST_WARM_BYTES, export_study, half_done
    from ...study.records import load_study

    console, path, file = make_console(), Path(options.output_dir), Path(options.export)
    archive = export_study(path, file, cache=cache_of(options))
    console.print(
        f"exported to {file}: {len(archive.jobs)} results, {len(archive.trials)} trials, {len(archive.warm)} warm "
        f"starts of seeds that are half done; {file.stat().st_size / 1e6:.1f} MB"
    )
    lacking = [key for key in half_done(load_study(path)) if key not in archive.warm]
    if lacking:
        console.print(
            f"  without warm starts {', '.join(lacking)}, which are not in {cache_of(options) or path} (--cache-dir "
            f"says where they are) or larger than {MOST_WARM_BYTES >> 20} MB: another machine may not be able to "
            "finish their seeds"
        )
    return 0


def bring_in(console: Console, path: Path, options: argparse.Namespace, *, prepare_first: bool) -> None:
    """Merge what other machines have done; a directory without a study takes over the plan of the first."""
    from ...study.merging import merge_studies
    from ...study.study_dir import held_plan, prepare

    if prepare_first and held_plan(path) is not None:
        prepare(path, plan_of(options), amend=options.amend, job_files=False)
    merged = merge_studies(path, [Path(other) for other in options.merge], cache=cache_of(options))
    console.print(f"merged into {path}: {merged.results} finished jobs and trials, {merged.warm_starts} warm starts")
    if merged.left:
        console.print(f"  {merged.left} results were left: they are of arms or seeds that this plan does not have")


def take_over(console: Console, path: Path, options: argparse.Namespace) -> None:
    """Take from other studies what would only be run again."""
    from ...study.merging import reuse_results

    taken = reuse_results(path, [Path(other) for other in options.reuse], cache=cache_of(options))
    console.print(f"reused in {path}: {taken.results} finished jobs, {taken.warm_starts} warm starts")


def run_tuning(
    console: Console, path: Path, plan: Plan, options: argparse.Namespace
) -> tuple[int, Plan, dict[tuple[str, int], Job]]:
    """Run the plan's trials and choose; the plan's jobs are written again with what was chosen."""
    from ...study.parts import arms_at
    from ...study.plan_records import StudyError
    from ...study.study_dir import prepare, read_tuned, write_jobs
    from ...study.tuning import choose, save_tuned, trial_jobs

    names = {arm.tuned for arm in arms_at(plan, options.only)}
    trials = [job for (name, _), jobs in trial_jobs(plan).items() if name in names for job in jobs.values()]
    if not trials:
        console.print("tuning: none of the arms that are to be run takes values from it")
        return 0, *prepare(path, plan, amend=options.amend)
    seeds = sorted({job.seed for job in trials})
    console.print(f"tuning: {len(trials)} trials on seeds {', '.join(map(str, seeds))}")
    write_jobs(path / "trials", trials)
    status = run_jobs(console, path, "trials", trials, options)
    if status == 130:
        return status, plan, {}
    lacking = [job for job in trials if not (path / "trials" / job.key / "result.json").is_file()]
    if lacking and status == 0:
        raise StudyError(f"{len(lacking)} trials have not been run: --only-seeds leaves out some of the tuning's seeds")
    before, tuned = read_tuned(path), choose(plan, path / "trials", names)
    if before is not None:  # of other parts of the plan
        tuned = dataclasses.replace(tuned, arms={**before.arms, **tuned.arms})
    save_tuned(path, tuned)
    try:
        plan, jobs = prepare(path, plan, amend=options.amend)
    except StudyError:  # results stand that were made with other values
        if before is None:
            (path / "tuned.json").unlink()
        else:
            save_tuned(path, before)
        raise
    for name, arm in tuned.arms.items():
        console.print(f"  {name}: {arm.overrides} of {len(arm.trials)}")
    return 0, plan, jobs


def run_jobs(console: Console, path: Path, folder: str, jobs: list[Job], options: argparse.Namespace) -> int:
    """Run what is missing; exit status 0 when all is done, 1 when something failed, 130 when interrupted."""
    from ...study.progress_display import make_board
    from ...study.runner import failures_text, run_tasks, tasks_of, tidy

    chosen = None if options.only_seeds is None else set(listed_seeds(options.only_seeds))
    if folder == "trials" and chosen is not None and not chosen & {job.seed for job in jobs}:
        chosen = None  # the seeds of the report are meant; values are chosen by all trials or not at all
    wanted = sorted((job for job in jobs if chosen is None or job.seed in chosen), key=lambda job: job.seed)
    cache = cache_of(options)
    keep = {"keep_checkpoints": options.keep_checkpoints, "keep_episodes": options.keep_episodes}
    tasks = tasks_of(path, folder, wanted, cache=cache, **keep)
    tidy(path, folder, **keep)
    board = make_board(f"study {path.name}")
    try:
        state = run_tasks(tasks, board, at_once=options.jobs or len(os.sched_getaffinity(0)))
    finally:
        board.close()
    if state.interrupted:
        console.print(f"interrupted; the same command goes on with {path}")
        return 130
    if state.failed:
        console.print(failures_text(state.failed))
        console.print(f"{len(state.failed)} failed, {len(state.blocked)} waited for them; the same command tries again")
        return 1
    return 0


def cache_of(options: argparse.Namespace) -> Path | None:
    """Where warm models are kept; None for the study's own folder."""
    return None if options.cache_dir is None else Path(options.cache_dir)
