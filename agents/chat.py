"""ChatAgent: a causal language model with a chat template, token ids in and token ids out.

Two ways to remember: ``transcript`` keeps one growing chat per episode and its cache; ``window`` renders a fresh prompt
each turn with the last turns. What was sampled is carried as ids; text is only for people and environments. With a
`teacher` the same agent acts under the privileged prompt: it is the privileged-prompt policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdar_envs.choices import require_choice
from sdar_envs.privileged import Privileged, StudentView
from sdar_envs.tool_sets import ToolSet

from .base import Action, Message, Parse, TurnTokens
from .prompts import CONTEXTS, WHEN_FULL, PromptStyle, prompt_style
from .rendering import ChatRenderer
from .sampling.base import Sample, Sampler, SampleRequest, SampleStream
from .sampling.local import BatchSampler
from .streaming import ActionStream, BatchedActions
from .teacher import Teacher, shorter_histories
from .tool_style import ToolStyle

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(slots=True)
class _Memory:
    """What the agent keeps of one episode."""

    views: list[StudentView] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)  # as later windows show them
    row: list[Message] = field(default_factory=list)  # the plain messages of the present row, answers included
    completion: str = ""  # the last one, without its end token
    ended: bool = False  # whether it was closed by the template's end of a turn
    context: str = ""  # the privileged context of the present turn; empty without a teacher


@dataclass(frozen=True, slots=True)
class _Prompt:
    """The new ids of a turn, whether they continue the slot's row, and the new messages given the plain prompt."""

    ids: list[int]
    continues: bool
    messages: tuple[Message, ...]


_FULL = Action("", "", Parse.EMPTY, context_full=True)  # no prompt fits: the episode ends


