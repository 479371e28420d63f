"""Play an episode in the terminal, or watch an agent play it.

A line is an action. Lines that begin with a colon are for this program: `:actions` lists the admissible actions,
`:help` says this, `:quit` leaves (as the end of input does, and a bare `quit` or `exit` that is no action here).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdar_envs.privileged import split_info

from .calls import readable_result, short_forms, typed_action
from .flags import add_environment_argument, add_trust_argument, chosen_environment, read_pairs
from .game_ids import seat_id
from .seats import seat_options
from .terminal import clean, make_console, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from agents.base import Action, Agent, Episode
    from sdar_envs.privileged import Privileged, StudentView

    from ..rollout.batch_env import BatchEnv
    from ..rollout.collect import Rollout
    from ..rollout.environments import EnvironmentSource
    from ..rollout.replies import Reply

HELP = "a line is an action; :actions lists the admissible ones, :quit leaves"
SHOWN_ACTIONS = 60
LEAVING = ("quit", "exit")  # what people type to leave; a world may have such an action of its own


class Leave(Exception):
    """The person at the keyboard has had enough."""


USAGE = "[ENV] [options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar play``."""
    add_environment_argument(parser)
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the environment"
    )
    parser.add_argument("--split", default="valid", help="train, valid or test [valid]")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--task", metavar="ID", help="task id, e.g. of an episode in episodes.jsonl")
    which.add_argument("--index", type=int, metavar="N", default=0, help="the N-th task of the split [0]")
    parser.add_argument("--episodes", type=int, default=1, metavar="N", help="how many, from --index on [1]")
    parser.add_argument(
        "--agent",
        default="human",
        metavar="WHO",
        help="human, expert, random, a scripted player of the environment (sdar envs ID), a run directory or a model "
        "path [human]",
    )
    parser.add_argument(
        "--as", dest="role", metavar="ROLE", help="of a game of several roles: which seat, e.g. shopper_0"
    )
    parser.add_argument(
        "--against", metavar="WHO", help="who sits in the other seats: a scripted player, or a run directory"
    )
    parser.add_argument("--privileged", action="store_true", help="show what only a teacher may see, and say so")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the agent's own randomness [0]")
    parser.add_argument("--delay", type=float, default=None, metavar="S", help="seconds between an agent's steps [0.5]")
    parser.add_argument("--record", metavar="FILE", help="append the episodes to this JSON-lines file")
    add_trust_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Play the episodes that were asked for."""
    from ..rollout.environments import EnvironmentSource
    from .players import append_json_line, environment_of, load_player, require_player, say_trust

    console = make_console()
    if options.agent != "human":
        require_player(options.agent)
    say_trust(console, options.trust_remote_code)
    given = read_pairs(options.env_kwargs, "--env-kwargs")
    chosen = chosen_environment(options)
    env_id, env_kwargs = environment_of(options.agent, seat_id(chosen) if chosen else None, given)
    seated = {"seed": options.seed, "trust_remote_code": options.trust_remote_code}
    env_kwargs = {**env_kwargs, **seat_options(env_id, options.role, options.against, **seated)}
    source = EnvironmentSource(env_id, env_kwargs, workers=0)
    by_hand = options.agent == "human"
    if by_hand:
        agent: Agent = HumanPlayer(read_line(console), console)
        delay = 0.0
    else:
        player = load_player(options.agent, source, seed=options.seed, trust_remote_code=options.trust_remote_code)
        agent = Watched(player.agent, console)
        delay = options.delay if options.delay is not None else (0.5 if console.is_terminal else 0.0)
    tasks = [options.task] if options.task else _tasks(source, options.split, options.index, options.episodes)
    source.require_task(tasks[0])
    screen = Screen(console, privileged=options.privileged, delay=delay)
    try:
        for number, task_id in enumerate(tasks):
            rollout = play(source, agent, task_id, screen, split=options.split, draw=("play", options.seed, number))
            if options.record:
                from ..run.episode_log import episode_record

                record = episode_record(rollout, run="play", iteration=0, phase=options.split, seed=options.seed)
                append_json_line(options.record, record)
                console.print(f"recorded in {options.record}")
    except Leave:
        console.print("left the episode")
    finally:
        source.close()
    return 0


@dataclass(slots=True)
class Screen:
    """Where episodes are shown: whether with the teacher's side, and how long each step stays before the next."""

    console: Console
    privileged: bool = False
    delay: float = 0.0
    _known: list[tuple[str, str]] = field(default_factory=list)  # privileged lines that stand on the screen already

    def show(self, observation: str, info: Mapping[str, Any], *, begins: bool) -> None:
        """Show one state; of the teacher's side, what has changed since the state before."""
        self.console.print(clean(readable_result(observation)))
        if self.privileged:
            lines = privileged_lines(split_info(observation, info)[1])
            fresh = lines if begins else [line for line in lines if line not in self._known]
            self._known = lines
            self.console.print("-- PRIVILEGED: for teachers only, no student sees it --", style="bold yellow")
            for label, text in fresh:
                self.console.print(f"   {label:<6}{text}", style="yellow")
            if len(fresh) < len(lines):
                self.console.print(f"   ({len(lines) - len(fresh)} lines as before)", style="yellow")


