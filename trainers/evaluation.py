"""Evaluation on a fixed panel: the same tasks, draws and batch size every time, with intervals.

A panel is a file that names everything a success rate depends on besides the agent. Success is the sum of wins over the
sum of episodes. The result is the same for any number of environments, because which episodes act together depends on
the panel alone. Not here: formulas of intervals (`statistics`), playing (`rollout`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base import Agent, Episode
from sdar_envs.core import resolve_split

from .batch_env import LoopBatchEnv
from .environments import Environment, EnvironmentSource
from .rollout import Rollout, TaskDraw, collect
from .statistics import clustered, wilson

PANEL_KEYS = (
    "env_id",
    "env_kwargs",
    "split",
    "task_ids",
    "max_turns",
    "temperature",
    "sampler_batch",
    "world_version",
)


class PanelError(ValueError):
    """A panel file that can not be trusted, or that does not fit the environment."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What is played and how.

    `sampler_batch` is how many episodes act together: at another batch size floating point may move a token.
    `hash` is the SHA-256 of all other fields as canonical JSON.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    split: str
    task_ids: tuple[str, ...]
    max_turns: int | None
    temperature: float
    sampler_batch: int
    world_version: str
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "task_ids", tuple(self.task_ids))
        if not self.task_ids or self.sampler_batch < 1 or self.temperature < 0:
            raise PanelError(
                f"panel of {self.env_id}: expected at least one task, sampler_batch >= 1 and temperature >= 0, got "
                f"{len(self.task_ids)} tasks, {self.sampler_batch} and {self.temperature}"
            )
        object.__setattr__(self, "hash", panel_hash(self.content()))

    def content(self) -> dict[str, Any]:
        """Everything that is hashed, as plain JSON values."""
        return {**{key: getattr(self, key) for key in PANEL_KEYS}, "task_ids": list(self.task_ids)}

    def save(self, path: str | Path) -> None:
        """Write the panel as JSON."""
        content = {**self.content(), "hash": self.hash}
        Path(path).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Panel:
        """Read a panel and verify its hash.

        Raises:
            PanelError: Not JSON, keys missing or unknown, or the hash does not match the content.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise PanelError(f"{path}: expected a panel as JSON, got {error}") from None
        if not isinstance(content, dict) or set(content) != {*PANEL_KEYS, "hash"}:
            got = sorted(content) if isinstance(content, dict) else type(content).__name__
            raise PanelError(f"{path}: expected the keys {', '.join(sorted((*PANEL_KEYS, 'hash')))}, got {got}")
        stated = content.pop("hash")
        if stated != panel_hash(content):
            raise PanelError(
                f"{path}: the panel was changed after it was written: its hash is stated as {str(stated)[:12]}... and "
                f"is {panel_hash(content)[:12]}...; make a new panel, since results on another one do not compare"
            )
        return cls(**content)

    def draw(self, index: int, run_seed: int = 0) -> tuple[int | str, ...]:
        """The key of episode `index`: part of the panel, so that all agents are measured with the same draws."""
        return ("panel", self.hash, run_seed, index)


def panel_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of a panel's fields, without ``"hash"``, as JSON with sorted keys and no white space."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_panel(
    env_id: str | Callable[..., Environment] | EnvironmentSource,
    env_kwargs: Mapping[str, Any] | None = None,
    split: str = "valid",
    episodes: int = 200,
    *,
    max_turns: int | None = None,
    temperature: float = 0.4,
    sampler_batch: int = 64,
) -> Panel:
    """The first tasks of a split as a panel; all of them where the split has fewer than `episodes`.

    Raises:
        ValueError: Unknown split, or `episodes` below 1.
    """
    source = env_id if isinstance(env_id, EnvironmentSource) else EnvironmentSource(env_id, dict(env_kwargs or {}))
    if episodes < 1:
        raise ValueError(f"make_panel: expected at least 1 episode, got {episodes}")
    tasks = source.task_ids(split)
    return Panel(
        env_id=source.name,
        env_kwargs=_without_split(source.env_kwargs),
        split=resolve_split(split, source.name),
        task_ids=tuple(tasks[index] for index in range(min(episodes, len(tasks)))),
        max_turns=max_turns,
        temperature=temperature,
        sampler_batch=sampler_batch,
        world_version=source.world_version,
    )


def _without_split(env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    # A panel names its split itself.
    return {key: value for key, value in env_kwargs.items() if key != "split"}


def _world(env_id: str, env_kwargs: Mapping[str, Any]) -> str:
    return f"{env_id} {json.dumps(_without_split(env_kwargs), sort_keys=True)}"


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
    """How an agent did on a panel.

    `outcomes` has one entry per task of the panel: whether it was won, None where the environment broke. Failed
    episodes are in no rate. `clustered_ci95` widens the interval where tasks share a room, a product, a source.
    """

    panel: Panel
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
            f"{self.overall.wins} of {self.overall.episodes} episodes of {self.panel.env_id} {self.panel.split}"
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
            "split": self.panel.split,
            "panel_hash": self.panel.hash,
        }


def evaluate(
    agent: Agent,
    panel: Panel,
    *,
    source: EnvironmentSource | None = None,
    environments: int | None = None,
    privileged_turns: str | None = None,
    seal_info: bool = False,
    run_seed: int = 0,
) -> Evaluation:
    """Play the whole panel with `agent`, which must sample at the panel's temperature.

    Args:
        agent: Who plays. Unless it declares `reads_privileged`, nothing privileged is even computed.
        panel: What is played.
        source: Where to make environments; None makes them from the panel's id and keyword arguments.
        environments: Live environments at most; more slots than environments cost time and change nothing.
        privileged_turns: When environments fill in the teacher's side (`batch_env.PRIVILEGED_TURNS`); None is every
            turn for an agent that reads it, and never for others.
        seal_info: As in `rollout.collect`, for a user's own ``teacher_context``.
        run_seed: Changes the draws of sampling, not the tasks.

    Raises:
        PanelError: The environment is another one than the panel's or another version of its world, or the agent
            samples at another temperature.
        RuntimeError: Not one episode could be played.
    """
    source = source or EnvironmentSource(panel.env_id, panel.env_kwargs)
    wanted, got = _world(panel.env_id, panel.env_kwargs), _world(source.name, source.env_kwargs)
    if wanted != got:
        raise PanelError(f"the panel is for {wanted}, got {got}: make a panel of that environment")
    if source.world_version != panel.world_version:
        raise PanelError(
            f"panel of {panel.env_id}: expected world version {panel.world_version}, got {source.world_version}: make "
            "a new panel; scores across versions do not compare"
        )
    temperature = getattr(getattr(agent, "sampler", agent), "temperature", panel.temperature)
    if temperature != panel.temperature:
        raise PanelError(f"the panel asks for temperature {panel.temperature}, the agent samples at {temperature}")
    slots = min(panel.sampler_batch, len(panel.task_ids))
    batch_env = LoopBatchEnv.of(
        source,
        panel.split,
        slots,
        environments=environments,
        privileged_turns=privileged_turns or ("every" if agent.reads_privileged else "never"),
    )
    tasks = [TaskDraw(task_id, panel.draw(i, run_seed), group=i) for i, task_id in enumerate(panel.task_ids)]
    try:
        rollouts = collect(agent, batch_env, tasks, max_turns=panel.max_turns, seal_info=seal_info)
    finally:
        batch_env.close()
    if all(rollout.episode.failed for rollout in rollouts):
        raise RuntimeError(f"every episode of the panel failed; the first: {rollouts[0].failure}")
    clusters = tuple(source.cluster_of(task_id) for task_id in panel.task_ids)
    return summarise(panel, rollouts, clusters)


def summarise(panel: Panel, rollouts: Sequence[Rollout], clusters: Sequence[str]) -> Evaluation:
    """Count the rollouts of a panel, parallel to its tasks."""
    episodes = [rollout.episode for rollout in rollouts]
    played = [episode for episode in episodes if not episode.failed]
    kinds = sorted({episode.task_type for episode in played})
    turns = sum(len(episode.turns) for episode in played)
    invalid = sum(not turn.is_action_valid for episode in played for turn in episode.turns)
    count = max(len(played), 1)
    kept = [(float(e.success), c) for e, c in zip(episodes, clusters, strict=True) if not e.failed]
    return Evaluation(
        panel=panel,
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
