"""Compare methods over seeds: many runs from one plan, paired by seed, with intervals and verdicts.

A seed is a world, a warm start, tasks and draws of its own, which all arms share. Interrupted at any moment and started
again, a study goes on where it was and comes to the same table.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .flags import read_pairs, read_scalar
from .terminal import make_console, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..study.plan_records import Job, Plan

EPILOGUE = """examples:
  sdar study --env sdar/Household-v0 --output-dir studies/house
  sdar study --env sdar/Household-v0 --methods grpo,sdar --seeds 3 --output-dir studies/two
  sdar study --methods grpo,sdar --privilege skill,wrong_skill,none --output-dir studies/dial
  sdar study --plan household --dry-run --output-dir studies/house
  sdar study --output-dir studies/house
  sdar study --output-dir studies/house --merge studies/other
  sdar study --output-dir studies/house --export house.jsonl.gz
  sdar study --output-dir studies/again --merge house.jsonl.gz --table
  sdar study --plan household-warm --reuse house.jsonl.gz --output-dir studies/warm"""

# Flags that make a plan; without any of them the directory's own plan is taken.
_PLANNING = ("plan", "env", "model", "preset", "methods", "seeds", "privilege", "stale", "pairs", "warm", "iterations")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar study``."""
    add = parser.add_argument
    add("--output-dir", required=True, metavar="DIR", help="the study's directory; one that is there goes on")
    add(
        "--plan",
        metavar="NAME|FILE",
        help="a plan of the suite's, or a YAML file, instead of the flags below",
    )
    add("--env", metavar="ID", help="environment [sdar/Household-v0]")
    add("--model", metavar="PATH", help="model path or name; without it a tiny one is warmed up per seed")
    add("--preset", metavar="NAME", help="preset of the runs [chosen by environment and model]")
    add("--methods", metavar="A,B,...", help="rows of the methods table [grpo,opsd,grpo+opsd,rlsd,skill-sd,sdar]")
    add("--seeds", metavar="N|LIST", help="how many, or which: 5, 0,3,7 or 10-14 [5]")
    add("--privilege", metavar="A,B,...", help="an axis: what the teacher is shown")
    add("--stale", metavar="X,Y,...", help="an axis: share of the skill bank's keys whose claims are wrong [0.25]")
    add(
        "--set", "--vary", nargs="+", action="extend", default=[], metavar="KEY=V[,W...]", dest="pairs",
        help="options of the runs; several values make an axis, e.g. --set distill_coef=0.1,0.3",
    )  # fmt: skip
    add(
        "--warm-start", nargs="+", action="extend", default=[], metavar="KEY=V[,W...]", dest="warm",
        help="options of the warm start; several values make an axis, e.g. --warm-start student_high=0.2,0.35",
    )  # fmt: skip
    add("--iterations", type=int, metavar="N", help="training iterations per run; the budget B is half of them [60]")
    add("--jobs", type=int, metavar="N", help="runs at a time, one thread each [the number of cores]")
    add("--only-seeds", metavar="LIST", help="run these seeds only, to spread a study over machines: 5, 0,3,7 or 10-14")
    add("--cache-dir", metavar="DIR", help="where warm models are kept [the study's directory]")
    add(
        "--merge", nargs="+", action="extend", default=[], metavar="DIR|FILE",
        help="bring in results of the same study: directories, or files of --export",
    )  # fmt: skip
    add(
        "--reuse", nargs="+", action="extend", default=[], metavar="DIR|FILE",
        help="take runs that are jobs of this plan, too, from other studies: directories, or files of --export",
    )  # fmt: skip
    add("--export", metavar="FILE", help="write plan, results and tuned values to one file, .jsonl.gz; run nothing")
    add("--table", action="store_true", help="analyse what is there, and run nothing")
    add("--tune", action="store_true", help="run the plan's tuning first, and take what it chooses")
    add("--amend", action="store_true", help="allow a change of what is written before the runs; it is noted")
    add("--keep-checkpoints", action="store_true", help="keep the checkpoints of finished runs")
    add("--keep-episodes", action="store_true", help="keep the text of all episodes, some 30 MB per run")
    add("--dry-run", action="store_true", help="show arms, jobs and hypotheses, and run nothing")


