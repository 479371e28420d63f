"""Who is asked to write for a teacher, what is done with the answers, and what is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from tiny_models import CHATML, make_tokenizer

from agents.base import Action, Episode, StopReason, Turn
from agents.prompts import prompt_style
from agents.reflection import episode_messages
from agents.rendering import ChatRenderer
from agents.sampling.base import Sample, SampleRequest
from agents.teacher import Teacher
from sdar_envs.privileged import Privileged, StudentView
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.hindsight import hindsight_of
from trainers.rollout.reflecting import ReflectionLimits, Reflector
from trainers.rollout.teacher_views import readings_of

RENDERER = ChatRenderer(make_tokenizer(CHATML))
NOTE = "Open the fridge before you look for it."


class Writer:
    """Answers by a function of the request's draw and prompt; remembers what it was asked."""

    def __init__(self, answer: Callable[[tuple[int | str, ...], str], str] = lambda draw, prompt: NOTE) -> None:
        self.answer = answer
        self.asked: list[tuple[SampleRequest, str]] = []
        self.together: list[int] = []
        self.released: list[int] = []

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        self.together.append(len(requests))
        samples = []
        for request in requests:
            prompt = str(RENDERER.tokenizer.decode(list(request.prompt_ids)))
            self.asked.append((request, prompt))
            ids = tuple(RENDERER.encode_completion(self.answer(request.draw, prompt)))
            samples.append(Sample(ids, (0.0,) * len(ids), (0.0,) * len(ids), truncated=False))
        return samples

    def release(self, slots: Sequence[int]) -> None:
        self.released += slots


def episode(*actions: str, success: bool = False, **fields: Any) -> Episode:
    turns = [
        Turn(StudentView(f"seen {n}", instruction="heat it", turn=n), Action(text, text), 0.0, True)
        for n, text in enumerate(actions)
    ]
    own = Episode("env", "task", "kind", (), turns, success=success)
    own.stop_reason = StopReason.SUCCESS if success else StopReason.HORIZON
    for name, value in fields.items():
        setattr(own, name, value)
    return own


def rollouts_of(*groups: list[Episode]) -> list[Rollout]:
    return [
        Rollout(
            own, TaskDraw("task", ("train", 0, 7, group, member), group, member), [Privileged({}) for _ in own.turns]
        )
        for group, episodes in enumerate(groups)
        for member, own in enumerate(episodes)
    ]


def reflector(
    writer: Any, *privileges: str, ranks: Any = None, limits: tuple[int, int] = (4000, 100), **options: Any
) -> Reflector:
    config = SDARConfig(
        privilege="+".join(privileges) or "reflection", device="cpu", **{"teacher_budget": 400, **options}
    )
    teachers = {
        name: Teacher(RENDERER, "paper", privilege=name, budget_tokens=config.teacher_budget)
        for name in (privileges or ("reflection",))
    }
    return Reflector(writer, teachers, config, ReflectionLimits(*limits), ranks)


def told(rollouts: list[Rollout], privilege: str = "reflection") -> list[Any]:
    return [None if each is None else each.reveal() for each in hindsight_of(rollouts, privilege)]


# --- notes on episodes ---


def test_every_episode_is_asked_about_by_itself_and_its_own_teacher_reads_the_answer() -> None:
    writer = Writer(lambda draw, prompt: f"In attempt {draw[3]} {draw[4]} I should open more.")
    rollouts = rollouts_of([episode("one"), episode("two", success=True)], [episode("three")])
    figures = reflector(writer).write(rollouts, 7)
    assert told(rollouts) == [{"reflection": f"In attempt {at} I should open more."} for at in ("0 0", "0 1", "1 0")]
    # The barrier: a prompt shows the student's own episode and no other.
    for (_, prompt), own in zip(writer.asked, ("one", "two", "three"), strict=True):
        assert f"done: {own}" in prompt and prompt.count("done:") == 1
    assert ["succeeded" in prompt.partition("The outcome:")[2][:40] for _, prompt in writer.asked] == [
        False,
        True,
        False,
    ]
    assert (
        figures["reflection/asked"] == 3 and figures["reflection/usable"] == 1 and figures["reflection/replaced"] == 0
    )


