"""The teacher's reading of a row of a chat with tools: a privileged context before each answer, nothing else moved.

A row is a prompt and what followed it, answers of the policy and results of its tools in turn; a mask tells them apart.
What stands between two answers ends with the chat template's own end of a message and beginning of an answer (its
*tail*), and the context goes in front of that, into the message. Ids that were sampled are never written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sdar_envs.bridges.trl import PlayedEpisode

# Contents with different endings, so that what they have in common behind them is the template's.
PROBES = ("probe", "probe.", "probe\n", "probe)", "7")


@dataclass(frozen=True, slots=True)
class Tail:
    """How a chat template ends a message and begins an answer: fixed ids, from a control token on.

    `gap` is what it writes between a content and that control token, such as a line break.
    """

    ids: tuple[int, ...]
    gap: str


def find_tail(
    render: Callable[[str], Sequence[int]], decode: Callable[[Sequence[int]], str], control: set[int]
) -> Tail:
    """The tail behind a content.

    Args:
        render: The ids of a chat that ends with the content and is waiting for an answer.
        decode: The text of ids.
        control: Ids that no text is tokenised to.

    Raises:
        ValueError: The template has no control token there.
    """
    rendered = [list(render(probe)) for probe in PROBES]
    common = 0
    while all(len(ids) > common and ids[-1 - common] == rendered[0][-1 - common] for ids in rendered):
        common += 1
    shared = rendered[0][len(rendered[0]) - common :]
    # Text may be tokenised together with the content before it, a control token never.
    start = next((place for place, token in enumerate(shared) if token in control), None)
    if start is None:
        raise ValueError(
            "the chat template is expected to end a message with a control token, and has none there: a privileged "
            "context cannot be put into such a message"
        )
    ids = tuple(shared[start:])
    _, _, gap = decode(rendered[0][: len(rendered[0]) - len(ids)]).rpartition(PROBES[0])
    return Tail(ids, gap)


@dataclass(frozen=True, slots=True)
class TeacherRow:
    """A row as the teacher reads it.

    Attributes:
        prompt_ids: The ids before the first answer.
        completion_ids: All that follow.
        places: Where each id of the student's completion stands in `completion_ids`.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    places: list[int]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def answer_starts(tool_mask: Sequence[int]) -> list[int]:
    """Where each answer of the policy begins in a completion; `tool_mask` is 1 on its ids and 0 on those of tools."""
    starts, place = [], 0
    for sampled, run in groupby(tool_mask):
        if sampled:
            starts.append(place)
        place += len(list(run))
    return starts


def teacher_row(
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    tool_mask: Sequence[int],
    blocks: Mapping[int, Sequence[int]],
    prompt_tail: Tail,
    result_tail: Tail,
) -> TeacherRow:
    """Put privileged contexts into a row.

    Args:
        prompt_ids: The student's prompt.
        completion_ids: The student's completion, of the same length as the next.
        tool_mask: 1 on sampled ids, 0 on those of tools.
        blocks: By the number of an answer, the ids of the context in front of it.
        prompt_tail: The tail of the prompt.
        result_tail: The tail of what tools returned.

    Raises:
        ValueError: An answer does not follow the tail that the chat template writes.
    """
    starts = answer_starts(tool_mask)
    prompt = list(prompt_ids)
    if 0 in blocks:
        prompt = _inserted(prompt, blocks[0], prompt_tail)
    completion: list[int] = []
    places: list[int] = []
    done = 0
    for number in (n for n in sorted(blocks) if 0 < n < len(starts)):
        before = list(completion_ids[done : starts[number]])
        whole = _inserted(before, blocks[number], result_tail)
        kept = len(before) - len(result_tail.ids)
        moved = len(whole) - len(before)
        places += [len(completion) + place + (moved if place >= kept else 0) for place in range(len(before))]
        completion += whole
        done = starts[number]
    places += range(len(completion), len(completion) + len(completion_ids) - done)
    completion += completion_ids[done:]
    return TeacherRow(prompt, completion, places)


def _inserted(ids: list[int], block: Sequence[int], tail: Tail) -> list[int]:
    if tuple(ids[len(ids) - len(tail.ids) :]) != tail.ids:
        raise ValueError(
            f"an answer is expected to follow the ids {list(tail.ids)}, with which the chat template begins one, and "
            f"follows {ids[-len(tail.ids) :]}: the chat was rendered by another template than the teacher's"
        )
    at = len(ids) - len(tail.ids)
    return [*ids[:at], *block, *ids[at:]]


def answers(messages: list[dict[str, Any]], episode: PlayedEpisode) -> list[tuple[int | None, bool]]:
    """For each answer of the policy in a chat: the state that it answers, and whether all it did was understood.

    The state is None for words after the end. A call that never reached the environment, such as one of an unknown
    tool, leaves the state as it was, and is not understood.

    Args:
        messages: The completion as TRL keeps it, answers and results of tools.
        episode: What the environment has of it.
    """
    found: list[tuple[int | None, bool]] = []
    state: int | None = 0
    replies = iter(episode.replies)
    upcoming = next(replies, None)
    acted: list[bool] = []
    for message in messages:
        if message["role"] == "assistant":
            if found:
                found[-1] = (found[-1][0], bool(acted) and all(acted))
            found.append((state, False))
            acted = []
        elif message["role"] == "tool":
            reached = upcoming is not None and message["content"] == upcoming.text
            acted.append(bool(reached and upcoming is not None and upcoming.understood))
            if reached and upcoming is not None:
                state, upcoming = upcoming.decision, next(replies, None)
    # What the last answer did may have been cut from the chat for its length.
    rest = [] if upcoming is None else [upcoming, *replies]
    acted += [reply.understood for reply in rest]
    if found:
        found[-1] = (found[-1][0], bool(acted) and all(acted))
    return found
