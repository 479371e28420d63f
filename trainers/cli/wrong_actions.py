"""Does a teacher mark the wrong action? One set of episodes, read given each privileged context by each model.

The first one named plays the episodes; everyone named reads them, itself included. Of each reader and context the
table has the area under the curve of "its log-probability gap is lower at the first wrong action than at the same turn
of episodes that were right until then": 0.50 knows nothing, 1.00 always knows. Nothing is trained, and no privileged
text is shown or written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .flags import add_config_flags, add_trust_argument, given_flags, read_pairs
from .terminal import make_console, percent, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from sdar_envs.statement_decisions import Decision

    from ..config import SDARConfig
    from ..evaluation.wrong_actions import ReadEpisode
    from ..forward.root import PolicyModel
    from ..rollout.collect import Rollout
    from ..rollout.environments import EnvironmentSource
    from ..rollout.policies import Policies

USAGE = "RUN|MODEL [RUN|MODEL ...] [options]"
EPILOGUE = """examples:
  sdar wrong-actions runs/house
  sdar wrong-actions runs/house --privilege plan skill wrong_skill none --episodes 400
  sdar wrong-actions runs/house --untrained plays --json house.json
  sdar wrong-actions runs/house --env-kwargs stale=0.5"""

OVERRIDES = ("max_prompt_length", "max_completion_length", "teacher_budget", "position", "gate_beta", "device", "bf16")
DEFAULT_PRIVILEGES = ("plan", "skill", "wrong_skill")
SHOWN = ("whole action", "lowest gap", "gap at the decision", "mean weight")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar wrong-actions``."""
    from ..config import SDARConfig

    parser.add_argument(
        "who", nargs="+", metavar="RUN|MODEL",
        help="who reads, and the first of them plays; the folder of a model is given the prompts of the first run",
    )  # fmt: skip
    parser.add_argument(
        "--privilege", nargs="+", action="extend", default=[], metavar="NAME",
        help="contexts to read the episodes under [plan skill wrong_skill]",
    )  # fmt: skip
    parser.add_argument("--env", metavar="ID", help="environment [the first run's, else sdar/Household-v0]")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the environment"
    )
    parser.add_argument("--split", default="valid", help="train, valid or test [valid]")
    parser.add_argument("--episodes", type=int, default=200, metavar="N", help="the first N tasks of the split [200]")
    parser.add_argument("--temperature", type=float, metavar="X", help="of sampling [that of the run's training]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampling draws [0]")
    parser.add_argument("--json", metavar="FILE", help="write everything to this file too, - for standard output")
    parser.add_argument(
        "--untrained", nargs="?", const="reads", choices=("reads", "plays"),
        help="the model that the first run began with (its warm start, from the cache) reads, too, or plays as well",
    )  # fmt: skip
    add_trust_argument(parser)
    add_config_flags(parser, SDARConfig, only=OVERRIDES)


def run(options: argparse.Namespace) -> int:
    """Play, read, and show the areas."""
    from ..rollout.environments import EnvironmentSource
    from .players import environment_of, say_trust

    if options.episodes < 2:
        raise ValueError(f"--episodes expects at least 2, got {options.episodes}")
    console = make_console(stderr=options.json == "-")
    say_trust(console, options.trust_remote_code)
    leader = _first_run(options.who)
    env_id, env_kwargs = environment_of(leader, options.env, read_pairs(options.env_kwargs, "--env-kwargs"))
    source = EnvironmentSource(env_id, env_kwargs, workers=0)
    config = config_of(leader, env_id, options)
    called = short_names(options.who)
    if options.untrained:
        folder = str(warm_start_of(leader))
        added = {folder: f"{called[leader]}, untrained"}
        called = added | called if options.untrained == "plays" else called | added
    found = measured(console, source, config, options, called)
    source.close()
    if options.json:
        text = json.dumps(found, indent=1) + "\n"
        if options.json == "-":
            print(text, end="")
        else:
            Path(options.json).write_text(text, encoding="utf-8")
    return 0


def _first_run(who: Sequence[str]) -> str:
    """Whose prompts all get: the first run directory, else the first one named."""
    from .players import is_run_directory

    return next((word for word in who if is_run_directory(word)), who[0])


def config_of(leader: str, env_id: str, options: argparse.Namespace) -> SDARConfig:
    """The configuration of the run, or of the preset for such a model, with what was given on the command line."""
    from .inspect import inspected_config
    from .players import is_run_directory, require_model

    if not is_run_directory(leader):
        require_model(leader, "a run directory, or a model directory or name", bare=False)
    config = inspected_config(leader, env_id, given_flags(options))
    if options.temperature is not None:
        config = dataclasses.replace(config, temperature=options.temperature)
    if not config.temperature > 0:
        raise ValueError("expected a temperature above 0, at which log-probabilities are defined: give --temperature")
    return config


