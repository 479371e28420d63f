"""Every world played by tool calls: episodes, malformed calls, both sides of the barrier, and a run of each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from privileged_canary import check_the_canary
from small_runs import make_trainer
from tiny_models import CHATML, CHATML_SMOLLM2, CHATML_TOOLS, CHATML_TOOLS_THINKING, make_model, make_tokenizer

import sdar_envs  # noqa: F401  # registers the environments
from agents.base import Parse, Turn
from agents.chat import ChatAgent
from agents.relabel import plain_view
from agents.sampling.scripted import ScriptedSampler
from agents.teacher import Teacher
from agents.tool_style import ToolStyle
from sdar_envs.household.alfworld import ALFWorldEnv
from sdar_envs.household.tools import TOOLS
from sdar_envs.privileged import Privileged, split_info
from sdar_envs.tool_sets import ANY_ACTION, tool_set_of
from trainers.rollout.environments import EnvironmentSource
from trainers.run.directory import read_json_lines
from trainers.warm_start.demonstrations import WorldScript, demonstration_views, play_demonstrations

WORLDS = {
    "household": ("sdar/Household-v0", {"size": "small"}),
    "store": ("sdar/WebShop-v0", {"size": "small", "num_products": 80}),
    "searchqa": ("sdar/SearchQA-v0", {"size": "small"}),
    "trip": ("sdar/Trip-v0", {"size": "small"}),
    "game": ("sdar/Haggle-v0", {"size": "small"}),
}
TEMPLATES = {"qwen": CHATML_TOOLS, "thinking": CHATML_TOOLS_THINKING, "smollm2": CHATML_SMOLLM2, "json": CHATML}


def world(name: str) -> gym.Env[str, str]:
    if name == "searchqa":
        pytest.importorskip("faiss")
    env_id, kwargs = WORLDS[name]
    return gym.make(env_id, **kwargs)


def scripted(env: gym.Env[str, str], template: str, context: str, **options: Any) -> tuple[ChatAgent, ScriptedSampler]:
    script = ScriptedSampler()
    agent = ChatAgent(
        None,
        make_tokenizer(TEMPLATES[template]),
        style="tools",
        context=context,
        max_prompt_length=60_000,
        sampler=script,
        tools=tool_set_of(env.unwrapped),
        **options,
    )
    return agent, script


def play(
    env: gym.Env[str, str], agent: ChatAgent, script: ScriptedSampler, said: list[str] | None = None, thought: str = ""
) -> tuple[list[Turn], list[Privileged | None], dict[str, Any]]:
    """An episode by the plan, or by given completions."""
    observation, info = env.reset(seed=3)
    turns: list[Turn] = []
    secrets: list[Privileged | None] = []
    over = False
    while not over and (said is None or len(turns) < len(said)):
        view, secret = split_info(observation, info, turn=len(turns), draw=("test",))
        planned = thought + agent.style.completion_for(info["privileged"]["next_action"], view)
        script.add(agent.renderer.encode_completion(planned if said is None else said[len(turns)]))
        (action,) = agent.act([view])
        observation, reward, terminated, truncated, info = env.step(action.text)
        turns.append(Turn(view, action, float(reward), bool(info["is_action_valid"])))
        secrets.append(secret)
        over = terminated or truncated
    return turns, secrets, info


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize(
    ("name", "template"),
    [("household", "qwen"), ("store", "json"), ("searchqa", "smollm2"), ("trip", "qwen"), ("trip", "json")],
)
def test_a_world_is_won_by_calls_alone(name: str, template: str, context: str) -> None:
    env = world(name)
    agent, script = scripted(env, template, context)
    turns, _, info = play(env, agent, script)
    assert info["success"] and len(turns) > 1
    assert all(turn.action.parse is Parse.OK and turn.is_action_valid for turn in turns)
    rows = [turn.action.tokens.continues for turn in turns if turn.action.tokens is not None]
    assert rows == [False] + [context == "transcript"] * (len(turns) - 1)


def test_thinking_stays_in_the_one_row_of_an_episode() -> None:
    env = world("household")
    agent, script = scripted(env, "thinking", "transcript")
    turns, _, info = play(env, agent, script, thought="<think>\nThe fridge.\n</think>\n\n")
    assert info["success"]
    assert all(turn.action.tokens is not None and turn.action.tokens.continues for turn in turns[1:])
    tokens = [turn.action.tokens for turn in turns if turn.action.tokens is not None]
    assert plain_view(agent.renderer, turns).ids == [
        i for one in tokens for i in (*one.prompt_ids, *one.completion_ids)
    ]


HOSTILE = [
    "go to fridge 1",
    "<tool_call>{",
    "<tool_call>\n" + "[" * 10_000 + "\n</tool_call>",
    '<tool_call>\n{"name": "fly", "arguments": {}}\n</tool_call>',
    '<tool_call>\n{"name": "search", "arguments": {"query": ' + "9" * 6_000 + "}}\n</tool_call>",
    '<tool_call>\n{"name": "book", "arguments": {"id": {"a": 1e999}}}\n</tool_call>',
    '<tool_call>\n{"name": "go_to", "arguments": {"place": "x\\ud800\\u0000\\n' + "y" * 3_000 + '"}}\n</tool_call>',
    "<tool_call></tool_call><tool_call></tool_call>",
]


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("name", list(WORLDS))
def test_malformed_calls_are_counted_steps_with_a_reason(name: str, context: str) -> None:
    env = world(name)
    agent, script = scripted(env, "qwen", context)
    turns, _, _ = play(env, agent, script, HOSTILE)
    assert len(turns) == len(HOSTILE) or not turns[-1].is_action_valid
    assert [turn.action.parse for turn in turns[:4]] == [
        Parse.NO_TOOL_CALL,
        Parse.NO_TOOL_CALL,
        Parse.BROKEN_TOOL_CALL,
        Parse.UNKNOWN_TOOL,
    ][: len(turns)]
    assert not any(turn.is_action_valid for turn in turns if turn.action.parse is not Parse.OK)
    told = [turn.action.messages[-1]["content"] for turn in turns[1:]]
    assert told[0].startswith("Nothing was called: answer with one call.\n")


# Both sides of the barrier.


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("template", [CHATML_TOOLS, CHATML], ids=["qwen", "json"])
@pytest.mark.parametrize("name", ["household", "trip"])
def test_a_canary_in_all_privileged_fields_reaches_every_teacher_and_no_student(
    name: str, template: str, context: str
) -> None:
    tokenizer, env = make_tokenizer(template), world(name)
    agent = ChatAgent(
        make_model("qwen2", len(tokenizer), positions=32_768),
        tokenizer,
        style="tools",
        context=context,
        max_completion_length=6,
        max_prompt_length=16_000,
        tools=tool_set_of(env.unwrapped),
    )
    assert len(check_the_canary(agent, agent.style, env, "train:000005", most=4)) >= 3  # type: ignore[arg-type]


@pytest.mark.parametrize("privilege", ["plan", "next_action", "skill"])
@pytest.mark.parametrize("template", ["qwen", "smollm2", "json"])
def test_a_teacher_reads_the_students_chat_with_the_context_in_it_and_nothing_else_changed(
    template: str, privilege: str
) -> None:
    env = world("household")
    agent, script = scripted(env, template, "transcript")
    turns, secrets, _ = play(env, agent, script)
    teacher = Teacher(agent.renderer, agent.style, privilege=privilege, budget_tokens=10_000)
    reading = teacher.read(turns, secrets)
    plain = plain_view(agent.renderer, turns)
    assert reading.complete and reading.view.sampled_ids() == plain.sampled_ids()
    ids, at = list(reading.view.ids), 0
    for turn, secret in zip(turns if teacher.every_turn else turns[:1], secrets, strict=False):
        block = teacher.block_ids(teacher.episode_block(secret, turn.view) or "")
        at = next(i for i in range(at, len(ids)) if ids[i : i + len(block)] == block)
        del ids[at : at + len(block)]
    assert ids == plain.ids
    if privilege == "next_action":  # what is advised is worded as the call
        shown = teacher.block(secrets[1], turns[1].view)
        assert '"arguments": {' in shown and '{"name": "' in shown


# Runs.


def test_demonstrations_are_written_as_calls_in_the_templates_own_form() -> None:
    env_id, kwargs = WORLDS["household"]
    env = world("household")
    played = play_demonstrations(WorldScript(env_id, kwargs), 2, 0.0, seed=1)
    for template, opening in (("qwen", "<tool_call>\n{"), ("smollm2", "<tool_call>[\n{"), ("json", '{"name": ')):
        agent, _ = scripted(env, template, "transcript")
        (first, *_) = demonstration_views(played[:1], agent, None)
        said = agent.renderer.decode(first.sampled_ids())
        assert said.count(opening) == len(played[0].actions)
        expected = agent.renderer.encode_completion(agent.style.completion_for(played[0].actions[0]))
        assert first.sampled_ids()[: len(expected)] == expected


@pytest.mark.parametrize(
    ("method", "context"), [("sdar", "transcript"), ("sdar", "window"), ("grpo", "window"), ("opsd", "transcript")]
)
def test_methods_train_on_calls(tmp_path: Path, method: str, context: str) -> None:
    options = {"max_steps": 1, "max_prompt_length": 1600, "context": context, "prompt_style": "tools"}
    trainer = make_trainer(tmp_path, method=method, **options)
    style = trainer.policies.student.style
    assert isinstance(style, ToolStyle) and style.tools is ANY_ACTION  # the world of this run has no tools of its own
    assert trainer.policies.student.renderer.tool_format == style.form
    trainer.train()
    played = read_json_lines(tmp_path / "run" / "episodes.jsonl")
    read = {turn["parse"] for episode in played for turn in episode["turns"]}
    assert read and read <= {"no_tool_call", "empty", "truncated"}  # a random model's answers
    metrics = read_json_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert metrics["malformed_share"] == 1 and metrics["sampling/logp_diff_max"] < 1e-3
    if method != "grpo":
        assert metrics["teacher/block_tokens"] > 0 and metrics["distill/share_read"] == 1


def test_tools_are_those_of_the_environment_wherever_it_is_played() -> None:
    assert ALFWorldEnv.tool_set(object.__new__(ALFWorldEnv)) is TOOLS
    for name, (env_id, kwargs) in WORLDS.items():
        if name == "searchqa":
            continue
        source = EnvironmentSource(env_id, kwargs)
        tools = source.tool_set
        source.close()
        assert (tools is ANY_ACTION) == (name == "game")


def test_the_style_without_tools_is_refused_with_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"tools=tool_set_of\(env.unwrapped\)"):
        ChatAgent(None, make_tokenizer(CHATML_TOOLS), style="tools", sampler=ScriptedSampler())