def test_draws_are_named_by_episode_and_iteration_and_lengths_are_the_reflections_own() -> None:
    writer = Writer()
    reflector(writer, limits=(4000, 33), temperature=0.7).write(rollouts_of([episode("a"), episode("b")]), 7)
    assert [request.draw for request, _ in writer.asked] == [
        ("train", 0, 7, 0, member, "reflection", 7) for member in (0, 1)
    ]
    assert all(
        r.max_tokens == 33 and r.temperature == 0.7 and not r.continues and r.stop == () for r, _ in writer.asked
    )
    assert writer.released == [0, 1]


def test_no_more_episodes_are_asked_about_together_than_are_played_together() -> None:
    writer = Writer()
    reflector(writer, sampler_batch=2).write(rollouts_of([episode("a") for _ in range(5)]), 0)
    assert writer.together == [2, 2, 1]


def test_a_broken_environment_and_an_episode_without_a_turn_are_not_asked_about() -> None:
    writer = Writer()
    broken = episode("a", stop_reason=StopReason.FAILED)
    rollouts = rollouts_of([broken, episode(), episode("b")])
    figures = reflector(writer).write(rollouts, 0)
    assert told(rollouts) == [None, None, {"reflection": NOTE}] and figures["reflection/asked"] == 1


def test_a_text_of_no_use_is_replaced_by_the_outcome_and_counted_by_its_flaw() -> None:
    answers = {0: "", 1: "a", 2: "do it", 3: "so so " * 9, 4: NOTE}
    writer = Writer(lambda draw, prompt: answers[int(draw[4])])
    rollouts = rollouts_of([episode("a", success=member == 1) for member in range(5)])
    figures = reflector(writer).write(rollouts, 0)
    found = told(rollouts)
    assert found[1] is None  # a success has no verdict, so nothing is told
    assert [list(found[n]) for n in (0, 2, 3)] == [["feedback"]] * 3 and found[4] == {"reflection": NOTE}
    shares = {name.removeprefix("reflection/"): value for name, value in figures.items() if "/unusable" in name}
    expected = dict.fromkeys(("empty", "action", "short", "repeated"), 0.2) | {
        "control": 0.0,
        "too_long": 0.0,
        "no_room": 0.0,
    }
    assert shares == {f"unusable_{name}": value for name, value in expected.items()}
    assert figures["reflection/usable"] == 0.2 and figures["reflection/replaced"] == 0.8


def test_a_chat_that_goes_on_inside_of_the_answer_is_no_note() -> None:
    class Chatting(Writer):
        def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
            samples = super().sample(requests)
            end = RENDERER.end_ids[0]
            return [dataclasses.replace(s, ids=(*s.ids[:-1], end, *s.ids), logprobs=(), entropies=()) for s in samples]

    rollouts = rollouts_of([episode("a")])
    figures = reflector(Chatting()).write(rollouts, 0)
    assert figures["reflection/unusable_control"] == 1 and list(told(rollouts)[0]) == ["feedback"]


def test_without_a_fallback_such_an_episode_has_no_teacher() -> None:
    rollouts = rollouts_of([episode("a"), episode("b")])
    reflector(Writer(lambda draw, prompt: ""), reflection_fallback="none").write(rollouts, 0)
    assert told(rollouts) == [None, None]


def test_what_only_a_planner_knows_is_in_no_prompt_and_no_fallback_unless_an_option_says_so() -> None:
    for reads, expected in (("outcome", False), ("verdict", True)):
        writer = Writer(lambda draw, prompt: "")
        rollouts = rollouts_of([episode("a", "b", first_wrong_turn=1)])
        reflector(writer, reflection_reads=reads).write(rollouts, 0)
        assert ("Less could be reached" in writer.asked[0][1]) == expected
        assert ("Less could be reached" in str(told(rollouts))) == expected


def test_nothing_that_the_environment_keeps_from_the_student_reaches_a_prompt() -> None:
    writer = Writer()
    rollouts = rollouts_of([episode("a")])
    rollouts[0].privileged = [Privileged({"plan": ["xyzzy"], "facts": {"where": "xyzzy"}})]
    reflector(writer).write(rollouts, 0)
    assert "xyzzy" not in writer.asked[0][1]


def test_a_long_episode_loses_so_many_first_turns_as_it_must_and_no_more() -> None:
    rollouts = rollouts_of([episode(*(f"open door {n}" for n in range(40)))])
    writer = Writer()
    figures = reflector(writer, limits=(700, 50)).write(rollouts, 0)
    (request, prompt), left = writer.asked[0], int(figures["reflection/left_out"])
    assert 0 < left < 40 and len(request.prompt_ids) <= 700
    assert f"done: open door {left}\n" in prompt and f"done: open door {left - 1}\n" not in prompt
    one_more = episode_messages(prompt_style("paper"), rollouts[0].episode, left_out=left - 1)
    assert len(RENDERER.begin(one_more)) > 700


