"""What self-distillation can cost beside success: breadth, length, and words that only the teacher could know.

Analyses of self-distillation find answers that are alike, shorter and surer, and students that speak of what they never
read (docs/methods.md). These are the numbers that would show it, over the training episodes of an iteration: pure
functions, groups being the episodes of one task and seat. Entropy is measured where rows are (`run.summary`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from agents.base import Episode
from agents.teacher import Teacher

from ..rollout.collect import Rollout
from .measured import measured_name

MENTION_WORDS = 3  # words in a row that make a mention
_WORD = re.compile(r"\w+")


def pass_at_k(wins: int, episodes: int, k: int) -> float:
    """The chance that `k` of the `episodes`, drawn without replacement, hold a win: ``1 - C(n - w, k) / C(n, k)``.

    The unbiased estimate of pass@k from n samples (arXiv 2107.03374).

    Raises:
        ValueError: `k` is not between 1 and `episodes`, or there are more wins than episodes.
    """
    if not 1 <= k <= episodes or not 0 <= wins <= episodes:
        raise ValueError(
            f"pass_at_k: expected 1 <= k <= episodes and 0 <= wins <= episodes, got {k}, {episodes}, {wins}"
        )
    return 1.0 - math.comb(episodes - wins, k) / math.comb(episodes, k)


def breadth(groups: Sequence[Sequence[Episode]]) -> dict[str, float]:
    """How broadly groups are played; nothing where no group has two episodes.

    ``pass_at_K`` is the mean over groups, for K = 2, 4, 8, ... as far as every group reaches. ``distinct_episodes`` is
    the share of a group's episodes whose actions no earlier one has in this order, and ``distinct_actions`` the share
    of its actions that are different texts; both are means over groups, and 1 where nothing is repeated.
    """
    several = [group for group in groups if len(group) > 1]
    if not several:
        return {}
    found = {}
    smallest, k = min(len(group) for group in several), 2
    while k <= smallest:
        rates = [pass_at_k(sum(episode.success for episode in group), len(group), k) for group in several]
        found[f"pass_at_{k}"] = math.fsum(rates) / len(rates)
        k *= 2
    played = [[tuple(turn.action.text for turn in episode.turns) for episode in group] for group in several]
    found["distinct_episodes"] = _mean([len(set(actions)) / len(actions) for actions in played])
    texts = [[text for actions in group for text in actions] for group in played]
    found["distinct_actions"] = _mean([len(set(own)) / len(own) for own in texts if own])
    return found


def completion_tokens(episodes: Sequence[Episode]) -> float:
    """Mean sampled tokens of a completion; 0 for none."""
    lengths = [len(turn.action.tokens.completion_ids) for own in episodes for turn in own.turns if turn.action.tokens]
    return _mean(lengths)


def mentions(completion: str, privileged: str, read: Sequence[str], words: int = MENTION_WORDS) -> bool:
    """Whether a completion has a run of `words` words of the privileged context that stood in nothing that was read.

    Words are compared in lower case, without what stands between them. What any prompt held before counts as read, so
    that a phrase of the world is no mention.

    Args:
        completion: What the student wrote.
        privileged: What its teacher is shown.
        read: Everything that the student has read so far in the episode.
        words: Length of a run.
    """
    secret = _runs(privileged, words) & _runs(completion, words)
    return bool(secret) and bool(secret - set().union(*(_runs(text, words) for text in read)))


def mention_share(episodes: Sequence[Episode], contexts: Sequence[Sequence[str | None]]) -> float | None:
    """The share of turns that mention what only the teacher knew; None where no turn has a privileged context.

    Args:
        episodes: Played under the plain prompt.
        contexts: The privileged context at each of their turns; None where there was none.
    """
    turns = mentioned = 0
    for episode, shown in zip(episodes, contexts, strict=True):
        read: list[str] = []
        for turn, context in zip(episode.turns, shown, strict=True):
            read += [message["content"] for message in turn.action.messages if message["role"] != "assistant"]
            if context:
                turns += 1
                mentioned += mentions(turn.action.completion, context, read)
    return mentioned / turns if turns else None


def diversity_metrics(rollouts: Sequence[Rollout], *, view: str = "plain") -> dict[str, float]:
    """`breadth` and `completion_tokens` of an iteration's episodes; those whose environment broke are in neither.

    Args:
        rollouts: The episodes.
        view: The prompt that they were acted under; under the privileged one, pass@k has another name.
    """
    groups: dict[tuple[int, str], list[Episode]] = {}
    for rollout in rollouts:
        if not rollout.episode.failed:
            groups.setdefault((rollout.task.group, rollout.episode.role), []).append(rollout.episode)
    played = [episode for group in groups.values() for episode in group]
    found = {**breadth(list(groups.values())), "completion_tokens": completion_tokens(played)}
    return {measured_name(name, view) if name.startswith("pass_at") else name: value for name, value in found.items()}


def mention_metrics(rollouts: Sequence[Rollout], teacher: Teacher) -> dict[str, float]:
    """The share of turns that mention what only the teacher knew, for episodes that were acted under the plain prompt.

    Args:
        rollouts: Episodes with what the environment kept from the student.
        teacher: Words it as the readings of a run do.
    """
    played = [rollout for rollout in rollouts if not rollout.episode.failed]
    contexts = [
        [
            teacher.episode_block(known, turn.view)
            for turn, known in zip(each.episode.turns, each.privileged, strict=True)
        ]
        for each in played
    ]
    share = mention_share([rollout.episode for rollout in played], contexts)
    return {} if share is None else {"teacher/mentioned": share}


def _runs(text: str, words: int) -> set[tuple[str, ...]]:
    found = _WORD.findall(text.lower())
    return {tuple(found[at : at + words]) for at in range(len(found) - words + 1)}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
