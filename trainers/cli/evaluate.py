"""Success rates with 95 % intervals on one evaluation set: of runs, models and players without a model, in one table.

Everyone named plays the same tasks with the same draws, so rows compare pairwise; differences are to the first row.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .flags import (
    add_config_flags,
    add_teacher_context_argument,
    add_trust_argument,
    given_flags,
    old_spelling,
    read_pairs,
)
from .terminal import duration, interval, kind_name, make_console, percent, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..evaluation.evaluate import Evaluation, Rate
    from ..evaluation.evaluation_set import EvaluationSet

USAGE = "[RUN|MODEL ...] [--agent NAME] [options]"
EPILOGUE = """examples:
  sdar eval runs/house
  sdar eval runs/sdar-0 runs/grpo-0 --split test --episodes 400 --evaluation-set sets/test.json
  sdar eval --agent expert --agent random --env-kwargs size=small
  sdar eval --agent generic --agent generic+skills --env-kwargs size=short instruction=habit
  sdar eval runs/sdar-* runs/grpo-* --recorded"""

# What of the configuration a person may change for an evaluation; the rest belongs to the run.
WORKERS = ("env_workers", "step_timeout", "reset_timeout", "env_memory_gb")
OVERRIDES = (
    *("prompt_style", "context", "history_length", "list_actions", "enable_thinking"),
    *("ask_for_thinking", "append_history", "when_full"),
    *("max_completion_length", "max_prompt_length", "privilege", "position", "teacher_budget"),
    *("device", "bf16"),
    *WORKERS,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar eval``."""
    from ..config import SDARConfig

    parser.add_argument("who", nargs="*", metavar="RUN|MODEL", help="run directories, model directories or model names")
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="NAME",
        help="who plays without a model: expert, random, or one of the environment's scripted players, such as generic "
        "and generic+skills (sdar envs ID lists them); repeatable",
    )
    parser.add_argument(
        "--privileged", action="store_true", help="also evaluate each model under its teacher's privileged prompt"
    )
    old_spelling(parser, "--hinted", "--privileged")
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="play nothing: show what the runs wrote of themselves; status 1 where files do not go together",
    )
    parser.add_argument("--env", metavar="ID", help="environment [the first run's, else sdar/Household-v0]")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the environment"
    )
    parser.add_argument("--evaluation-set", metavar="FILE", help="play this one; a file that does not exist is written")
    old_spelling(parser, "--panel", "--evaluation-set")
    parser.add_argument("--split", default="valid", help="split of a new set: train, valid or test [valid]")
    parser.add_argument("--episodes", type=int, default=200, metavar="N", help="episodes of a new set [200]")
    parser.add_argument("--temperature", type=float, metavar="X", help="sampling temperature of a new set [the run's]")
    parser.add_argument("--sampler-batch", type=int, default=64, metavar="N", help="episodes sampled together [64]")
    parser.add_argument("--max-turns", type=int, metavar="N", help="turns per episode [the environment's horizon]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampling draws, not of the tasks [0]")
    parser.add_argument("--json", metavar="FILE", help="write the metrics to this file too, - for standard output")
    add_teacher_context_argument(parser)
    add_trust_argument(parser)
    add_config_flags(parser, SDARConfig, only=OVERRIDES)


def run(options: argparse.Namespace) -> int:
    """Evaluate everyone who was named."""
    names = [*options.who, *options.agent]
    if not names:
        raise ValueError("expected whom to evaluate: a run directory, a model path, or --agent expert|random|generic")
    if options.teacher_context is not None and not options.privileged:
        raise ValueError("--teacher-context is read under the privileged prompt: add --privileged, or leave it out")
    console = make_console(stderr=options.json == "-")
    status = 0
    if options.recorded:
        metrics: Any = show_recorded(console, names)
        status = say_findings(console, names)
    else:
        metrics = play_set(console, names, options)
    if options.json:
        text = json.dumps(metrics, indent=1) + "\n"
        if options.json == "-":
            print(text, end="")
        else:
            Path(options.json).write_text(text, encoding="utf-8")
    return status