def test_an_episode_of_which_nothing_fits_is_not_asked_about_and_counted() -> None:
    writer = Writer()
    figures = reflector(writer, limits=(20, 50)).write(rollouts_of([episode("a")]), 0)
    assert not writer.asked and figures["reflection/unusable_no_room"] == 1 and figures["tokens/reflection"] == 0


def test_the_teachers_budget_bounds_the_text_with_its_heading() -> None:
    asked = reflector(Writer(), teacher_budget=90).limits.tokens
    assert 0 < asked < 90
    rollouts = rollouts_of([episode("a")])
    long = " ".join(f"word{n}" for n in range(60))
    figures = reflector(Writer(lambda draw, prompt: long), teacher_budget=90).write(rollouts, 0)
    assert figures["reflection/unusable_too_long"] == 1 and list(told(rollouts)[0]) == ["feedback"]
    with pytest.raises(ValueError, match=r"teacher_budget=5 is expected to have room .*: raise teacher_budget"):
        reflector(Writer(), teacher_budget=5)


def test_tokens_are_those_that_were_read_and_written() -> None:
    writer = Writer()
    figures = reflector(writer).write(rollouts_of([episode("a"), episode("b")]), 0)
    assert figures["tokens/reflection"] == 2 * len(RENDERER.encode_completion(NOTE))
    assert figures["tokens/reflection_prompts"] == sum(len(request.prompt_ids) for request, _ in writer.asked)


def test_texts_of_an_earlier_iteration_are_forgotten() -> None:
    rollouts = rollouts_of([episode("a", success=True)])
    reflector(Writer()).write(rollouts, 0)
    reflector(Writer(lambda draw, prompt: "")).write(rollouts, 1)
    assert told(rollouts) == [None]


# --- guides for groups ---


def guided(draw: tuple[int | str, ...], prompt: str) -> str:
    return f"Guide for group {draw[3]}: be brave." if "group_reflection" in draw else f"Note on attempt {draw[4]} here."


def test_a_guide_is_made_of_the_notes_on_both_outcomes_and_read_by_the_whole_group() -> None:
    writer = Writer(guided)
    mixed = [episode("a"), episode("b", success=True), episode("c")]
    rollouts = rollouts_of(mixed, [episode("d"), episode("e")], [episode("f", success=True)])
    figures = reflector(writer, "group_reflection").write(rollouts, 0)
    assert told(rollouts, "group_reflection") == [{"group_reflection": "Guide for group 0: be brave."}] * 3 + [None] * 3
    assert told(rollouts) == [None] * 6
    assert figures["reflection/asked"] == 4  # three notes and a guide; of the other groups nothing is asked
    won, lost = writer.asked[-1][1].partition("After attempts that did not:")[::2]
    assert "Note on attempt 1 here." in won and "Note on attempt 0" not in won
    assert "Note on attempt 0 here." in lost and "Note on attempt 2 here." in lost


def test_notes_of_no_use_are_left_out_and_without_one_on_each_outcome_there_is_no_guide() -> None:
    writer = Writer(lambda draw, prompt: "" if draw[4] == 1 and "reflection" in draw else guided(draw, prompt))
    rollouts = rollouts_of([episode("a"), episode("b", success=True)], [episode("c"), episode("d", success=True)])
    figures = reflector(writer, "group_reflection").write(rollouts, 0)
    assert [list(each or {}) for each in told(rollouts, "group_reflection")] == [["feedback"], [], ["feedback"], []]
    assert figures["reflection/asked"] == 4 and figures["reflection/replaced"] == 1


def test_both_privileges_share_their_notes() -> None:
    writer = Writer(guided)
    rollouts = rollouts_of([episode("a"), episode("b", success=True)])
    reflector(writer, "reflection", "group_reflection").write(rollouts, 0)
    assert len(writer.asked) == 3
    assert told(rollouts)[0] == {"reflection": "Note on attempt 0 here."}
    assert told(rollouts, "group_reflection")[0] == {"group_reflection": "Guide for group 0: be brave."}


