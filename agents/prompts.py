"""What a student reads: chat messages from observations, in a style whose wording stands in ``assets/prompts``.

Four styles. ``paper`` asks for thinking and an action in tags and lists the admissible actions, as the published
templates for such worlds do. ``compact`` abridges observations by a table of rules and takes the bare completion as
the action, for tiny models. ``plain`` adds nothing: observations as they are, bare completions, no system message, for
environments and chat templates that word everything themselves. ``tools`` calls a world's tools in the form of the chat
template, and stands in `tool_style`. Nothing in this file can see privileged information.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from sdar_envs.assets import asset_text
from sdar_envs.bounded_cache import BoundedCache
from sdar_envs.choices import require_choice, unknown_choice
from sdar_envs.privileged import StudentView

from .base import Message, Parse
from .item_aliases import with_ids, with_numbers
from .parsing import parse_bare, parse_tagged

STYLES = ("paper", "compact", "plain", "tools")
CONTEXTS = ("window", "transcript")
WHEN_FULL = ("new_row", "stop")

# Placeholders that each section of a style may use. A style may leave sections out: compact asks for no answer format.
_SECTIONS: dict[str, frozenset[str]] = {
    "system": frozenset(),
    "opening": frozenset({"task", "observation", "actions", "answer"}),
    "turn": frozenset({"observation", "actions", "answer"}),
    "window_first": frozenset({"task", "observation", "actions", "answer"}),
    "window": frozenset({"task", "steps", "step", "shown", "history", "observation", "actions", "answer"}),
    "task": frozenset({"task"}),
    "pair": frozenset({"step", "observation", "action"}),
    "no_action": frozenset(),
    "actions": frozenset({"actions"}),
    "action_item": frozenset({"action"}),
    "answer_thinking": frozenset(),
    "answer": frozenset(),
    "listing_json": frozenset({"tools"}),
    "listing_smollm2": frozenset({"tools"}),
    **{
        f"problem_{kind}": frozenset[str]()
        for kind in ("empty", "no_tool_call", "broken_tool_call", "many_tool_calls", "unknown_tool", "bad_arguments")
    },
    **{f"block_{kind}": frozenset({"text"}) for kind in ("skill", "plan", "next_action", "facts", "hints", "context")},
}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class HistoryText(str):
    """A message that shows earlier turns; `shorter` holds the same message with one, two, ... turns fewer."""

    shorter: tuple[str, ...]

    def __new__(cls, text: str, shorter: Sequence[str] = ()) -> HistoryText:
        """Make the text and remember its shorter forms."""
        result = super().__new__(cls, text)
        result.shorter = tuple(shorter)
        return result


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """One way to word observations as chat messages.

    `list_actions` shows the admissible actions; `thinking` asks for (and requires) thinking, where the style has it.
    """

    name: str
    list_actions: bool
    thinking: bool

    # Messages.

    @property
    def has_system(self) -> bool:
        """Whether prompts begin with a system message. Only plain ones do not: some chat templates insert their own."""
        return bool(self._section("system"))

    def system(self) -> list[Message]:
        """The system message, where the style has one."""
        return [{"role": "system", "content": self._section("system")}] if self.has_system else []

    def opening(self, view: StudentView) -> list[Message]:
        """The messages that begin a transcript."""
        return [*self.system(), self._user("opening", view, task=self._task(view, [view]))]

    def turn(self, view: StudentView, answered: str = "") -> list[Message]:
        """The message that continues a transcript.

        Args:
            view: What is seen now.
            answered: The completion before; the style ``tools`` says what was wrong with it.
        """
        return [self._user("turn", view)]

    def window(self, views: Sequence[StudentView], actions: Sequence[str], history_length: int) -> list[Message]:
        """A fresh prompt with the last turns.

        Args:
            views: What was seen, the present view last.
            actions: What was done at all views but the last, as `remembered` keeps it.
            history_length: Turns to show.
        """
        shown = min(history_length, len(actions))
        texts = [self._window_text(views, actions, count) for count in range(shown, -1, -1)]
        return [*self.system(), {"role": "user", "content": HistoryText(texts[0], texts[1:])}]

    def _window_text(self, views: Sequence[StudentView], actions: Sequence[str], shown: int) -> str:
        """The user message of a window that shows the last `shown` turns."""
        view, steps = views[-1], len(actions)
        task = self._task(view, views[steps - shown :])
        if shown == 0:
            return self._user("window_first", view, task=task)["content"]
        pairs = [
            self._section(
                "pair",
                step=str(step + 1),
                observation=self.observed(views[step]),
                action=self.said(actions[step], views[step]) or self._section("no_action"),
            )
            for step in range(steps - shown, steps)
        ]
        numbers = {"steps": str(steps), "step": str(steps + 1), "shown": str(shown)}
        return self._user("window", view, task=task, history="\n".join(pairs), **numbers)["content"]

    def _user(self, section: str, view: StudentView, **values: str) -> Message:
        """A user message of a section, with the observation, the admissible actions and the form of the answer."""
        actions = ""
        if self.list_actions and view.admissible_actions:
            items = [self._section("action_item", action=self.listed(one, view)) for one in view.admissible_actions]
            joined = ("\n" if self.name == "paper" else "").join(items)
            actions = self._section("actions", actions=joined)
        answer = ""
        if self.name == "paper":
            answer = self._section("answer_thinking" if self.thinking else "answer")
            actions = f"\n{actions}\n" if actions else ""
        text = self._section(section, observation=self.observed(view), actions=actions, answer=answer, **values)
        return {"role": "user", "content": text}

    def _task(self, view: StudentView, shown: Sequence[StudentView]) -> str:
        """The task as a prompt states it; empty in the compact style where one of the `shown` observations has it."""
        if self.name != "compact":
            return view.instruction
        # A tiny model reads the task where the world states it, and otherwise in a line of its own.
        stated = any(view.instruction.rstrip(".") in self.observed(earlier) for earlier in shown)
        task = self.abridge(view.instruction)
        return "" if stated or not view.instruction else self._section("task", task=task) + "\n"

    def observed(self, view: StudentView) -> str:
        """The text of a view's observation in the prompt."""
        return self.abridge(self.said(view.observation, view))

    def said(self, text: str, view: StudentView) -> str:
        """A text of the world as the prompt words it: in the compact style the view's ids are numbers."""
        return with_numbers(text, view.admissible_actions) if self.name == "compact" else text

    def listed(self, action: str, view: StudentView) -> str:
        """An action as prompts word it where it is offered or advised."""
        return self.said(action, view)

    def abridge(self, observation: str) -> str:
        """An observation as the prompt words it: the same text, or in the compact style a shorter one."""
        return _abridged(observation) if self.name == "compact" else observation

    # Completions and the privileged context.

    def parse(self, completion: str, truncated: bool, view: StudentView | None = None) -> tuple[str, Parse]:
        """Read a completion, see `parse_completion`; given the view, the compact style's item numbers become ids."""
        action, parse = parse_completion(self, completion, truncated)
        if view is not None and self.name == "compact":
            action = with_ids(action, view.admissible_actions)
        return action, parse

    def remembered(self, action: str, completion: str) -> str:
        """What later windows show of an answer: here the action that was read in it."""
        return action

    def completion_for(self, action: str, view: StudentView | None = None, *, reason: str = "") -> str:
        """A well-formed completion that does `action` at `view`, for demonstrations.

        Args:
            action: As the environment words it.
            view: What is answered; in the compact style its ids become numbers.
            reason: What stands between the thinking tags where the style asks for thinking; else it is left out.
        """
        if self.name != "paper":
            return action if view is None else self.said(action, view)
        return (f"<think>\n{reason}\n</think>\n\n" if self.thinking else "") + f"<action>{action}</action>"

    def block(self, kind: str, text: str) -> str:
        """A privileged text of a kind with the style's wording around it; ``""`` for no text."""
        return self._section(f"block_{kind}", text=text) if text else ""

    def _section(self, name: str, **values: str) -> str:
        template = _style_sections(self.name)[name]
        if self.name in ("paper", "tools") and values.get("task") == "":
            # An environment that states no task of its own has it in its observations, and no empty heading for it.
            template = "\n\n".join(part for part in template.split("\n\n") if "{task}" not in part)
        return _PLACEHOLDER.sub(lambda match: values[match[1]], template) if "{" in template else template


