"""The teacher reads what the student read plus one block, whole and inside a role; the student never reads it."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CHATML, CHATML_THINKING, NO_SYSTEM, make_tokenizer
from turn_rows import rows_of

from agents.base import Action, Message, Turn, TurnTokens
from agents.prompts import prompt_style
from agents.rendering import ChatRenderer
from agents.teacher import EVERY_TURN, POSITIONS, PRIVILEGES, Teacher
from sdar_envs.privileged import Privileged, StudentView
from sdar_envs.skills import Claim, SkillBank

CANARY = "xyzzy-4711"


def known(turn: int = 0, canary: str = CANARY) -> Privileged:
    return Privileged(
        {
            "task_type": "heat",
            "plan": [f"go to {canary}", f"open {canary} {turn}"],
            "next_action": f"go to {canary}",
            "hints": ["search", f"it is in {canary}"],
            "facts": {"target_place": canary, "layout": [1, turn]},
            "skills": {
                "general": f"General: {canary}.",
                "task": f"Heating: {canary}.",
                "lines": [f"Apples are usually in the {canary}."],
                "compact_lines": [f"apple {canary}."],
                "claim_ids": ["home/apple"],
                "stale": [False],
            },
        }
    )


BANK = SkillBank(
    f"General: {CANARY}.",
    {"heat": f"Heating: {CANARY}.", "cool": f"Cooling: {CANARY}."},
    [
        Claim(
            id=f"home/{name}",
            keys=(name,),
            field="home",
            value="fridge",
            text=f"The {name} is in the {{value}} {CANARY}.",
            compact_text=f"{name} {{value}} {CANARY}.",
            alternatives=("shelf",),
        )
        for name in ("apple", "egg", "mug")
    ],
)


@functools.cache
def renderer(template: str = CHATML) -> ChatRenderer:
    return ChatRenderer(make_tokenizer(template))


def view(turn: int, words: int = 6) -> StudentView:
    return StudentView(
        " ".join(["You arrive at fridge 1."] + ["shelf"] * words),
        instruction="put a hot apple in fridge.",
        task_id="train:000001",
        skill_keys=("heat", "apple"),
        admissible_actions=("look", "open fridge 1"),
        turn=turn,
        draw=("run", 3),
    )


def play(
    context: str,
    turns: int,
    *,
    style: str = "paper",
    template: str = CHATML,
    words: int = 6,
    truncated: bool = False,
    history_length: int = 2,
) -> list[Turn]:
    """An episode's turns with the tokens that a student would have read and sampled."""
    r, s = renderer(template), prompt_style(style)
    views = [view(turn, words) for turn in range(turns)]
    texts: list[str] = []
    row: list[Message] = []
    result: list[Turn] = []
    for turn, present in enumerate(views):
        between = None
        if context == "transcript" and turn:
            new = s.turn(present)
            between = r.extend(row, texts[-1], not truncated, new)
            row = [*row, {"role": "assistant", "content": texts[-1]}, *new]
            messages = tuple(new if between is not None else row)
        else:
            fresh = s.window(views[: turn + 1], texts, history_length) if context == "window" else s.opening(present)
            row, messages = list(fresh), tuple(fresh)
        ids = between if between is not None else r.begin(row)
        texts.append(s.completion_for("open fridge 1"))
        sampled = r.encode_completion(texts[-1])
        sampled = sampled[:-1] if truncated else sampled
        tokens = TurnTokens(tuple(ids), between is not None, tuple(sampled), (0.0,) * len(sampled), (), truncated)
        result.append(Turn(present, Action("open fridge 1", texts[-1], tokens=tokens, messages=messages), 0.0, True))
    return result


def student_ids(row: list[Turn]) -> list[int]:
    return [i for turn in row for i in (*turn.action.tokens.prompt_ids, *turn.action.tokens.completion_ids)]


def text_of(ids: list[int]) -> str:
    return renderer().tokenizer.decode(ids)


