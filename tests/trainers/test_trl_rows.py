"""A teacher's reading of a chat with tools, and which methods TRL's trainer can be given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.bridges.trl import Decision, PlayedEpisode, Reply
from sdar_envs.privileged import StudentView
from trainers.bridges.privileged_rows import PROBES, Tail, answer_starts, answers, find_tail, teacher_row
from trainers.bridges.trl_limits import check_method, check_processes, check_version, refusal
from trainers.methods import METHODS, Method, get_method
from trainers.options import MethodOptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bridges" / "trl.md"
NAMES = re.compile(r"`([^`]+)`").findall
PROMPT_TAIL, RESULT_TAIL = Tail((90, 91), ""), Tail((80, 90, 91), "\n")


def test_a_context_stands_in_front_of_each_answer_and_sampled_ids_stay() -> None:
    #          answer  tool, tail       answer
    completion = [1, 2, 30, 80, 90, 91, 3, 4]
    mask = [1, 1, 0, 0, 0, 0, 1, 1]
    row = teacher_row([10, 90, 91], completion, mask, {0: [7], 1: [8, 9]}, PROMPT_TAIL, RESULT_TAIL)
    assert row.prompt_ids == [10, 7, 90, 91]
    assert row.completion_ids == [1, 2, 30, 8, 9, 80, 90, 91, 3, 4]
    assert [row.completion_ids[place] for place in row.places] == completion
    assert len(row) == 14


def test_a_chat_of_another_template_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected to follow the ids \[90, 91\].*follows \[10, 91\]"):
        teacher_row([10, 91], [1], [1], {0: [7]}, PROMPT_TAIL, RESULT_TAIL)
    with pytest.raises(ValueError, match="rendered by another template"):
        teacher_row([10, 90, 91], [1, 30, 90, 91, 2], [1, 0, 0, 0, 1], {1: [7]}, PROMPT_TAIL, RESULT_TAIL)


@given(
    st.lists(st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.lists(st.integers(1, 60), max_size=4))),
    st.dictionaries(st.integers(0, 6), st.lists(st.integers(100, 120), min_size=1, max_size=3)),
)
def test_without_its_contexts_a_teachers_row_is_the_students(
    turns: list[tuple[list[int], list[int]]], blocks: dict[int, list[int]]
) -> None:
    completion: list[int] = []
    mask: list[int] = []
    for answer, result in turns:
        completion += [*answer, *result, *RESULT_TAIL.ids]
        mask += [1] * len(answer) + [0] * (len(result) + 3)
    row = teacher_row([10, 90, 91], completion, mask, blocks, PROMPT_TAIL, RESULT_TAIL)
    assert [row.completion_ids[place] for place in row.places] == completion
    added = [token for number in sorted(blocks) if 0 < number < len(turns) for token in blocks[number]]
    assert [token for token in row.completion_ids if token >= 100] == added
    assert [token for token in row.completion_ids if token < 100] == completion


def test_answers_begin_where_the_policy_goes_on() -> None:
    assert answer_starts([1, 1, 0, 1, 0, 0]) == [0, 3]
    assert answer_starts([]) == []


def test_a_tail_begins_at_a_control_token_whatever_was_merged_in_front_of_it() -> None:
    """The line break behind a content may be one token with its last character."""
    vocabulary = {"<end>": 1, "<say>": 2, "\n": 3, ".\n": 4, "\n\n": 5, ")\n": 6}

    def render(content: str) -> list[int]:
        body, ids = content + "\n", []
        while body:
            ending = next((text for text in (".\n", "\n\n", ")\n", "\n") if body.startswith(text)), body[0])
            ids.append(vocabulary.get(ending, 10 + ord(ending[0])))
            body = body[len(ending) :]
        return [*ids, 1, 2]

    texts = {number: text for text, number in vocabulary.items()}
    tail = find_tail(render, lambda ids: "".join(texts.get(i) or chr(i - 10) for i in ids), {1, 2})
    assert tail == Tail((1, 2), "\n")
    assert all(tuple(render(probe)[-2:]) == tail.ids for probe in PROBES)
    with pytest.raises(ValueError, match="expected to end a message with a control token"):
        find_tail(render, lambda ids: "", set())


def chat(*parts: str) -> list[dict[str, str]]:
    """Messages by their beginnings: a for an answer, anything else for what a tool returned."""
    return [{"role": "assistant"} if part == "a" else {"role": "tool", "content": part} for part in parts]


def episode(*replies: tuple[str, int | None, bool]) -> PlayedEpisode:
    known = [Decision(StudentView(f"state {number}"), None) for number in range(4)]
    return PlayedEpisode(known, [Reply(*reply) for reply in replies])


def test_an_answer_is_given_to_the_state_that_the_calls_before_it_led_to() -> None:
    played = episode(("one", 1, True), ("two", 2, True), ("over", None, True))
    assert answers(chat("a", "one", "a", "two", "a", "over", "a"), played) == [
        (0, True), (1, True), (2, True), (None, False),
    ]  # fmt: skip
    # Two calls in one answer; and a call that never reached the world.
    assert answers(chat("a", "one", "two", "a"), played) == [(0, True), (2, True)]
    failed = "{'error': 'Tool look not found.'}"
    assert answers(chat("a", failed, "a", "one", "a"), played) == [(0, False), (0, True), (1, True)]
    assert answers(chat("a"), episode()) == [(0, False)]
    # What was done and cut from the chat for its length still counts as done.
    assert answers(chat("a", "one", "a"), episode(("one", 1, True), ("two", 2, False))) == [(0, True), (1, False)]


# Which methods.

REFUSED = {
    "vanilla": "changes no parameter",
    "skill-prompt": "changes no parameter",
    "skill-grpo": "acts given the privileged prompt",
    "context-distillation": "acts given the privileged prompt",
    "opsd-full": "whole next-token distributions",
    "grpo+full": "whole next-token distributions",
    "gated-full": "whole next-token distributions",
    "sdpo": "whole next-token distributions",
    "seed": "no text is made there of an iteration's own episodes",
    "shaped-grpo": "how long the plan is",
    "opid": "how long the plan is",
    "rlcsd": "a second reading",
    "rft": "TRL divides by the tokens of all",
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_accepted_or_refused_with_the_reason(name: str) -> None:
    said = refusal(get_method(name))
    if name not in REFUSED:
        assert said == ""
        check_method(get_method(name), MethodOptions(method=name))
        return
    assert REFUSED[name] in said
    with pytest.raises(ValueError, match=r"cannot be used, because .*: choose one of grpo, .*or train it with SDARTr"):
        check_method(get_method(name), MethodOptions(method=name))


def test_the_page_says_of_every_method_whether_it_is_accepted() -> None:
    text = PAGE.read_text(encoding="utf-8")
    said = {
        name: kind for kind, names in re.findall(r"^\| ([^|`]+) \| (`[^|]+) \|$", text, re.M) for name in NAMES(names)
    }
    assert said.keys() == METHODS.keys()
    for name, kind in said.items():
        assert kind.startswith(("refused", "nothing")) == (name in REFUSED), name
        injection = {"a term in the loss": "aux", "TRL's own": "none"}.get(kind)
        assert name in REFUSED or (injection or get_method(name).injection) == get_method(name).injection, name


def test_options_of_the_teacher_that_are_not_carried_are_refused() -> None:
    for options, said in (
        (MethodOptions(privilege="skill+plan"), "expected to be one"),
        (MethodOptions(privilege="sibling"), "what the environment knows"),
        (MethodOptions(teacher_weights="ema"), "expected to be current"),
    ):
        with pytest.raises(ValueError, match=said):
            check_method(get_method("sdar"), options)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_several_processes_are_for_methods_that_look_at_one_row(method: Method) -> None:
    alone = method.name in {
        "sdar-soft-or", "sdar-centred", "shuffled-teacher", "agent-opsd", "agent-opsd-token", "pcsd", "adrs",
        "adrs-gated",
    }  # fmt: skip
    if alone or method.keep is not None or method.statistics is not None:
        with pytest.raises(ValueError, match="in one process"):
            check_processes(method, 2)
    else:
        check_processes(method, 2)
    check_processes(method, 1)


def test_another_release_of_trl_is_refused() -> None:
    check_version("1.16.0")
    check_version("1.16.3")
    for other in ("1.15.2", "1.17.0", "2.0.0", "1.160"):
        with pytest.raises(ImportError, match=rf"trl {other} is installed"):
            check_version(other)