class ChatAgent:
    """Acts with a causal language model.

    Args:
        model: Any causal language model of transformers.
        tokenizer: Its tokenizer, with a chat template.
        style: Prompt style, by name.
        context: ``transcript`` or ``window``.
        history_length: Turns that a window shows.
        temperature: Of sampling; 0 is greedy.
        max_completion_length: Tokens per completion at most.
        max_prompt_length: Tokens in front of a completion at most, earlier turns of the row included.
        enable_thinking: The chat template's switch, where it has one.
        ask_for_thinking: Whether the prompt asks for thinking between tags, and an action without it is malformed, in
            styles that word it. None follows `enable_thinking`: asked unless that is False.
        list_actions: Whether prompts list the admissible actions; None for the style's own default.
        teacher: Act under this teacher's privileged prompt (`reads_privileged` is then True). `Action.messages` stay
            the student's; the ids are what was read.
        append_history: For templates that rewrite history; see `ChatRenderer`.
        when_full: What a transcript does when it outgrows `max_prompt_length`: ``new_row`` goes on after a shortened
            history (half of the room, whole turns, the task kept), ``stop`` ends the episode as CONTEXT_FULL.
        stop: Texts that end a completion, such as ``</action>``: nothing after them is sampled, or trained on.
        sampler: Samples instead of a `BatchSampler` of the model, which may then be None.
        tools: What can be called, for the style ``tools`` (`sdar_envs.tool_sets.tool_set_of`).

    Raises:
        ValueError: An unknown choice, the style ``tools`` without tools, or lengths that exceed the model's positions.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        style: str = "paper",
        context: str = "transcript",
        history_length: int = 2,
        temperature: float = 1.0,
        max_completion_length: int = 512,
        max_prompt_length: int = 2048,
        enable_thinking: bool | None = None,
        ask_for_thinking: bool | None = None,
        list_actions: bool | None = None,
        teacher: Teacher | None = None,
        append_history: bool = False,
        when_full: str = "new_row",
        stop: Sequence[str] = (),
        sampler: Sampler | None = None,
        tools: ToolSet | None = None,
    ) -> None:
        self.context = require_choice("context", context, CONTEXTS, "ChatAgent")
        self.when_full = require_choice("when_full", when_full, WHEN_FULL, "ChatAgent")
        self.history_length = history_length
        self.teacher = teacher
        self.reads_privileged = teacher is not None
        self.renderer = (
            ChatRenderer(
                tokenizer,
                enable_thinking=enable_thinking,
                append_history=append_history,
                tools=tools.schemas() if tools is not None and style == "tools" else None,
            )
            if teacher is None
            else teacher.renderer
        )
        asks = enable_thinking is not False if ask_for_thinking is None else ask_for_thinking
        self.style = style_of(style, self.renderer, tools, list_actions=list_actions, thinking=asks)
        # Lengths: within the model's positions, and for a teacher with room for its privileged context.
        config = None if model is None else model.config.get_text_config()
        positions = getattr(config, "max_position_embeddings", None)
        require_lengths(positions, max_prompt_length, max_completion_length)
        self.temperature = temperature
        self.stop = tuple(stop)
        self.max_prompt_length = max_prompt_length
        if teacher is not None and teacher.max_length is not None:
            room = teacher.max_length if positions is None else positions - max_completion_length
            self.max_prompt_length = max(max_prompt_length, min(teacher.max_length, room))
        self.sampler: Sampler = sampler or BatchSampler(
            model,
            end_ids=end_ids(self.renderer, model),
            pad_id=self.renderer.pad_id,
            temperature=temperature,
            max_completion_length=max_completion_length,
            max_context=self.max_prompt_length + max_completion_length,
            decode=self.renderer.decode,
        )
        self._memory: dict[int, _Memory] = {}

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Answer every view with one sampled completion.

        Raises:
            ValueError: A view of a later turn in a slot that has seen no earlier one, or an agent with a teacher that
                was handed nothing privileged.
        """
        sealed = privileged if privileged is not None else [None] * len(views)
        prompts = [self._prompt(view, known) for view, known in zip(views, sealed, strict=True)]
        # Slots whose prompt does not fit are not sampled; their episodes end.
        requests = [
            self._request(view, prompt) for view, prompt in zip(views, prompts, strict=True) if prompt is not None
        ]
        samples = iter(self.sampler.sample(requests))
        return [
            _FULL if prompt is None else self._action(view, prompt, next(samples))
            for view, prompt in zip(views, prompts, strict=True)
        ]

    def stream(self) -> ActionStream:
        """Answers views one by one where the sampler can take requests while others are sampled; else in batches."""
        own = getattr(self.sampler, "stream", None)
        return _ChatStream(self, own()) if callable(own) else BatchedActions(self)

    def release(self, slots: Sequence[int]) -> None:
        """Forget the episodes in these slots: they have ended."""
        self.sampler.release(slots)
        for slot in slots:
            self._memory.pop(slot, None)

    # Prompts.

    def _request(self, view: StudentView, prompt: _Prompt) -> SampleRequest:
        draw = (*view.draw, "sample", view.turn)
        return SampleRequest(view.slot, prompt.ids, prompt.continues, draw, self.temperature, self.stop)

    def _prompt(self, view: StudentView, privileged: Privileged | None) -> _Prompt | None:
        """The next prompt of a slot; None when it does not fit."""
        if view.turn == 0:
            self._memory[view.slot] = _Memory()
        elif view.slot not in self._memory:
            raise ValueError(f"slot {view.slot} is expected to begin with turn 0, got turn {view.turn}")
        memory = self._memory[view.slot]
        memory.views.append(view)
        if self.teacher is not None:
            text = self.teacher.episode_block(privileged, view)
            if text is None:
                raise ValueError(
                    f"{view.task_id or 'the episode'}: an agent under the privileged prompt is expected to be handed "
                    "privileged information, got none: the environment's info must hold 'privileged'"
                )
            memory.context = text
        if self.context == "window":
            return self._fresh(memory, self.style.window(memory.views, memory.actions, self.history_length))
        if view.turn == 0:
            return self._fresh(memory, self.style.opening(view))
        return self._continued(memory, view)

    def _continued(self, memory: _Memory, view: StudentView) -> _Prompt | None:
        """The next prompt of a transcript: what continues the row, or a new row; None when it does not fit."""
        new = self.style.turn(view, memory.completion)
        # A context that does not change by the turn stands in the row already.
        context = memory.context if self.teacher is not None and self.teacher.every_turn else ""
        if self.teacher is not None and context:
            pair = self.teacher.extend(memory.row, memory.completion, memory.ended, new, context)
            ids = None if pair is None else pair[1]
        else:
            ids = self.renderer.extend(memory.row, memory.completion, memory.ended, new)
        # The usual case: the row goes on.
        answer: Message = {"role": "assistant", "content": memory.completion}
        if ids is not None and self.sampler.length(view.slot) + len(ids) <= self.max_prompt_length:
            memory.row += [answer, *new]
            return _Prompt(ids, True, tuple(new))
        # Otherwise a new row: the template rewrites history (`ids` is None), or the row is full.
        whole = [*memory.row, answer, *new]
        if self.when_full == "stop":
            return self._fresh(memory, whole, cuts=False) if ids is None else None
        if ids is None:  # a new row with the whole history, as the template renders it
            return self._fresh(memory, whole)
        # Half of the room, so that the new row lasts for some turns; if even the shortest history exceeds that, all.
        return self._fresh(memory, whole, limit=self.max_prompt_length // 2) or self._fresh(memory, whole)

    def _fresh(
        self, memory: _Memory, messages: list[Message], limit: int | None = None, *, cuts: bool = True
    ) -> _Prompt | None:
        """A row's beginning, with as much history cut, by whole turns, as the limit asks; None when it does not fit.

        Args:
            memory: The episode's; its row becomes the messages that fit.
            messages: The whole prompt.
            limit: Tokens at most; None for `max_prompt_length`.
            cuts: Whether history may be cut.
        """
        for candidate in (messages, *(shorter_histories(messages) if cuts else ())):
            ids = self._begin(candidate, memory.context)
            if len(ids) <= (limit or self.max_prompt_length):
                memory.row = list(candidate)
                return _Prompt(ids, False, tuple(candidate))
        return None

    def _begin(self, messages: Sequence[Message], context: str) -> list[int]:
        """The ids of a whole prompt: the privileged one where there is a context, else the plain one."""
        if self.teacher is None or not context:
            return self.renderer.begin(messages)
        return self.teacher.begin(messages, context)[1]

    # Answers.

    def _action(self, view: StudentView, prompt: _Prompt, sample: Sample) -> Action:
        """The action that a sample stands for; the episode's memory is brought up to date."""
        completion = self.renderer.decode(sample.ids)
        text, parse = self.style.parse(completion, sample.truncated, view)
        memory = self._memory[view.slot]
        memory.actions.append(self.style.remembered(text, completion))
        memory.completion = completion
        memory.ended = sample.ids[-1] == self.renderer.turn_end_id
        tokens = TurnTokens(
            tuple(prompt.ids), prompt.continues, sample.ids, sample.logprobs, sample.entropies, sample.truncated
        )
        return Action(text, completion, parse, tokens, prompt.messages)


class _ChatStream:
    """The `ActionStream` of a chat agent over a stream of its sampler; tickets are slots."""

    def __init__(self, agent: ChatAgent, samples: SampleStream) -> None:
        self._agent = agent
        self._samples = samples
        self._asked: dict[int, tuple[StudentView, _Prompt]] = {}
        self._ready: list[tuple[int, Action]] = []

    @property
    def pending(self) -> int:
        """Views whose action has not come yet."""
        return len(self._asked) + len(self._ready)

    def submit(self, view: StudentView, privileged: Privileged | None = None) -> None:
        """Ask for the action of a view; one whose prompt does not fit is answered at once."""
        prompt = self._agent._prompt(view, privileged)
        if prompt is None:
            self._ready.append((view.slot, _FULL))
            return
        self._asked[view.slot] = (view, prompt)
        self._samples.submit(view.slot, self._agent._request(view, prompt))

    def advance(self) -> list[tuple[int, Action]]:
        """Sample on, and return the actions that are ready."""
        found, self._ready = self._ready, []
        if self._asked:
            for slot, sample in self._samples.advance():
                view, prompt = self._asked.pop(slot)
                found.append((slot, self._agent._action(view, prompt, sample)))
        return found


def style_of(
    name: str,
    renderer: ChatRenderer,
    tools: ToolSet | None = None,
    *,
    list_actions: bool | None = None,
    thinking: bool = True,
) -> PromptStyle:
    """The style of a name; ``tools`` is in the form of the renderer's template.

    Args:
        name: One of `prompts.STYLES`.
        renderer: Of the prompts; for ``tools`` one that was made with the tools' schemas.
        tools: What can be called, for ``tools``.
        list_actions: As for `prompt_style`; possible calls are listed only where it is asked for.
        thinking: As for `prompt_style`; with tools thinking is the chat template's alone.

    Raises:
        ValueError: An unknown style, or ``tools`` without tools.
    """
    if name == "tools" and tools is not None and renderer.tool_format is not None:
        return ToolStyle(name, bool(list_actions), False, tools, renderer.tool_format)
    return prompt_style(name, list_actions=list_actions, thinking=thinking)


def end_ids(renderer: ChatRenderer, model: Any) -> list[int]:
    """Every id that ends a completion: the template's, the tokenizer's, the model's own."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = configured if isinstance(configured, list) else [configured]
    return list(dict.fromkeys([*renderer.end_ids, *(int(i) for i in more if i is not None)]))


def require_lengths(positions: int | None, max_prompt_length: int, max_completion_length: int) -> None:
    """Refuse lengths that do not fit a model's positions; None of those accepts any.

    Raises:
        ValueError: They do not fit.
    """
    if positions is not None and max_prompt_length + max_completion_length > positions:
        raise ValueError(
            f"max_prompt_length + max_completion_length is expected to be within the model's {positions} "
            f"positions, got {max_prompt_length} + {max_completion_length}: lower one of them"
        )
