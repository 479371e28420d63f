"""Whether a run can learn, judged while it goes: numbers in, findings out. The one place that decides it.

An iteration is judged by its metrics; a finding is said when it has held for `health_patience` iterations in a row, so
that one odd iteration says nothing. The evaluation before the first iteration is judged by what was played: where no
prompt fits, nothing was sampled, or every completion was empty, the run is refused, because no iteration could be any
different. Completions that are all malformed are reported and not refused: training samples at another temperature and
can teach the form. A privileged-prompt policy that wins no more than the student is looked for only there, since a
student that has caught up with it later has learned what was to be learned. Not here: saying and writing (`trainer`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.base import Parse, StopReason

from ..options import Options
from .evaluate import Evaluation


class UnhealthyRunError(RuntimeError):
    """A run was ended because of its health (``strict_health``); the message has the findings."""


class HopelessRunError(UnhealthyRunError):
    """A run was refused before its first iteration, because none could learn anything; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something for which a run does not learn.

    Attributes:
        name: Of `NAMES`.
        message: What is the matter, with the remedy.
        since: The iteration at which it began; 0 is the evaluation before the first.
    """

    name: str
    message: str
    since: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for `summary.json`."""
        return asdict(self)


# Every finding, with its few words for a report that has only metric lines.
NAMES = {
    "context_full": "episodes ended because no prompt fits",
    "nothing_sampled": "no token was sampled",
    "nothing_trained": "nothing was trained on",
    "malformed": "completions were malformed",
    "truncated": "completions were cut off",
    "zero_variance": "groups had zero variance",
    "learning_rate_zero": "the learning rate was 0",
    "gradients_zero": "gradients were 0",
    "adapters_still": "adapters changed next to nothing",
    "updates_lost": "updates were lost in rounding",
    "logprobs_apart": "sampler and trainer disagreed on log-probs",
    "entropy_collapsed": "the entropy of sampling collapsed",
    "empty_context": "the privileged contexts were empty",
    "unusable_texts": "what the policy wrote for its teacher was of no use",
    "nothing_to_distil": "the privileged-prompt policy was no better than the student",
    "teacher_collapsed": "the privileged-prompt policy collapsed",
}


# From this share of empty privileged contexts on, it is said that a teacher has nothing to teach from.
NEARLY_ALL = 0.95