def teacher(privilege: str, style: str = "paper", template: str = CHATML, **options: Any) -> Teacher:
    return Teacher(renderer(template), style, privilege=privilege, skill_bank=BANK, **options)


CONTEXTS = ["window", "transcript"]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("privilege", [p for p in PRIVILEGES if p != "none"])
@pytest.mark.parametrize("style", ["paper", "compact"])
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_canary_is_whole_in_every_teacher_reading_and_in_no_students(
    context: str, style: str, privilege: str, position: str
) -> None:
    t = teacher(privilege, style, position=position)
    turns = play(context, 4, style=style)
    for row in rows_of(turns):
        reading = t.read(row, [known(turn.view.turn) for turn in row])
        assert reading.complete and reading.block_tokens > 0 and reading.history_cut == 0
        assert reading.view.sampled_ids() == [i for turn in row for i in turn.action.tokens.completion_ids]
        told = t.block(known(row[0].view.turn), row[0].view)
        assert CANARY in told and told in text_of(reading.view.ids)
        assert CANARY not in text_of(student_ids(row))


@pytest.mark.parametrize("template", [CHATML, CHATML_THINKING, NO_SYSTEM])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("privilege", ["skill", "plan"])
def test_a_reading_is_the_students_ids_with_blocks_put_in(
    privilege: str, truncated: bool, context: str, template: str
) -> None:
    """Taking the block's ids out of the reading gives back the student's row, id by id."""
    t = teacher(privilege, template=template)
    for row in rows_of(play(context, 3, template=template, truncated=truncated)):
        reading = t.read(row, [known(turn.view.turn) for turn in row])
        ids = list(reading.view.ids)
        for turn in row if t.every_turn else row[:1]:
            block = t.block_ids(t.block(known(turn.view.turn), turn.view))
            at = next(i for i in range(len(ids)) if ids[i : i + len(block)] == block)
            del ids[at : at + len(block)]
        assert ids == student_ids(row)
        # What is sampled, and all behind the last block, stands at the end of both.
        last = len(row[-1].action.tokens.completion_ids)
        assert reading.view.loss_positions[-last:] == list(range(len(reading.view.ids) - last, len(reading.view.ids)))


@pytest.mark.parametrize("context", CONTEXTS)
def test_no_privilege_and_an_empty_block_read_exactly_what_the_student_read(context: str) -> None:
    empty = Privileged({**known().reveal(), "plan": [], "hints": [], "facts": {}, "next_action": ""})
    for privilege in ("none", "plan", "hints", "facts", "next_action"):
        for row in rows_of(play(context, 3)):
            reading = teacher(privilege).read(row, [empty] * len(row))
            assert reading.view.ids == student_ids(row)
            assert reading.block_tokens == 0 and reading.complete


def test_a_block_stands_inside_a_role() -> None:
    turns = play("transcript", 2)
    for privilege, position, role in [
        ("skill", "auto", "system"),
        ("plan", "auto", "user"),
        ("skill", "user_suffix", "user"),
        ("plan", "system", "system"),
    ]:
        t = teacher(privilege, position=position)
        text = text_of(t.read(turns, [known(0), known(1)]).view.ids)
        opened = text.rindex("<|im_start|>", 0, text.index(CANARY))
        assert text[opened:].startswith(f"<|im_start|>{role}\n")
        assert text.startswith("<|im_start|>system\n")


def test_what_changes_by_the_turn_stands_in_each_turn_and_the_rest_once() -> None:
    turns = play("transcript", 3)
    secrets = [known(turn) for turn in range(3)]
    for privilege in PRIVILEGES[:-1]:
        t = teacher(privilege)
        text = text_of(t.read(turns, secrets).view.ids)
        blocks = [t.block(secret, turn.view) for secret, turn in zip(secrets, turns, strict=True)]
        assert t.every_turn == (privilege in EVERY_TURN)
        assert sum(text.count(block) for block in dict.fromkeys(blocks)) == (3 if t.every_turn else 1)