def privileged_lines(known: Privileged | None) -> list[tuple[str, str]]:
    """The teacher's side of a state as (label, text) lines; empty facts are left out."""
    if known is None:
        return [("", "this environment's info has no privileged view")]
    fields: Mapping[str, Any] = known.reveal()
    skills = fields.get("skills", {})
    plan = "; ".join(fields.get("plan", ())) or "nothing is left to do"
    lines = [("plan", plan), *(("hint", hint) for hint in fields.get("hints", ()))]
    lines += [("fact", f"{name}: {value}") for name, value in fields.get("facts", {}).items() if value not in ("", [])]
    stale = skills.get("stale", [])
    for index, line in enumerate(skills.get("lines", ())):
        lines.append(("skill", line + (" (wrong)" if index < len(stale) and stale[index] else "")))
    return [(label, one_line(text)) for label, text in lines]


def play(
    source: EnvironmentSource,
    agent: Agent,
    task_id: str,
    screen: Screen,
    *,
    split: str,
    draw: tuple[int | str, ...],
) -> Rollout:
    """Play one episode and show each exchange.

    Args:
        source: The environment.
        agent: Who acts; it gets the privileged side only if it declares that it reads it.
        task_id: Which task.
        screen: Where to.
        split: The split that the environment is made with.
        draw: Key of the agent's randomness.

    Raises:
        Leave: The human left.
    """
    from ..rollout.batch_env import LoopBatchEnv
    from ..rollout.collect import TaskDraw, collect
    from ..rollout.faults import EpisodesFailedError

    turns = "every" if screen.privileged or agent.reads_privileged else "never"
    shown = ShownEnv(LoopBatchEnv.of(source, split, 1, privileged_turns=turns), screen)
    screen.console.print(f"{source.name}, task {one_line(task_id)}\n", style="bold")
    try:
        rollout = collect(agent, shown, [TaskDraw(task_id, draw)])[0]
    finally:
        shown.close()
    episode = rollout.episode
    if rollout.failure is not None:
        raise EpisodesFailedError(f"the environment broke: {rollout.failure}")
    steps = len(episode.turns)
    invalid = sum(not turn.is_action_valid for turn in episode.turns)
    outcome = "won" if episode.success else f"not won ({episode.stop_reason.value.replace('_', ' ')})"
    counted = f"{steps} step{'' if steps == 1 else 's'}"
    screen.console.print(
        f"\n{outcome} after {counted}, return {episode.return_:g}, {invalid} not understood", style="bold"
    )
    if said := ending(episode):
        screen.console.print(said)
    return rollout


def ending(episode: Episode) -> str:
    """What a world says of the steps of an episode that is over; "" where it says nothing."""
    wrong, detour = episode.first_wrong_turn, episode.first_detour
    if wrong is None:
        return ""
    said = [f"score {episode.score:.2f}"]
    if detour is not None and detour >= 0 and detour != wrong:
        said.append(f"the first detour was {_step(episode, detour)}")
    said.append("no step was wrong" if wrong < 0 else f"the first wrong step was {_step(episode, wrong)}")
    return "; ".join(said)


def _step(episode: Episode, turn: int) -> str:
    return f"step {turn + 1}: {one_line(episode.turns[turn].action.text)}"


