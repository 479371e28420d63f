"""How an episode is worded for an agent that plays through somebody else's stack: its beginning, its course, its end.

The worlds' own texts are not changed; what stands here is what surrounds them. Prompts of this suite's own agents are
worded elsewhere (`agents/prompts.py`).
"""

from __future__ import annotations

from .sessions import Seen


def opening(seen: Seen, *, list_actions: bool = False) -> str:
    """The first observation, with the task in front of it where the world does not state it itself."""
    text = seen.text if seen.instruction in seen.text else f"{seen.instruction}\n\n{seen.text}"
    return with_actions(text, seen) if list_actions else text


def with_actions(text: str, seen: Seen) -> str:
    """A text with the actions that are understood now, one a line; as it is where there are none."""
    if not seen.admissible_actions:
        return text
    listed = "\n".join(f"- {action}" for action in seen.admissible_actions)
    return f"{text}\n\nActions that are possible now:\n{listed}"


def ending(seen: Seen) -> str:
    """How an episode that is over ended, as a sentence."""
    how = "solved" if seen.success else "out of turns" if seen.truncated else "not solved"
    return f"The episode is over: {how}, score {seen.score:.2f}."
