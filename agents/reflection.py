"""What a policy is asked when episodes of its own have ended, and what of its answer a teacher can be given.

After an episode the policy is shown what it saw and did in it, and how it ended, and is asked what that teaches. Of the
notes on the episodes of one group, some of which succeeded and some not, it is asked to make one guide. What it writes
becomes a teacher's privileged text and nothing else. The wording stands in ``assets/prompts/reflection.txt``. Nothing
here can see privileged information. Not here: who is asked when, and whose teacher reads it
(`trainers.rollout.reflecting`).

The two stages are those of GRSD (arXiv 2607.28076 and its published code); a note alone is what SEED's teacher reads
(arXiv 2607.14777), by its own summary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from .base import Episode, Message
from .hindsight import verdict
from .prompts import PromptStyle, read_sections

# Why a text is of no use to a teacher: there is no word in it; fewer than `_FEWEST` words; the same few words again and
# again; one of the episode's actions and nothing else.
FLAWS = ("empty", "short", "repeated", "action")

_FEWEST = 3
_LONG, _DISTINCT = 12, 0.25  # from so many words on, this share of them must differ
_OBSERVATION = 400  # characters of an observation that are shown, as in GRSD's code

_SECTIONS: dict[str, frozenset[str]] = {
    "system": frozenset(),
    "episode": frozenset({"task", "turns", "outcome"}),
    "turn": frozenset({"number", "observation", "action"}),
    "left_out": frozenset({"count"}),
    "no_action": frozenset(),
    "success": frozenset({"turns", "score"}),
    "guide": frozenset({"task", "won", "lost"}),
    "note": frozenset({"number", "text"}),
}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# Scripts without spaces between words: each character counts as one.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_THOUGHT, _THINKING = "</think>", "<think>"


def episode_messages(
    style: PromptStyle, episode: Episode, *, wrong_turn: bool = False, left_out: int = 0
) -> list[Message]:
    """What a policy is asked about one of its episodes.

    Args:
        style: The style of the student's prompts; it abridges observations, and decides on a system message.
        episode: A finished episode with at least one turn.
        wrong_turn: Also tell the first turn after which less could be reached, which only the world's planner knows.
        left_out: Turns at the beginning that are not shown.
    """
    turns = [
        _section(
            style,
            "turn",
            number=str(number),
            observation=_cut(style.abridge(turn.view.observation)),
            action=_cut(turn.action.text) or _section(style, "no_action"),
        )
        for number, turn in enumerate(episode.turns, start=1)
        if number > left_out
    ]
    if left_out:
        turns.insert(0, _section(style, "left_out", count=str(left_out)))
    outcome = verdict(episode, wrong_turn=wrong_turn)
    if episode.success:
        outcome = [_section(style, "success", turns=str(len(episode.turns)), score=f"{episode.score:.2f}")]
    text = _section(
        style,
        "episode",
        task=style.abridge(episode.turns[0].view.instruction),
        turns="\n".join(turns),
        outcome=" ".join(outcome),
    )
    return _asked(style, text)


def guide_messages(style: PromptStyle, task: str, won: Sequence[str], lost: Sequence[str]) -> list[Message]:
    """What a policy is asked about the notes that it wrote on the episodes of one group.

    Args:
        style: As for `episode_messages`.
        task: What the student was told to do.
        won: The notes on episodes that succeeded.
        lost: Those on episodes that did not.
    """

    def listed(notes: Sequence[str]) -> str:
        return "\n".join(
            _section(style, "note", number=str(number), text=text) for number, text in enumerate(notes, start=1)
        )

    return _asked(style, _section(style, "guide", task=style.abridge(task), won=listed(won), lost=listed(lost)))


def written_text(completion: str) -> str:
    """What a completion says, without thinking; ``""`` where the thinking was not closed."""
    _, thought, text = completion.rpartition(_THOUGHT)
    if not thought and _THINKING in text:
        return ""
    return text.strip()


def flaw_of(text: str, actions: Iterable[str]) -> str:
    """Why a text is of no use to a teacher, one of `FLAWS`; ``""`` for one that can be used.

    Args:
        text: What the policy wrote.
        actions: Actions that are no notes, see `actions_of`.
    """
    words = _WORD.findall(text.casefold())
    if not words:
        return "empty"
    if _plain(text) in {_plain(action) for action in actions}:
        return "action"
    if len(words) < _FEWEST:
        return "short"
    if len(words) >= _LONG and len(set(words)) < _DISTINCT * len(words):
        return "repeated"
    return ""


def actions_of(style: PromptStyle, episodes: Iterable[Episode]) -> set[str]:
    """The actions that were done or possible in some episodes, as the world and as the prompts word them."""
    found: set[str] = set()
    for episode in episodes:
        for turn in episode.turns:
            found |= {turn.action.text, turn.action.completion}
            found |= {
                worded
                for action in turn.view.admissible_actions
                for worded in (action, style.listed(action, turn.view))
            }
    return found


def _asked(style: PromptStyle, text: str) -> list[Message]:
    system = [{"role": "system", "content": _section(style, "system")}] if style.has_system else []
    return [*system, {"role": "user", "content": text}]


def _plain(text: str) -> str:
    """A text without what does not make it another action: tags, case, spacing, a full stop."""
    return " ".join(text.replace("<action>", " ").replace("</action>", " ").split()).rstrip(".").casefold()


def _cut(text: str) -> str:
    return text if len(text) <= _OBSERVATION else f"{text[:_OBSERVATION]} [...]"


def _section(style: PromptStyle, name: str, **values: str) -> str:
    template = _sections()[f"compact_{name}" if style.name == "compact" else name]
    if values.get("task") == "" and style.name != "compact":
        # An environment that states no task of its own has it in its observations.
        template = "\n\n".join(part for part in template.split("\n\n") if "{task}" not in part)
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template).strip()


@cache
def _sections() -> Mapping[str, str]:
    known = _SECTIONS | {f"compact_{name}": places for name, places in _SECTIONS.items()}
    return read_sections("reflection.txt", known)
