"""What the agent's side must not have at a moment: what was declared a secret, and what only the teacher is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .disguises import letters, long_enough
from .walks import NONSENSE, ConformanceError, Moment, Skipped, is_over, legal_actions

if TYPE_CHECKING:
    from .subject import Env, Subject

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


class Secrets:
    """The secrets of the running episode.

    A text that `secret` names is one for as long as it is named. A sentence that the teacher is told is one until the
    world has answered with it: who reads the note has earned what it says. What is shown at reset, or in answer to an
    action that no world understands, was not earned.

    Args:
        subject: The environment under check.

    Raises:
        Skipped: Nobody has said what a secret is.
    """

    def __init__(self, subject: Subject) -> None:
        self.secret = subject.secret
        self.teacher_context = subject.teacher_context
        self._earned: list[str] = []
        if self.secret is None and self.teacher_context is None:
            raise Skipped("no secret was declared (--secret, --teacher-context): nothing is known about leaks of one")

    def at(self, env: Env, moment: Moment) -> list[str]:
        """Those of a moment that are long enough, and that instruction and actions do not say of their own accord.

        To be asked once for every moment, in their order.
        """
        if moment.action is None:
            self._earned = []
        elif moment.action != NONSENSE:
            self._earned.append(letters(str(moment.observation)))
        named = [] if self.secret is None else self.secret(env.unwrapped)
        told = [text for text in self._told(moment) if not any(letters(text) in shown for shown in self._earned)]
        public = [letters(text) for text in (str(moment.snapshot.get("instruction", "")), *legal_actions(moment))]
        return [
            text for text in [*named, *told] if long_enough(text) and not any(letters(text) in said for said in public)
        ]

    def _told(self, moment: Moment) -> list[str]:
        """The sentences of the teacher's context; none when the episode is over, since nobody acts any more."""
        if self.teacher_context is None or is_over(moment):
            return []
        try:
            text = self.teacher_context(moment.snapshot)
        except Exception as error:
            raise _no_text(moment, f"{type(error).__name__}: {error!s:.200}") from error
        if not isinstance(text, str):
            raise _no_text(moment, f"{type(text).__name__} {text!r:.80}")
        return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def _no_text(moment: Moment, got: str) -> ConformanceError:
    return ConformanceError(
        "",
        f"expected text from the teacher context, given info {moment.where()}, got {got}",
        "Mend the function: it is called with the info of every turn",
    )
