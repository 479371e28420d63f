"""An upper-confidence bandit that learns while training which skill of the bank the teacher reads.

In the paper's comparison of retrieval strategies (arXiv 2605.15155; the released code has none of it) a bandit chooses
the skill. Ours: per task type, an arm is a skill of the bank, which is a task type's prose with its skill statements.
One pull is one group, whose episodes share their task and their skill. The score is ``mean reward + c sqrt(ln N / n)``,
with n pulls of the arm and N of all; arms that were never pulled come first, in the bank's order. The groups of an
iteration are given skills one after another, and for each the earlier ones count as pulls without a reward yet. So the
choice depends on the order of groups alone, never on the number of environments.

*The reward* is an option, because the published one (``success`` of the episodes) does not depend on the arm where the
student never sees the skill: it acts the same whatever the teacher reads. ``gap`` rewards a skill by how much more
likely the teacher finds the sampled tokens, with the sign of the episode's return: the mean over tokens of
``(T - O) sign(return)``.

*Every pull counts*; otherwise an arm that is tried first and never rewarded would be tried first again and again. So
replaced groups (`dynamic_sampling`) are pulls, and so is a skill that no teacher could read because it is over the
budget.

The counts are training state: they go into checkpoints. Environments do not use them; the teacher asks the bank for the
chosen skill by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sdar_envs.choices import require_choice
from sdar_envs.privileged import StudentView

from ..batch.row import SampledRow, ScoredRow
from ..methods.method import Method
from ..options import MethodOptions
from .collect import Rollout
from .tasks import group_key
from .teacher_views import TEACHER

UCB = "ucb"
REWARDS = ("success", "gap")

Key = tuple[int | str, ...]


def ucb_scores(
    pulls: Mapping[str, int], rewards: Mapping[str, float], pending: Mapping[str, int], c: float
) -> dict[str, float]:
    """The score of each arm; infinite for one that was never pulled.

    Args:
        pulls: Finished pulls per arm.
        rewards: Sum of their rewards.
        pending: Pulls whose reward is not known yet; they count as pulls, and in no mean.
        c: Weight of the uncertainty.
    """
    total = sum(pulls.values()) + sum(pending.values())
    scores = {}
    for arm, finished in pulls.items():
        count = finished + pending.get(arm, 0)
        mean = rewards[arm] / finished if finished else 0.0
        scores[arm] = mean + c * math.sqrt(math.log(total) / count) if count else math.inf
    return scores


class SkillBandit:
    """Chooses a skill for each group of training episodes, and the best one so far for any other episode.

    Args:
        arms: Names of the bank's skills, in its order.
        c: Weight of the uncertainty.
        reward: One of `REWARDS`.

    Raises:
        ValueError: Fewer than two arms: there is nothing to choose.
    """

    def __init__(self, arms: Sequence[str], *, c: float = math.sqrt(2.0), reward: str = "success") -> None:
        if len(arms) < 2:
            raise ValueError(f"retrieval='ucb' expects a bank with two skills or more to choose from, got {list(arms)}")
        self.arms = tuple(arms)
        self.c = c
        self.reward = require_choice("ucb_reward", reward, REWARDS, "SkillBandit")
        self._pulls: dict[str, dict[str, int]] = {}
        self._rewards: dict[str, dict[str, float]] = {}
        self._chosen: dict[Key, tuple[str, str]] = {}  # group -> (task type, arm), of the running iteration

    @classmethod
    def of(cls, options: MethodOptions, skill_bank: Any, method: Method) -> SkillBandit | None:
        """The bandit of a run; None for any other retrieval.

        Raises:
            ValueError: Nothing that the bandit chooses would be shown or rewarded, or there is nothing to choose from.
        """
        if options.retrieval != UCB:
            return None
        if "skill" not in options.privilege.split("+"):
            raise ValueError(
                f"retrieval='ucb' chooses what privilege='skill' shows, and privilege is {options.privilege!r}: choose "
                "skill, or another retrieval"
            )
        if options.ucb_reward == "gap" and method.student_view == "privileged":
            raise ValueError(
                f"ucb_reward='gap' needs a teacher that reads the episodes, and method {method.name!r} has none: its "
                "student acts under the privileged prompt itself. Choose ucb_reward=success, or a method with a teacher"
            )
        arms = list(getattr(skill_bank, "tasks", ()))
        return cls(arms, c=options.ucb_c, reward=options.ucb_reward)

    def choose(self, view: StudentView) -> str:
        """The skill for an episode; all episodes of a training group get the same."""
        context, key = view.task_type, group_key(view.draw)
        pulls = self._pulls.setdefault(context, dict.fromkeys(self.arms, 0))
        rewards = self._rewards.setdefault(context, dict.fromkeys(self.arms, 0.0))
        if key is None:
            # No training episode: the arm with the best mean, or the task type's own skill while none was pulled.
            known = self._means(context)
            return max(known, key=lambda arm: known[arm]) if known else self._own(context)
        if key not in self._chosen:
            pending = {arm: list(self._chosen.values()).count((context, arm)) for arm in self.arms}
            scores = ucb_scores(pulls, rewards, pending, self.c)
            self._chosen[key] = (context, max(self.arms, key=lambda arm: scores[arm]))
        return self._chosen[key][1]

    def choose_in_order(self, rows: Sequence[SampledRow], rollouts: Sequence[Rollout]) -> None:
        """Choose for the groups of rows that a teacher will read, in their order.

        With several processes each reads its own groups only, and a choice depends on the groups before.

        Args:
            rows: All rows that will be read.
            rollouts: Their episodes, by ``row.episode_id``.
        """
        for row in rows:
            rollout = rollouts[row.episode_id]
            if row.row_turns and rollout.privileged[row.row_turns[0]] is not None:
                self.choose(rollout.episode.turns[row.row_turns[0]].view)

    def _own(self, context: str) -> str:
        """The skill of the task type itself; the first of the bank where it has none of that name."""
        return context if context in self.arms else self.arms[0]

    def learn(
        self, rows: Sequence[SampledRow], rollouts: Sequence[Rollout], replaced: Sequence[Rollout] = ()
    ) -> dict[str, float]:
        """Reward the arms of an iteration's groups, and forget its choices; returns metrics, none without a choice.

        A group without a usable episode leaves its arm as it was. A group that was played and that no teacher could
        read (``gap``) counts with the worst mean of its task type so far, and with 0 at most.

        Args:
            rows: The iteration's rows, with the teacher's log-probs where it has read them.
            rollouts: Their episodes, by ``row.episode_id``.
            replaced: Replaced episodes; they count too where their skill was chosen.
        """
        # Rewards by group: of each usable episode, or under `gap` of each that a teacher has read.
        gaps = self._gaps(rows) if self.reward == "gap" else {}
        played: dict[Key, list[float]] = {}
        for index, rollout in enumerate([*rollouts, *replaced]):
            key = group_key(rollout.task.draw)
            if key is None or key not in self._chosen or rollout.episode.failed:
                continue
            own = played.setdefault(key, [])
            if self.reward == "success":
                own.append(float(rollout.episode.success))
            elif index in gaps:
                own.append(gaps[index])
        # One pull per group, credited with the mean over its episodes.
        means = {key: math.fsum(own) / len(own) for key, own in played.items() if own}
        for key, mean in means.items():
            self._credit(*self._chosen[key], mean)
        for context, arm in [self._chosen[key] for key in played if key not in means]:
            self._credit(context, arm, min([0.0, *self._means(context).values()]))
        metrics = {}
        if self._chosen:
            own_skill = sum(arm == self._own(context) for context, arm in self._chosen.values())
            metrics["retrieval/own_skill"] = own_skill / len(self._chosen)
        if means:
            metrics["retrieval/reward"] = math.fsum(means.values()) / len(means)
        self._chosen.clear()
        return metrics

    def _credit(self, context: str, arm: str, reward: float) -> None:
        self._pulls[context][arm] += 1
        self._rewards[context][arm] += reward

    def _means(self, context: str) -> dict[str, float]:
        """The mean reward of each arm that was pulled."""
        pulls, rewards = self._pulls[context], self._rewards[context]
        return {arm: rewards[arm] / pulls[arm] for arm in self.arms if pulls[arm]}

    def _gaps(self, rows: Sequence[SampledRow]) -> dict[int, float]:
        """The mean of ``(T - O) sign(return)`` per episode, over the tokens that the teacher has read."""
        sums: dict[int, list[float]] = {}
        for row in rows:
            if not isinstance(row, ScoredRow):
                continue  # not learned from, and so not read
            # Of several joined privileges, the reading of the skill alone.
            teacher = row.teacher_logprobs_T.get(f"{TEACHER}:skill", row.teacher_logprobs_T.get(TEACHER, []))
            sign = (row.return_ > 0) - (row.return_ < 0)
            gaps = [sign * (t - o) for t, o in zip(teacher, row.behaviour_logprobs_T, strict=False)]
            if gaps:
                sums.setdefault(row.episode_id, []).extend(gaps)
        return {episode: math.fsum(gaps) / len(gaps) for episode, gaps in sums.items()}

    # Training state.

    def state(self) -> dict[str, Any]:
        """The counts as plain JSON: task type -> arm -> [pulls, sum of rewards]."""
        return {
            context: {arm: [pulls[arm], self._rewards[context][arm]] for arm in self.arms}
            for context, pulls in self._pulls.items()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; an empty mapping gives a bandit without pulls."""
        self._chosen.clear()
        self._pulls = {c: {arm: int(own[arm][0]) for arm in self.arms} for c, own in state.items()}
        self._rewards = {c: {arm: float(own[arm][1]) for arm in self.arms} for c, own in state.items()}
