"""A row that was acted under the privileged prompt, given the plain one, is what a student would have read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from test_teacher import BANK, CANARY, known, renderer, text_of, view
from tiny_models import CHATML, CHATML_THINKING
from turn_rows import rows_of

from agents.base import Turn
from agents.chat import ChatAgent
from agents.relabel import plain_view
from agents.sampling.scripted import ScriptedSampler
from agents.teacher import PRIVILEGES, Teacher
from sdar_envs.privileged import Privileged

SAID = ["go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "look"]


def acted(
    teacher: Teacher | None, context: str, template: str, said: Sequence[str] = SAID, **options: Any
) -> list[Turn]:
    """An episode with fixed completions, under the plain prompt or a teacher's."""
    shared = renderer(template)
    agent = ChatAgent(
        None,
        shared.tokenizer,
        style="compact",
        context=context,
        teacher=teacher,
        sampler=ScriptedSampler([shared.encode_completion(text) for text in said]),
    )
    turns = []
    for number in range(len(said)):
        secrets: list[Privileged | None] | None = None if teacher is None else [known(number)]
        (action,) = agent.act([view(number)], secrets)
        turns.append(Turn(view(number), action, 0.0, True))
    return turns


def teacher(privilege: str, template: str, **options: Any) -> Teacher:
    return Teacher(renderer(template), "compact", privilege=privilege, skill_bank=BANK, **options)


@pytest.mark.parametrize("template", [CHATML, CHATML_THINKING])
@pytest.mark.parametrize("privilege", [p for p in PRIVILEGES if p != "none"])
@pytest.mark.parametrize("context", ["window", "transcript"])
def test_the_plain_row_is_to_the_last_id_what_the_student_itself_would_have_read(
    context: str, privilege: str, template: str
) -> None:
    hinting = teacher(privilege, template)
    hinted, plain = (rows_of(acted(reader, context, template)) for reader in (hinting, None))
    assert len(hinted) == len(plain) == (len(SAID) if context == "window" else 1)
    for behind, own in zip(hinted, plain, strict=True):
        expected = [i for t in own for i in (*t.action.tokens.prompt_ids, *t.action.tokens.completion_ids)]  # type: ignore[union-attr]
        read = [i for turn in behind for i in turn.action.tokens.prompt_ids]  # type: ignore[union-attr]
        found = plain_view(renderer(template), behind)
        assert found.ids == expected
        assert found.sampled_ids() == [i for turn in own for i in turn.action.tokens.completion_ids]  # type: ignore[union-attr]
        assert CANARY in text_of(read) and CANARY not in text_of(found.ids)
        assert not hinting.quotes(behind, [known(turn.view.turn) for turn in behind])


@pytest.mark.parametrize("context", ["window", "transcript"])
def test_a_completion_that_says_the_block_aloud_is_told_wherever_the_student_would_read_it(context: str) -> None:
    hinting = teacher("skill", CHATML)
    said = ["go to fridge 1", f"open it since apple {CANARY}. is so", "look", "look"]
    rows = rows_of(acted(hinting, context, CHATML, said))
    found = [hinting.quotes(row, [known(turn.view.turn) for turn in row]) for row in rows]
    # In a window the next prompts still show what was done; in a transcript there is only one row.
    assert found == ([False, True, True, True] if context == "window" else [True])


def test_with_nothing_privileged_to_read_nothing_is_quoted() -> None:
    turns = acted(None, "transcript", CHATML)
    assert not teacher("none", CHATML).quotes(turns, [None] * len(turns))
    assert not teacher("plan", CHATML).quotes(turns, [None] * len(turns))


def test_turns_of_another_row_and_turns_without_tokens_are_refused() -> None:
    turns = acted(None, "transcript", CHATML)
    with pytest.raises(ValueError, match="number 0 of its row: expected continues=False"):
        plain_view(renderer(), turns[1:])
    turns[0].action = type(turns[0].action)("look", "look")
    with pytest.raises(ValueError, match="expected to hold token ids"):
        plain_view(renderer(), turns)


def test_the_plans_length_is_told_whatever_the_teacher_shows_and_no_plan_is_none() -> None:
    for privilege in PRIVILEGES:
        assert teacher(privilege, CHATML).plan_length(known()) == 2
    told = teacher("skill", CHATML)
    assert told.plan_length(None) is None
    assert told.plan_length(Privileged({"plan": []})) is None
    assert told.plan_length(Privileged({"hints": ["look"]})) is None


def test_a_users_own_context_reads_the_whole_info_and_the_plan_is_found_in_it() -> None:
    own = teacher("skill", CHATML, teacher_context=lambda info: "x")
    assert own.plan_length(Privileged({"privileged": {"plan": ["a", "b", "c"]}, "score": 0.0})) == 3
    assert own.plan_length(Privileged({"plan": ["not a field of this suite"]})) is None
