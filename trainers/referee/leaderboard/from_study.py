"""Protocol and entries from a study's archive: the suite's own rows enter by the same files as anybody's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdar_envs.files import write_file

from ...evaluation.evaluation_set import EvaluationSet, make_evaluation_set
from ...study.archive import read_archive
from ...study.plain_json import encode, write_json
from ...study.result_records import Cost, MeasuredTest, Result
from .reading import PROTOCOL, outcome_bytes, read_protocol, stated_rate
from .records import Entry, LeaderboardError, Protocol, SeedRun

# The row that is not trained: where every entry of a protocol begins.
START = "warm-start"
REPOSITORY = "this repository"
PRIVILEGED = "privileged"  # the view of a result whose policy is evaluated under the privileged prompt


@dataclass(frozen=True, slots=True)
class Wording:
    """What a protocol says of itself, which no archive can know."""

    title: str
    description: str
    model: str
    open: bool = True


def write_board(
    folder: Path,
    archive: Path,
    wording: Wording,
    *,
    world_version: str | None = None,
    sampler_batch: int | None = None,
) -> list[Path]:
    """Write the protocol of a finished study and an entry for each of its arms; returns the files written.

    Args:
        folder: Of the board; its name is the protocol's.
        archive: What `sdar study export` wrote.
        wording: What the protocol says of itself.
        world_version: Of the world that the study was played in, where it is not today's.
        sampler_batch: Of its evaluation, where it is not today's default.

    Raises:
        LeaderboardError: An evaluation set that is made again does not have the study's hash.
    """
    content = read_archive(archive)
    results = [result for result in content.jobs if result.after is not None]
    sets, starts = {}, {}
    for result in results:
        if str(result.seed) not in sets:
            sets[str(result.seed)] = _set_of(result, world_version, sampler_batch)
        starts[str(result.seed)] = result.initial_weights
    folder.mkdir(parents=True, exist_ok=True)
    plan = content.plan
    protocol = Protocol(
        name=folder.name,
        title=wording.title,
        description=wording.description,
        model=wording.model,
        training_episodes=max(result.curve[-1].episodes for result in results),
        reference=plan.reference,
        code=" ".join(sorted({commit for result in results for commit in _commits(result)})),
        sets={seed: {**found.content(), "hash": found.hash} for seed, found in sorted(sets.items(), key=_number)},
        starts=dict(sorted(starts.items(), key=_number)),
        open=wording.open,
    )
    write_json(folder / PROTOCOL, encode(protocol))
    written = [folder / PROTOCOL]
    for method, entry, packed in entries_of(results, *read_protocol(folder / PROTOCOL)):
        write_file(folder / entry.outcomes, packed)
        write_json(folder / f"{method}.json", encode(entry))
        written += [folder / entry.outcomes, folder / f"{method}.json"]
    return written


def entries_of(
    results: Iterable[Result], protocol: Protocol, sets: Mapping[int, EvaluationSet]
) -> list[tuple[str, Entry, bytes]]:
    """Name, entry and outcomes of every arm, and of the start that they share."""
    by_arm: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.seed):
        if result.after is not None:
            by_arm.setdefault(result.arm, []).append(result)
    made = []
    measured_before = {
        result.seed: result for group in by_arm.values() for result in group if result.before is not None
    }
    # A study with an arm that does not train has this row already, unless it has fewer seeds than the others.
    still = [group for group in by_arm.values() if not any(result.cost.tokens for result in group)]
    if measured_before and not any(len(group) == len(measured_before) for group in still):
        free = Cost(cpu_seconds=0.0, tokens=0, updates=0, updates_skipped=0)
        group = [replace(measured_before[seed], cost=free) for seed in sorted(measured_before)]
        described = "Not trained: the weights that every entry of this protocol begins with."
        made.append(_entry(START, "warm start, not trained", described, group, protocol, sets, trained=False))
    for arm, group in sorted(by_arm.items()):
        name = re.sub(r"[\[=,_]", "-", arm.replace("]", "")).lower()
        described = f"`{group[0].method}` as tuned and run in the study; evaluated under the {group[0].view} prompt."
        made.append(_entry(name, group[0].label, described, group, protocol, sets, trained=True))
    return made


def _entry(
    name: str,
    label: str,
    description: str,
    group: list[Result],
    protocol: Protocol,
    sets: Mapping[int, EvaluationSet],
    *,
    trained: bool,
) -> tuple[str, Entry, bytes]:
    outcomes = {}
    for result in group:
        measured = result.after if trained else result.before
        assert measured is not None
        outcomes[result.seed] = _by_task(measured, sets[result.seed])
    packed = outcome_bytes(outcomes)
    rates = {seed: sum(tasks.values()) / len(tasks) for seed, tasks in outcomes.items()}
    runs = {
        str(result.seed): SeedRun(
            sets[result.seed].hash, result.initial_weights, result.cost.tokens, round(result.cost.cpu_seconds, 1)
        )
        for result in group
    }
    entry = Entry(
        protocol=protocol.name,
        method=name,
        label=label,
        description=description,
        repository=REPOSITORY,
        commit=" ".join(sorted({commit for result in group for commit in _commits(result)})),
        runs=runs,
        outcomes=f"{name}.outcomes.jsonl.gz",
        outcomes_sha256=hashlib.sha256(packed).hexdigest(),
        success=stated_rate(rates),
        reads_privileged=trained and group[0].view == PRIVILEGED,
    )
    return name, entry, packed


def _by_task(measured: MeasuredTest, evaluation_set: EvaluationSet) -> dict[str, bool]:
    """Success by task; an episode in which the environment broke counts as lost."""
    return {task: outcome == "1" for task, outcome in zip(evaluation_set.task_ids, measured.outcomes, strict=True)}


def _set_of(result: Result, world_version: str | None, sampler_batch: int | None) -> EvaluationSet:
    """The evaluation set of a result's test, made again and proved by its hash."""
    assert result.after is not None
    config: dict[str, Any] = result.config
    made = make_evaluation_set(
        result.env_id,
        config["env_kwargs"],
        "test",
        len(result.after.outcomes),
        max_turns=config.get("max_turns"),
        temperature=config["eval_temperature"],
    )
    content = made.content()
    if world_version is not None:
        content["world_version"] = world_version
    if sampler_batch is not None:
        content["sampler_batch"] = sampler_batch
    made = EvaluationSet(**content)
    if made.hash != result.after.panel_hash:
        raise LeaderboardError(
            f"seed {result.seed}: the evaluation set made from the study's options has the hash {made.hash[:12]}, and "
            f"the study was measured on {result.after.panel_hash[:12]}: give --world-version or --sampler-batch of then"
        )
    return made


def _commits(result: Result) -> list[str]:
    commit = result.versions.get("commit")
    return [str(one)[:12] for one in (commit if isinstance(commit, list) else [commit]) if one]


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])
