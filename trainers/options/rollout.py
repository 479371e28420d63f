"""Options of playing episodes: how many, how long, and how prompts are built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from agents.prompts import CONTEXTS, STYLES, WHEN_FULL
from agents.sampling.base import LAYOUTS

from .option import AUTO, OptionGroup, option
from .reading import LEARNING

_option = partial(option, group="rollout")

# How episodes are collected: all act together and wait for the slowest, or each goes on as soon as it can.
COLLECTIONS = (AUTO, "lockstep", "asynchronous")


@dataclass(frozen=True, kw_only=True)
class RolloutOptions(OptionGroup):
    """Sizes of an iteration, lengths, sampling, and the student's prompt."""

    max_steps: int = _option(150, "training iterations", low=0, read=(LEARNING,))
    tasks_per_step: int = _option(16, "tasks per iteration", low=1, read=(LEARNING,))
    num_generations: int = _option(8, "episodes per task: the group", low=1, read=(LEARNING,))
    max_turns: int = _option(50, "turns per episode at most", low=1)
    temperature: float = _option(1.0, "sampling temperature, in all log-probs too", above=0.0)
    max_completion_length: int = _option(512, "tokens per completion at most", low=1)
    max_prompt_length: int = _option(2048, "tokens of the student's prompt at most", low=1)
    context: str = _option(
        "window", "a fresh prompt per turn with the last turns, or one growing chat", choices=CONTEXTS
    )
    history_length: int = _option(2, "turns in a window", low=0)
    prompt_style: str = _option("paper", "prompt templates", choices=STYLES)
    list_actions: bool = _option(True, "list the admissible actions in the prompt")
    enable_thinking: bool | None = _option(None, "thinking switch of the chat template, for templates that have one")
    ask_for_thinking: bool | None = _option(
        None,
        "whether the prompt asks for <think>...</think> and an action without it is malformed, in styles that word it; "
        "none follows enable_thinking: asked unless that is false",
        omit_at_default=True,
    )
    append_history: bool = _option(
        False,
        "where a chat template rewrites earlier turns: keep them as sampled, in one row, instead of a row per turn",
    )
    when_full: str = _option(
        "new_row",
        "what a transcript that outgrows max_prompt_length does: go on with a shortened history, or stop",
        choices=WHEN_FULL,
    )
    stop: tuple[str, ...] = _option(
        (),
        "texts that end a completion, such as </action>,</search>,</answer>: nothing after them is sampled or learned",
        omit_at_default=True,
    )
    sampler_batch: int | None = _option(None, "episodes sampled together; none is all of an iteration", low=1)
    sampler_layout: str = _option(
        "auto",
        "how the sampler of a model in this process keeps what it has read: in a padded block, in rows that share "
        "beginnings of prompts, or by the size of the model",
        choices=LAYOUTS,
        omit_at_default=True,
    )
    sampler_cache_gib: float | None = _option(
        None,
        "memory for that at most, in GiB; episodes beyond it wait; none is what all episodes together need",
        above=0.0,
        omit_at_default=True,
    )
    prompt_lookup_num_tokens: int = _option(
        0,
        "tokens that the sampler guesses ahead from earlier completions and checks in one pass: draws stay the same, a "
        "resumed run agrees up to rounding",
        low=0,
        omit_at_default=True,
    )
    collection: str = _option(
        AUTO,
        "lockstep: all episodes act together and wait for the slowest; asynchronous: each goes on as soon as its own "
        "environment has answered; auto: lockstep where deterministic holds",
        choices=COLLECTIONS,
        omit_at_default=True,
    )
    deterministic: bool | Literal["auto"] = _option(
        AUTO,
        "keep to what depends on no timing, so that a resumed run is the same run to the last token; without it tasks "
        "and draws are the same, and a token may come out otherwise where rounding differs; auto: on the CPU",
        omit_at_default=True,
    )
    env_workers: int | None = _option(
        None,
        "worker processes that environments are played in, so that one that hangs or dies costs an episode; 0 is this "
        "process; none is this process for worlds of this suite, and some workers for all others",
        low=0,
        maths=False,
    )
    step_timeout: float = _option(60.0, "seconds that a step of an environment may take", above=0.0, maths=False)
    reset_timeout: float = _option(
        300.0, "seconds that making and resetting an environment may take", above=0.0, maths=False
    )
    env_memory_gb: float | None = _option(
        None, "address space of a worker process at most; none is no limit", above=0.0, maths=False
    )
    success_threshold: float | None = _option(
        None, "return that counts as success where info has no success; none is the registered one, else 1"
    )
    env_kwargs: dict[str, Any] = _option(  # noqa: RUF009  # it makes a new one each time
        None, "keyword arguments of the environment", make=dict
    )

    def check(self) -> None:
        """Refuse asynchronous collection where nothing may depend on timing."""
        super().check()
        if self.deterministic is True and self.collection == "asynchronous":
            raise ValueError(
                f"{type(self).__name__}.collection: expected lockstep with deterministic=true, got asynchronous: which "
                "episodes share a batch then depends on timing; leave one of the two out"
            )