@cache
def prompt_style(name: str, *, list_actions: bool | None = None, thinking: bool = True) -> PromptStyle:
    """The style of a name.

    Args:
        name: One of `STYLES` but ``tools``, which depends on more than a name (`tool_style.ToolStyle`).
        list_actions: Whether admissible actions are shown; None for the style's own default (paper shows them).
        thinking: Whether thinking is asked for, where the style has it.

    Raises:
        ValueError: Unknown style; the message lists the choices and the nearest.
    """
    require_choice("prompt style", name, STYLES, "prompt_style")
    if name == "tools":
        raise ValueError(
            "prompt style 'tools' is expected with the tools of an environment and the form of a chat template: pass "
            "tools=tool_set_of(env.unwrapped) to the agent, or make an agents.tool_style.ToolStyle"
        )
    return PromptStyle(name, name == "paper" if list_actions is None else list_actions, thinking and name == "paper")


def as_style(style: str | PromptStyle) -> PromptStyle:
    """A style by name or as it is."""
    return prompt_style(style) if isinstance(style, str) else style


def student_messages(
    style: str | PromptStyle,
    views: Sequence[StudentView],
    completions: Sequence[str],
    *,
    context: str = "window",
    history_length: int = 2,
) -> list[Message]:
    """The whole prompt of the present turn.

    Args:
        style: A style or its name.
        views: What was seen so far, the present view last.
        completions: What was answered to all views but the last: actions in a window (as `PromptStyle.remembered` keeps
            them), completions in a transcript.
        context: ``window`` or ``transcript``.
        history_length: Turns that a window shows.

    Raises:
        ValueError: Unknown context, or not one completion fewer than views.
    """
    require_choice("context", context, CONTEXTS, "student_messages")
    if len(completions) != len(views) - 1:
        raise ValueError(f"expected {len(views) - 1} completions for {len(views)} views, got {len(completions)}")
    style = as_style(style)
    if context == "window":
        return style.window(views, completions, history_length)
    messages = style.opening(views[0])
    for completion, view in zip(completions, views[1:], strict=True):
        messages += [{"role": "assistant", "content": completion}, *style.turn(view, completion)]
    return messages


