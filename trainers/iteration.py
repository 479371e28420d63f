"""One iteration of training: collect -> select -> score -> weigh -> update, for any method.

This file holds the order of the steps; what each does stands in the room of that name. It never asks for a method's
name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .batch.row import SampledRow, ScoredRow
from .engine.updater import Updater
from .evaluation.diversity import diversity_metrics, mention_metrics
from .maths.advantages import compute_advantages
from .maths.step_groups import merge_similar_anchors
from .methods import Method, weigh
from .options import Options
from .rollout import generation_server
from .rollout.collect import Rollout
from .rollout.collector import EpisodeSource
from .rollout.dynamic_sampling import Resampled
from .rollout.policies import Policies
from .rollout.reflecting import Reflector
from .rollout.rows import build_rows, outcomes_of
from .rollout.selection import measure_progress, select_rows
from .rollout.skill_bandit import SkillBandit
from .run.log import RunLog
from .run.run_state import RunState
from .run.summary import rollout_metrics, sampled_tokens
from .scoring.scorer import Scorer

TOKEN_EPISODES = 2  # episodes per iteration whose tokens are logged one by one; of a game, with all its sides


@dataclass(frozen=True, slots=True)
class Iteration:
    """The steps of an iteration, tied together.

    Attributes:
        args: All options.
        method: The method.
        policies: Who acts and who reads.
        collector: Plays the tasks, or has stored episodes.
        scorer: Reads the rows.
        updater: Changes the parameters.
        bandit: Learns which skill the teacher reads; None for any other retrieval.
        reflector: Has the policy write its teacher's texts; None where it writes none.
        on_rollout_end: Called with the episodes when they have been played.
    """

    args: Options
    method: Method
    policies: Policies
    collector: EpisodeSource
    scorer: Scorer
    updater: Updater
    bandit: SkillBandit | None
    reflector: Reflector | None
    on_rollout_end: Callable[[list[Rollout]], None]

    def run(self, state: RunState, log: RunLog | None = None) -> dict[str, Any]:
        """Collect, select, score, weigh, update. Returns the iteration's metrics, and counts its cost in `state`.

        Args:
            state: How far the run is.
            log: Gets the episodes; None writes none.

        Raises:
            EpisodesFailedError: Every episode's environment broke.
        """
        engine, args, plan = self.scorer.engine, self.args, self.method.at(state.step, self.args)
        clock = engine.clock
        mask_truncated = args.mask_truncated_completions
        start, cpu_start = clock(), time.process_time()

        # Collect: episodes, and the rows of tokens that they make.
        generation_server.require_version(self.policies.sampler, plan.step)
        resampled = self.collector.collect(plan)
        rollouts = resampled.rollouts
        played = clock()
        written = {}
        if self.reflector is not None and plan.reads_teacher:
            written = self.reflector.write(rollouts, plan.step)
        reflected = clock()
        generation_server.confirm(self.policies.sampler)
        seen = [[turn.view.observation for turn in rollout.episode.turns] for rollout in rollouts]
        rows = merge_similar_anchors(build_rows(rollouts), seen, args.gigpo_similarity)
        collected = clock()
        metrics = rollout_metrics(rollouts, rows, view=self.method.student_view)
        if not self.collector.samples:
            metrics["tokens/stored"] = metrics.pop("tokens/sampled")
        metrics |= written
        metrics |= diversity_metrics(rollouts, view=self.method.student_view)
        generation_server.rest(self.policies.sampler)
        self.on_rollout_end(rollouts)

        # Select: the rows that are learned from, and the prompt that they are given.
        if plan.reads_plan_length:
            progress = measure_progress(rows, rollouts, args, self.policies.plan_length)
            rows = progress.rows
            metrics |= progress.metrics
        selected = select_rows(plan, rows, rollouts, self.policies.plain, mask_truncated=mask_truncated)
        metrics |= selected.metrics

        # Score and weigh: log-probs of the same tokens by teacher and reference, advantages and token weights.
        if self.bandit is not None and plan.reads_teacher:
            self.bandit.choose_in_order(selected.rows, rollouts)
        scored, seconds = self.scorer.score(selected.rows, rollouts, plan)
        metrics |= seconds
        if plan.reads_teacher:
            metrics |= self._mentions(rollouts)
        advantages = compute_advantages(rows, outcomes_of(rollouts), args, self.method.advantage, state.baselines)
        state.baselines = dict(advantages.baselines)
        by_index = {row.index: own for row, own in zip(rows, advantages.per_token, strict=True)}
        learned = weigh(plan, scored, by_index, mask_truncated=mask_truncated)

        # Log the episodes, before the update changes the student's log-probs.
        cpu_logging = time.process_time()
        latest = _latest(rows, learned)
        if log is not None and self.collector.samples:
            tokens_of = shown_episodes(rollouts)
            shown = [row for row in latest if row.episode_id in tokens_of]
            columns, view = partial(self.scorer.columns, plan=plan), self.method.student_view
            log.episodes(rollouts, iteration=plan.step, phase="train", view=view, rows=shown, columns=columns)
        weighed, cpu_weighed = clock(), time.process_time()

        # Update.
        trained = self.updater.counters.tokens
        metrics |= self.updater.update(learned, plan)
        metrics["tokens/learned"] = float(self.updater.counters.tokens - trained)
        self.policies.sampler.sync_weights(engine.sampling_model(self.updater.root), plan.step + 1)
        metrics |= generation_server.server_metrics(self.policies.sampler)
        if self.bandit is not None:
            metrics |= self.bandit.learn(latest, rollouts, resampled.replaced)
            state.retrieval = self.bandit.state()
        metrics |= {
            "groups": float(advantages.groups),
            "groups/flat": float(advantages.flat_groups),
            "groups/single": float(advantages.single_groups),
            "groups/flat_share": advantages.flat_groups / max(advantages.groups, 1),
            **advantages.metrics,
            **(resampled.metrics(args.num_generations) if args.dynamic_sampling else {}),
            "coefficient": plan.coefficient,
            "seconds/rollout": collected - start - (reflected - played),
            **({"seconds/reflection": reflected - played} if written else {}),
            "seconds/update": clock() - weighed,
        }
        state.cpu_seconds += engine.sum_over_ranks(cpu_logging - cpu_start + time.process_time() - cpu_weighed)
        metrics["seconds/cpu"] = state.cpu_seconds
        _count(state, metrics, learned, resampled)
        return metrics

    def _mentions(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """How often the student says what only its teacher has read; nothing where that is chosen or told later."""
        teacher = self.policies.teacher
        if teacher is None or teacher.hindsight or self.bandit is not None:
            return {}
        return mention_metrics(rollouts, teacher)


def shown_episodes(rollouts: Sequence[Rollout]) -> set[int]:
    """Which episodes are logged token by token: the first ones, and whoever played in their games."""
    first = [rollout.episode.game for rollout in rollouts[:TOKEN_EPISODES]]
    return {
        index
        for index, rollout in enumerate(rollouts)
        if index < TOKEN_EPISODES or (rollout.episode.game >= 0 and rollout.episode.game in first)
    }


def _count(state: RunState, metrics: Mapping[str, Any], learned: Sequence[ScoredRow], resampled: Resampled) -> None:
    """Add an iteration's tokens and failed episodes to the state of the run."""
    state.sampled_tokens += sampled_tokens(metrics)
    state.trained_tokens += sum(len(row.student.ids) for row in learned)
    state.failed_episodes += sum(rollout.episode.failed for rollout in resampled.rollouts)


def _latest(rows: Sequence[SampledRow], learned: Sequence[SampledRow]) -> list[SampledRow]:
    """All rows of an iteration, each at the latest stage that it has reached."""
    reached = {row.index: row for row in learned}
    return [reached.get(row.index, row) for row in rows]