def run(options: argparse.Namespace) -> int:
    """Plan, run what is missing, analyse."""
    from ..study.plan_records import StudyError
    from ..study.study_dir import held_plan, prepare, read_tuned

    console = make_console()
    path = Path(options.output_dir)
    given = [name for name in _PLANNING if getattr(options, name) not in (None, [])]
    if options.reuse and (options.table or options.export or options.dry_run):
        raise StudyError("--reuse brings in runs before others are made: leave out --table, --export and --dry-run")
    if given and (options.table or options.export):
        raise StudyError(f"--table and --export take the study as it is: leave out --{', --'.join(given)}")
    if options.merge:
        bring_in(console, path, options, prepare_first=bool(given))
    if options.table or options.export:
        if options.export:
            write_archive(console, path, options)
        else:
            show_table_of(console, path)
        return 0
    plan = (None if given else held_plan(path)) or plan_of(options)
    if options.dry_run:
        from ..study.jobs import jobs_of

        show_plan(console, path, plan, jobs_of(plan, read_tuned(path)))
        return 0
    plan, jobs = prepare(path, plan, amend=options.amend, lay_out=not options.tune)
    show_plan(console, path, plan, jobs)
    if plan.tuning is not None and not options.tune and read_tuned(path) is None:
        console.print(
            "  not tuned: the plan has a tuning, which --tune runs first; without it, arms have their defaults"
        )
    if options.tune:
        status, plan, jobs = tune(console, path, plan, options)
        if status:
            return status
    if options.reuse:
        take_over(console, path, options)
    status = run_jobs(console, path, "jobs", list(jobs.values()), options)
    if status != 130:
        show_table_of(console, path)
    return status


def bring_in(console: Console, path: Path, options: argparse.Namespace, *, prepare_first: bool) -> None:
    """Merge what other machines have done; a directory without a study takes over the plan of the first."""
    from ..study.merging import merge_studies
    from ..study.study_dir import held_plan, prepare

    if options.dry_run:
        raise ValueError("--merge writes, and --dry-run does not: give one of them")
    if prepare_first and held_plan(path) is not None:
        prepare(path, plan_of(options), amend=options.amend, lay_out=False)
    merged = merge_studies(path, [Path(other) for other in options.merge], cache=_cache(options))
    console.print(f"merged into {path}: {merged.results} finished jobs and trials, {merged.warm_starts} warm starts")
    if merged.left:
        console.print(f"  {merged.left} results were left: they are of arms or seeds that this plan does not have")


def take_over(console: Console, path: Path, options: argparse.Namespace) -> None:
    """Take from other studies what would only be run again."""
    from ..study.merging import reuse_results

    taken = reuse_results(path, [Path(other) for other in options.reuse], cache=_cache(options))
    console.print(f"reused in {path}: {taken.results} finished jobs, {taken.warm_starts} warm starts")


def write_archive(console: Console, path: Path, options: argparse.Namespace) -> None:
    """Write what is finished to one file, and say what is in it."""
    from ..study.archive import export_study, half_done
    from ..study.records import load_study

    file = Path(options.export)
    archive = export_study(path, file, cache=_cache(options))
    console.print(
        f"exported to {file}: {len(archive.jobs)} results, {len(archive.trials)} trials, {len(archive.warm)} warm "
        f"starts of seeds that are half done; {file.stat().st_size / 1e6:.1f} MB"
    )
    lacking = [key for key in half_done(load_study(path)) if key not in archive.warm]
    if lacking:
        console.print(
            f"  without warm starts {', '.join(lacking)}, which are not in {_cache(options) or path} (--cache-dir says "
            "where they are): another machine may not be able to finish their seeds"
        )


def _cache(options: argparse.Namespace) -> Path | None:
    return None if options.cache_dir is None else Path(options.cache_dir)


def tune(
    console: Console, path: Path, plan: Plan, options: argparse.Namespace
) -> tuple[int, Plan, dict[tuple[str, int], Job]]:
    """Run the plan's trials and choose; the plan's jobs are laid out again with what was chosen."""
    from ..study.plan_records import StudyError
    from ..study.study_dir import prepare, read_tuned, write_jobs
    from ..study.tuning import choose, save_tuned, trial_jobs

    trials = [job for jobs in trial_jobs(plan).values() for job in jobs.values()]
    seeds = sorted({job.seed for job in trials})
    console.print(f"tuning: {len(trials)} trials on seeds {', '.join(map(str, seeds))}")
    write_jobs(path / "trials", trials)
    status = run_jobs(console, path, "trials", trials, options)
    if status == 130:
        return status, plan, {}
    lacking = [job for job in trials if not (path / "trials" / job.key / "result.json").is_file()]
    if lacking and status == 0:
        raise StudyError(f"{len(lacking)} trials have not been run: --only-seeds leaves out some of the tuning's seeds")
    before, tuned = read_tuned(path), choose(plan, path / "trials")
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


