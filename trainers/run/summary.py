"""Summaries: the metrics of an iteration's episodes, and `summary.json` of a whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agents.base import Episode

from ..batch.row import SampledRow
from ..engine.updater import UpdateCounters
from ..evaluation.intervals import paired_difference
from ..evaluation.measured import Measured, described, measured_name
from ..options import Options
from ..rollout.collect import Rollout
from .run_state import RunState

# Results of the student in training. Under the privileged prompt they measure something else, so they get other names.
OUTCOMES = ("success", "return", "score")


def rollout_metrics(rollouts: Sequence[Rollout], rows: Sequence[SampledRow], *, view: str = "plain") -> dict[str, Any]:
    """Metrics of an iteration's episodes: rates and means over episodes that did not fail.

    Args:
        rollouts: The episodes.
        rows: Their rows.
        view: The prompt that they were acted under. Outcomes under the privileged one are named ``success_privileged``
            and so on, and there is no ``success`` then.
    """
    played = [rollout.episode for rollout in rollouts if not rollout.episode.failed]
    turns = [turn for episode in played for turn in episode.turns]
    episodes, steps = max(len(played), 1), max(len(turns), 1)
    metrics = {
        "success": sum(episode.success for episode in played) / episodes,
        "return": sum(episode.return_ for episode in played) / episodes,
        "score": sum(episode.score for episode in played) / episodes,
        "turns": len(turns) / episodes,
        "invalid_action_share": sum(not turn.is_action_valid for turn in turns) / steps,
        "malformed_share": sum(turn.action.parse != "ok" for turn in turns) / steps,
        "truncated_share": sum(bool(t.action.tokens and t.action.tokens.truncated) for t in turns) / steps,
        "context_full": sum(episode.stop_reason == "context_full" for episode in played),
        "episodes/failed": len(rollouts) - len(played),
        # Mean entropy of the sampling distribution, in nats, whether or not the loss needs an entropy.
        "sampling/entropy": _mean_entropy(rows),
        "tokens/sampled": sum(len(row) for row in rows),
        "tokens/rows": sum(len(row.student.ids) for row in rows),
    }
    metrics |= game_metrics(played)
    for fault in sorted({str(rollout.fault) for rollout in rollouts if rollout.episode.failed and rollout.fault}):
        metrics[f"episodes/failed_{fault}"] = sum(str(rollout.fault) == fault for rollout in rollouts)
    return {measured_name(name, view) if name in OUTCOMES else name: value for name, value in metrics.items()}


def sampled_tokens(metrics: Mapping[str, Any]) -> int:
    """Tokens that a policy has sampled in an iteration of training, by the metrics of the iteration.

    Those of groups that gave way to others (dynamic sampling) and of texts for its own teacher are among them.
    """
    kinds = ("tokens/sampled", "tokens/replaced", "tokens/reflection")
    return sum(int(metrics.get(kind) or 0) for kind in kinds)


def game_metrics(played: Sequence[Episode]) -> dict[str, float]:
    """Metrics of episodes that were played against each other: by role, and of whole games; none of other episodes.

    ``deals`` is the share of games that gave anything to anybody, ``joint`` the mean sum of what the recorded seats of
    a game got.
    """
    metrics: dict[str, float] = {}
    for role in sorted({episode.role for episode in played if episode.role and episode.game >= 0}):
        own = [episode for episode in played if episode.role == role]
        metrics[f"success/{role}"] = sum(episode.success for episode in own) / len(own)
        metrics[f"return/{role}"] = sum(episode.return_ for episode in own) / len(own)
    games: dict[int, float] = {}
    for episode in played:
        if episode.game >= 0:
            games[episode.game] = games.get(episode.game, 0.0) + episode.return_
    if games:
        metrics["deals"] = sum(total > 0.0 for total in games.values()) / len(games)
        metrics["joint"] = sum(games.values()) / len(games)
    return metrics


def _mean_entropy(rows: Sequence[SampledRow]) -> float:
    """Over the tokens whose entropy the sampler said; NaN where it said none of any."""
    told = [row for row in rows if row.entropies_T or not len(row)]
    if rows and not told:
        return math.nan
    return sum(sum(row.entropies_T) for row in told) / max(sum(len(row) for row in told), 1)


def run_summary(
    *,
    method: str,
    env_id: str,
    options: Options,
    state: RunState,
    counters: UpdateCounters,
    watched: Measured,
    test: Measured | None,
) -> dict[str, Any]:
    """The content of `summary.json`: before and after on the test set (else on the watched one), and their difference.

    ``before`` and ``after`` are under the prompt that the method is about, which their ``view`` names; ``views`` has
    every prompt that the student was evaluated under.

    Args:
        method: Its name.
        env_id: The environment that was trained on.
        options: Seed and watched split.
        state: The start's evaluations, seconds and tokens.
        counters: Of the optimiser.
        watched: The student and the privileged-prompt policy on the watched set, at the end.
        test: The student on the test set, at the end.
    """
    last = watched if test is None else test
    views = {view: _before_and_after(last, view, state) for view in last.views}
    own = views[last.view]
    return {
        "method": method,
        "env_id": env_id,
        "seed": options.seed,
        "steps": state.step,
        "seconds": state.seconds,
        "cpu_seconds": state.cpu_seconds,
        "tokens": state.sampled_tokens,
        "trained_tokens": state.trained_tokens,
        "failed_episodes": state.failed_episodes,
        "updates": counters.updates,
        "updates_skipped": counters.skipped,
        "before": own["before"],
        "after": own["after"],
        "watched": {"split": watched.split, **_before_and_after(watched, watched.view, state)},
        "teacher": {"before": state.before.get("teacher"), "after": watched.described().get("teacher")},
        "difference": own["difference"],
        "views": views,
        "health": state.health,
    }


def _before_and_after(measured: Measured, view: str, state: RunState) -> dict[str, Any]:
    """The evaluations under one prompt before and after training, and their paired difference where it is known."""
    name, after = measured_name(measured.split, view), measured.views[view]
    difference = None
    if outcomes := state.before_outcomes.get(name):
        found = paired_difference(outcomes, after.outcomes, after.clusters)
        difference = None if found is None else {"mean": found[0], "ci95": list(found[1])}
    return {"before": state.before.get(name), "after": described(after, view), "difference": difference}