def test_a_guide_that_does_not_fit_is_made_of_fewer_notes_with_one_on_each_outcome() -> None:
    writer = Writer(lambda draw, prompt: guided(draw, prompt) + " More words for the guide to come." * 3)
    group = [episode("a", success=n == 0) for n in range(8)]
    reflector(writer, "group_reflection", limits=(700, 200)).write(rollouts_of(group), 0)
    request, prompt = writer.asked[-1]
    assert "group_reflection" in request.draw and len(request.prompt_ids) <= 700
    assert "Note on attempt 0" in prompt and "Note on attempt 1" in prompt and "Note on attempt 7" not in prompt


def test_seats_of_a_game_are_groups_of_their_own() -> None:
    writer = Writer(guided)
    seats = [episode("bid", success=True, role="buyer"), episode("ask", role="seller")]
    rollouts = rollouts_of(seats)
    reflector(writer, "group_reflection").write(rollouts, 0)
    assert not writer.asked and told(rollouts, "group_reflection") == [None, None]


def test_a_role_without_a_teacher_is_not_asked() -> None:
    writer = Writer()
    seats = [episode("bid", role="buyer"), episode("ask", role="seller")]
    options: dict[str, Any] = {"roles": ("buyer", "seller"), "opponents": ("self",), "teach_roles": ("seller",)}
    rollouts = rollouts_of(seats)
    reflector(writer, **options).write(rollouts, 0)
    assert told(rollouts) == [None, {"reflection": NOTE}]


# --- several processes ---


class Rank:
    """One of two processes; `gather` has what the other said, which is run before."""

    world_size = 2

    def __init__(self, rank: int, other: Any = None) -> None:
        self.rank = rank
        self.other = other
        self.said: Any = None

    def gather(self, value: Any) -> list[Any]:
        self.said = value
        return [value] if self.other is None else [self.other, value] if self.rank else [value, self.other]


def test_each_process_asks_about_its_own_groups_and_all_know_what_one_process_would() -> None:
    def groups() -> list[Rollout]:
        return rollouts_of(*([episode(f"a{n}"), episode(f"b{n}", success=True)] for n in range(3)))

    names = ("reflection", "group_reflection")
    alone = groups()
    expected = reflector(Writer(guided), *names).write(alone, 0)
    first, second = Rank(0), Rank(1)
    for own in (first, second):
        reflector(Writer(guided), *names, ranks=own).write(groups(), 0)
    for rank, other in ((0, second.said), (1, first.said)):
        rollouts, writer = groups(), Writer(guided)
        assert reflector(writer, *names, ranks=Rank(rank, other)).write(rollouts, 0) == expected
        assert {int(request.draw[3]) % 2 for request, _ in writer.asked} == {rank}
        for name in names:
            assert told(rollouts, name) == told(alone, name)


# --- limits, and the method ---


def test_limits_follow_from_other_options_and_stay_within_the_models_positions() -> None:
    config = SDARConfig(max_prompt_length=100, teacher_budget=50, max_completion_length=20, device="cpu")
    assert ReflectionLimits.of(config, None) == ReflectionLimits(150, 20)
    assert ReflectionLimits.of(config, 120) == ReflectionLimits(100, 20)
    own = SDARConfig(reflection_tokens=30, reflection_prompt_length=200, device="cpu")
    assert ReflectionLimits.of(own, 230) == ReflectionLimits(200, 30)
    with pytest.raises(ValueError, match=r"within the model's 229 positions together, got 200 and 30"):
        ReflectionLimits.of(own, 229)


def test_there_is_no_reflector_where_no_teacher_reads_what_a_policy_writes() -> None:
    teacher = Teacher(RENDERER, "paper", privilege="feedback")
    config = SDARConfig(privilege="feedback", device="cpu")
    assert Reflector.of(cast(Any, Writer()), {"teacher": teacher}, config, ReflectionLimits(9, 9)) is None


def test_seed_reads_reflections_whatever_privilege_is_and_gates_as_sdar_does() -> None:
    seed, sdar = METHODS["seed"], METHODS["sdar"]
    assert readings_of(seed, SDARConfig(method="seed", privilege="plan")) == {"reflection": "reflection"}
    assert (seed.signal, seed.weight, seed.injection, seed.coef) == (
        sdar.signal,
        sdar.weight,
        sdar.injection,
        sdar.coef,
    )
    assert seed.fidelity == "digest"