def show_table_of(console: Console, path: Path) -> None:
    """Analyse, write the table's files, and show it."""
    from ..study.table_files import HEADINGS, collapse_words, mixed_words, table_rows, untuned_words, write_table

    table = write_table(path)
    console.print("")
    show_table(
        console,
        f"success in %, mean over seeds, 95 % t intervals; B = {table.budget} iterations",
        HEADINGS,
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


def run_jobs(console: Console, path: Path, folder: str, jobs: list[Job], options: argparse.Namespace) -> int:
    """Run what is missing; exit status 0 when all is done, 1 when something failed, 130 when interrupted."""
    from ..study.progress_display import make_board
    from ..study.runner import failures_text, run_tasks, tasks_of, tidy

    chosen = None if options.only_seeds is None else set(listed_seeds(options.only_seeds))
    if folder == "trials" and chosen is not None and not chosen & {job.seed for job in jobs}:
        chosen = None  # the seeds of the report are meant; values are chosen by all trials or not at all
    wanted = sorted((job for job in jobs if chosen is None or job.seed in chosen), key=lambda job: job.seed)
    cache = _cache(options)
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


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the flags describe.

    Raises:
        StudyError: No such plan.
        ValueError: A flag that no plan takes.
    """
    from ..study.plan import STUDY_STALE, make_plan, read_plan

    if options.plan is not None:
        others = [n for n in _PLANNING if n != "plan" and getattr(options, n) not in (None, [])]
        if others:
            raise ValueError(f"--plan says everything a study is: leave out --{', --'.join(others)}, or edit the plan")
        return read_plan(options.plan)
    common: dict[str, Any] = {}
    axes: dict[str, list[Any]] = {}
    warm: dict[str, Any] = {}
    for name, words in (("privilege", options.privilege), ("stale", options.stale)):
        if words is not None:
            axes[name] = _several(words)
    for prefix, single, pairs in (("", common, options.pairs), ("warm_start.", warm, options.warm)):
        for word in pairs:
            key, equals, value = word.partition("=")
            if equals and "," in value and not value.startswith(("[", "{")):
                axes[prefix + key] = _several(value)
            else:
                single.update(read_pairs([word], "--set" if not prefix else "--warm-start"))
    content: dict[str, Any] = {
        "env_id": options.env or "sdar/Household-v0",
        "name": Path(options.output_dir).name,
        "model": options.model,
        "warm_start": warm,
        "axes": axes,
    }
    if options.iterations is not None:
        common["max_steps"] = options.iterations
    if options.preset is not None:
        content["preset"] = options.preset
    if options.methods is not None:
        content["arms"] = [name.strip() for name in options.methods.split(",") if name.strip()]
    if options.seeds is not None:
        content["seeds"] = read_seeds(options.seeds)
    content["common"] = common
    if "stale" not in axes and "env_kwargs.stale" not in common and _takes_stale(content["env_id"]):
        common["env_kwargs.stale"] = STUDY_STALE
    return make_plan(content, "sdar study")


def _takes_stale(env_id: str) -> bool:
    import inspect

    from .envs import creator_of

    return "stale" in inspect.signature(creator_of(env_id)[1]).parameters


def _several(words: str) -> list[Any]:
    return [read_scalar(word.strip()) for word in words.split(",") if word.strip()]


def read_seeds(text: str) -> list[int]:
    """``5`` is 0 to 4; ``0,3,7`` and ``10-14`` are what they say.

    Raises:
        ValueError: It is none of these.
    """
    return list(range(int(text))) if text.isdecimal() else listed_seeds(text)


def listed_seeds(text: str) -> list[int]:
    """``5`` is seed 5; ``0,3,7`` and ``10-14`` are what they say.

    Raises:
        ValueError: It is none of these.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds are expected as 5, as 0,3,7 or as 10-14, got {text!r}")
        seeds += range(int(first), int(last if dash else first) + 1)
    return seeds


def show_plan(console: Console, path: Path, plan: Plan, jobs: dict[tuple[str, int], Job]) -> None:
    """Arms, seeds and work in a few lines."""
    from ..study.jobs import tuned_as
    from ..study.study_dir import read_tuned

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