def judge(
    metrics: Mapping[str, Any],
    options: Options,
    *,
    reads_groups: bool = True,
    instead: Callable[[], str] | None = None,
) -> dict[str, str]:
    """The messages of what is wrong with one iteration, by the name of the finding; causes hide what follows from them.

    Args:
        metrics: Of the iteration, as `metrics.jsonl` has them.
        options: Thresholds, and the values that remedies name.
        reads_groups: Whether the method learns from group-relative advantages.
        instead: What could be read in the place of an empty privileged context; None where it is meant to be empty.
    """

    def number(name: str, missing: float = math.nan) -> float:
        value = metrics.get(name)
        return float(value) if isinstance(value, int | float) else missing

    episodes = options.tasks_per_step * options.num_generations - number("episodes/failed", 0.0)
    sampled = number("tokens/sampled")
    found: dict[str, str] = {}
    full = number("context_full") / max(episodes, 1.0)
    if full >= options.health_context_full:
        found["context_full"] = (
            f"{full:.0%} of the episodes ended because their prompt no longer fits: {_longer_prompts(options)}"
        )
    if sampled == 0:
        if "context_full" not in found:
            found["nothing_sampled"] = "no token was sampled: look at the sampler, and at `sdar inspect` for the prompt"
        return found
    if number("malformed_share") >= options.health_malformed:
        found["malformed"] = malformed_message(number("malformed_share"), options)
    if number("truncated_share") >= options.health_truncated:
        found["truncated"] = (
            f"{number('truncated_share'):.0%} of the completions were cut off at max_completion_length "
            f"{options.max_completion_length}: raise it, or ask for shorter answers"
        )
    flat = number("groups/flat_share")
    if reads_groups and flat >= options.health_zero_variance:
        found["zero_variance"] = (
            f"{flat:.0%} of the groups have zero variance, so their advantages are 0: raise num_generations or "
            "temperature, take tasks that are won sometimes, or a method with a teacher"
        )
    if instead is not None and number("teacher/empty_share") >= NEARLY_ALL:
        found["empty_context"] = empty_message(number("teacher/empty_share"), options, instead())
    if number("reflection/asked", 0.0) > 0 and number("reflection/usable") <= 1.0 - NEARLY_ALL:
        found["unusable_texts"] = (
            f"{1.0 - number('reflection/usable'):.0%} of the texts that the policy wrote for its teacher are of no "
            "use, so that the teacher reads the outcome instead or nothing: take a model that follows instructions, "
            "raise reflection_tokens (reflection/truncated) or teacher_budget, or a privilege that nobody has to "
            "write, such as hindsight"
        )
    if number("tokens/learned") == 0:
        found["nothing_trained"] = (
            "nothing was trained on (no update, or no loss token in one): look at what the method selects, and at "
            "mask_truncated_completions"
        )
        return found
    if number("learning_rate") == 0:
        found["learning_rate_zero"] = "the learning rate is 0, so that no parameter changes: raise learning_rate"
    if number("grad_norm") == 0 and "zero_variance" not in found:
        found["gradients_zero"] = (
            "all gradients are 0, so that nothing is learned: check the rewards, and the coefficients of the method"
        )
    still = number("adapter/change_at_end")
    if still <= options.health_adapter_change and number("grad_norm") > 0 and "zero_variance" not in found:
        found["adapters_still"] = (
            f"at learning_rate {options.learning_rate:g} the adapters will have changed their weights by "
            f"{100 * still:.2g} % after {options.max_steps} iterations, next to nothing: raise learning_rate (adapters "
            "need ten times that of whole weights, or more)"
        )
    if number("update/unchanged") >= options.health_unchanged:
        found["updates_lost"] = (
            f"{number('update/unchanged'):.0%} of the 16-bit parameters were left as they are, because updates below a "
            "16-bit step are lost: master_weights=float32, or a larger learning_rate"
        )
    apart = number("sampling/logp_diff_mean")
    if apart >= options.health_logprob_difference:
        found["logprobs_apart"] = (
            f"sampler and trainer differ by {apart:.3f} nats per token on the same tokens, so that ratios are noise: "
            "use the same precision in both (bf16), or another sampler"
        )
    if number("sampling/entropy") <= options.health_entropy:
        found["entropy_collapsed"] = (
            f"the entropy of sampling is {number('sampling/entropy'):.4f} nats per token, so that all episodes of a "
            "task are the same: lower learning_rate, raise temperature, or set entropy_coef"
        )
    return found


def empty_message(share: float, options: Options, instead: str) -> str:
    """The finding about a teacher that reads nothing beyond the student's prompt."""
    return (
        f"{share:.0%} of the privileged contexts are empty (privilege={options.privilege}), so that teacher and "
        f"student read the same and there is nothing to distil: {instead}"
    )


def malformed_message(share: float, options: Options) -> str:
    """The finding about completions that are no action in the form that is asked for."""
    return (
        f"{share:.0%} of the completions are malformed (prompt_style {options.prompt_style}): take a model that "
        "follows instructions, another prompt_style, or a larger max_completion_length; `sdar inspect` shows what is "
        "asked for"
    )


def judge_form(student: Evaluation, options: Options) -> str | None:
    """The message about an evaluation most of whose completions are no actions; None where they are."""
    turns = [turn for rollout in student.rollouts if not rollout.episode.failed for turn in rollout.episode.turns]
    malformed = sum(turn.action.parse is not Parse.OK for turn in turns) / max(len(turns), 1)
    return malformed_message(malformed, options) if turns and malformed >= options.health_malformed else None


def judge_played(student: Evaluation, options: Options) -> list[str]:
    """What is wrong with how a model played an evaluation set, for somebody who only looks at its success rate."""
    played = [rollout.episode for rollout in student.rollouts if not rollout.episode.failed]
    full = sum(episode.stop_reason is StopReason.CONTEXT_FULL for episode in played) / max(len(played), 1)
    messages = [judge_form(student, options)]
    if played and full >= options.health_context_full:
        messages.append(
            f"{full:.0%} of the episodes ended because their prompt no longer fits: {_longer_prompts(options)}"
        )
    return [message for message in messages if message]


