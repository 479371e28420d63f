"""Demonstrations as a model reads and writes them: played, worded, and turned into token rows.

The agents of a run build the prompts while a script takes the place of their sampler, so that cloned rows have the
same form as those of rollouts. Where the prompt asks for reasoning, a demonstration can carry a short reason
(`reason_for`), made from what its own prompt shows and from nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from agents.base import Episode, Turn, View
from agents.sampling.scripted import ScriptedSampler
from sdar_envs.demonstrations import Demonstration, demonstrate, script_of
from sdar_envs.privileged import StudentView
from sdar_envs.randomness import Key

if TYPE_CHECKING:
    from agents.chat import ChatAgent

Advance = Callable[[str, int, int], None]  # a stage's name, how much of it is done, and of how much
Report = Callable[[str], None]
# A demonstration, a turn of it, and the privileged context that the turn's prompt shows -> why the action is taken.
Reason = Callable[[Demonstration, int, str], str]

# How often a demonstration is played again for one that succeeds, before the world is taken to be too hard.
TRIES = 40


class DemonstrationSource(Protocol):
    """What demonstrations come from: the script of a world of this suite, or played episodes of any environment."""

    @property
    def name(self) -> str:
        """What is demonstrated, for messages."""
        ...

    @property
    def vocabulary(self) -> int:
        """Tokens that a tokenizer of its words has at least."""
        ...

    def texts(self) -> Sequence[str]:
        """Wording that a tokenizer should know beside what the demonstrations hold."""
        ...

    def play(self, key: tuple[Key, ...], *, hinted: bool) -> Demonstration:
        """One demonstration; the same key gives the same one."""
        ...


class WorldScript:
    """The script of an environment of this suite as a source of demonstrations.

    Args:
        env_id: The environment.
        env_kwargs: Its keyword arguments.

    Raises:
        ValueError: The environment has no script.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any]) -> None:
        self.script = script_of(env_id)
        self.env_kwargs = env_kwargs
        self.name = f"{env_id} {dict(env_kwargs)}"
        self.vocabulary = self.script.vocabulary

    def texts(self) -> Sequence[str]:
        """The world's own list."""
        return self.script.texts()

    def play(self, key: tuple[Key, ...], *, hinted: bool) -> Demonstration:
        """An episode in a world of its own."""
        return demonstrate(self.script, self.env_kwargs, key=key, hinted=hinted)


def nothing(*_: object) -> None:
    """No lines, no bar."""


def no_reason(demonstration: Demonstration, turn: int, shown: str) -> str:
    """No reason, for prompts that ask for none."""
    return ""


def play_demonstrations(
    source: DemonstrationSource,
    count: int,
    hinted_share: float,
    advance: Advance = nothing,
    *,
    seed: int,
    successful: bool = False,
) -> list[Demonstration]:
    """The demonstrations of a warm start; draws are counted by the seed.

    Args:
        source: What they come from.
        count: How many.
        hinted_share: Share of them with the privileged context in the prompt; in every hundred they come first.
        advance: Called after every demonstration.
        seed: Key of their draws.
        successful: Whether one that fails is played again, in another world, until one succeeds.

    Raises:
        ValueError: No demonstration succeeds within `TRIES`.
    """
    privileged = round(100 * hinted_share)
    played = []
    for index in range(count):
        hinted = index % 100 < privileged
        for attempt in range(TRIES if successful else 1):
            key = (seed, index, attempt) if attempt else (seed, index)
            played_once = source.play(key, hinted=hinted)
            if played_once.success or not successful:
                played.append(played_once)
                break
        else:
            raise ValueError(
                f"{source.name}: {TRIES} demonstrations in a row failed, so there is none to learn from: choose a "
                "smaller world, or a longer horizon"
            )
        advance("playing demonstrations", index + 1, count)
    return played


def rendered_texts(demonstrations: Sequence[Demonstration], policy: ChatAgent) -> list[str]:
    """The texts that the model will read and write, without the template's markers: the corpus of the tokenizer.

    Args:
        demonstrations: The demonstrations whose prompts and actions are rendered.
        policy: An agent, for demonstrations with a privileged context one with a teacher; its style and its teacher's
            wording are used, its tokenizer is not.
    """
    style, teacher = policy.style, policy.teacher
    texts: list[str] = []
    for demonstration in demonstrations:
        contents = [message["content"] for message in style.opening(demonstration.views[0])]
        for view in demonstration.views[1:]:
            contents += [message["content"] for message in style.turn(view)]
        if demonstration.hinted and teacher is not None:
            contents.append(teacher.block(demonstration.privileged[0], demonstration.views[0]))
        acted = zip(demonstration.actions, demonstration.views, strict=True)
        texts += [*contents, *(style.completion_for(action, view) for action, view in acted)]
    return texts


