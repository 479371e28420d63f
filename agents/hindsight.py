"""What only the end of an episode tells, as text for a teacher: another attempt's success, a verdict, a reflection.

Made of episodes that the student itself has played, and read by the teacher alone. Not here: whose episodes tell whose
teacher what (`trainers.rollout.hindsight`), and how a policy is asked to write (`reflection`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from .base import Episode, StopReason

# Privileges that are made of the iteration's own episodes: the actions of another episode of the group that succeeded;
# the environment's verdict on an episode that did not; the first, and where there is none the second.
# Those of them that the policy itself writes: on one episode, as SEED has it; on a whole group, as GRSD has it.
WRITTEN = ("reflection", "group_reflection")
HINDSIGHTS = ("sibling", "feedback", "hindsight", *WRITTEN)

_REJECTED = 5  # actions that feedback names at most, of those that were not understood
_ENDS = {
    StopReason.TERMINATED: "The environment ended it after {turns} turns.",
    StopReason.HORIZON: "It ran out of turns after {turns}.",
    StopReason.CONTEXT_FULL: "It ended after {turns} turns, when no further one fitted.",
}
# What stands in front of a text that the policy wrote.
_HEADINGS = {
    "reflection": "Notes on this very attempt, written after it had ended:",
    "group_reflection": "A guide to this task, written after several attempts at it, some of which succeeded:",
}


class Hindsight(TypedDict, total=False):
    """What is told: actions that led to success, sentences on what did not, or what the policy wrote. One of them."""

    sibling: list[str]
    feedback: list[str]
    reflection: str
    group_reflection: str


def successful_actions(episode: Episode) -> list[str]:
    """The actions of an episode that the environment understood, in order; none unless it succeeded."""
    if not episode.success or episode.failed:
        return []
    return [turn.action.text for turn in episode.turns if turn.is_action_valid and turn.action.text.strip()]


def verdict(episode: Episode, *, wrong_turn: bool = True) -> list[str]:
    """Sentences on an episode that did not succeed: how it ended, and what in it was wrong; none where it did.

    Args:
        episode: A finished episode.
        wrong_turn: Also name the first turn after which less could be reached, which the world's planner knows and the
            episode itself does not show.
    """
    if episode.success or episode.failed or not episode.turns:
        return []
    told = [f"This attempt did not succeed; its score is {episode.score:.2f} of 1."]
    if end := _ENDS.get(episode.stop_reason):
        told.append(end.format(turns=len(episode.turns)))
    rejected = [
        f"turn {number}, {turn.action.text!r}"
        for number, turn in enumerate(episode.turns, start=1)
        if not turn.is_action_valid
    ]
    if rejected:
        more = f"; and {len(rejected) - _REJECTED} more" if len(rejected) > _REJECTED else ""
        told.append(f"Not understood: {'; '.join(rejected[:_REJECTED])}{more}.")
    wrong = episode.first_wrong_turn
    if wrong_turn and wrong is not None and 0 <= wrong < len(episode.turns):
        action = episode.turns[wrong].action.text
        told.append(f"Less could be reached after turn {wrong + 1}, {action!r}, than before it.")
    return told


def worded(told: Hindsight, said: Callable[[str], str], compact: bool) -> str:
    """What is told, as the text of a privileged context; ``""`` for nothing.

    Args:
        told: What there is to tell.
        said: Words an action as the student's prompts do.
        compact: In few words, for tiny models.
    """
    if actions := [said(action) for action in told.get("sibling", ())]:
        if compact:
            return "; ".join(actions)
        listed = "\n".join(f"{number}. {action}" for number, action in enumerate(actions, start=1))
        return f"Another attempt at this task succeeded. What was done in it, in order:\n{listed}"
    for name, heading in _HEADINGS.items():
        if text := told.get(name):
            return f"{text}" if compact else f"{heading}\n{text}"
    if sentences := told.get("feedback", ()):
        if compact:
            return " ".join(sentences)
        return "What is known of this attempt, now that it has ended:\n" + "\n".join(f"- {each}" for each in sentences)
    return ""