@dataclass(frozen=True, slots=True)
class _ReaderModel:
    """Someone who reads: the root module, and the policies by privileged context."""

    root: PolicyModel
    policies: Mapping[str, Policies]


def measured(
    console: Console,
    source: EnvironmentSource,
    config: SDARConfig,
    options: argparse.Namespace,
    called: Mapping[str, str],
) -> dict[str, Any]:
    """Play the episodes, let everyone read them, show the tables; returns the numbers as plain values.

    Args:
        console: Where the tables are shown.
        source: The environment.
        config: Whose prompts all get.
        options: What was asked for.
        called: Who reads -> what they are called; the first of them plays.
    """
    from ..evaluation.wrong_actions import Scoring, read_episodes, summary

    names = [name for word in options.privilege or DEFAULT_PRIVILEGES for name in word.split("+")]
    results: dict[str, Any] = {}
    player = next(iter(called))
    rollouts: list[Rollout] = []
    vocabulary: dict[str, int] = {}
    for who in called:
        reader, tokenizer = _reader_model(who, source, config, names, options)
        policies = reader.policies[names[0]]
        scoring = Scoring(config.temperature, config.gate_beta, policies.renderer.pad_id, config.micro_batch_tokens)
        if not rollouts:
            vocabulary = tokenizer.get_vocab()
            rollouts = _played(reader.policies, source, config, options)
            decisions = decisions_of(rollouts, _stated(source))
        elif tokenizer.get_vocab() != vocabulary:
            raise ValueError(
                f"{who} has another vocabulary than {player}, whose tokens it is to read: expected models that "
                "share one, such as a run and its warm start"
            )
        readers = {name: own.readers["teacher"] for name, own in reader.policies.items()}
        read = read_episodes(rollouts, reader.root, readers, scoring, decisions)
        for name, episodes in read.items():
            if all(value is None for each in episodes for turn in each.turns for value in turn.values()):
                console.print(
                    f"note: the context {name} did not fit into any prompt of {called[who]}: raise --teacher-budget "
                    "or --max-prompt-length"
                )
        results[called[who]] = {name: summary(episodes, name) for name, episodes in read.items()}
        if who == player:
            show_episodes(console, f"{source.name}, {options.split}", called[player], read[names[0]])
    show_areas(console, results)
    show_cells(console, results)
    return {
        "env_id": source.name,
        "env_kwargs": dict(source.env_kwargs),
        "world_version": source.world_version,
        "split": options.split,
        "episodes": len(rollouts),
        "temperature": config.temperature,
        "seed": options.seed,
        "player": called[player],
        "readers": results,
    }


def _reader_model(
    who: str, source: EnvironmentSource, config: SDARConfig, names: Sequence[str], options: argparse.Namespace
) -> tuple[_ReaderModel, Any]:
    from ..engine.single import SingleProcess, load_model
    from ..methods import METHODS
    from ..rollout.policies import make_policies
    from .players import is_run_directory, quiet_about_files, read_run, require_model

    if is_run_directory(who):
        path = str(read_run(who).model_dir)
    else:
        require_model(who, "a run directory, or a model directory or name", bare=False)
        path = who
    quiet_about_files(path)
    model, tokenizer = load_model(path, trust_remote_code=options.trust_remote_code)
    root = SingleProcess.of(config).prepare(model)
    policies: dict[str, Policies] = {}
    for name in names:
        own = dataclasses.replace(config, privilege=name, method="sdar")
        sampler = next(iter(policies.values())).sampler if policies else None
        policies[name] = make_policies(
            root.language_model, tokenizer, own, METHODS["sdar"], source, None, sampler=sampler
        )
    return _ReaderModel(root, policies), tokenizer


def _played(
    policies: Mapping[str, Policies], source: EnvironmentSource, config: SDARConfig, options: argparse.Namespace
) -> list[Rollout]:
    """The episodes, played under the plain prompt, with what every context reads beside each turn."""
    from ..rollout.batch_env import LoopBatchEnv
    from ..rollout.collect import TaskDraw, collect

    tasks = list(source.task_ids(options.split)[: options.episodes])
    every = any(own.privileged_turns == "every" for own in policies.values())
    slots = min(64, len(tasks))
    env = LoopBatchEnv.of(source, options.split, slots, privileged_turns="every" if every else "first")
    draws = [TaskDraw(task, ("wrong actions", options.seed, i), group=i) for i, task in enumerate(tasks)]
    try:
        return collect(next(iter(policies.values())).student, env, draws, max_turns=config.max_turns)
    finally:
        env.close()


def _stated(source: EnvironmentSource) -> dict[str, str]:
    """The values of the bank's statements, as they are stated."""
    bank = source.skill_bank
    return {} if bank is None else {statement.id: statement.value for statement in bank.statements}


