"""Texts for what reads actions: some that leave a mark where anything executes them, and numbers that are too long."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .subject import Subject, failure
from .walks import act, begin, is_over

_DIGITS = 5000
# By when these texts are through, as shares of the time of `hostile_actions`, which has others to send.
_RUN_SHARE, _NUMBERS_SHARE = 0.25, 0.4
# Marks that games ask for around an action, since what stands outside of them is not read.
_WRAPPED = ("{}", "[{}]", "\\boxed{{{}}}", "<answer>{}</answer>", "#### {}", "{{{{{}}}}}")


def executable(mark: Path) -> Iterator[str]:
    """Actions that make the file `mark` where they are executed, by Python or by a shell."""
    python = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    for call in (python, f"$(touch {mark})", f"; touch {mark};", f"`touch {mark}`"):
        yield from (form.format(call) for form in _WRAPPED)


def require_text_is_data(subject: Subject) -> None:
    """Send such actions, and fail where one of them was run.

    Raises:
        ConformanceError: A file was made by a text of an agent.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(subject.build()) as env:
        mark = Path(folder, "ran")
        moment = begin(env, seed=subject.seed)
        for text in subject.budget.each(list(executable(mark)), "texts that might be run", share=_RUN_SHARE):
            with contextlib.suppress(Exception):  # `hostile_actions` says what raises
                moment = act(env, text)
            if mark.exists():
                shown = text.replace(str(mark), "FILE")
                raise failure(
                    f"expected an agent's text to be data, and {shown!r} was run: it made the file",
                    "Read it with a parser of your own or ast.literal_eval; eval, and sympy.parse_expr, run it",
                )
            if is_over(moment):
                moment = begin(env, seed=subject.seed)


def require_long_numbers(subject: Subject) -> None:
    """Send numbers of more digits than Python's `int` reads.

    Raises:
        ConformanceError: The environment raised.
    """
    with contextlib.closing(subject.build()) as env:
        moment = begin(env, seed=subject.seed)
        for form in subject.budget.each(_WRAPPED, "long numbers", share=_NUMBERS_SHARE):
            text = form.format("9" * _DIGITS)
            try:
                moment = act(env, text)
            except Exception as error:
                raise failure(
                    f"expected an ordinary step from {form.format(f'a number of {_DIGITS:,} digits')!r}, got "
                    f"{type(error).__name__}: {error!s:.80}",
                    "Bound the digits before int(): beyond 4,300 it raises a ValueError",
                ) from error
            if is_over(moment):
                moment = begin(env, seed=subject.seed)
