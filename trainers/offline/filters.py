"""Which stored episodes are kept: one filter after the other, and a count for every reason to throw one away.

Nothing depends on the order of runs or lines. Evaluation episodes, episodes of tasks that an evaluation set holds, and
episodes that were acted under the privileged prompt are refused whatever the rules say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .stored import NothingKeptError, StoredEpisode, StoredEpisodesError

# Reasons, in the order in which they are looked for.
NOT_TRAINING = "played for an evaluation"
PRIVILEGED = "acted under the privileged prompt"
BROKEN = "its environment broke"
EVALUATED = "a task of an evaluation set"
NO_TOKENS = "no token ids logged"
TWICE = "the same episode again"
MEAN_LOW = "group mean too low"
MEAN_HIGH = "group mean too high"
LOST = "did not succeed"
POOR = "return too low"
LONG = "too many turns"
BEYOND_TASK = "beyond the number per task"
BEYOND_SHAPE = "beyond the number of near-duplicates"
REASONS = (
    *(NOT_TRAINING, PRIVILEGED, BROKEN, EVALUATED, NO_TOKENS, TWICE, MEAN_LOW, MEAN_HIGH),
    *(LOST, POOR, LONG, BEYOND_TASK, BEYOND_SHAPE),
)
_MEAN = re.compile(r"\s*(?:([-+\d.eE]+)\s*(<=|<)\s*)?mean\s*(?:(<=|<)\s*([-+\d.eE]+)\s*)?")


@dataclass(frozen=True, slots=True)
class MeanRange:
    """Which success rates of a group are kept, e.g. ``0<mean<1``: groups that say something about their episodes."""

    low: float | None = None
    low_included: bool = True
    high: float | None = None
    high_included: bool = True

    @classmethod
    def read(cls, text: str) -> MeanRange:
        """The range that a text such as ``0<mean<1`` or ``mean<=0.5`` names.

        Raises:
            ValueError: It is of another form.
        """
        found = _MEAN.fullmatch(text)
        try:
            if found is None or not (found[1] or found[4]):
                raise ValueError
            low, high = (None if word is None else float(word) for word in (found[1], found[4]))
        except ValueError:
            raise ValueError(
                f'expected a range of the group\'s success rate such as "0<mean<1" or "mean<=0.5", got {text!r}'
            ) from None
        return cls(low, found[2] != "<", high, found[3] != "<")

    def reason(self, mean: float) -> str | None:
        """Why a group with this success rate is thrown away; None where it is kept."""
        if self.low is not None and (mean < self.low or (mean == self.low and not self.low_included)):
            return MEAN_LOW
        if self.high is not None and (mean > self.high or (mean == self.high and not self.high_included)):
            return MEAN_HIGH
        return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of an episode beyond what is refused always; None asks nothing.

    Attributes:
        keep: Of its group's success rate, over the members whose environment did not break.
        correct: Whether it must have succeeded.
        min_return: Sum of rewards at least.
        max_turns: Turns at most.
        per_task: Episodes of a task at most, the best ones: by return, then by fewest turns.
        near_duplicates: Episodes at most whose actions are the same but for numbers, the best ones again.
    """

    keep: MeanRange | None = None
    correct: bool = False
    min_return: float | None = None
    max_turns: int | None = None
    per_task: int | None = None
    near_duplicates: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_turns", "per_task", "near_duplicates"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")

    def described(self) -> dict[str, Any]:
        """The rules as plain JSON values, those that ask nothing left out."""
        mean = self.keep
        found: dict[str, Any] = {"correct": self.correct}
        if mean is not None:
            low = "" if mean.low is None else f"{mean.low:g}{'<=' if mean.low_included else '<'}"
            high = "" if mean.high is None else f"{'<=' if mean.high_included else '<'}{mean.high:g}"
            found["keep"] = f"{low}mean{high}"
        named = {name: getattr(self, name) for name in ("min_return", "max_turns", "per_task", "near_duplicates")}
        return found | {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Choice:
    """The episodes that are kept, in their order, and how many were thrown away for which reason."""

    kept: list[StoredEpisode]
    thrown: dict[str, int]
    read: int


def choose(
    episodes: Iterable[StoredEpisode], rules: Rules, evaluated: Collection[tuple[str, str]] = frozenset()
) -> Choice:
    """Apply the rules.

    Args:
        episodes: Of all runs, whole groups: a group's success rate is that of the members that are here.
        rules: What is asked.
        evaluated: (environment's id, task id) of all tasks of evaluation sets.
    """
    ordered = sorted(episodes, key=lambda episode: (episode.order, episode.run, episode.offset))
    thrown = dict.fromkeys(REASONS, 0)
    left: list[StoredEpisode] = []
    seen: set[str] = set()
    means = group_means(ordered)
    # A game and the seat of it that is evaluated differ in nothing but capitals.
    held = {(env_id.casefold(), task) for env_id, task in evaluated}
    for episode in ordered:
        reason = _refused(episode, held, seen) or _unwanted(episode, rules, means)
        if reason is None:
            left.append(episode)
        else:
            thrown[reason] += 1
    per_task = best_of_each(left, [episode.task for episode in left], rules.per_task)
    thrown[BEYOND_TASK] = len(left) - len(per_task)
    kept = best_of_each(per_task, [episode.shape for episode in per_task], rules.near_duplicates)
    thrown[BEYOND_SHAPE] = len(per_task) - len(kept)
    return Choice(kept, thrown, len(ordered))


def group_means(episodes: Iterable[StoredEpisode]) -> dict[tuple[int, int, int], float]:
    """The success rate of each training group, over the members whose environment did not break."""
    outcomes: dict[tuple[int, int, int], list[bool]] = {}
    for episode in episodes:
        if episode.phase == "train" and not episode.failed:
            outcomes.setdefault(episode.group, []).append(episode.success)
    return {group: sum(won) / len(won) for group, won in outcomes.items()}


def best_of_each(episodes: Sequence[StoredEpisode], keys: Sequence[Hashable], most: int | None) -> list[StoredEpisode]:
    """Of the episodes that share a key the `most` best: by return, then by fewest turns, then in order; None for all.

    It is the order in which the method ``rft`` chooses within a group.
    """
    if most is None:
        return list(episodes)
    ranked = sorted(range(len(episodes)), key=lambda at: (-episodes[at].return_, episodes[at].turns, at))
    left: dict[Hashable, int] = {}
    kept = set()
    for at in ranked:
        left[keys[at]] = left.get(keys[at], most) - 1
        if left[keys[at]] >= 0:
            kept.add(at)
    return [episode for at, episode in enumerate(episodes) if at in kept]


def _refused(episode: StoredEpisode, evaluated: Collection[tuple[str, str]], seen: set[str]) -> str | None:
    """Why an episode is never training data; None where it can be."""
    if episode.phase != "train":
        return NOT_TRAINING
    if episode.view != "plain":
        return PRIVILEGED
    if episode.failed:
        return BROKEN
    if (episode.env_id.casefold(), episode.task[1]) in evaluated:
        return EVALUATED
    if not episode.id:
        return NO_TOKENS
    if episode.id in seen:
        return TWICE
    seen.add(episode.id)
    return None


def _unwanted(episode: StoredEpisode, rules: Rules, means: dict[tuple[int, int, int], float]) -> str | None:
    """Which rule an episode does not meet; None where it meets all that look at it alone."""
    reason = None if rules.keep is None else rules.keep.reason(means[episode.group])
    if reason is not None:
        return reason
    if rules.correct and not episode.success:
        return LOST
    if rules.min_return is not None and episode.return_ < rules.min_return:
        return POOR
    if rules.max_turns is not None and episode.turns > rules.max_turns:
        return LONG
    return None


def require_some(choice: Choice) -> None:
    """Refuse a choice that keeps nothing, with the reason that cost most.

    Raises:
        NothingKeptError: Nothing is kept, though there were token ids.
        StoredEpisodesError: The log has no token ids.
    """
    if choice.kept:
        return
    if choice.thrown[NO_TOKENS]:
        raise StoredEpisodesError(
            f"of {choice.read:,} episodes none is kept: {choice.thrown[NO_TOKENS]:,} training episodes have no token "
            "ids in the log; train with --log-tokens all"
        )
    counts = ", ".join(f"{reason} {count:,}" for reason, count in choice.thrown.items() if count)
    raise NothingKeptError(f"of {choice.read:,} episodes none is kept ({counts}): use fewer or milder rules")