def say_findings(console: Console, names: Sequence[str]) -> int:
    """Say where files of runs do not go together; the status is then 1."""
    from ..report.run_checks import check_run

    wrong = False
    for name in names:
        findings = check_run(Path(name))
        wrong = wrong or bool(findings.wrong)
        for said in findings.sentences():
            console.print(f"WARNING: {name}: {said}", markup=False)
    return int(wrong)


def play_set(console: Console, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Play the evaluation set with each agent and show one table; returns the metrics as plain values."""
    from ..config import SDARConfig
    from ..evaluation.evaluate import evaluate
    from ..evaluation.health import judge_played
    from ..rollout.opening import source_of
    from ..run.progress import StageBar
    from .players import (
        context_of,
        load_player,
        require_can_play,
        require_player,
        require_privileged_prompt,
        say_trust,
    )  # fmt: skip

    for who in names:
        require_player(who)
    say_trust(console, options.trust_remote_code)
    fixed = evaluation_set_of(names[0], options)
    asked = {name: value for name, value in given_flags(options).items() if name in WORKERS}
    source = source_of(fixed.env_id, fixed.env_kwargs, SDARConfig.from_dict(asked))
    for who in names:  # nothing is played for a table that would not come
        require_can_play(who, source)
        if options.privileged and who in options.who:
            require_privileged_prompt(source, context_of(who, options.teacher_context))
    console.print(
        f"{fixed.env_id}, {fixed.split}: {len(fixed.task_ids)} episodes, temperature {fixed.temperature:g}, "
        f"evaluation set {fixed.hash[:12]}"
    )
    results: dict[str, Evaluation] = {}
    keys: dict[str, str] = {}  # what each is called in written files
    for who in names:
        note_another_world(console, who, fixed)
        for privileged in (False, True) if options.privileged and who in options.who else (False,):
            player = load_player(
                who, source, seed=options.seed, temperature=fixed.temperature, overrides=given_flags(options),
                privileged=privileged, teacher_context=options.teacher_context,
                trust_remote_code=options.trust_remote_code,
            )  # fmt: skip
            keys[player.name] = f"{who} (hinted)" if privileged else who
            started = time.perf_counter()
            with StageBar("eval") as bar:
                results[player.name] = evaluate(
                    player.agent, fixed, source=source, run_seed=options.seed, seal_info=player.seals_info,
                    advance=partial(bar.advance, player.name),
                )  # fmt: skip
            console.print(f"  {player.name}: {duration(time.perf_counter() - started)}")
            for message in judge_played(results[player.name], player.config) if player.config else ():
                console.print(f"  WARNING: {message}")
    source.close()
    show_evaluations(console, results)
    return {"panel": fixed.hash, "results": {keys[name]: found.to_json() for name, found in results.items()}}


def note_another_world(console: Console, who: str, fixed: EvaluationSet) -> None:
    """Say so when a run was trained in another world than the set's: that is allowed, and easily overlooked."""
    from .players import is_run_directory, read_run

    if is_run_directory(who):
        run = read_run(who)
        if (run.env_id, run.config.environment_kwargs) != (fixed.env_id, fixed.env_kwargs):
            console.print(
                f"note: {who} was trained on {run.env_id} {run.config.environment_kwargs}, not {fixed.env_kwargs}"
            )


def evaluation_set_of(first: str, options: argparse.Namespace) -> EvaluationSet:
    """The one in the file that was named, else a new one, which is written there if a file was named."""
    from ..evaluation.evaluation_set import EvaluationSet, make_evaluation_set
    from ..rollout.environments import EnvironmentSource
    from .players import environment_of, is_run_directory, read_run

    file = options.evaluation_set
    if file and Path(file).is_file():
        return EvaluationSet.load(file)
    env_id, env_kwargs = environment_of(first, options.env, read_pairs(options.env_kwargs, "--env-kwargs"))
    temperature, max_turns = options.temperature, options.max_turns
    if is_run_directory(first):
        config = read_run(first).config
        temperature = config.eval_temperature if temperature is None else temperature
        max_turns = config.max_turns if max_turns is None else max_turns
    source = EnvironmentSource(env_id, env_kwargs)
    made = make_evaluation_set(
        source, split=options.split, episodes=options.episodes, max_turns=max_turns,
        temperature=0.4 if temperature is None else temperature, sampler_batch=options.sampler_batch,
    )  # fmt: skip
    source.close()
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        made.save(file)
    return made


def show_evaluations(console: Console, results: Mapping[str, Evaluation]) -> None:
    """Two tables, a row per agent: overall with the difference to the first agent, and by task type."""
    first = next(iter(results.values()))
    kinds = sorted({kind for found in results.values() for kind in found.by_task_type})
    several = len(results) > 1
    columns = ["agent", "success %", "95 % interval", "clustered"]
    columns += [*(["difference", "95 % interval"] if several else []), "steps", "invalid %", "failed"]
    rows = []
    for name, found in results.items():
        row = [name, percent(found.success_rate), interval(found.ci95), interval(found.clustered_ci95)]
        if several:
            row += ["", ""] if found is first else difference(first, found)
        rows.append([*row, f"{found.mean_turns:.1f}", percent(found.invalid_action_rate), str(found.failed)])
    console.print("")
    show_table(console, "success", columns, rows)
    if len(kinds) > 1:
        console.print("")
        rows = [[name, *(_rate(found.by_task_type.get(kind)) for kind in kinds)] for name, found in results.items()]
        show_table(console, "by task type, in %, with 95 % intervals", ["agent", *map(kind_name, kinds)], rows)


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    low, high = rate.ci95
    return f"{100 * rate.success_rate:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def difference(first: Evaluation, other: Evaluation) -> list[str]:
    """Two cells: the paired difference in points, and its interval, clustered by what tasks share."""
    from ..evaluation.intervals import paired_difference

    found = paired_difference(first.outcomes, other.outcomes, other.clusters)
    if found is None:
        return ["-", "-"]
    mean, (low, high) = found
    return [f"{100 * mean:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]


def show_recorded(console: Console, names: Sequence[str]) -> dict[str, Any]:
    """One table of what finished runs wrote into their ``summary.json``."""
    from sdar_envs.bounded_files import load_json

    summaries: dict[str, Any] = {}
    for name in names:
        path = Path(name) / "summary.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: {name} is no run directory, or its run has not finished")
        summaries[name] = load_json(path)
    show_summaries(console, summaries)
    return summaries


def show_summaries(console: Console, summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """One row per run: before, after, the privileged-prompt policy, cost."""
    columns = ["run", "method", "seed", "before %", "95 % interval", "after %", "95 % interval"]
    columns += ["privileged before", "after", "time", "tokens", "evaluation set"]
    rows = []
    for name, summary in summaries.items():
        before, after, teacher = summary["before"] or {}, summary["after"], summary.get("teacher") or {}
        rows.append(
            [
                name,
                _method(summary),
                str(summary.get("seed", "-")),
                *(percent(before.get("success_rate")), interval(before.get("ci95"))),
                *(percent(after["success_rate"]), interval(after["ci95"])),
                *(percent((teacher.get(when) or {}).get("success_rate")) for when in ("before", "after")),
                duration(float(summary["seconds"])),
                f"{summary['tokens']:,}",
                str(after["panel_hash"])[:12],
            ]
        )
    show_table(console, "", columns, rows, left=2)


def _method(summary: Mapping[str, Any]) -> str:
    """The method, and the prompt that its metrics were measured under where that is not the plain one."""
    view = summary["after"].get("view", "plain")
    return str(summary.get("method", "-")) + ("" if view == "plain" else f" ({view} prompt)")