def _longer_prompts(options: Options) -> str:
    return (
        f"raise max_prompt_length ({options.max_prompt_length} tokens), or lower history_length; `sdar inspect` shows "
        "what a prompt takes"
    )


def judge_start(
    student: Evaluation, teacher: Evaluation | None, options: Options, *, teaches: bool = False, empty: str = ""
) -> dict[str, str]:
    """The messages of what is wrong before the first iteration, by the name of the finding.

    Args:
        student: Under the plain prompt, or under the one that the method is about.
        teacher: The privileged-prompt policy, where it was evaluated and is not the student itself.
        options: Thresholds, and the values that remedies name.
        teaches: Whether the run learns from that policy's context.
        empty: That the privileged contexts are empty, where they are: it explains a policy that has no lead.

    Raises:
        HopelessRunError: No prompt fits, nothing was sampled, or no completion could be an action.
    """
    played = [rollout.episode for rollout in student.rollouts if not rollout.episode.failed]
    turns = [turn for episode in played for turn in episode.turns]
    if played and not turns and all(episode.stop_reason is StopReason.CONTEXT_FULL for episode in played):
        raise HopelessRunError(f"no prompt fits: nothing can be played or learned; {_longer_prompts(options)}")
    sampled = [turn.action.tokens for turn in turns]
    if turns and all(tokens is not None and not tokens.completion_ids for tokens in sampled):
        raise HopelessRunError("nothing was sampled in a whole evaluation: look at the sampler and at the end tokens")
    if turns and all(turn.action.parse is Parse.EMPTY for turn in turns):
        raise HopelessRunError(
            f"all {len(turns)} completions of the evaluation before training are empty, so that none could be an "
            "action: check the chat template and the end tokens of the model (`sdar inspect` shows its prompt)"
        )
    found: dict[str, str] = {}
    if message := judge_form(student, options):
        found["malformed"] = message
    lead = None if teacher is None else teacher.success_rate - student.success_rate
    if empty:
        found["empty_context"] = empty
    elif teaches and lead is not None and lead <= options.health_teacher_lead:
        found["nothing_to_distil"] = (
            f"the privileged-prompt policy wins {100 * lead:+.1f} points against the student, so there is nothing to "
            f"distil: try another privilege than {options.privilege!r}, or a model that uses what it reads"
        )
    return found


@dataclass(slots=True)
class Health:
    """The findings of a run so far.

    Attributes:
        patience: Iterations in a row that something must hold.
        findings: By name, as they were first said.
    """

    patience: int
    findings: dict[str, Finding] = field(default_factory=dict)
    _streaks: dict[str, int] = field(default_factory=dict)

    def observe(self, step: int, messages: Mapping[str, str]) -> list[Finding]:
        """Count what an iteration's judgement found; returns what holds now, new or not.

        Args:
            step: The iteration, from 1.
            messages: Of `judge`.
        """
        self._streaks = {name: self._streaks.get(name, 0) + 1 for name in messages}
        return [
            self._holds(name, messages[name], step - streak + 1)
            for name, streak in self._streaks.items()
            if streak >= self.patience
        ]

    def note(self, step: int, messages: Mapping[str, str]) -> list[Finding]:
        """Count what holds at once, such as what an evaluation shows."""
        return [self._holds(name, message, step) for name, message in messages.items()]

    def _holds(self, name: str, message: str, since: int) -> Finding:
        return self.findings.setdefault(name, Finding(name, message, since))

    def to_json(self) -> list[dict[str, Any]]:
        """The findings as plain values, in the order in which they were said."""
        return [finding.to_json() for finding in self.findings.values()]

    def streaks(self) -> dict[str, int]:
        """How many iterations in a row each thing has held by now."""
        return dict(self._streaks)

    def load(self, findings: Sequence[Mapping[str, Any]], streaks: Mapping[str, int]) -> None:
        """Take up the findings of an earlier part of the run, and what held at its end."""
        self._streaks = dict(streaks)
        self.findings = {str(each["name"]): Finding(**each) for each in findings}
        self._streaks = dict(streaks)
