"""Collects an iteration: the student plays its tasks, and privileged information is asked for where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from agents.base import Agent
from sdar_envs.multiagent.game import TextGame

from ..methods.method import IterationPlan
from ..options import Options
from .asynchronous import collect_asynchronously
from .batch_env import AsynchronousBatchEnv
from .collect import collect
from .dynamic_sampling import Play, Resampled, replace_flat_groups
from .environments import EnvironmentSource
from .games import GamePlan
from .opening import open_batch_env
from .policies import Policies
from .seats import Seats, seat_env
from .tasks import TaskPlan


class Collector:
    """Plays the training tasks of a run; its environments are made when first needed and kept.

    Args:
        source: The environment.
        policies: The agents of the run; the student acts.
        options: Episodes that act together, turns per episode, and tries of dynamic sampling.
        tasks: Which tasks an iteration plays.
        asynchronous: Whether an episode goes on as soon as its own environment has answered, instead of in lockstep.
        frozen: Opponents in a game that are models, by their names in ``opponents``.

    Raises:
        ValueError: Roles are to learn, and the environment is no seat of a game, or has no such role or player.
    """

    def __init__(
        self,
        source: EnvironmentSource,
        policies: Policies,
        options: Options,
        tasks: TaskPlan,
        *,
        asynchronous: bool = False,
        frozen: Mapping[str, Agent] | None = None,
    ) -> None:
        self.source = source
        self.policies = policies
        self.options = options
        self.tasks = tasks
        self.asynchronous = asynchronous
        self._env: AsynchronousBatchEnv | None = None
        self._games: list[TextGame] = []
        self.seats: Seats | None = None
        if options.roles:
            self.seats = Seats.of(source, policies.student, options, frozen or {})

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
        seats = 1 if self.seats is None else len(self.seats.learned)
        play = self._player(turns)
        rollouts = play(self.tasks.draws(plan.step))
        if all(rollout.episode.failed for rollout in rollouts):
            failure = rollouts[0].failure if rollouts else "no seat that learns has acted in any game"
            raise RuntimeError(f"every episode of iteration {plan.step} failed; the first: {failure}")
        return replace_flat_groups(
            rollouts, play, self.tasks, step=plan.step, tries=options.dynamic_sampling, seats=seats
        )

    def _player(self, turns: str) -> Play:
        """What plays draws: the games of several seats, or the environments."""
        options, seals = self.options, self.policies.seals_info and turns != "never"
        if self.seats is not None:
            while len(self._games) < options.episodes_together:
                self._games.append(seat_env(self.source).game)
            recorded = GamePlan(self.seats.learned, turns, options.max_turns, seals)
            return partial(self.seats.play, self._games, recorded)
        if self._env is None:
            self._env = open_batch_env(self.source, "train", options.episodes_together)
        self._env.privileged_turns = turns
        return partial(
            collect_asynchronously if self.asynchronous else collect,
            self.policies.student,
            self._env,
            max_turns=options.max_turns,
            seal_info=seals,
        )

    def close(self) -> None:
        """Close the environments."""
        if self._env is not None:
            self._env.close()
            self._env = None
