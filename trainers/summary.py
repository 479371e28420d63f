"""Figures that sum up: an iteration's episodes, and a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .batch import Row
from .evaluation import Evaluation
from .rollout import Rollout
from .run_state import Progressed
from .statistics import paired_difference
from .update import UpdateCounters

if TYPE_CHECKING:
    from .config import SDARConfig


def rollout_figures(rollouts: Sequence[Rollout], rows: Sequence[Row]) -> dict[str, Any]:
    """What an iteration's episodes say about the student: rates over episodes that did not fail."""
    played = [rollout.episode for rollout in rollouts if not rollout.episode.failed]
    turns = [turn for episode in played for turn in episode.turns]
    episodes, steps = max(len(played), 1), max(len(turns), 1)
    return {
        "success": sum(episode.success for episode in played) / episodes,
        "return": sum(episode.return_ for episode in played) / episodes,
        "score": sum(episode.score for episode in played) / episodes,
        "turns": len(turns) / episodes,
        "invalid_action_share": sum(not turn.is_action_valid for turn in turns) / steps,
        "malformed_share": sum(turn.action.parse != "ok" for turn in turns) / steps,
        "truncated_share": sum(bool(t.action.tokens and t.action.tokens.truncated) for t in turns) / steps,
        "context_full": sum(episode.stop_reason == "context_full" for episode in played),
        "episodes/failed": len(rollouts) - len(played),
        # Of the distribution that sampled, whether or not the loss needs an entropy.
        "sampling/entropy": sum(sum(row.entropies_T) for row in rows) / max(sum(len(row) for row in rows), 1),
        "tokens/sampled": sum(len(row) for row in rows),
        "tokens/rows": sum(len(row.student.ids) for row in rows),
    }


def run_summary(
    *,
    method: str,
    env_id: str,
    config: SDARConfig,
    progressed: Progressed,
    counters: UpdateCounters,
    watched: Evaluation,
    hinted: Evaluation | None,
    test: Evaluation | None,
) -> dict[str, Any]:
    """What `summary.json` holds: before and after on the test panel (on the watched one where there is none), paired.

    Args:
        method: Its name.
        env_id: What was trained on.
        config: Seed and watched split.
        progressed: The start's evaluations, seconds and tokens.
        counters: Of the optimiser.
        watched: The student on the watched panel, at the end.
        hinted: The hinted teacher on the same.
        test: The student on the test panel, at the end.
    """
    split, before = config.eval_split, progressed.before
    summary: dict[str, Any] = {
        "method": method,
        "env_id": env_id,
        "seed": config.seed,
        "steps": progressed.step,
        "seconds": progressed.seconds,
        "cpu_seconds": progressed.cpu_seconds,
        "tokens": progressed.sampled_tokens,
        "trained_tokens": progressed.trained_tokens,
        "failed_episodes": progressed.failed_episodes,
        "updates": counters.updates,
        "updates_skipped": counters.skipped,
        "before": before.get(split if test is None else "test"),
        "after": (watched if test is None else test).to_json(),
        "watched": {"split": split, "before": before.get(split), "after": watched.to_json()},
        "teacher": {"before": before.get("teacher"), "after": None if hinted is None else hinted.to_json()},
        "difference": None,
    }
    if test is not None and progressed.before_outcomes:
        found = paired_difference(progressed.before_outcomes, test.outcomes, test.clusters)
        summary["difference"] = None if found is None else {"mean": found[0], "ci95": list(found[1])}
    return summary
