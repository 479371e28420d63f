"""Leaks in environments of other people: declared secrets, and what changes when a secret is exchanged."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import Any

from ..hostile import hostile_actions
from .disguises import find
from .secrets import Secrets
from .subject import Env, Subject, failure, require_same, strings_of
from .walks import NONSENSE, Moment, Skipped, act, actions_of, begin, is_over, legal_actions

_PROVOKED = 24  # hostile texts sent to force exceptions
_MISTAKES: tuple[Any, ...] = (None, 3, b"look", ["look"])  # actions that are no text
_TURNS = 12  # of an episode whose secret is exchanged


class _Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        with contextlib.suppress(Exception):
            self.lines.append(record.getMessage())


@contextlib.contextmanager
def overheard() -> Iterator[tuple[_Heard, io.StringIO]]:
    """What is logged and printed meanwhile."""
    heard, printed = _Heard(), io.StringIO()
    root = logging.getLogger()
    root.addHandler(heard)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield heard, printed
    finally:
        root.removeHandler(heard)


def shown_at(env: Env, moment: Moment) -> list[str]:
    """All text that the agent's side of a moment has: observation, public `info`, a frame, the environment's names."""
    public = {key: value for key, value in moment.snapshot.items() if key != "privileged"}
    texts = [str(moment.observation), *strings_of(public), *keys_of(public)]
    if getattr(env, "render_mode", None) == "ansi":
        texts.append(str(env.render()))
    return [*texts, repr(env), str(env.observation_space), str(env.action_space)]


def keys_of(value: Any) -> Iterator[str]:
    """Every key inside nested JSON values."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield str(key)
            yield from keys_of(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from keys_of(part)


def check_declared_secret(subject: Subject) -> dict[str, Any]:
    """No declared secret stands in anything that the agent's side has, in plain text or in one of many disguises.

    Looked at are observations, public `info`, frames, `repr` of the environment, its spaces, what is logged and
    printed, and the texts of exceptions that hostile actions provoke. Secrets are what `secret` names, and the
    sentences of the teacher's context.
    """
    secrets_now = Secrets(subject)
    looked_for: set[str] = set()
    modes: list[str] = []
    with contextlib.closing(subject.build()) as env:
        modes = env.unwrapped.metadata.get("render_modes", [])
    with contextlib.closing(subject.build(render_mode="ansi") if "ansi" in modes else subject.build()) as env:
        budget = subject.budget
        for seed, walk in budget.each(subject.recorded, "episodes", judged=False):
            moment: Moment | None = None
            for action in actions_of(walk):
                with overheard() as (heard, printed):
                    moment = begin(env, seed=seed) if action is None or moment is None else act(env, action)
                secrets = secrets_now.at(env, moment)
                looked_for.update(secrets)
                texts = [*shown_at(env, moment), *heard.lines, printed.getvalue()]
                _require_none(secrets, texts, moment.where())
                if is_over(moment):
                    break
            budget.judged = bool(looked_for)
        seen = budget.looked_at
        budget.looked_at = f"{seen or 'all episodes'}, but not all that hostile text provokes"
        _provoke(subject, env, secrets_now, looked_for)
        budget.looked_at = seen
    if not looked_for:
        raise Skipped(
            "the declared secrets have fewer than 8 letters or digits, or are part of the instruction or of an "
            "admissible action: nothing was looked for"
        )
    return {"secrets": len(looked_for)}


def _require_none(secrets: list[str], texts: list[str], where: str) -> None:
    found = find(secrets, texts)
    if found is not None:
        secret, disguise, text = found
        raise failure(
            f"expected the declared secret {secret!r:.60} nowhere on the agent's side {where}, got it ({disguise}) in "
            f"{text!r}",
            "Keep it out of observations, public info, frames, logs and exception texts",
        )


def _provoke(subject: Subject, env: Env, secrets_now: Secrets, looked_for: set[str]) -> None:
    """Read what the environment says when it is sent hostile text and mistakes, exceptions included."""
    moment = begin(env, seed=subject.seed)
    texts = hostile_actions(_PROVOKED, seed=subject.seed, legal=legal_actions(moment)[:4])
    for action in [*texts, *_MISTAKES]:
        before = secrets_now.at(env, moment)
        looked_for.update(before)
        with overheard() as (heard, printed):
            try:
                moment = act(env, action)
            except Exception as error:
                said = _texts_of(error)
            else:
                said = shown_at(env, moment)
        # What the action has earned is no secret any more.
        after = secrets_now.at(env, moment)
        still = [secret for secret in before if secret in after]
        _require_none(still, [*said, *heard.lines, printed.getvalue()], f"after hostile action {action!r:.60}")
        if is_over(moment):
            moment = begin(env, seed=subject.seed)
    secrets = secrets_now.at(env, moment)
    try:
        env.reset(options={"no_such_option": 1})
    except Exception as error:
        _require_none(secrets, _texts_of(error), "in the refusal of a reset option")


def _texts_of(error: BaseException) -> list[str]:
    """What an exception says, with its notes and those that it was raised from."""
    texts: list[str] = []
    link: BaseException | None = error
    while link is not None and len(texts) < 40:
        texts += [f"{type(link).__name__}: {link}", *map(str, getattr(link, "__notes__", ()))]
        link = link.__cause__ or link.__context__
    return texts


def check_counterfactual(subject: Subject) -> dict[str, Any]:
    """What the agent's side shows does not depend on the secret before the agent has acted on it.

    The same episode is played twice, with the secret exchanged in between, and with actions that no environment
    understands, so that whatever differs was shown and not earned.
    """
    if subject.variants is None:
        raise Skipped("no exchange of the secret was given (--variants): leaks in other words were not looked for")
    compared = 0
    for seed in subject.budget.each(subject.seeds, "episodes"):
        with contextlib.closing(subject.variants(0)) as one, contextlib.closing(subject.variants(1)) as other:
            left, right = begin(one, seed=seed), begin(other, seed=seed)
            for _ in range(_TURNS):
                require_same(
                    [left],
                    [right],
                    f"the agent's side of the episode of seed {seed} changes with the secret",
                    "Show nothing that is computed from the secret before the agent has earned it",
                    of=Moment.public,
                )
                compared += 1
                if is_over(left) or is_over(right):
                    break
                left, right = act(one, NONSENSE), act(other, NONSENSE)
    return {"moments": compared}
