"""Collects an iteration: the student plays its tasks, and privileged information is asked for where it is read."""

from __future__ import annotations

from functools import partial

from ..methods.method import IterationPlan
from ..options import Options
from .asynchronous import collect_asynchronously
from .batch_env import AsynchronousBatchEnv
from .collect import collect
from .dynamic_sampling import Resampled, replace_flat_groups
from .environments import EnvironmentSource
from .opening import open_batch_env
from .policies import Policies
from .tasks import TaskPlan


class Collector:
    """Plays the training tasks of a run; its environments are made when first needed and kept.

    Args:
        source: The environment.
        policies: The agents of the run; the student acts.
        options: Episodes that act together, turns per episode, and tries of dynamic sampling.
        tasks: Which tasks an iteration plays.
        asynchronous: Whether an episode goes on as soon as its own environment has answered, instead of in lockstep.
    """

    def __init__(
        self,
        source: EnvironmentSource,
        policies: Policies,
        options: Options,
        tasks: TaskPlan,
        *,
        asynchronous: bool = False,
    ) -> None:
        self.source = source
        self.policies = policies
        self.options = options
        self.tasks = tasks
        self.asynchronous = asynchronous
        self._env: AsynchronousBatchEnv | None = None

    def privileged_turns(self, plan: IterationPlan) -> str:
        """When environments fill in the privileged information, one of `batch_env.PRIVILEGED_TURNS`."""
        if plan.reads_plan_length:
            return "every"
        reads = plan.reads_teacher or plan.method.student_view == "privileged"
        return self.policies.privileged_turns if reads else "never"

    def collect(self, plan: IterationPlan) -> Resampled:
        """The episodes of an iteration, group by group.

        Raises:
            RuntimeError: Every episode's environment broke.
        """
        options, turns = self.options, self.privileged_turns(plan)
        if self._env is None:
            self._env = open_batch_env(self.source, "train", options.episodes_together)
        self._env.privileged_turns = turns
        play = partial(
            collect_asynchronously if self.asynchronous else collect,
            self.policies.student,
            self._env,
            max_turns=options.max_turns,
            seal_info=self.policies.seals_info and turns != "never",
        )
        rollouts = play(self.tasks.draws(plan.step))
        if all(rollout.episode.failed for rollout in rollouts):
            raise RuntimeError(f"every episode of iteration {plan.step} failed; the first: {rollouts[0].failure}")
        return replace_flat_groups(rollouts, play, self.tasks, step=plan.step, tries=options.dynamic_sampling)

    def close(self) -> None:
        """Close the environments."""
        if self._env is not None:
            self._env.close()
            self._env = None
