"""The prompt style ``tools``: an agent that calls a world's tools, in its chat template's own form.

A chat of calls and results, also in a window: the system message, the task with the first observation, and then for
every turn what the assistant answered and what came back, in the template's role for it. The wording stands in
``assets/prompts/tools.txt``; how tools are told, called and answered is the template's (`tool_formats`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sdar_envs.privileged import StudentView
from sdar_envs.tool_sets import ToolSet

from .base import Message, Parse
from .parsing import parse_call
from .prompts import PromptStyle
from .tool_formats import ToolFormat

_THOUGHT = "</think>"


@dataclass(frozen=True, slots=True)
class ToolStyle(PromptStyle):
    """The style of a world's tools and a template's form."""

    tools: ToolSet
    form: ToolFormat

    # Messages.

    def system(self) -> list[Message]:
        """The system message; it lists the tools where the template does not."""
        text = self._section("system")
        if not self.form.in_template:
            schemas = self.tools.schemas()
            if self.form.listed:
                listed = json.dumps(schemas, ensure_ascii=False)
            else:
                listed = "\n".join(json.dumps(schema["function"], ensure_ascii=False) for schema in schemas)
            text += "\n\n" + self._section(f"listing_{self.form.name}", tools=listed)
        return [{"role": "system", "content": text}]

    def turn(self, view: StudentView, answered: str = "") -> list[Message]:
        """What a call returned; where the answer before was no call, the reason stands in front.

        Args:
            view: What is seen now.
            answered: The completion before.
        """
        text = self._user("turn", self._after(view, answered))["content"]
        text = self.form.result_opening + text + self.form.result_closing
        return [{"role": self.form.result_role, "content": text}]

    def window(self, views: Sequence[StudentView], actions: Sequence[str], history_length: int) -> list[Message]:
        """A chat that begins with the last turns; possible calls are listed for the present view alone.

        Args:
            views: What was seen, the present view last.
            actions: What was answered to all views but the last, as `remembered` keeps it.
            history_length: Turns to show.
        """
        steps = len(actions)
        shown = min(history_length, steps)
        first = steps - shown
        seen = [replace(view, admissible_actions=()) for view in views[:-1]] + [views[-1]]
        counted = {"steps": str(steps), "shown": str(shown)}
        task = views[-1].instruction
        if first == 0:
            messages = [*self.system(), self._user("window_first", seen[0], task=task)]
        else:
            begins = self._after(seen[first], actions[first - 1])
            messages = [*self.system(), self._user("window", begins, task=task, **counted)]
        for step in range(first, steps):
            said = actions[step] or self._section("no_action")
            messages += [{"role": "assistant", "content": said}, *self.turn(seen[step + 1], actions[step])]
        return messages

    def _after(self, view: StudentView, answered: str) -> StudentView:
        """A view with the reason in front of its observation why the answer before was no call."""
        if not answered:
            return view
        parse = self.parse(answered, False)[1]
        if parse is Parse.OK:
            return view
        return replace(view, observation=f"{self._section(f'problem_{parse.value}')}\n{view.observation}")

    # Answers.

    def parse(self, completion: str, truncated: bool, view: StudentView | None = None) -> tuple[str, Parse]:
        """The action of the one call in a completion, and how it was read."""
        return parse_call(completion, truncated, self.form, self.tools)

    def remembered(self, action: str, completion: str) -> str:
        """What a window shows of an answer: all of it but the thinking."""
        return completion.rpartition(_THOUGHT)[2].strip()

    def completion_for(self, action: str, view: StudentView | None = None, *, reason: str = "") -> str:
        """The call that does an action, in the template's form; an action that no tool does is left as it is."""
        call = self.tools.call_of(action)
        return action if call is None else self.form.call_text(*call)

    def listed(self, action: str, view: StudentView) -> str:
        """An action as a call, without what the template puts around it."""
        call = self.tools.call_of(action)
        return action if call is None else self.form.call_json(*call)
