"""Our side of the comparison with TRL: GRPO on a small multi-turn world whose prompts have TRL's very token ids.

A row of rooms answers each `move` with an observation of fixed size; four moves and a closing turn make an episode, its
reward is the share of moves to the east. TRL plays it through tools; here it is a Gymnasium environment, and the chat
template carries what TRL hands to its template: the tools' text, and the wrapping of tool responses. `check_rendering`
proves that the prompts are equal, token by token, before anything is timed. The model's folder is written by TRL's
program, so that both start from the same weights.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym

from sdar_envs.spaces import FreeText

from .countdown import DROPPED, GROUP, LEARNING_RATE, MAX_COMPLETION, MOVES, PROMPTS, STEPS, TASK, Rooms, completion_for
from .measure import machine


class CountdownEnv(gym.Env[str, str]):
    """`Rooms` behind text: an action that holds a tool call moves, the reward comes with the episode's end.

    An episode ends with a turn that calls no tool, or with the turn after the last move. Calls that cannot be carried
    out are answered with an error and count, as TRL counts them.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = FreeText(4096)
        self.action_space = FreeText(65_536)
        self.rooms = Rooms()
        self.calls = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin; every seed is the same task."""
        super().reset(seed=seed)
        self.rooms.reset()
        self.calls = 0
        return TASK, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out the tool call in `action`, if there is one and the last is not yet made."""
        call = tool_call(action)
        if call is None or self.calls == MOVES:
            return "", self.rooms.get_reward(), True, False, {}
        self.calls += 1
        return self._answer(call), 0.0, False, False, {}

    def _answer(self, call: dict[str, Any]) -> str:
        match call:
            case {"name": "move", "arguments": {"direction": str(direction), **others}} if not others:
                return self.rooms.move(direction)
        return f"error: expected a call of move with a direction, got {str(call)[:200]}"


def tool_call(text: str) -> dict[str, Any] | None:
    """The JSON object of the first ``<tool_call>`` in a completion; None where there is none, or it is not one."""
    _, opened, rest = text.partition("<tool_call>")
    body, closed, _ = rest.partition("</tool_call>")
    if not (opened and closed):
        return None
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return call if isinstance(call, dict) else None


def with_tools(template: str, tools: list[dict[str, Any]]) -> str:
    """A chat template as TRL calls it: with the tools, and with every user message but the first a tool's response."""
    return (
        f"{{%- set tools = {json.dumps(tools)} -%}}"
        "{%- set chat = namespace(messages=[], asked=false) -%}"
        "{%- for message in messages -%}"
        "{%- set answered = message.role == 'user' and chat.asked -%}"
        "{%- set chat.asked = chat.asked or message.role == 'user' -%}"
        "{%- set role = 'tool' if answered else message.role -%}"
        "{%- set chat.messages = chat.messages + [{'role': role, 'content': message.content}] -%}"
        "{%- endfor -%}"
        "{%- set messages = chat.messages -%}" + template
    )


def tools_of(rooms: Rooms) -> list[dict[str, Any]]:
    """What TRL tells its template about an environment's methods."""
    from transformers.utils import get_json_schema

    return [get_json_schema(rooms.move)]