def short_names(who: Sequence[str]) -> dict[str, str]:
    """What each is called in tables and files: the last part of its path, as long as no two share it."""
    last = {word: Path(word).name or word for word in who}
    return {word: name if list(last.values()).count(name) == 1 else word for word, name in last.items()}


def warm_start_of(run: str) -> Path:
    """The folder of the model that a run began with, found among the cached warm starts by its fingerprint.

    Raises:
        ValueError: It is no run, or the cache does not have the model (any more).
    """
    from sdar_envs.bounded_files import load_json
    from sdar_envs.cache import cache_folder

    from ..engine.single import fingerprint, load_model
    from ..run.directory import read_identity
    from .players import is_run_directory, quiet_about_files, read_run

    if not is_run_directory(run):
        raise ValueError(f"--untrained expects a run directory among those named, got {run!r}")
    facts = read_run(run)
    wanted = read_identity(facts.path).get("initial_weights")
    cached = sorted((cache_folder() / "warm-start").glob("*/warm_start.json"))
    for record in cached:
        if load_json(record).get("env_id") == facts.env_id:
            quiet_about_files(str(record.parent))
            if fingerprint(load_model(str(record.parent))[0]) == wanted:
                return record.parent
    raise ValueError(
        f"none of the {len(cached)} warm starts in {cache_folder() / 'warm-start'} is what {run} began with: name the "
        "folder of that model beside the run, without --untrained"
    )


def decisions_of(rollouts: Sequence[Rollout], stated: Mapping[str, str]) -> list[Decision | None]:
    """Where each episode followed a skill statement or did not.

    Args:
        rollouts: The episodes, with privileged information.
        stated: The value of every statement of the bank, corrupted ones as they are stated.
    """
    from sdar_envs.statement_decisions import Played, decision_of

    found: list[Decision | None] = []
    for rollout in rollouts:
        first = rollout.privileged[0] if rollout.privileged else None
        if first is None:
            found.append(None)
            continue
        # Of what is opened here, only whether a statement was followed and whether it was true goes any further.
        fields = first.reveal()
        own = {name: stated[name] for name in fields["skills"]["claim_ids"] if name in stated}
        turns = rollout.episode.turns
        played = Played(turns[0].view.instruction, fields["facts"], [turn.action.text for turn in turns], own)
        found.append(decision_of(rollout.episode.env_id, played))
    return found


def show_episodes(console: Console, where: str, player: str, episodes: Sequence[ReadEpisode]) -> None:
    """Say what was played."""
    from ..evaluation.wrong_actions import KINDS

    won = sum(each.success for each in episodes)
    console.print(f"{where}: {len(episodes)} episodes of {player}, {percent(won / len(episodes))} % won")
    for kind in KINDS:
        turns = [getattr(each, kind) for each in episodes if getattr(each, kind) is not None]
        if turns:
            console.print(f"  {sum(turn >= 0 for turn in turns)} of {len(turns)} with a {kind}")


def show_areas(console: Console, results: Mapping[str, Mapping[str, Any]]) -> None:
    """One table per kind of wrong action: a row per reader and context."""
    from ..evaluation.wrong_actions import KINDS

    for kind in KINDS:
        rows = []
        for who, contexts in results.items():
            for name, found in contexts.items():
                if kind in found:
                    own = found[kind]["areas"]
                    any_area = next(iter(own.values()))
                    counts = f"{any_area['wrong']} / {any_area['right']}"
                    rows.append([who, name, *(_area_text(own.get(measure)) for measure in SHOWN), counts])
        if rows:
            console.print("")
            title = f"lower marks the first {kind}: area under the curve, with 95 % intervals by task"
            show_table(console, title, ["reader", "context", *SHOWN, "wrong / right turns"], rows, left=2)


def _area_text(area: Mapping[str, Any] | None) -> str:
    if area is None:
        return "-"
    if area["interval"] is None:
        return f"{area['value']:.2f}"
    low, high = area["interval"]
    return f"{area['value']:.2f} ({low:.2f}-{high:.2f})"


def show_cells(console: Console, results: Mapping[str, Mapping[str, Any]]) -> None:
    """One table of the four cells: true or false statement, followed or not."""
    rows = []
    for who, contexts in results.items():
        for name, found in contexts.items():
            for cell in found["cells"]:
                gap = "-" if cell["gap"] is None else f"{cell['gap']:+.2f}"
                said = "true" if cell["true"] else "false"
                did = "followed" if cell["followed"] else "not followed"
                rows.append([who, name, said, did, str(cell["episodes"]), percent(cell["success"]), gap])
    if rows:
        console.print("")
        columns = ["reader", "context", "statement", "the action", "episodes", "won %", "whole action, nats"]
        show_table(console, "the four cells, at the action that shows it", columns, rows, left=4)
