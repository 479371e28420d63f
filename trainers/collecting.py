"""Collecting an iteration: its tasks played by the student, with the teacher's side asked for where it is wanted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .actors import Actors
from .batch_env import LoopBatchEnv
from .environments import EnvironmentSource
from .method import Method, needs_plan, needs_teacher
from .resampling import Resampled, replace_flat_groups
from .rollout import collect
from .tasks import TaskPlan

if TYPE_CHECKING:
    from .config import SDARConfig


class Collector:
    """Plays the training tasks of a run; its environments are made when first needed and kept.

    Args:
        source: The environment.
        actors: Who acts.
        method: Says what must be known of each turn.
        config: Sizes of a batch.
        plan: Which tasks an iteration plays.
    """

    def __init__(
        self, source: EnvironmentSource, actors: Actors, method: Method, config: SDARConfig, plan: TaskPlan
    ) -> None:
        self.source = source
        self.actors = actors
        self.method = method
        self.config = config
        self.plan = plan
        self._env: LoopBatchEnv | None = None

    def privileged_turns(self, coef: float) -> str:
        """When the teacher's side is asked for, at a coefficient of the method's injection."""
        if needs_plan(self.method, coef):
            return "every"
        reads = needs_teacher(self.method, coef) or self.method.student_view == "privileged"
        return self.actors.privileged_turns if reads else "never"

    def collect(self, step: int, coef: float) -> Resampled:
        """The episodes of iteration `step`, group by group.

        Raises:
            RuntimeError: Every episode's environment broke.
        """
        config, turns = self.config, self.privileged_turns(coef)
        if self._env is None:
            slots = config.sampler_batch or config.tasks_per_step * config.num_generations
            self._env = LoopBatchEnv.of(self.source, "train", slots)
        self._env.privileged_turns = turns
        play = partial(
            collect,
            self.actors.student,
            self._env,
            max_turns=config.max_turns,
            seal_info=self.actors.seals_info and turns != "never",
        )
        rollouts = play(self.plan.draws(step))
        if all(rollout.episode.failed for rollout in rollouts):
            raise RuntimeError(f"every episode of iteration {step} failed; the first: {rollouts[0].failure}")
        return replace_flat_groups(rollouts, play, self.plan, step=step, tries=config.dynamic_sampling)

    def close(self) -> None:
        """Close the environments."""
        if self._env is not None:
            self._env.close()
            self._env = None