def check_rendering(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Render a first prompt and a transcript of two moves both ways.

    Args:
        tokenizer: As TRL's program saved it.

    Returns:
        The ids of the first prompt, and of the transcript.

    Raises:
        ValueError: The ids differ.
    """
    import copy

    from agents.prompts import prompt_style
    from agents.rendering import ChatRenderer
    from sdar_envs.privileged import StudentView

    tools = tools_of(Rooms())
    chat: list[dict[str, str]] = [{"role": "user", "content": TASK}]

    def theirs() -> list[int]:
        ids: list[int] = tokenizer.apply_chat_template(
            chat, tools=tools, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(ids)

    bound = copy.deepcopy(tokenizer)
    bound.chat_template = with_tools(tokenizer.chat_template, tools)
    renderer, style, env = ChatRenderer(bound), prompt_style("plain"), CountdownEnv()
    messages = style.opening(StudentView(env.reset()[0]))
    ids = renderer.begin(messages)
    first = list(ids)
    _require_equal("the first prompt", ids, theirs())
    for turn, direction in enumerate(("east", "west"), start=1):
        completion = completion_for(direction)
        observation = env.step(completion)[0]
        chat += [{"role": "assistant", "content": completion}, {"role": "tool", "content": observation}]
        new = style.turn(StudentView(observation, turn=turn))
        # What a model samples: the tool tags are single tokens of its vocabulary.
        ids += [*tokenizer(completion, add_special_tokens=False)["input_ids"], renderer.end_ids[0]]
        between = renderer.extend(messages, completion, True, new)
        if between is None:
            raise ValueError("the chat template is expected to keep what stood before, and does not")
        ids += between
        messages = [*messages, {"role": "assistant", "content": completion}, *new]
        _require_equal(f"the transcript after move {turn}", ids, theirs())
    return first, ids


def _require_equal(what: str, ours: list[int], theirs: list[int]) -> None:
    if ours != theirs:
        at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), "the end")
        raise ValueError(
            f"{what} is expected to have TRL's token ids, and differs from position {at} on "
            f"({len(ours)} ids here, {len(theirs)} there): use the tokenizer that TRL's program saves"
        )


@dataclass
class StepClock:
    """A trainer callback: CPU and wall seconds and sampled tokens of every step."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    started: tuple[float, float] = (0.0, 0.0)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.started = time.process_time(), time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.cpu.append(time.process_time() - self.started[0])
        self.wall.append(time.perf_counter() - self.started[1])


def run(
    model: str,
    *,
    steps: int = STEPS,
    threads: int = 1,
    dropped: int = DROPPED,
    lookup: int = 0,
    share: bool = False,
    micro: int = 1_000_000,
) -> dict[str, Any]:
    """Train `steps` iterations from the weights in the folder `model`; the first `dropped` do not count.

    Args:
        model: The folder.
        steps: Iterations.
        threads: Threads of torch.
        dropped: Iterations that are warm-up.
        lookup: The option `prompt_lookup_num_tokens`.
        share: The option `share_prompts`.
        micro: The option `micro_batch_tokens`; by default one micro-batch holds all rows.

    Returns:
        Figures with the names of TRL's program where they mean the same.
    """
    if steps <= dropped:
        raise ValueError(f"steps: expected more than the {dropped} that are dropped, got {steps}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainers.config import SDARConfig
    from trainers.trainer import SDARTrainer

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(model)
    first_prompt, transcript = check_rendering(tokenizer)
    tokenizer.chat_template = with_tools(tokenizer.chat_template, tools_of(Rooms()))
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        # The hyperparameters of TRL's program.
        config = SDARConfig(
            output_dir=f"{folder}/run",
            method="grpo",
            beta=0.0,
            epsilon=0.2,
            delta=None,
            entropy_coef=0.0,
            invalid_action_penalty=0.0,
            learning_rate=LEARNING_RATE,
            weight_decay=0.0,
            max_grad_norm=1.0,
            num_mini_batches=1,
            micro_batch_tokens=micro,
            prompt_lookup_num_tokens=lookup,
            share_prompts=share,
            max_steps=steps,
            tasks_per_step=PROMPTS,
            num_generations=GROUP,
            max_turns=MOVES + 1,
            temperature=1.0,
            context="transcript",
            prompt_style="plain",
            max_completion_length=MAX_COMPLETION,
            max_prompt_length=2048,
            bf16=False,
            device="cpu",
            gradient_checkpointing=False,
            eval_steps=0,
            eval_episodes=1,
            test_episodes=0,
            save_steps=0,
        )
        weights = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        trainer = SDARTrainer(weights, CountdownEnv, config, processing_class=tokenizer, callbacks=[clock])
        trainer.train()
        history = [entry for entry in trainer.callbacks.state.log_history if "tokens/sampled" in entry]
    kept = history[dropped:steps]
    cpu, wall = clock.cpu[dropped:], clock.wall[dropped:]
    sampled = [entry["tokens/sampled"] for entry in kept]
    rollout = [entry["seconds/rollout"] for entry in kept]
    return {
        "threads": threads,
        "steps_measured": len(kept),
        "cpu_s_per_step_median": statistics.median(cpu),
        "s_per_step_median": statistics.median(wall),
        "rollout_s_median": statistics.median(rollout),
        "sampled_tok_per_cpu_s_end_to_end": sum(sampled) / sum(cpu),
        "trained_real_tok_per_cpu_s": sum(entry["tokens/rows"] for entry in kept) / sum(cpu),
        "sampled_tokens_per_step": statistics.mean(sampled),
        "real_tokens_in_loss_forward": statistics.mean(entry["tokens/rows"] for entry in kept),
        "rollouts_per_step": PROMPTS * GROUP,
        "turns_per_rollout": statistics.mean(entry["turns"] for entry in kept),
        "reward_first_last": [history[0]["return"], history[-1]["return"]],
        "logp_diff_max": max(entry["sampling/logp_diff_max"] for entry in kept),
        "first_prompt_tokens": len(first_prompt),
        "first_prompt_sha256": hashlib.sha256(json.dumps(first_prompt).encode()).hexdigest(),
        "checked_transcript_tokens": len(transcript),
        "params": sum(parameter.numel() for parameter in trainer.model.parameters()),
    }


def main() -> None:
    """Run once and print one JSON line."""
    import argparse

    options = argparse.ArgumentParser(prog="python -m benchmarks.peer_workload", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--model", required=True, help="folder that TRL's program wrote with --save-model")
    options.add_argument("--steps", type=int, default=STEPS, help=f"iterations, of which {DROPPED} do not count")
    options.add_argument("--threads", type=int, default=1, help="threads of torch")
    options.add_argument("--lookup", type=int, default=0, help="prompt_lookup_num_tokens")
    options.add_argument("--share", action="store_true", help="share_prompts")
    options.add_argument("--micro", type=int, default=1_000_000, help="micro_batch_tokens")
    chosen = options.parse_args()
    # The trainer shows its progress on the terminal's error stream; the one line of figures goes to the output.
    given = vars(chosen)
    figures = run(given.pop("model"), **given)
    sys.stdout.write(json.dumps({"benchmark": "peer_workload", "machine": machine(), "figures": figures}) + "\n")


if __name__ == "__main__":
    main()