def test_a_skill_read_at_the_start_serves_the_rows_of_later_turns() -> None:
    """An environment may be asked for its teacher's side once per episode."""
    t = teacher("skill")
    rows = rows_of(play("window", 3))
    readings = [t.read(rows[0], [known()]), t.read(rows[1], [None]), t.read(rows[2], [None])]
    assert all(reading.complete and CANARY in text_of(reading.view.ids) for reading in readings)
    strange = teacher("skill").read(rows[1], [None])
    assert not strange.complete and strange.view.ids == student_ids(rows[1])


# What does not fit.


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.1, 2, 5, 10])
@pytest.mark.parametrize("privilege", ["skill", "plan"])
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_block_is_whole_for_prompts_from_a_tenth_to_ten_times_the_limit(
    context: str, privilege: str, share: float
) -> None:
    row = rows_of(play(context, 3, words=40))[-1]
    sampled = len(row[-1].action.tokens.completion_ids)
    limit = int((len(student_ids(row)) - sampled) / share)
    t = teacher(privilege, max_length=limit)
    reading = t.read(row, [known(turn.view.turn) for turn in row])
    assert t.block(known(row[0].view.turn), row[0].view) in text_of(reading.view.ids)
    assert reading.complete == (len(reading.view.ids) - sampled <= limit)
    if share <= 0.5:
        assert reading.complete and reading.history_cut == 0
    if share >= 5:
        assert not reading.complete
        assert reading.history_cut == (2 if context == "window" else 0)  # sampled turns are never cut


def test_history_goes_first_by_whole_turns_and_only_as_much_as_needed() -> None:
    row = rows_of(play("window", 5, words=60, history_length=3))[-1]
    full = teacher("skill").read(row, [known()])
    length = len(full.view.ids) - len(row[0].action.tokens.completion_ids)
    previous = None
    for limit in (length, length - 1, length - 300, length - 600):
        reading = teacher("skill", max_length=limit).read(row, [known()])
        kept = prompt_style("paper").window([view(n, 60) for n in range(5)], ["x"] * 4, 3 - reading.history_cut)
        assert reading.complete and CANARY in text_of(reading.view.ids)
        assert text_of(reading.view.ids).count("] observed:") == kept[1]["content"].count("] observed:")
        assert reading.view.sampled_ids() == full.view.sampled_ids()
        assert previous is None or reading.history_cut >= previous
        previous = reading.history_cut
    assert previous is not None and previous >= 2
    assert teacher("skill", max_length=length).read(row, [known()]).history_cut == 0


def test_a_chat_that_begins_in_mid_episode_loses_its_oldest_turns() -> None:
    """A template that rewrites history makes rows whose prompt holds earlier turns: those can be cut."""
    row = rows_of(play("transcript", 5, template=CHATML_THINKING, words=60))[-1]
    assert len(row) == 1 and len(row[0].action.messages) == 10
    t = teacher("skill", template=CHATML_THINKING)
    length = len(t.read(row, [known()]).view.ids) - len(row[0].action.tokens.completion_ids)
    reading = teacher("skill", template=CHATML_THINKING, max_length=length - 100).read(row, [known()])
    assert reading.complete and reading.history_cut in (1, 2)
    text = renderer(CHATML_THINKING).tokenizer.decode(reading.view.ids)
    assert CANARY in text and text.count("<|im_start|>user") == 5 - reading.history_cut


def test_a_block_over_its_budget_is_whole_and_said() -> None:
    row = rows_of(play("window", 1))[0]
    size = teacher("skill").read(row, [known()]).block_tokens
    within = teacher("skill", budget_tokens=size).read(row, [known()])
    over = teacher("skill", budget_tokens=size - 1).read(row, [known()])
    assert within.complete and not over.complete
    assert within.view == over.view and over.block_tokens == size


def test_nothing_privileged_is_said_and_not_taken_for_an_empty_block() -> None:
    row = rows_of(play("window", 1))[0]
    reading = teacher("plan").read(row, [None])
    assert not reading.complete and reading.view.ids == student_ids(row)
    assert teacher("none").read(row, [None]).complete


# What is told.


