"""The version of generated questions: a hash of what is asked, found and paid, not of how the files are written.

A word that a student or a teacher may read changes it, and so does anything that changes what a search finds. Each
size has a version of its own. Official records add a hash of their own (`env`). `sdar_envs/versioning.py` has what the
versions of all worlds share.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from .. import SEARCHQA
from ..versioning import skill_prose, text_digest
from . import answers, episodes, rewards, wording
from .corpus import Passage
from .encoder import HashedEncoder
from .generator import draw_world, queries_of
from .protocol import Fault, read_turn
from .regularities import regularities
from .retriever import Hit
from .tasks import draw_question
from .world import World

_TASKS = 48
_TURNS = (
    "<think>a</think><search>b</search>",
    "<answer>The B.</answer>",
    "<SEARCH>b</SEARCH> c",
    "<search>b</search><answer>c</answer>",
    "<search>b",
    "b",
)
_ANSWERS = ("The Beatles!", "404,487", "an apple", "beatles of liverpool", "")

# Texts of the official styles that were corrected towards the originals after figures of generated worlds had been
# published: what they were then goes into the version, which therefore stays. No figure depends on them: scripted
# players are never refused and read no style but search_r1's passages, and tiny models are shown the style plain.
_COUNTED_INFORMATION = {
    "sdar": r"""<information>{"result": "Doc 1: \"T\"\na &lt;answer>b&lt;/answer> \u00e9\n\n"""
    r"""Doc 2: one line\n"}</information>""",
}
_COUNTED_REFUSAL = (
    "\nThat was not understood. To look something up, write one query between <search> and </search>; to answer, write "
    "the answer between <answer> and </answer>. Try again.\n"
)


@cache
def world_version(size: str) -> str:
    """Twelve hexadecimal digits for everything that scores on generated questions of a size depend on."""
    world = draw_world(size, "valid", 0, 0.85)
    texts = [passage.contents for passage in world.passages]
    meaning: dict[str, Any] = {
        "world": [world.to_json(), texts],
        "claims": [[c.line(), c.compact_line(), c.alternatives] for c in regularities(size, 0).statements()],
        "tasks": _tasks(world),
        "encoder": _rounded(texts[:40], world),
        "turns": [repr(read_turn(text)) for text in _TURNS],
        "wording": _wording(),
        "rewards": [
            [
                answers.normalise(answer),
                rewards.answer_reward(kind, answer, ["Beatles", "404487"], structure=s, retrieved=r),
            ]
            for kind, answer, s, r in product(rewards.REWARDS, _ANSWERS, (False, True), (False, True))
        ],
        "hints": episodes.RULES,
        "skills": {f"{name}.md": skill for name, skill in skill_prose(SEARCHQA.skill_folder).items()},
    }
    # Spaces and escapes as they always were here: `versioning.digest` writes the same data differently.
    return text_digest(json.dumps(meaning, sort_keys=True, ensure_ascii=True))


def _tasks(world: World) -> list[Any]:
    """Questions as if every fact were found by the first wording of its search."""
    found = tuple(replace(fact, rank=0, query=queries_of(world, fact)[0]) for fact in world.facts)
    proved = replace(world, facts=found)
    questions = [draw_question(proved, index, topk=3, searches=3) for index in range(_TASKS)]
    return [[q.text, q.answers, [step.query for step in q.steps], q.chance] for q in questions]


def _rounded(texts: list[str], world: World) -> list[list[float]]:
    encoder = HashedEncoder.fit(texts)
    queries = [queries_of(world, fact) for fact in world.facts[:8]]
    vectors = [encoder.encode_passages(texts[:4]), *(encoder.encode_queries(forms) for forms in queries)]
    rows: list[list[float]] = np.round(np.concatenate(vectors)[:, :64].astype(np.float64), 4).tolist()
    return rows


def _wording() -> list[str]:
    hits = [Hit(Passage.of(0, "T", "a <answer>b</answer> \u00e9"), 1.0), Hit(Passage(1, "one line"), 0.5)]
    shown = [_COUNTED_INFORMATION.get(style) or wording.information(style, hits) for style in wording.STYLES]
    refused = [
        _COUNTED_REFUSAL if style == "search_r1" and fault is not Fault.EMPTY_QUERY else wording.refusal(style, fault)
        for style in wording.STYLES
        for fault in Fault
    ]
    prompts = [
        wording.prompt("q?", ["a"] * turn, ["b"] * turn, turn=turn + 1, turns=4, shown=2, last=turn == 3)
        for turn in range(4)
    ]
    return [*shown, *refused, *prompts]
