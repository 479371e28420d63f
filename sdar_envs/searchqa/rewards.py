"""What an answer earns. `match` is judged by `answers`; `format_em` also pays for the structure of the turns.

The structure score is that of Search-R1's format variant: thinking, then a search or the answer, in every turn, with
nothing but white space between. A right answer in a broken structure loses `STRUCTURE`; a wrong one in a sound
structure keeps it, and a little more when a gold answer stood in what was retrieved; any answer at all earns
`ANSWERED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .answers import MATCHERS, exact_match, normalise

REWARDS = (*MATCHERS, "format_em")

STRUCTURE = 0.2
ANSWERED = 0.1


def answer_reward(
    reward: str, answer: str, golds: Sequence[str], *, structure: bool, retrieved: bool, retrieval_score: float = 0.0
) -> float:
    """The reward of an answer.

    Args:
        reward: One of `REWARDS`.
        answer: What was answered.
        golds: What counts as right.
        structure: Whether every turn of the episode was well formed.
        retrieved: Whether a gold answer stood in something that was retrieved.
        retrieval_score: What that is worth when the answer is wrong and the structure sound.
    """
    if reward != "format_em":
        return MATCHERS[reward](answer, golds)
    if exact_match(answer, golds):
        return 1.0 if structure else 1.0 - STRUCTURE
    if structure:
        return STRUCTURE + (retrieval_score if retrieved else 0.0)
    return ANSWERED


def holds_answer(texts: Iterable[str], golds: Sequence[str]) -> bool:
    """Whether the normal form of a gold answer stands in one of the texts."""
    wanted = [form for gold in golds if (form := normalise(gold))]
    return any(gold in text for text in map(normalise, texts) for gold in wanted)