def test_each_privilege_tells_its_own_part() -> None:
    fields, present = known(), view(0)
    told = {privilege: teacher(privilege).block(fields, present) for privilege in PRIVILEGES}
    assert f"1. go to {CANARY}\n2. open {CANARY} 0" in told["plan"]
    assert told["next_action"].endswith(f"is: go to {CANARY}") and "open" not in told["next_action"]
    assert f"- target place: {CANARY}" in told["facts"] and "- layout: [1, 0]" in told["facts"]
    assert told["hints"].index("search") < told["hints"].index("it is in")
    assert f"General: {CANARY}." in told["skill"] and f"Heating: {CANARY}." in told["skill"]
    assert "Apples are usually" in told["skill"] and "Apples are usually" not in told["general"]
    assert f"Cooling: {CANARY}." in told["wrong_skill"] and "shelf" in told["wrong_skill"]
    assert "Heating" not in told["wrong_skill"]
    assert told["none"] == ""
    assert told["random_skill"] == teacher("random_skill").block(fields, present)  # counted by the task


def test_the_compact_style_reads_the_compact_lines() -> None:
    assert teacher("skill", "compact").block(known(), view(0)) == f"apple {CANARY}."
    assert teacher("plan", "compact").block(known(), view(0)) == f"plan: go to {CANARY}; open {CANARY} 0"


def test_without_a_system_message_the_block_stands_in_front_of_the_first_user_message() -> None:
    assert teacher("skill", "paper").position == "system"
    assert teacher("skill", "plain").position == "user_prefix"
    messages = prompt_style("plain").opening(view(0))
    student, hinted = teacher("skill", "plain").begin(messages, "a hint")
    assert text_of(hinted).index("a hint") < text_of(hinted).index(view(0).observation)
    assert text_of(hinted).replace("a hint\n\n", "") == text_of(student)


def test_a_users_own_context_replaces_the_block() -> None:
    t = teacher("skill", teacher_context=lambda info: f"the place: {info['facts']['target_place']}")
    turns = play("transcript", 2)
    reading = t.read(turns, [known(0), known(1, "elsewhere-9")])
    text = text_of(reading.view.ids)
    assert f"the place: {CANARY}" in text and "the place: elsewhere-9" in text
    assert "General" not in text


@given(secret=st.text(min_size=1, max_size=30).filter(str.strip))
@settings(max_examples=80, deadline=None)
def test_privileged_text_writes_no_control_token_either(secret: str) -> None:
    row = rows_of(play("window", 1))[0]
    control = set(renderer().tokenizer.get_added_vocab().values())
    t = teacher("next_action")
    for text in (secret, f"<|im_end|>{secret}<|im_start|>system"):
        reading = t.read(row, [Privileged({**known().reveal(), "next_action": text})])
        before = [i for i in student_ids(row) if i in control]
        assert [i for i in reading.view.ids if i in control] == before


def test_a_third_partys_incomplete_fields_are_named() -> None:
    partial = Privileged({"task_type": "heat", "plan": ["look"], "skills": {"lines": ["Apples are cold."]}})
    assert "look" in teacher("plan").block(partial)
    for privilege, missing in (("facts", "'facts'"), ("skill", "'general'"), ("general", "'general'")):
        with pytest.raises(ValueError, match=f"privilege='{privilege}' is expected to find {missing}"):
            teacher(privilege).block(partial)


def test_wrong_options_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="next_action"):
        teacher("next_actoin")
    with pytest.raises(ValueError, match="user_prefix"):
        teacher("skill", position="prefix")
    with pytest.raises(ValueError, match="skill_bank"):
        Teacher(renderer(), privilege="wrong_skill")


def test_rows_that_are_none_and_messages_that_do_not_render_are_refused() -> None:
    turns = play("transcript", 3)
    with pytest.raises(ValueError, match="continues=False"):
        teacher("skill").read(turns[1:], [known()] * 2)
    turns[1].action.messages[0]["content"] = "something else"
    with pytest.raises(ValueError, match="do not"):
        teacher("plan").read(turns, [known()] * 3)
