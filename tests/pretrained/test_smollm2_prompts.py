"""Prompts in a real chat template: the exact ids of `apply_chat_template`, in every world, context and privilege."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import pytest

from agents.base import Message
from agents.prompts import prompt_style, student_messages
from agents.rendering import ChatRenderer
from agents.teacher import PRIVILEGES, Teacher
from sdar_envs.privileged import Privileged, StudentView, split_info

pytestmark = pytest.mark.pretrained

WORLDS = ("sdar/Household-v0", "sdar/WebShop-v0", "sdar/SearchQA-v0")


def template_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    found: list[int] = ids["input_ids"]
    return found


def check_ids(ids: list[int], tokenizer: Any, messages: Sequence[Message]) -> None:
    """The ids are the template's own; where a content begins with a line break, the text is.

    A content is encoded by itself, so that it can write no control token: a break of the template and one of the
    content stay two tokens, which the bare tokenizer makes one.
    """
    wanted = template_ids(tokenizer, messages)
    if any(message["content"].startswith("\n") for message in messages):
        assert tokenizer.decode(ids) == tokenizer.decode(wanted)
        assert len(ids) - len(wanted) <= sum(message["content"].startswith("\n") for message in messages)
    else:
        assert ids == wanted


def plan_of(world: str) -> tuple[list[StudentView], list[Privileged], list[str], Any]:
    """An episode of the small world by the plan: views, what was known at each, actions, and the skill bank."""
    env = gym.make(world, size="small", split="train")
    observation, info = env.reset(options={"task_id": env.unwrapped.task_ids("train")[0]})
    views, known, actions, over = [], [], [], False
    while not over and len(views) < 4:
        view, sealed = split_info(observation, info, turn=len(views))
        assert sealed is not None
        action = info["privileged"]["next_action"]
        views.append(view)
        known.append(sealed)
        actions.append(action)
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    bank = env.unwrapped.skill_bank
    env.close()
    return views, known, actions, bank


@pytest.fixture(scope="module", params=WORLDS)
def episode(request: pytest.FixtureRequest) -> Any:
    return plan_of(request.param)


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("style", ["paper", "compact", "plain"])
def test_a_prompt_has_the_ids_of_the_template(style: str, context: str, episode: Any, tokenizer: Any) -> None:
    views, _, actions, _ = episode
    renderer, words = ChatRenderer(tokenizer), prompt_style(style, thinking=False)
    for turn in range(1, len(views) + 1):
        said = [words.completion_for(action, view) for action, view in zip(actions[: turn - 1], views, strict=False)]
        done = actions[: turn - 1] if context == "window" else said
        messages = student_messages(words, views[:turn], done, context=context)
        check_ids(renderer.begin(messages), tokenizer, messages)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("style", ["paper", "compact"])
def test_a_growing_row_has_the_ids_of_the_whole_chat(style: str, ended: bool, episode: Any, tokenizer: Any) -> None:
    """Sampled ids are kept as they are; with what comes between them they are the whole chat of the template."""
    views, _, actions, _ = episode
    renderer, words = ChatRenderer(tokenizer), prompt_style(style, thinking=False)
    messages = words.opening(views[0])
    ids = renderer.begin(messages)
    for action, view, following in zip(actions, views, views[1:], strict=False):
        completion = words.completion_for(action, view)
        sampled = renderer.encode_completion(completion)
        ids += sampled if ended else sampled[:-1]
        new = words.turn(following)
        between = renderer.extend(messages, completion, ended, new)
        assert between is not None
        ids += between
        messages = [*messages, {"role": "assistant", "content": completion}, *new]
        check_ids(ids, tokenizer, messages)


def test_thinking_tags_that_are_no_tokens_are_kept_as_text(episode: Any, tokenizer: Any) -> None:
    """Their ids are not those of the whole text, since a text is cut at the tags; what the model reads is the same."""
    views, _, actions, _ = episode
    renderer, words = ChatRenderer(tokenizer), prompt_style("paper")
    said = [words.completion_for(actions[0], views[0], reason="The door is closed.")]
    messages = student_messages(words, views[:2], said, context="transcript")
    assert tokenizer.decode(renderer.begin(messages)) == tokenizer.decode(template_ids(tokenizer, messages))


@pytest.mark.parametrize("privilege", PRIVILEGES)
@pytest.mark.parametrize("style", ["paper", "compact"])
def test_a_teachers_prompt_is_the_students_with_a_whole_context_in_it(
    privilege: str, style: str, episode: Any, tokenizer: Any
) -> None:
    views, known, _, bank = episode
    renderer = ChatRenderer(tokenizer)
    teacher = Teacher(renderer, style, privilege=privilege, budget_tokens=4000, skill_bank=bank)
    messages = prompt_style(style).opening(views[0])
    context = teacher.block(known[0], views[0])
    plain, privileged = teacher.begin(messages, context)
    assert plain == renderer.begin(messages) == template_ids(tokenizer, messages)
    assert (context == "") == (privilege == "none")
    if context:
        assert context in tokenizer.decode(privileged) and context not in tokenizer.decode(plain)
    # Without the context's ids it is the student's prompt, id by id.
    block = teacher.block_ids(context)
    at = next(i for i in range(len(privileged)) if privileged[i : i + len(block)] == block)
    assert privileged[:at] + privileged[at + len(block) :] == plain
