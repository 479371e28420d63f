"""How a world is worded for other stacks' agents, and how an action is read out of what they reply; one place for all.

What is worded is a `StudentView`, which has no field that could hold anything privileged.
"""

from __future__ import annotations

from ..privileged import StudentView

SYSTEM = (
    "You act in a world made of text. Every turn you are told what you observe, and you reply with exactly one action "
    "between <action> and </action>. Work towards the task you are given until it is done."
)

_OPEN, _CLOSE = "<action>", "</action>"
_THOUGHT = "</think>"


def opening(view: StudentView, *, actions: bool = True, most_actions: int = 100) -> str:
    """The first message of an episode: the task where the observation does not state it, and the rest as `turn`."""
    text = turn(view, actions=actions, most_actions=most_actions)
    if not view.instruction or view.instruction in view.observation:
        return text
    return f"Your task: {view.instruction}\n\n{text}"


def turn(view: StudentView, *, actions: bool = True, most_actions: int = 100) -> str:
    """The message of a turn: the observation, and the actions that the world understands now.

    Args:
        view: What the agent may read.
        actions: Whether the actions are listed.
        most_actions: How many of them; what is left out is counted.
    """
    listed = view.admissible_actions[:most_actions] if actions else ()
    if not listed:
        return view.observation
    left = len(view.admissible_actions) - len(listed)
    more = f"\n({left} more)" if left else ""
    return f"{view.observation}\n\nActions:\n" + "\n".join(listed) + more


def outcome(*, success: bool, score: float, truncated: bool) -> str:
    """How an episode ended, in a sentence."""
    how = "solved" if success else "out of turns" if truncated else "not solved"
    return f"The episode is over: {how}, score {score:.2f}."


def action_in(reply: str) -> str:
    """The action in a reply: what stands between the one pair of action tags, or the whole reply where there are none.

    Reading starts after the last ``</think>``. A reply with several actions, or with half a pair of tags, has none: ""
    is what no world understands, and what it answers to it is up to the world. Nothing that an agent says raises.
    """
    body = reply.rpartition(_THOUGHT)[2]
    opened, closed = body.count(_OPEN), body.count(_CLOSE)
    if not opened and not closed:
        return body.strip()
    if (opened, closed) != (1, 1):
        return ""
    return body.partition(_OPEN)[2].partition(_CLOSE)[0].strip()
