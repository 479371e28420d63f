"""The drill of broken environments: the same episodes with faults and without, compared to the byte.

    sdar drill faults --env mine:Slow-v0 --tries 1000

Every episode that was not failed must be the episode that the unbroken environment gives; every failed one must have
met its fault more often than it is replayed, and must name it.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdar_envs.randomness import counted_generator

from ..rollout.asynchronous import collect_asynchronously
from ..rollout.collect import collect
from ..rollout.environments import EnvironmentSource
from ..rollout.making import Environment, recipe_of
from ..rollout.opening import open_batch_env
from ..rollout.running import Rollout, TaskDraw
from ..rollout.workers.pool import WorkerLimits
from .drawn_agent import DrawnAgent
from .faulty_env import HARMLESS, KINDS, NAMED, make_faulty
from .small_run import DrillSubject
from .tally import Tally

REPLAYS = 2
EPISODES = 27  # of a round: one of each kind


@dataclass(slots=True)
class FaultsReport:
    """What a drill found; counts of several drills can be added up.

    Attributes:
        episodes: Played with faults.
        faults: Faults that happened, by kind.
        survived: Episodes that met a fault and came out as without one.
        failed: Episodes that met theirs too often, failed and named it.
        lost: Episodes that failed and should have survived.
        wrong: Episodes that came out otherwise than without faults, without failing: the worst that can happen.
        misnamed: Episodes that failed as they should and named another fault.
        replays: Replays of episodes.
        processes: Workers that were started.
        seconds: Wall-clock time of the part with faults.
        examples: The first few that were lost, wrong or misnamed, in words.
    """

    episodes: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    survived: int = 0
    failed: int = 0
    lost: int = 0
    wrong: int = 0
    misnamed: int = 0
    replays: int = 0
    processes: int = 0
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Faults of all kinds."""
        return sum(self.faults.values())

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, wrong or misnamed."""
        return not (self.lost or self.wrong or self.misnamed)

    def add(self, other: FaultsReport) -> None:
        """Add up."""
        for name, value in asdict(other).items():
            if name == "faults":
                self.faults = dict(sorted((Counter(self.faults) + Counter(value)).items()))
            elif name == "examples":
                self.examples = [*self.examples, *value][:20]
            else:
                setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.total:,} faults in {self.episodes:,} episodes: {self.survived:,} survived unchanged, "
            f"{self.failed:,} failed and said so, {self.lost} lost, {self.wrong} wrong, "
            f"{self.misnamed} misnamed; {self.replays:,} replays, {self.processes:,} processes, "
            f"{self.seconds:.0f} s\n{kinds}"
        )


def drill_faults(
    env_id: str | Callable[..., Environment],
    env_kwargs: dict[str, Any] | None = None,
    *,
    episodes: int = 64,
    workers: int = 4,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    split: str = "valid",
    max_turns: int = 12,
    step_timeout: float = 2.0,
    reset_timeout: float = 20.0,
    memory: int = 2**30,
    asynchronous: bool = False,
) -> FaultsReport:
    """Play episodes without and with faults, and compare.

    Args:
        env_id: The environment; its episodes have to be reproducible.
        env_kwargs: Its keyword arguments.
        episodes: How many, each of a task of its own with one fault.
        workers: Worker processes.
        kinds: Of `faulty_env.KINDS`.
        seed: Key of tasks, actions and faults; another one is another drill.
        split: Whose tasks are played.
        max_turns: Turns per episode.
        step_timeout: Seconds per step; every hang costs as much.
        reset_timeout: Seconds per reset.
        memory: Bytes of address space per worker.
        asynchronous: Whether the episodes with faults are collected asynchronously; those without are in lockstep.

    Raises:
        ValueError: The environment cannot be played in workers, or has too few tasks.
    """
    limits = WorkerLimits(step_timeout, reset_timeout, memory, REPLAYS)
    plain = EnvironmentSource(env_id, env_kwargs or {}, workers=workers, limits=limits)
    tasks = plain.task_ids(split)
    if len(tasks) < episodes:
        raise ValueError(f"{plain.name}: expected at least {episodes} tasks in {split}, got {len(tasks)}")
    start = int(counted_generator("drill", seed).integers(len(tasks) - episodes + 1))
    draws = [TaskDraw(tasks[start + i], ("drill", seed, i), i) for i in range(episodes)]
    slots = min(episodes, 4 * workers)
    try:
        expected, _, _ = _play(plain, split, slots, draws, max_turns)
    finally:
        plain.close()
    plan = {each.task.task_id: _fault_for(seed, i, each, kinds) for i, each in enumerate(expected)}
    recipe = recipe_of(env_id, env_kwargs or {})
    with tempfile.TemporaryDirectory(prefix="sdar-drill-") as folder:
        kwargs = {
            "recipe": {name: getattr(recipe, name) for name in type(recipe).__dataclass_fields__},
            "plan": {task: list(each) for task, each in plan.items()},
            "folder": folder,
        }
        faulty = EnvironmentSource(make_faulty, kwargs, workers=workers, limits=limits)
        began = time.perf_counter()
        try:
            got, replays, processes = _play(faulty, split, slots, draws, max_turns, asynchronous=asynchronous)
        finally:
            faulty.close()
        report = FaultsReport(
            episodes, replays=replays, processes=processes, seconds=round(time.perf_counter() - began, 1)
        )
        happened = len(list(Path(folder).iterdir()))
    for without, broken in zip(expected, got, strict=True):
        _judge(report, without, broken, *plan[without.task.task_id][1:])
    # Every fault leaves one mark, so what was planned and what happened have to be the same number.
    if happened != report.total:
        report.wrong += 1
        report.examples.append(f"{report.total} faults were planned and {happened} happened")
    return report


def _play(
    source: EnvironmentSource,
    split: str,
    slots: int,
    draws: Sequence[TaskDraw],
    max_turns: int,
    *,
    asynchronous: bool = False,
) -> tuple[list[Rollout], int, int]:
    """The episodes, with the replays and the worker processes that they took."""
    if source.pool is None:
        raise ValueError(f"{source.name}: expected an environment that can be played in worker processes")
    batch_env = open_batch_env(source, split, slots)
    play = collect_asynchronously if asynchronous else collect
    rollouts = play(DrawnAgent(), batch_env, draws, max_turns=max_turns)
    started = source.pool.started
    batch_env.close()
    return rollouts, batch_env.replayed, started


def _fault_for(seed: int, number: int, without: Rollout, kinds: Sequence[str]) -> tuple[int, str, int]:
    """The step, kind and times of an episode's fault; kinds go in turn, so that each has its share."""
    draw = counted_generator("fault", seed, number)
    kind = kinds[(number + seed) % len(kinds)]
    first = 1 if kind == "lie" else 0  # there must be something to lie about
    step = int(draw.integers(first, len(without.episode.turns) + 1)) if without.episode.turns else 0
    if kind in ("nan", "text_reward"):  # a reset has no reward
        step = max(step, 1)
    times = 1 if kind in HARMLESS else int(draw.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    return step, kind, times


def _judge(report: FaultsReport, without: Rollout, broken: Rollout, kind: str, times: int) -> None:
    """Count an episode with its fault."""
    report.faults[kind] = report.faults.get(kind, 0) + times
    survives = kind in HARMLESS or times <= REPLAYS
    said = ""
    if not broken.episode.failed:
        same = _story(without) == _story(broken)
        if survives and same:
            report.survived += 1
        else:
            report.wrong += 1
            said = "wrong" if survives else "not failed"
    elif survives:
        report.lost += 1
        said = "lost"
    elif str(broken.fault) in NAMED[kind] and without.task.task_id in str(broken.failure):
        report.failed += 1
    else:
        report.misnamed += 1
        said = "misnamed"
    if said:
        report.examples.append(f"{said}: {kind} x {times}, task {without.task.task_id}: {broken.failure}")


def _story(rollout: Rollout) -> list[Any]:
    """Everything of an episode that training, logs and evaluation read, on both sides of the barrier."""
    episode = rollout.episode
    turns = [
        (turn.view.observation, turn.view.admissible_actions, turn.action.text, turn.reward, turn.is_action_valid)
        for turn in episode.turns
    ]
    return [turns, episode.success, episode.score, episode.stop_reason, rollout.privileged]


def rounds(subject: DrillSubject, seed: int = 0) -> Iterator[Tally]:
    """Rounds of episodes with a fault each, without end; every other one is collected asynchronously.

    Args:
        subject: The environment; its episodes have to be reproducible.
        seed: The first round.

    Raises:
        ValueError: The environment cannot be played in workers, or has too few tasks.
    """
    for number in itertools.count(seed):
        report = drill_faults(
            subject.env_id,
            dict(subject.env_kwargs),
            episodes=EPISODES,
            workers=subject.workers or 4,
            seed=number,
            asynchronous=number % 2 == 1,
        )
        tally = Tally("faults", subject.name, rounds=1, kinds=dict(report.faults), examples=list(report.examples))
        # An episode is a try: it survives unchanged, or fails as it should and names its fault.
        tally.tries, tally.survived = report.episodes, report.survived + report.failed
        tally.lost, tally.silent = report.lost + report.misnamed, report.wrong
        yield tally