class ShownEnv:
    """A `BatchEnv` that shows what it answers."""

    def __init__(self, inner: BatchEnv, screen: Screen) -> None:
        self.slots = inner.slots
        self.name = inner.name
        self.success_threshold = inner.success_threshold
        self._inner = inner
        self._screen = screen

    def reset(self, slots: Sequence[int], task_ids: Sequence[str]) -> list[Reply]:
        """Begin one task per slot."""
        return self._shown(self._inner.reset(slots, task_ids), begins=True)

    def step(self, slots: Sequence[int], actions: Sequence[str]) -> list[Reply]:
        """Play one action per slot."""
        time.sleep(self._screen.delay)
        return self._shown(self._inner.step(slots, actions), begins=False)

    def close(self) -> None:
        """Close the environments."""
        self._inner.close()

    def _shown(self, replies: list[Reply], *, begins: bool) -> list[Reply]:
        for reply in replies:
            if reply.failure is None:
                self._screen.show(reply.observation, reply.info, begins=begins)
        return replies


class Watched:
    """An agent whose completions and actions are shown."""

    def __init__(self, agent: Agent, console: Console) -> None:
        self.reads_privileged = agent.reads_privileged
        self._agent = agent
        self._console = console

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Act as the agent does, and show it."""
        actions = self._agent.act(views, privileged) if self.reads_privileged else self._agent.act(views)
        for action in actions:
            if action.completion.strip() not in ("", action.text):
                self._console.print("\n" + clean(action.completion.strip()), style="dim")
            self._console.print(f"\n> {one_line(action.text)}", style="bold")
        return actions

    def release(self, slots: Sequence[int]) -> None:
        """Say to the agent which episodes ended."""
        release = getattr(self._agent, "release", None)
        if release is not None:
            release(slots)


class HumanPlayer:
    """A person at a keyboard as an agent; never handed the privileged side."""

    reads_privileged = False

    def __init__(self, read: Callable[[StudentView], str], console: Console) -> None:
        self._read = read
        self._console = console

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Ask for one action per view.

        Raises:
            Leave: The input ended, `:quit`, or a word of `LEAVING` that is no admissible action.
        """
        from agents.base import Action

        texts = [self._ask(view) for view in views]
        return [Action(text, text) for text in texts]

    def _ask(self, view: StudentView) -> str:
        while True:
            try:
                line = self._read(view)
            except EOFError:
                raise Leave from None
            if line.strip().lower() in LEAVING and line.strip() not in view.admissible_actions:
                raise Leave
            if not line.startswith(":"):
                return typed_action(line, view.admissible_actions)
            command = line[1:].strip()
            if command in LEAVING:
                raise Leave
            if command == "actions":
                listed = [one_line(action) for action in typed_words(view)]
                self._console.print("; ".join(listed[:SHOWN_ACTIONS]) or "this environment lists none", style="dim")
                if len(listed) > SHOWN_ACTIONS:
                    self._console.print(f"... and {len(listed) - SHOWN_ACTIONS} more", style="dim")
            else:
                self._console.print(HELP, style="dim")


def typed_words(view: StudentView) -> Sequence[str]:
    """What can be typed now: calls of tools in their short form, any other actions as they are."""
    return list(short_forms(view.admissible_actions)) or view.admissible_actions


def read_line(console: Console) -> Callable[[StudentView], str]:
    """How to read an action: with completion and history at a terminal, plain lines otherwise."""
    if sys.stdin.isatty() and console.is_terminal:
        return _prompt_with_completion()

    def plain(view: StudentView) -> str:
        line = input()
        console.print(f"\n> {one_line(line)}")  # the transcript of a script reads like that of a session
        return line

    return plain


def _prompt_with_completion() -> Callable[[StudentView], str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession(history=InMemoryHistory(), complete_while_typing=True)

    def prompt(view: StudentView) -> str:
        actions = [one_line(action) for action in typed_words(view)]
        # The whole line is one candidate: "go to fri" completes to "go to fridge 1".
        completer = WordCompleter([*actions, ":actions", ":help", ":quit"], sentence=True, match_middle=True)
        return session.prompt("\n> ", completer=completer, bottom_toolbar=HELP)

    return prompt


def _tasks(source: EnvironmentSource, split: str, index: int, episodes: int) -> list[str]:
    tasks = source.task_ids(split)
    if episodes < 1:
        raise ValueError(f"--episodes expects at least 1, got {episodes}")
    if not 0 <= index < len(tasks):
        raise ValueError(f"--index expects 0 to {len(tasks) - 1} for split {split!r} of {source.name}, got {index}")
    return [str(task) for task in tasks[index : index + episodes]]
