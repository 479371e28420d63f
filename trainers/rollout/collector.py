"""Collects an iteration: the student plays its tasks, and privileged information is asked for where it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from agents.base import Agent
from sdar_envs.multiagent.game import TextGame
from sdar_envs.privileged import StudentView

from ..engine.base import Ranks, owns
from ..methods.method import IterationPlan
from ..options import Options
from .asynchronous import collect_asynchronously
from .batch_env import AsynchronousBatchEnv
from .collect import Rollout, TaskDraw, collect
from .dealing import play_dealt, play_games_dealt
from .dynamic_sampling import Play, Resampled, replace_flat_groups
from .environments import EnvironmentSource
from .faults import EpisodesFailedError
from .games import GamePlan
from .opening import open_batch_env
from .policies import Policies
from .seats import Seats, seat_env
from .tasks import TaskPlan


class EpisodeSource(Protocol):
    """Gives an iteration its episodes: the student's own, as it plays them (`Collector`), or stored ones."""

    @property
    def samples(self) -> bool:
        """Whether the student has just played them, so that they are logged and their tokens count as sampled."""
        ...

    def identity(self) -> Mapping[str, str]:
        """What tells these episodes from others, for a run directory; nothing for what the student plays itself."""
        ...

    def collect(self, plan: IterationPlan) -> Resampled:
        """The episodes of an iteration, group by group."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class Collector:
    """Plays the training tasks of a run; its environments are made when first needed and kept.

    Args:
        source: The environment.
        policies: The agents of the run; the student acts.
        options: Episodes that act together, turns per episode, and tries of dynamic sampling.
        tasks: Which tasks an iteration plays.
        asynchronous: Whether an episode goes on as soon as its own environment has answered, instead of in lockstep.
        ranks: The processes that play them; None plays all in this one.
        choose: Chooses the skill that a group acts under (`skill_bandit`); None where none is acted under.
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
        ranks: Ranks | None = None,
        choose: Callable[[StudentView], object] | None = None,
        frozen: Mapping[str, Agent] | None = None,
    ) -> None:
        self.source = source
        self.policies = policies
        self.options = options
        self.tasks = tasks
        self.asynchronous = asynchronous
        self.ranks = ranks
        self.choose = choose
        self._env: AsynchronousBatchEnv | None = None
        self._games: list[TextGame] = []
        self.seats: Seats | None = None
        if options.roles:
            self.seats = Seats.of(source, policies.student, options, frozen or {})

    @property
    def samples(self) -> bool:
        """True: the student plays."""
        return True

    def identity(self) -> Mapping[str, str]:
        """Nothing: what is played follows from the options."""
        return {}

    def privileged_turns(self, plan: IterationPlan) -> str:
        """When environments fill in the privileged information, one of `batch_env.PRIVILEGED_TURNS`."""
        if plan.reads_plan_length:
            return "every"
        reads = plan.reads_teacher or plan.method.student_view == "privileged"
        return self.policies.privileged_turns if reads else "never"

    def collect(self, plan: IterationPlan) -> Resampled:
        """The episodes of an iteration, group by group.

        Raises:
            EpisodesFailedError: Every episode's environment broke.
        """
        options, turns = self.options, self.privileged_turns(plan)
        seats = 1 if self.seats is None else len(self.seats.learned)
        play = self._player(turns)
        rollouts = play(self.tasks.draws(plan.step))
        if all(rollout.episode.failed for rollout in rollouts):
            failure = rollouts[0].failure if rollouts else "no seat that learns has acted in any game"
            raise EpisodesFailedError(f"every episode of iteration {plan.step} failed; the first: {failure}")
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
            games = partial(self.seats.play, self._games, recorded)
            return partial(play_games_dealt, games, ranks=self.ranks, seats=len(self.seats.learned))
        if self._env is None:
            self._env = open_batch_env(self.source, "train", options.episodes_together)
        self._env.privileged_turns = turns
        play_here = partial(
            collect_asynchronously if self.asynchronous else collect,
            self.policies.student,
            self._env,
            max_turns=options.max_turns,
            seal_info=seals,
        )

        def play(tasks: Sequence[TaskDraw]) -> list[Rollout]:
            self._choose_in_order(tasks)
            return play_dealt(play_here, tasks, self.ranks)

        return play

    def _choose_in_order(self, tasks: Sequence[TaskDraw]) -> None:
        """With several processes: choose for all groups in their order, which no process that plays some can keep.

        A choice depends on the type of the task, which the process that owns the group finds out.
        """
        if self.choose is None or self.ranks is None or self.ranks.world_size == 1:
            return
        firsts = list({task.group: task for task in reversed(tasks)}.values())[::-1]
        types: dict[int, str] = {}
        for found in self.ranks.gather(
            {task.group: self.source.task_type(task.task_id) for task in firsts if owns(self.ranks, task.group)}
        ):
            types |= found
        for task in firsts:
            self.choose(StudentView("", task_type=types[task.group], draw=task.draw))

    def close(self) -> None:
        """Close the environments."""
        if self._env is not None:
            self._env.close()
            self._env = None
