"""Play an episode in the terminal, or watch an agent play it.

A line is an action. Lines that begin with a colon are for this program: `:actions` lists the admissible actions,
`:help` says this, `:quit` leaves (as the end of input does).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .flags import read_pairs
from .terminal import clean, make_console, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from agents.base import Agent, Episode
    from sdar_envs.privileged import Privileged, StudentView

    from ..environments import EnvironmentSource

HELP = "a line is an action; :actions lists the admissible ones, :quit leaves"
SHOWN_ACTIONS = 60


class Leave(Exception):
    """The person at the keyboard has had enough."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar play``."""
    parser.add_argument("--env", metavar="ID", help="environment [the run directory's, else sdar/Household-v0]")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the environment"
    )
    parser.add_argument("--split", default="valid", help="train, valid or test [valid]")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--task", metavar="ID", help="task id, e.g. of an episode in episodes.jsonl")
    which.add_argument("--index", type=int, metavar="N", default=0, help="the N-th task of the split [0]")
    parser.add_argument("--episodes", type=int, default=1, metavar="N", help="how many, from --index on [1]")
    parser.add_argument(
        "--agent", default="human", metavar="WHO", help="human, expert, random, a run directory or a model path [human]"
    )
    parser.add_argument("--privileged", action="store_true", help="show what only a teacher may see, and say so")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the agent's own randomness [0]")
    parser.add_argument("--delay", type=float, default=None, metavar="S", help="seconds between an agent's steps [0.5]")
    parser.add_argument("--record", metavar="FILE", help="append the episodes to this JSON-lines file")


def run(options: argparse.Namespace) -> int:
    """Play the episodes that were asked for."""
    from ..environments import EnvironmentSource
    from .players import environment_of, load_player

    console = make_console()
    env_id, env_kwargs = environment_of(options.agent, options.env, read_pairs(options.env_kwargs, "--env-kwargs"))
    source = EnvironmentSource(env_id, env_kwargs)
    if options.agent == "human":
        agent: Agent = HumanPlayer(read_line(console), console)
    else:
        agent = load_player(options.agent, source, seed=options.seed).agent
    watching = options.agent != "human"
    delay = options.delay if options.delay is not None else (0.5 if watching and console.is_terminal else 0.0)
    tasks = [options.task] if options.task else _tasks(source, options.split, options.index, options.episodes)
    try:
        for number, task_id in enumerate(tasks):
            draw = ("play", options.seed, number)
            episode = play(
                source, agent, task_id, console,
                split=options.split, draw=draw, privileged=options.privileged, pause=lambda: time.sleep(delay)
            )  # fmt: skip
            if options.record:
                from .players import append_episode

                append_episode(options.record, episode)
                console.print(f"recorded in {options.record}")
    except Leave:
        console.print("left the episode")
    finally:
        source.close()
    return 0


