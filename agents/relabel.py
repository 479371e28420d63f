"""What a student would have read: a row that was acted behind the teacher's prompt, laid behind the plain one.

The messages of a turn are always the student's (`base.Action`), so the plain prompt is rendered from them, and the
completions stay the ids that were sampled. Nothing here knows what was privileged; whether a completion says it aloud
is the teacher's to tell (`teacher.Teacher.quotes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import Message, Turn, View

if TYPE_CHECKING:
    from .rendering import ChatRenderer


def plain_view(renderer: ChatRenderer, turns: Sequence[Turn]) -> View:
    """The sampled tokens of one row behind the prompt without a privileged block.

    Args:
        renderer: The renderer of the agent that acted.
        turns: The turns of one row, in order; the first begins the row.

    Raises:
        ValueError: A turn has no tokens, the row does not begin with its first turn, or the template does not keep
            what stood before although the row went on.
    """
    ids: list[int] = []
    positions: list[int] = []
    messages: list[Message] = []
    for number, turn in enumerate(turns):
        tokens = turn.action.tokens
        where = f"turn {turn.view.turn} of {turn.view.task_id}"
        if tokens is None:
            raise ValueError(f"{where} is expected to hold token ids, got none")
        if tokens.continues != (number > 0):
            raise ValueError(f"{where} is number {number} of its row: expected continues={number > 0}")
        prompt: list[int] | None
        if number == 0:
            prompt = renderer.begin(turn.action.messages)
        else:
            answer = turns[number - 1].action
            assert answer.tokens is not None  # seen one turn ago
            ended = answer.tokens.completion_ids[-1:] == (renderer.turn_end_id,)
            prompt = renderer.extend(messages, answer.completion, ended, turn.action.messages)
            messages.append({"role": "assistant", "content": answer.completion})
        if prompt is None:
            raise ValueError(f"{where} continues its row, and the chat template does not: render with the same options")
        ids += prompt
        positions.extend(range(len(ids), len(ids) + len(tokens.completion_ids)))
        ids += tokens.completion_ids
        messages.extend(turn.action.messages)
    return View(ids, positions)
