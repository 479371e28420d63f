"""What a student reads: whole, in order, with an explicit system message, and abridged only in the compact style."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Parse
from agents.prompts import HistoryText, PromptStyle, prompt_style, student_messages
from agents.teacher import shorter_histories
from sdar_envs.privileged import StudentView

BANNER = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "
    "a cabinet 1, an armchair 2, and a fridge 1.\n\nYour task is to: put a hot apple in fridge."
)
TASK = "put a hot apple in fridge."


def view(observation: str, turn: int = 0, actions: tuple[str, ...] = ("go to fridge 1", "look")) -> StudentView:
    return StudentView(observation, instruction=TASK, admissible_actions=actions, turn=turn)


VIEWS = [view(BANNER), *(view(f"You arrive at cabinet {n}. The cabinet {n} is closed.", n) for n in range(1, 6))]
ACTIONS = [f"go to cabinet {n}" for n in range(1, 6)]


@pytest.mark.parametrize("style", ["paper", "compact"])
@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("turns", [1, 3])
def test_every_student_prompt_begins_with_an_explicit_system_message(style: str, context: str, turns: int) -> None:
    messages = student_messages(style, VIEWS[:turns], ACTIONS[: turns - 1], context=context)
    assert messages[0]["role"] == "system" and messages[0]["content"]
    assert [message["role"] for message in messages].count("system") == 1
    assert messages[-1]["role"] == "user"


def test_the_paper_style_shows_task_last_k_pairs_observation_actions_and_the_answer_form() -> None:
    text = student_messages("paper", VIEWS[:5], ACTIONS[:4], context="window", history_length=2)[-1]["content"]
    order = [TASK, VIEWS[2].observation, ACTIONS[2], VIEWS[3].observation, ACTIONS[3], VIEWS[4].observation]
    order += ["- go to fridge 1\n- look", "<think>", "</think>", "<action>", "</action>"]
    at = [text.index(part) for part in order]
    assert at == sorted(at)
    assert VIEWS[1].observation not in text and ACTIONS[1] not in text
    assert "4 step(s)" in text and "at step 5" in text


def test_a_transcript_alternates_what_was_read_and_what_was_answered() -> None:
    messages = student_messages("paper", VIEWS[:3], ACTIONS[:2], context="transcript")
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [message["content"] for message in messages[2::2]] == ACTIONS[:2]
    assert VIEWS[2].observation in messages[-1]["content"]


def test_thinking_and_the_list_of_actions_can_be_left_out() -> None:
    plain = prompt_style("paper", list_actions=False, thinking=False)
    text = plain.opening(VIEWS[0])[1]["content"]
    assert "<think>" not in text and "<action>" in text and "go to fridge 1" not in text
    listed = prompt_style("compact", list_actions=True).opening(VIEWS[0])[1]["content"]
    assert listed.endswith("\nactions: go to fridge 1; look;")
    assert "actions:" not in prompt_style("compact").opening(VIEWS[0])[1]["content"]


@pytest.mark.parametrize(
    ("said", "short"),
    [
        (BANNER, "room: cabinet 1, armchair 2, fridge 1.\ntask: put a hot apple in fridge."),
        ("You arrive at fridge 1. The fridge 1 is closed.", "at fridge 1: closed."),
        (
            "You arrive at shelf 3. On the shelf 3, you see a apple 1, a egg 2, and a mug 1.",
            "at shelf 3: apple 1, egg 2, mug 1.",
        ),
        ("You arrive at safe 1. The safe 1 is open. In it, you see a pen 1, and a cd 2.", "at safe 1: pen 1, cd 2."),
        ("You open the fridge 1. The fridge 1 is open. In it, you see nothing.", "in fridge 1: nothing."),
        ("You pick up the apple 1 from the fridge 1.", "took apple 1."),
        ("You move the apple 1 to the shelf 3.", "moved apple 1."),
        ("You heat the apple 1 using the microwave 1.", "heated apple 1."),
        ("You are carrying: a apple 1.", "carrying: apple 1."),
        # Two different places are not one sentence of the world: no rule applies.
        ("You arrive at fridge 1. The fridge 2 is closed.", "You arrive at fridge 1. The fridge 2 is closed."),
        ("A page of another world.", "A page of another world."),
    ],
)
def test_the_compact_style_abridges_what_it_knows_and_passes_the_rest(said: str, short: str) -> None:
    assert prompt_style("compact").abridge(said) == short
    assert prompt_style("paper").abridge(said) == said


def test_a_megabyte_that_almost_matches_is_abridged_without_backtracking() -> None:
    """Quadratic matching would need hours."""
    for unit in ("You arrive at ", "You are carrying: a ", "You pick up the a from the "):
        text = unit * (1_000_000 // len(unit))
        assert prompt_style("compact").abridge(text) == text


def test_the_compact_style_states_the_task_where_the_world_does_not() -> None:
    style = prompt_style("compact")
    assert style.opening(view("A bare room."))[1]["content"] == f"task: {TASK}\nA bare room."
    assert style.opening(VIEWS[0])[1]["content"].count(TASK.rstrip(".")) == 1
    window = style.window(VIEWS[:4], ACTIONS[:3], 1)[1]["content"]
    assert window == f"task: {TASK}\nat cabinet 2: closed.\n> go to cabinet 3\nat cabinet 3: closed."


@given(text=st.text(alphabet=st.sampled_from("{}abtaskobservation:\n"), max_size=60))
def test_braces_in_a_world_are_just_text(text: str) -> None:
    hostile = "{observation}{task}" + text
    for style in ("paper", "compact", "plain"):
        assert hostile in prompt_style(style).turn(view(hostile))[0]["content"]


def test_history_is_cut_by_whole_turns_and_task_and_present_observation_stay() -> None:
    style = prompt_style("paper")
    window = style.window(VIEWS[:5], ACTIONS[:4], 3)
    assert isinstance(window[1]["content"], HistoryText)
    cut = shorter_histories(window)
    assert [messages[1]["content"] for messages in cut] == [
        style.window(VIEWS[:5], ACTIONS[:4], k)[1]["content"] for k in (2, 1, 0)
    ]
    chat = student_messages("paper", VIEWS[:4], ACTIONS[:3], context="transcript")
    for count, messages in enumerate(shorter_histories(chat), start=1):
        assert messages == [*chat[:2], *chat[2 + 2 * count :]]
        assert messages[-1] == chat[-1]
    assert len(shorter_histories(chat)) == 2
    assert shorter_histories(style.opening(VIEWS[0])) == []


def test_an_action_that_could_not_be_read_is_shown_as_such() -> None:
    text = prompt_style("paper").window(VIEWS[:2], [""], 2)[1]["content"]
    assert "nothing that could be read" in text


def test_the_plain_style_adds_nothing_but_the_actions_that_are_asked_for() -> None:
    style = prompt_style("plain")
    assert not style.has_system
    assert style.opening(VIEWS[0]) == [{"role": "user", "content": BANNER}]
    assert style.turn(VIEWS[1]) == [{"role": "user", "content": VIEWS[1].observation}]
    window = style.window(VIEWS[:3], ACTIONS[:2], 1)
    assert window == [{"role": "user", "content": f"{VIEWS[1].observation}\n> {ACTIONS[1]}\n{VIEWS[2].observation}"}]
    listed = prompt_style("plain", list_actions=True).turn(VIEWS[1])[0]["content"]
    assert listed == f"{VIEWS[1].observation}\n\nPossible actions:\n- go to fridge 1\n- look"
    assert style.parse("<action>look</action>", False) == ("<action>look</action>", Parse.OK)
    assert style.completion_for("look") == "look"


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match='"paper"'):
        prompt_style("papre")
    with pytest.raises(ValueError, match="transcript"):
        student_messages("paper", VIEWS[:1], [], context="transcripts")
    with pytest.raises(ValueError, match="expected 1 completions"):
        student_messages("paper", VIEWS[:2], [])


def test_a_style_has_no_way_to_hold_privileged_text() -> None:
    assert set(PromptStyle.__dataclass_fields__) == {"name", "list_actions", "thinking"}
