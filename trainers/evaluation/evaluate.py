"""Evaluation on a fixed set: success is the sum of wins over the sum of episodes, with intervals.

Not here: what is played (`evaluation_set`), formulas of intervals (`intervals`), playing itself (`rollout.collect`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agents.base import Agent, Episode

from ..engine.base import Ranks
from ..rollout.asynchronous import collect_asynchronously
from ..rollout.collect import Rollout, TaskDraw, collect
from ..rollout.dealing import play_dealt
from ..rollout.environments import EnvironmentSource
from ..rollout.faults import EpisodesFailedError
from ..rollout.opening import open_batch_env
from .evaluation_set import EvaluationSet, EvaluationSetError, without_split
from .intervals import clustered, wilson


def _world(env_id: str, env_kwargs: Mapping[str, Any]) -> str:
    """An environment with its keyword arguments as text, to compare and to show."""
    return f"{env_id} {json.dumps(without_split(env_kwargs), sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class Rate:
    """A success rate with its Wilson interval."""

    wins: int
    episodes: int

    @property
    def success_rate(self) -> float:
        """Wins over episodes; 0 when nothing was played."""
        return self.wins / self.episodes if self.episodes else 0.0

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's interval."""
        return wilson(self.wins, self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a summary."""
        return {
            "success_rate": self.success_rate,
            "ci95": list(self.ci95),
            "episodes": self.episodes,
            "wins": self.wins,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of an agent on an evaluation set; episodes whose environment broke are in no rate and no mean.

    Attributes:
        evaluation_set: What was played.
        outcomes: Per task of the set, whether it was won; None where the environment broke.
        clusters: Per task, what it shares with others (a room, a product, a source), else the task itself.
        overall: Wins and episodes.
        by_task_type: The same by type of task.
        clustered_ci95: Interval of the success rate that takes clusters into account; None with fewer than two.
        mean_score: Mean of the environment's score.
        mean_return: Mean of the sum of rewards.
        invalid_action_rate: Share of turns whose action the environment did not understand.
        mean_turns: Turns per episode.
        failed: Episodes whose environment broke.
        tokens: Sampled tokens.
        rollouts: The episodes, parallel to the tasks.
    """

    evaluation_set: EvaluationSet
    outcomes: tuple[bool | None, ...] = field(repr=False)
    clusters: tuple[str, ...] = field(repr=False)
    overall: Rate
    by_task_type: dict[str, Rate]
    clustered_ci95: tuple[float, float] | None
    mean_score: float
    mean_return: float
    invalid_action_rate: float
    mean_turns: float
    failed: int
    tokens: int
    rollouts: list[Rollout] = field(default_factory=list, repr=False, compare=False)

    def __str__(self) -> str:
        low, high = self.ci95
        return (
            f"success {100 * self.success_rate:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f}), "
            f"{self.overall.wins} of {self.overall.episodes} episodes of {self.evaluation_set.env_id} "
            f"{self.evaluation_set.split}"
        )

    @property
    def success_rate(self) -> float:
        """Wins over episodes."""
        return self.overall.success_rate

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's interval of the success rate."""
        return self.overall.ci95

    def to_json(self) -> dict[str, Any]:
        """Plain values for `summary.json` and the log."""
        return {
            **self.overall.to_json(),
            "clustered_ci95": list(self.clustered_ci95) if self.clustered_ci95 else None,
            "by_task_type": {name: rate.to_json() for name, rate in self.by_task_type.items()},
            "mean_score": self.mean_score,
            "mean_return": self.mean_return,
            "invalid_action_rate": self.invalid_action_rate,
            "mean_turns": self.mean_turns,
            "failed": self.failed,
            "tokens": self.tokens,
            "split": self.evaluation_set.split,
            "panel_hash": self.evaluation_set.hash,
        }


def evaluate(
    agent: Agent,
    evaluation_set: EvaluationSet,
    *,
    source: EnvironmentSource | None = None,
    environments: int | None = None,
    privileged_turns: str | None = None,
    seal_info: bool = False,
    run_seed: int = 0,
    ranks: Ranks | None = None,
    advance: Callable[[int, int], None] | None = None,
    asynchronous: bool = False,
) -> Evaluation:
    """Play a whole evaluation set with `agent`, which must sample at its temperature.

    Args:
        agent: The agent that plays. Unless it declares `reads_privileged`, environments compute nothing privileged.
        evaluation_set: What is played.
        source: Makes the environments; None makes them from the set's id and keyword arguments.
        environments: Live environments at most; with fewer than slots the results are the same, and take longer.
        privileged_turns: When environments fill in privileged information (`batch_env.PRIVILEGED_TURNS`); None is every
            turn for an agent that reads it, and never for others.
        seal_info: As in `collect.collect`, for a user's own ``teacher_context``.
        run_seed: Changes the draws of sampling, not the tasks.
        ranks: The processes of a run, which share the tasks and all get the evaluation; None plays all here.
        advance: As in `collect.collect`: told how many episodes have ended, and of how many.
        asynchronous: Whether an episode goes on as soon as its own environment has answered. Tasks and draws are the
            same, and the batches of the sampler are not; see `rollout.asynchronous`.

    Raises:
        EvaluationSetError: The environment is another one than the set's or another version of its world, or the agent
            samples at another temperature.
        EpisodesFailedError: Every episode's environment broke.
    """
    # Whatever the set fixes must match: environment, version of the world, temperature.
    fixed = evaluation_set
    handed_in, source = source, source or EnvironmentSource(fixed.env_id, fixed.env_kwargs)
    wanted, got = _world(fixed.env_id, fixed.env_kwargs), _world(source.name, source.env_kwargs)
    if wanted != got:
        raise EvaluationSetError(f"the evaluation set is for {wanted}, got {got}: make one of that environment")
    if source.world_version != fixed.world_version:
        raise EvaluationSetError(
            f"evaluation set of {fixed.env_id}: expected world version {fixed.world_version}, got "
            f"{source.world_version}: make a new one; scores across versions do not compare"
        )
    temperature = getattr(agent, "temperature", fixed.temperature)
    if temperature != fixed.temperature:
        raise EvaluationSetError(
            f"the evaluation set asks for temperature {fixed.temperature}, the agent samples at {temperature}"
        )
    # Which episodes act together depends on the set alone, so the number of slots is the set's.
    slots = min(fixed.sampler_batch, len(fixed.task_ids))
    batch_env = open_batch_env(
        source,
        fixed.split,
        slots,
        environments=environments,
        privileged_turns=privileged_turns or ("every" if agent.reads_privileged else "never"),
    )
    tasks = [TaskDraw(task_id, fixed.draw(i, run_seed), group=i) for i, task_id in enumerate(fixed.task_ids)]
    play = collect_asynchronously if asynchronous else collect
    try:
        here = partial(play, agent, batch_env, max_turns=fixed.max_turns, seal_info=seal_info, advance=advance)
        rollouts = play_dealt(here, tasks, ranks)
    finally:
        batch_env.close()
    if all(rollout.episode.failed for rollout in rollouts):
        raise EpisodesFailedError(f"every episode of the evaluation set failed; the first: {rollouts[0].failure}")
    clusters = tuple(source.cluster_of(task_id) for task_id in fixed.task_ids)
    if handed_in is None:
        source.close()
    return summarise(fixed, rollouts, clusters)


def summarise(evaluation_set: EvaluationSet, rollouts: Sequence[Rollout], clusters: Sequence[str]) -> Evaluation:
    """The evaluation that rollouts give.

    Args:
        evaluation_set: What was played.
        rollouts: Its episodes, parallel to its tasks.
        clusters: The cluster of each task.
    """
    episodes = [rollout.episode for rollout in rollouts]
    played = [episode for episode in episodes if not episode.failed]
    kinds = sorted({episode.task_type for episode in played})
    turns = sum(len(episode.turns) for episode in played)
    invalid = sum(not turn.is_action_valid for episode in played for turn in episode.turns)
    count = max(len(played), 1)
    kept = [(float(e.success), c) for e, c in zip(episodes, clusters, strict=True) if not e.failed]
    return Evaluation(
        evaluation_set=evaluation_set,
        outcomes=tuple(None if episode.failed else episode.success for episode in episodes),
        clusters=tuple(clusters),
        overall=_rate(played),
        by_task_type={kind: _rate([e for e in played if e.task_type == kind]) for kind in kinds},
        clustered_ci95=clustered([outcome for outcome, _ in kept], [cluster for _, cluster in kept]),
        mean_score=sum(episode.score for episode in played) / count,
        mean_return=sum(episode.return_ for episode in played) / count,
        invalid_action_rate=invalid / max(turns, 1),
        mean_turns=turns / count,
        failed=len(episodes) - len(played),
        tokens=sum(len(t.action.tokens.completion_ids) for e in played for t in e.turns if t.action.tokens),
        rollouts=list(rollouts),
    )


def _rate(episodes: Sequence[Episode]) -> Rate:
    return Rate(sum(episode.success for episode in episodes), len(episodes))
