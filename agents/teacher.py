"""The teacher's side: privileged information as text, and that text in the prompt that a student read.

A privileged prompt is the plain prompt's ids with the privileged context put in, inside a message. No id before or
after it changes, and the context is never cut. `TeacherReading.complete` says when it does not fit, so that a reading
without its privileged context cannot be taken for a teacher's. Only this file, agents that declare `reads_privileged`,
and tools that say so on screen read `Privileged`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sdar_envs.bounded_cache import BoundedCache
from sdar_envs.choices import require_choice
from sdar_envs.privileged import Privileged, PrivilegedFields, RetrievedSkills, StudentView

from .base import Message, Turn, View
from .hindsight import HINDSIGHTS, Hindsight, worded
from .prompts import HistoryText, PromptStyle, as_style

if TYPE_CHECKING:
    from sdar_envs.skills import SkillBank

    from .rendering import ChatRenderer, Rendered

PRIVILEGES = (
    "plan",
    "next_action",
    "facts",
    "hints",
    "skill",
    "general",
    "random_skill",
    "wrong_skill",
    "none",
)
POSITIONS = ("auto", "system", "user_prefix", "user_suffix")


def split_privilege(privilege: str) -> tuple[str, ...]:
    """The privileges that a name joined by ``+`` lists, e.g. ``skill+plan``; a single one is a list of one.

    Raises:
        ValueError: One of them is unknown, or named twice, or ``none`` is joined with others.
    """
    names = tuple(name.strip() for name in privilege.split("+"))
    for name in names:
        require_choice("privilege", name, (*PRIVILEGES, *HINDSIGHTS), "privilege (join several by +)")
    if len(set(names)) < len(names) or (len(names) > 1 and "none" in names):
        raise ValueError(f"privilege {privilege!r}: expected different privileges, joined by +, and none only alone")
    return names


# These change from state to state and are read at every turn; all others are read once per episode.
EVERY_TURN = frozenset({"plan", "next_action", "facts", "hints"})

_CONTEXT_BYTES = 1 << 23  # of contexts of episodes, the oldest of which are over


@dataclass(frozen=True, slots=True)
class TeacherReading:
    """A row as the teacher reads it.

    Attributes:
        view: The sampled tokens given the privileged prompt; every privileged context in it is whole.
        block_tokens: Tokens of privileged context in it.
        history_cut: Turns of history that were left out to make room for them.
        complete: False when a privileged context is over its budget, when the row is too long although all history is
            gone, or when there was nothing privileged to read: nothing may be learned from such a reading.
    """

    view: View
    block_tokens: int
    history_cut: int
    complete: bool


class Teacher:
    """Builds privileged prompts.

    Args:
        renderer: The renderer of the student's prompts.
        style: The style of the student's prompts; it words the privileged context.
        privilege: What the privileged context holds, one of `PRIVILEGES`, or of `hindsight.HINDSIGHTS`: then `read` is
            given what is told in the place of the environment's fields, and nothing of the environment is read.
        position: Where the privileged context stands. ``system``: at the end of the system message, once per row.
            ``user_prefix`` and ``user_suffix``: in the messages of the user and of tools; what changes by the turn
            stands in each turn's, what does not in the row's first. ``auto``: ``user_prefix`` for what changes by the
            turn and for styles without a system message, ``system`` for the rest.
        budget_tokens: Tokens of one privileged context at most.
        max_length: Tokens in front of a row's last completion at most; None for no limit.
        teacher_context: A user's own function from the revealed dict to text; it replaces the content of the context.
        skill_bank: The environment's bank, asked again for ``random_skill`` and ``wrong_skill``.
        skill_choice: Names the skill of the bank that ``skill`` shows for an episode; None for what the environment
            retrieved.

    Raises:
        ValueError: Unknown privilege or position, or a privilege that needs a `skill_bank` without one.
    """

    def __init__(
        self,
        renderer: ChatRenderer,
        style: str | PromptStyle = "paper",
        *,
        privilege: str = "skill",
        position: str = "auto",
        budget_tokens: int = 2048,
        max_length: int | None = None,
        teacher_context: Callable[[dict[str, Any]], str] | None = None,
        skill_bank: SkillBank | None = None,
        skill_choice: Callable[[StudentView], str] | None = None,
    ) -> None:
        self.renderer = renderer
        self.style = as_style(style)
        self.privilege = require_choice("privilege", privilege, (*PRIVILEGES, *HINDSIGHTS), "Teacher")
        require_choice("position", position, POSITIONS, "Teacher")
        self.hindsight = privilege in HINDSIGHTS and teacher_context is None
        self.changes = privilege in EVERY_TURN or teacher_context is not None
        in_system = self.style.has_system and not self.changes
        self.position = position if position != "auto" else "system" if in_system else "user_prefix"
        # The system message stands in front of a whole row, so a context there is written once.
        self.every_turn = self.changes and self.position != "system"
        # These privileges show another skill than the one that the environment retrieved: the bank is asked again.
        asks = privilege in ("random_skill", "wrong_skill") or (privilege == "skill" and skill_choice is not None)
        if asks and skill_bank is None and teacher_context is None:
            raise ValueError(
                f"privilege={privilege!r} is expected to come with skill_bank=, the environment's bank, got none: "
                "pass env.unwrapped.skill_bank, or choose skill"
            )
        self.budget_tokens = budget_tokens
        self.max_length = max_length
        self.teacher_context = teacher_context
        self.skill_bank = skill_bank
        self.skill_choice = skill_choice if privilege == "skill" else None
        self._contexts: BoundedCache[tuple[Any, ...], str] = BoundedCache(_CONTEXT_BYTES, share=1)

    # What the teacher reads.

    def block(self, privileged: Privileged | None, view: StudentView | None = None) -> str:
        """The privileged context for one state, worded by the style; ``""`` when there is none.

        Args:
            privileged: The sealed fields.
            view: What the student sees in that state; ``random_skill`` and ``wrong_skill`` ask the bank by its keys.

        Raises:
            ValueError: The environment's privileged fields lack what this privilege shows.
        """
        if privileged is None or (self.privilege == "none" and self.teacher_context is None):
            return ""
        if self.teacher_context is not None:
            return self.style.block("context", self.teacher_context(cast(dict[str, Any], privileged.reveal())))
        try:
            worded = self._worded(privileged.reveal(), view)
            return worded if view is None else self.style.said(worded, view)
        except KeyError as missing:
            raise ValueError(
                f"privilege={self.privilege!r} is expected to find {missing} in the environment's privileged fields, "
                "and it is not there: fill every key of sdar_envs.privileged.PrivilegedFields (check_text_env lists "
                "those that are missing), or choose another privilege or teacher_context="
            ) from missing

    def _worded(self, fields: PrivilegedFields, view: StudentView | None) -> str:
        compact = self.style.name == "compact"
        if self.hindsight:
            told = cast(Hindsight, fields)
            text = worded(told, lambda action: self._advised(action, view), compact)
            # A tiny model has learned to read plans.
            return self.style.block("plan" if compact and told.get("sibling") else "context", text)
        match self.privilege:
            case "plan":
                plan = [self._advised(action, view) for action in fields["plan"]]
                return self.style.block("plan", _listed(plan, compact, numbered=True))
            case "next_action":
                return self.style.block("next_action", self._advised(fields["next_action"], view))
            case "facts":
                return self.style.block("facts", _facts(fields["facts"], compact))
            case "hints":
                return self.style.block("hints", _listed(fields["hints"], compact))
            case "general":
                return self.style.block("skill", fields["skills"]["general"])
            case "skill" if self.skill_choice is None:
                return self.style.block("skill", _skill(fields["skills"], compact))
            case _:
                return self.style.block("skill", _skill(self._other_skills(fields, view), compact))

    def _advised(self, action: str, view: StudentView | None) -> str:
        """An action as the student's prompts word it."""
        return action if view is None or not action else self.style.listed(action, view)

    def _other_skills(self, fields: PrivilegedFields, view: StudentView | None) -> RetrievedSkills:
        """Another skill of the bank than the environment retrieved: a chosen, a random or a wrong one."""
        assert self.skill_bank is not None  # __init__ refuses these privileges without a bank
        view = view or StudentView("")
        if self.skill_choice is not None:
            return self.skill_bank.named(
                self.skill_choice(view), task_type=fields["task_type"], keys=list(view.skill_keys)
            )
        return self.skill_bank.retrieve(
            self.privilege.removesuffix("_skill"),
            task_type=fields["task_type"],
            keys=list(view.skill_keys),
            text=view.instruction,
            seed_key=(view.task_id,),
        )

    def episode_block(self, privileged: Privileged | None, view: StudentView) -> str | None:
        """The privileged context at one turn of an episode; None when there was nothing privileged to read.

        What does not change by the turn is as it was first read in the episode: `privileged` may then be None later.

        Args:
            privileged: The sealed fields at this turn.
            view: What the student sees at this turn; it identifies the episode.
        """
        if self.privilege == "none" and self.teacher_context is None:
            return ""
        if self.changes or self.hindsight:
            return None if privileged is None else self.block(privileged, view)
        # Read once per episode, and remembered; the oldest episode is forgotten first.
        key = (view.task_id, view.slot, *view.draw)
        known = None if view.turn == 0 else self._contexts.get(key)
        if known is not None or privileged is None:
            return known
        return self._contexts.put(key, self.block(privileged, view))

    def plan_length(self, privileged: Privileged | None) -> int | None:
        """Actions that the shortest known plan still needs from a state, whatever the privileged context holds.

        None where no plan is known. The goal is not yet reached in a state that is acted on, so an empty plan counts as
        no plan.
        """
        if privileged is None:
            return None
        fields = cast(dict[str, Any], privileged.reveal())
        # A user's own context reads the whole `info`, which holds the fields one level down.
        known = fields.get("privileged") if self.teacher_context is not None else fields
        plan = known.get("plan") if isinstance(known, Mapping) else None
        return len(plan) if plan else None

    def quotes(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> bool:
        """Whether a row holds a whole privileged context: in a completion, or in an observation that answers one.

        Given the plain prompt, such a row would show the student what it may not read.

        Args:
            turns: The turns of one row.
            privileged: The sealed fields before each turn, parallel to `turns`.
        """
        contexts = {
            text.strip()
            for turn, known in zip(turns, privileged, strict=True)
            if (text := self.episode_block(known, turn.view))
        }
        texts = [turn.action.completion for turn in turns]
        texts += [message["content"] for turn in turns for message in turn.action.messages]
        return any(context in text for context in contexts for text in texts)

    # Where it is put.

    def block_ids(self, text: str) -> list[int]:
        """The ids of a privileged context, the blank line beside it included; none for no text."""
        gap = "\n" if self.style.name == "compact" else "\n\n"
        if not text:
            return []
        return self.renderer.encode_text(text + gap if self.position == "user_prefix" else gap + text)

    def begin(self, messages: Sequence[Message], text: str) -> tuple[list[int], list[int]]:
        """The ids of a row's first prompt: the plain prompt, and the privileged prompt.

        Args:
            messages: The plain prompt.
            text: The privileged context.
        """
        layout = self.renderer.begin_layout(messages)
        return layout.ids, self._put(layout, messages, text)

    def extend(
        self,
        messages: Sequence[Message],
        completion: str,
        completion_ended: bool,
        new_messages: Sequence[Message],
        text: str,
    ) -> tuple[list[int], list[int]] | None:
        """The ids between two completions, without and with a privileged context.

        Arguments as for `ChatRenderer.extend`; `text` is the privileged context. None where a new row has to begin.
        """
        layout = self.renderer.extend_layout(messages, completion, completion_ended, new_messages)
        return None if layout is None else (layout.ids, self._put(layout, new_messages, text))

    def _put(self, layout: Rendered, messages: Sequence[Message], text: str) -> list[int]:
        """The rendered ids with the privileged context in the last message of the role that `position` names."""
        if not text:
            return list(layout.ids)
        roles = ("system",) if self.position == "system" else ("user", "tool")
        places = [index for index, message in enumerate(messages) if message["role"] in roles]
        if not places:
            raise ValueError(
                f"position={self.position!r} expects a {roles[0]} message to hold the privileged context, got "
                f"{[message['role'] for message in messages]}: every prompt should have one"
            )
        return layout.with_block(places[-1], self.block_ids(text), suffix=self.position != "user_prefix")

    # Reading a student's row.

    def read(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> TeacherReading:
        """The teacher's reading of the tokens that a student sampled.

        Args:
            turns: The turns of one row, in order; the first begins the row.
            privileged: The sealed fields before each turn, parallel to `turns`.

        Raises:
            ValueError: A turn has no tokens, or its messages do not render to the ids that the student read.
        """
        if len(privileged) != len(turns) or not turns:
            raise ValueError(
                f"Teacher.read: expected the privileged fields before each of {len(turns)} turns (at least 1), got "
                f"{len(privileged)}"
            )
        # The privileged context of each turn: of every one, or of the row's first alone.
        count = len(turns) if self.every_turn else 1
        shown = [self.episode_block(privileged[n], turns[n].view) for n in range(count)]
        texts = [text or "" for text in shown] + [""] * (len(turns) - count)
        sizes = [len(self.block_ids(text)) for text in texts]
        known = all(text is not None for text in shown)
        prompts = self._prompts(turns, texts)
        # Tokens between the first prompt and the last completion: they count towards `max_length`, and are not cut.
        following = sum(len(p) for p in prompts[1:]) + sum(len(_tokens(turn).completion_ids) for turn in turns[:-1])
        prompts[0], cut = self._fitted(turns[0], prompts[0], texts[0], following)
        # Prompts and sampled ids in turn; the completions are those of the student's row, unchanged.
        ids: list[int] = []
        positions: list[int] = []
        for prompt, turn in zip(prompts, turns, strict=True):
            ids += prompt
            sampled = _tokens(turn).completion_ids
            positions.extend(range(len(ids), len(ids) + len(sampled)))
            ids += sampled
        length = len(ids) - len(_tokens(turns[-1]).completion_ids)
        fits = self.max_length is None or length <= self.max_length
        complete = known and fits and max(sizes) <= self.budget_tokens
        return TeacherReading(View(ids, positions), sum(sizes), cut, complete)

    def _prompts(self, turns: Sequence[Turn], texts: Sequence[str]) -> list[list[int]]:
        """Each turn's prompt ids, with its privileged context where `texts` has one."""
        prompts: list[list[int]] = []
        messages: list[Message] = []
        for number, (turn, text) in enumerate(zip(turns, texts, strict=True)):
            tokens, action = _tokens(turn), turn.action
            if tokens.continues != (number > 0):
                raise ValueError(
                    f"turn {turn.view.turn} of {turn.view.task_id} is number {number} of its row and is expected to "
                    f"have continues={number > 0}: pass the turns of one row, from its beginning"
                )
            if not text:
                prompts.append(list(tokens.prompt_ids))
            else:
                # Rendered again for the place of the context; the ids without it must be those that were read.
                if number == 0:
                    pair: tuple[list[int], list[int]] | None = self.begin(action.messages, text)
                else:
                    before = turns[number - 1]
                    answer, ended = before.action.completion, self._ended(before)
                    pair = self.extend(messages, answer, ended, action.messages, text)
                if pair is None or tuple(pair[0]) != tokens.prompt_ids:
                    raise ValueError(
                        f"the messages of turn {turn.view.turn} of {turn.view.task_id} are expected to render to the "
                        "ids that the student read, and do not: give the teacher the renderer of the student's agent"
                    )
                prompts.append(pair[1])
            if self.every_turn:
                # Only later turns with a context need the chat so far.
                if number > 0:
                    messages.append({"role": "assistant", "content": turns[number - 1].action.completion})
                messages.extend(action.messages)
        return prompts

    def _ended(self, turn: Turn) -> bool:
        """Whether the template's end of a turn was sampled."""
        return bool(_tokens(turn).completion_ids[-1:] == (self.renderer.turn_end_id,))

    def _fitted(self, turn: Turn, prompt: list[int], text: str, following: int) -> tuple[list[int], int]:
        """The row's first prompt with as much of its history cut, turn by turn, as `max_length` asks.

        Args:
            turn: The row's first turn.
            prompt: Its privileged prompt, history whole.
            text: Its privileged context; without one nothing is cut.
            following: Tokens between this prompt and the row's last completion.

        Returns:
            The prompt's ids, and the turns of history that were cut.
        """
        cut = 0
        if self.max_length is not None and text:
            for cut, messages in enumerate(shorter_histories(turn.action.messages), start=1):
                if len(prompt) + following <= self.max_length:
                    return prompt, cut - 1
                prompt = self.begin(messages, text)[1]
        return prompt, cut


def shorter_histories(messages: Sequence[Message]) -> list[list[Message]]:
    """The same prompt with one, two, ... whole turns less of history: of a window, or of a chat that begins a row.

    The system message, the message that states the task, and the present observation always stay. In a chat the last
    answer stays too, between the two, because many templates require roles to alternate.
    """
    content = messages[-1]["content"]
    if isinstance(content, HistoryText):  # a window: one message that knows its shorter forms
        return [[*messages[:-1], {**messages[-1], "content": shorter}] for shorter in content.shorter]
    head = next((index + 1 for index, message in enumerate(messages) if message["role"] == "user"), len(messages))
    pairs = (len(messages) - head) // 2
    return [[*messages[:head], *messages[head + 2 * cut :]] for cut in range(1, pairs)]


def _tokens(turn: Turn) -> Any:
    """The token ids of a turn, which a row must have."""
    if turn.action.tokens is None:
        raise ValueError(f"turn {turn.view.turn} of {turn.view.task_id} is expected to hold token ids, got none")
    return turn.action.tokens


def _skill(skills: Mapping[str, Any], compact: bool) -> str:
    lines = list(skills["lines"])
    if compact:
        return "\n".join(skills["compact_lines"] or lines)
    return "\n\n".join(part for part in (skills["general"], skills["task"], _listed(lines, compact)) if part)


def _listed(items: Sequence[str], compact: bool, *, numbered: bool = False) -> str:
    if compact:
        return "; ".join(items)
    return "\n".join(f"{number}. {item}" if numbered else f"- {item}" for number, item in enumerate(items, start=1))


def _facts(facts: Mapping[str, Any], compact: bool) -> str:
    def plain(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _listed([f"{name.replace('_', ' ')}: {plain(value)}" for name, value in facts.items()], compact)
