"""Rows that were sampled under the privileged prompt, given the plain prompt instead.

The messages of a turn are always the student's (`base.Action`), so the plain prompt is rendered from them, and the
completions stay the ids that were sampled. Nothing here knows what was privileged; `teacher.Teacher.quotes` checks
whether a row repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import Message, Turn, View

if TYPE_CHECKING:
    from .rendering import ChatRenderer


def plain_view(renderer: ChatRenderer, turns: Sequence[Turn]) -> View:
    """The sampled tokens of one row, given the plain prompt.

    Args:
        renderer: The renderer of the agent that acted.
        turns: The turns of one row, in order; the first begins the row.

    Returns:
        The row's ids given the plain prompt, with the positions of the sampled tokens.

    Raises:
        ValueError: A turn has no tokens, the row does not begin with its first turn, or the template rewrites earlier
            turns although the row went on.
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
        # The plain prompt of the turn: the whole of it, or what stands between the last completion and this one.
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
            raise ValueError(
                f"{where} continues its row, so the chat template is expected to keep earlier turns, and it rewrites "
                "them: use a renderer with the options of the agent that acted (append_history, enable_thinking)"
            )
        ids += prompt
        positions.extend(range(len(ids), len(ids) + len(tokens.completion_ids)))
        ids += tokens.completion_ids
        messages.extend(turn.action.messages)
    return View(ids, positions)