def play(
    source: EnvironmentSource,
    agent: Agent,
    task_id: str,
    console: Console,
    *,
    split: str,
    draw: tuple[int | str, ...],
    privileged: bool,
    pause: Callable[[], None] = lambda: None,
) -> Episode:
    """Play one episode and show each exchange.

    Args:
        source: The environment.
        agent: Who acts; it gets the privileged side only if it declares that it reads it.
        task_id: Which task.
        console: Where to.
        split: The split that the environment is made with.
        draw: Key of the agent's randomness.
        privileged: Show the teacher's side, marked as such.
        pause: Called after every step.

    Raises:
        Leave: The human left.
    """
    from agents.base import Episode, StopReason, Turn
    from sdar_envs.privileged import split_info

    from ..environments import reset_to

    env = source.make(split)
    try:
        observation, info = reset_to(env, task_id, source.enumerates_tasks)
        view, known = split_info(observation, info, draw=draw)
        episode = Episode(source.name, task_id, view.task_type, draw)
        console.print(f"{source.name}, task {one_line(task_id)}" + (f" ({view.task_type})" if view.task_type else ""))
        console.print("")
        while True:
            console.print(clean(view.observation))
            if privileged:
                show_privileged(console, known)
            action = agent.act([view], [known] if agent.reads_privileged else None)[0]
            if not isinstance(agent, HumanPlayer):
                if action.completion not in ("", action.text):
                    console.print(clean(action.completion), style="dim")
                console.print(f"\n> {one_line(action.text)}", style="bold")
            if action.context_full:
                episode.stop_reason = StopReason.CONTEXT_FULL
                break
            observation, reward, terminated, truncated, info = env.step(action.text)
            turn = view.turn + 1
            view_after, known = split_info(observation, info, turn=turn, draw=draw)
            episode.turns.append(Turn(view, action, float(reward), view_after.is_action_valid))
            view = view_after
            pause()
            if terminated or truncated:
                console.print(clean(view.observation))
                told = info.get("success")
                episode.success = bool(episode.return_ >= source.threshold if told is None else told)
                episode.score = float(info.get("score", episode.success))
                ended = StopReason.SUCCESS if episode.success else StopReason.TERMINATED
                episode.stop_reason = ended if terminated else StopReason.HORIZON
                break
    finally:
        env.close()
    invalid = sum(not turn.is_action_valid for turn in episode.turns)
    outcome = "won" if episode.success else f"not won ({episode.stop_reason.value.replace('_', ' ')})"
    console.print(
        f"\n{outcome} after {len(episode.turns)} steps, return {episode.return_:g}, {invalid} not understood",
        style="bold",
    )
    return episode


def show_privileged(console: Console, known: Privileged | None) -> None:
    """Print the teacher's side of a state under a heading that says what it is."""
    console.print("-- PRIVILEGED: what follows is for teachers only; no student sees it --", style="bold yellow")
    if known is None:
        console.print("   this environment's info has no privileged view")
        return
    fields = known.reveal()
    skills = fields["skills"]
    lines = [("plan", "; ".join(fields["plan"])), *(("hint", hint) for hint in fields["hints"])]
    lines += [("fact", f"{key}: {value}") for key, value in fields["facts"].items()]
    lines += [
        ("skill", line + (" (stale)" if stale else ""))
        for line, stale in zip(skills["lines"], skills["stale"], strict=True)
    ]
    for label, text in lines:
        console.print(f"   {label:<6}{one_line(text)}", style="yellow")
    console.print("-- end of privileged --", style="bold yellow")


class HumanPlayer:
    """A person at a keyboard as an agent; never handed the privileged side."""

    reads_privileged = False

    def __init__(self, read: Callable[[StudentView], str], console: Console) -> None:
        self._read = read
        self._console = console

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Any]:
        """Ask for one action per view.

        Raises:
            Leave: The input ended, or `:quit`.
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
            if not line.startswith(":"):
                return line
            command = line[1:].strip()
            if command == "quit":
                raise Leave
            if command == "actions":
                listed = [one_line(action) for action in view.admissible_actions]
                self._console.print("; ".join(listed[:SHOWN_ACTIONS]) or "this environment lists none", style="dim")
                if len(listed) > SHOWN_ACTIONS:
                    self._console.print(f"... and {len(listed) - SHOWN_ACTIONS} more", style="dim")
            else:
                self._console.print(HELP, style="dim")


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
        actions = [one_line(action) for action in view.admissible_actions]
        # The whole line is one candidate: "go to fri" completes to "go to fridge 1".
        completer = WordCompleter([*actions, ":actions", ":help", ":quit"], sentence=True, match_middle=True)
        return session.prompt("\n> ", completer=completer, bottom_toolbar=HELP)

    return prompt


def _tasks(source: EnvironmentSource, split: str, index: int, episodes: int) -> list[str]:
    tasks = source.task_ids(split)
    if not 0 <= index < len(tasks):
        raise ValueError(f"--index expects 0 to {len(tasks) - 1} for split {split!r} of {source.name}, got {index}")
    return [str(task) for task in tasks[index : index + episodes]]
