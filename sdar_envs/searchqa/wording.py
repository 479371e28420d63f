"""What a model reads: passages in the published styles, refusals, and the whole prompt of ``obs_mode="prompt"``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache

from ..assets import asset_text
from ..choices import unknown_choice
from .protocol import Fault, escape
from .retriever import Hit

# search_r1 and sdar show passages as the two published environments do; plain is the shortest.
STYLES = ("search_r1", "sdar", "plain")
OBS_MODES = ("delta", "prompt")

MAX_PASSAGE = 4_000  # characters that are shown of one passage

# Search-R1's own sentence, which its published models have read in training.
_REFUSAL = (
    "\nMy previous action is invalid. If I want to search, I should put the query between <search> and </search>. If I "
    "want to give the final answer, I should put the answer between <answer> and </answer>. Let me try again.\n"
)
_SHORT_REFUSALS = {Fault.EMPTY_QUERY: "empty query."}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_SECTIONS = {
    "first": {"question", "rules"},
    "later": {"question", "rules", "shown", "steps", "history"},
    "turn": {"step", "action", "observation"},
    "rules": {"turn", "turns"},
    "last": {"turn", "turns"},
}


def information(style: str, hits: Sequence[Hit]) -> str:
    """What comes back from a search, the protocol's tags in passages escaped."""
    if style == "sdar":
        listed = "".join(f"Doc {n}: {_shown(hit.passage.contents)}\n" for n, hit in enumerate(hits, start=1))
        return f"<information>{json.dumps({'result': listed})}</information>"
    if style == "search_r1":
        listed = "".join(
            f"Doc {n}(Title: {_shown(hit.passage.heading)}) {_shown(hit.passage.text)}\n"
            for n, hit in enumerate(hits, start=1)
        )
        return f"\n\n<information>{listed.strip()}</information>\n\n"
    listed = "\n".join(f"{_shown(hit.passage.title)}: {_shown(hit.passage.text)}" for hit in hits)
    return f"<information>{listed}</information>"


def refusal(style: str, fault: Fault) -> str:
    """What is answered to a turn that was not understood; the sdar style says nothing."""
    if style == "sdar":
        return ""
    if style == "plain":
        return _SHORT_REFUSALS.get(fault, "not understood.")
    # Search-R1 searches for an empty query; here it is refused, in words of our own.
    return "\nThe query is empty.\n" if fault is Fault.EMPTY_QUERY else _REFUSAL


def _shown(text: str) -> str:
    cut = text if len(text) <= MAX_PASSAGE else text[:MAX_PASSAGE] + " [cut]"
    return escape(cut)


def prompt(
    question: str, actions: Sequence[str], observations: Sequence[str], *, turn: int, turns: int, shown: int, last: bool
) -> str:
    """A whole prompt: the question, the last turns, the rules.

    Args:
        question: What is asked.
        actions: What was done so far.
        observations: What came back each time.
        turn: Number of the present turn, from 1.
        turns: Turns of the episode.
        shown: Earlier turns to show at most.
        last: Whether nothing can be looked up any more.
    """
    rules = _section("last" if last else "rules", turn=str(turn), turns=str(turns))
    shown = min(shown, len(actions))
    if not shown:
        return _section("first", question=question, rules=rules)
    first = len(actions) - shown
    history = "\n".join(
        _section("turn", step=str(step + 1), action=actions[step], observation=observations[step].strip())
        for step in range(first, len(actions))
    )
    numbers = {"shown": str(shown), "steps": str(len(actions))}
    return _section("later", question=question, rules=rules, history=history, **numbers)


def _section(name: str, **values: str) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], _templates()[name])


@cache
def _templates() -> dict[str, str]:
    where = "assets/searchqa/prompt.txt"
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in asset_text("searchqa", "prompt.txt").splitlines():
        if line.startswith("=== "):
            name = line[4:].strip()
            if name not in _SECTIONS:
                raise unknown_choice("section", name, _SECTIONS, where)
            current = sections.setdefault(name, [])
        elif current is not None:
            current.append(line)
    templates = {name: "\n".join(lines).strip("\n") for name, lines in sections.items()}
    for name, known in _SECTIONS.items():
        if name not in templates:
            raise ValueError(f"{where}: expected the section {name!r}, which is missing")
        for placeholder in _PLACEHOLDER.findall(templates[name]):
            if placeholder not in known:
                raise unknown_choice("placeholder", placeholder, sorted(known), f"{where}, section {name}")
    return templates