def demonstration_views(
    demonstrations: Sequence[Demonstration],
    plain: ChatAgent,
    privileged: ChatAgent | None,
    advance: Advance = nothing,
    *,
    reason: Reason = no_reason,
) -> list[View]:
    """Demonstrations as token rows, exactly as the agents would have read and written them.

    Args:
        demonstrations: What was done.
        plain: An agent under the plain prompt.
        privileged: An agent under the privileged prompt, for demonstrations with a privileged context; None where
            none has one.
        advance: Called after every demonstration.
        reason: Says why an action is taken, for prompts that ask for it.
    """
    from ..rollout.collect import Rollout, TaskDraw
    from ..rollout.rows import build_rows

    views: list[View] = []
    for number, demonstration in enumerate(demonstrations, 1):
        agent = privileged if demonstration.hinted and privileged is not None else plain
        episode = Episode(env_id="", task_id="", task_type="", draw=())
        with _scripted(agent, demonstration, reason):
            for view, known in zip(demonstration.views, demonstration.privileged, strict=True):
                [action] = agent.act([view], [known] if agent.reads_privileged else None)
                if action.context_full:
                    break
                episode.turns.append(Turn(view, action, 0.0, True))
        agent.release([0])
        if not episode.turns:
            raise ValueError(
                f"no prompt fits: the first of a demonstration is longer than max_prompt_length "
                f"({agent.max_prompt_length} tokens): raise it, or lower teacher_budget"
            )
        views += [row.student for row in build_rows([Rollout(episode, TaskDraw("", ()))])]
        advance("turning them into tokens", number, len(demonstrations))
    return views


@contextmanager
def _scripted(agent: ChatAgent, demonstration: Demonstration, reason: Reason) -> Iterator[None]:
    """Let an agent "sample" the actions of a demonstration within a ``with`` block."""
    own = agent.sampler
    acted = enumerate(zip(demonstration.actions, demonstration.views, strict=True))
    shown = [
        "" if agent.teacher is None else agent.teacher.block(known, view)
        for known, view in zip(demonstration.privileged, demonstration.views, strict=True)
    ]
    completions = [
        agent.style.completion_for(action, view, reason=reason(demonstration, turn, shown[turn]))
        for turn, (action, view) in acted
    ]
    agent.sampler = ScriptedSampler(agent.renderer.encode_completion(completion) for completion in completions)
    try:
        yield
    finally:
        agent.sampler = own


def success_rate_of(demonstrations: Sequence[Demonstration], *, privileged: bool) -> float:
    """Success rate of the demonstrations with, or of those without, a privileged context."""
    chosen = [demonstration.success for demonstration in demonstrations if demonstration.hinted is privileged]
    return round(sum(chosen) / len(chosen), 4) if chosen else 0.0


def reason_for(demonstration: Demonstration, turn: int, shown: str) -> str:
    """A short reason for an action: the line of the privileged context that names what it deals with, and the task.

    A demonstration without such a context in its prompt quotes nothing: that would teach a model to state what it
    cannot know.

    Args:
        demonstration: What was done.
        turn: The turn of the action.
        shown: The privileged context that the prompt of the turn shows; empty under the plain prompt.
    """
    view, action = demonstration.views[turn], demonstration.actions[turn]
    words = set(_WORD.findall(action.lower()))
    # The line that speaks most of what the action deals with: long ones are about everything.
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    spoken = [set(_WORD.findall(line.lower())) for line in lines]
    common = [len(words & said) / max(len(said), 1) for said in spoken]
    best = max(range(len(lines)), key=lambda index: common[index], default=0)
    quoted = f"I was told: {lines[best].rstrip('.')}. " if lines and common[best] else ""
    return f"{quoted}{_task_line(view)}My next step is: {action}."


_WORD = re.compile(r"[a-z]{3,}")


def _task_line(view: StudentView) -> str:
    """The task in a sentence; empty where the environment states none of its own."""
    task = " ".join(view.instruction.split()).rstrip(".")
    return f"The task is: {task}. " if task else ""