def parse_completion(style: str | PromptStyle, text: str, truncated: bool = False) -> tuple[str, Parse]:
    """Read a completion in a style.

    Returns:
        The action for the environment (``""`` when there is none) and how it was read.
    """
    style = as_style(style)
    if style.name == "paper":
        return parse_tagged(text, truncated, thinking=style.thinking)
    return parse_bare(text, truncated)


# Assets.


@cache
def _style_sections(name: str) -> Mapping[str, str]:
    """The sections of a style's file by name, checked; a section that the file leaves out is empty."""
    return read_sections(f"{name}.txt", _SECTIONS)


def read_sections(name: str, known: Mapping[str, frozenset[str]]) -> Mapping[str, str]:
    """The sections of a file of prompts by name; a section that the file leaves out is empty.

    Args:
        name: The file's, below ``assets/prompts``.
        known: The sections that there may be, with the placeholders of each.

    Raises:
        ValueError: There are other sections or placeholders, or text in front of the first section.
    """
    file = f"prompts/{name}"
    sections = dict.fromkeys(known, "")
    # The file: comments, then sections that each begin with a line "=== name".
    lines: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in asset_text("prompts", name).splitlines():
        if line.startswith("=== "):
            title = line[4:].strip()
            if title not in known:
                raise unknown_choice("section", title, known, file)
            current = lines.setdefault(title, [])
        elif current is not None:
            current.append(line)
        elif line and not line.startswith("#"):
            raise ValueError(f"{file} is expected to begin with comments (#) or a section (=== name), got {line!r}")
    for title, content in lines.items():
        # The blank line in front of the next section is not part of the text.
        text = "\n".join(content[:-1] if content and not content[-1] else content)
        for placeholder in _PLACEHOLDER.findall(text):
            if placeholder not in known[title]:
                raise unknown_choice("placeholder", placeholder, sorted(known[title]), f"{file}, section {title}")
        sections[title] = text
    return sections


@cache
def _rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The compact style's table: patterns and their replacement templates."""
    rules: list[tuple[re.Pattern[str], str]] = []
    for number, line in enumerate(asset_text("prompts", "compact_rules.txt").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        said, arrow, short = line.partition(" =>")
        if not arrow:
            raise ValueError(f'prompts/compact_rules.txt, line {number}: expected "text => shorter text", got {line!r}')
        said, short = (side.replace("\\n", "\n") for side in (said, short.strip(" ")))
        rules.append((_rule_pattern(said), short))
    return tuple(rules)


def _rule_pattern(said: str) -> re.Pattern[str]:
    """The pattern of a rule: its text literally, with ``{name}`` as a group that has one value throughout."""
    parts: list[str] = []
    seen: set[str] = set()
    for index, part in enumerate(_PLACEHOLDER.split(said)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P={part})")
        else:
            seen.add(part)
            # Bounded, so that the time is linear in any text.
            parts.append(f"(?P<{part}>[^.\n]{{1,{4000 if part.endswith('_list') else 80}}})")
    return re.compile("".join(parts))


_ABRIDGED: BoundedCache[str, str] = BoundedCache(1 << 20)


def _abridged(observation: str) -> str:
    kept = _ABRIDGED.get(observation)
    if kept is not None:
        return kept
    text = observation
    for pattern, short in _rules():
        text = pattern.sub(partial(_fill, short), text)
    return _ABRIDGED.put(observation, text)


def _fill(short: str, match: re.Match[str]) -> str:
    def value(placeholder: re.Match[str]) -> str:
        words = match[placeholder[1]]
        return _without_articles(words) if placeholder[1].endswith("_list") else words

    return _PLACEHOLDER.sub(value, short)


def _without_articles(listed: str) -> str:
    items = [item.removeprefix("and ") for item in listed.split(", ")]
    return ", ".join(item.removeprefix("a ").removeprefix("an ") for item in items)
