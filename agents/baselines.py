"""Agents without a model: random, expert, scripted, human."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence

from sdar_envs.privileged import Privileged, StudentView
from sdar_envs.randomness import counted_generator
from sdar_envs.scripted_players import Play

from .base import Action, Parse


class RandomAgent:
    """Takes an admissible action at random; draws are counted by the episode's key and the turn.

    Args:
        seed: Random agents with different seeds draw different actions.
    """

    reads_privileged = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Draw one action per view; ``""`` where none is listed."""
        return [self._draw(view) for view in views]

    def _draw(self, view: StudentView) -> Action:
        if not view.admissible_actions:
            return Action("", "", Parse.EMPTY)
        generator = counted_generator("random-agent", self.seed, *view.draw, view.task_id, view.turn)
        text = view.admissible_actions[int(generator.integers(len(view.admissible_actions)))]
        return Action(text, text)


class ExpertAgent:
    """Plays the environment's own plan, which is privileged information."""

    reads_privileged = True

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Return the next action of each plan; ``""`` where the plan is empty.

        Raises:
            ValueError: No privileged information was handed over.
        """
        if privileged is None or any(known is None for known in privileged):
            raise ValueError(
                "ExpertAgent expects privileged information for every view, got none: make the environment with "
                "expose_privileged=True, and hand its second half of split_info to act()"
            )
        texts = [str(known.reveal().get("next_action", "")) for known in privileged if known is not None]
        return [Action(text, text, Parse.OK if text else Parse.EMPTY) for text in texts]


class ScriptedAgent:
    """Plays as a world's scripted player does (`sdar_envs.scripted_players`); ``""`` once it has nothing left to try.

    Args:
        play: How one episode is played.
        reads_skills: Whether the player is shown the skill statements of each episode, which are privileged.
        seed: Players with different seeds guess differently.
    """

    def __init__(self, play: Play, *, reads_skills: bool = False, seed: int = 0) -> None:
        self.reads_privileged = reads_skills
        self.seed = seed
        self._play = play
        self._episodes: dict[int, Generator[str, str, None]] = {}  # by slot

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """The next action of each episode; a view of turn 0 begins one.

        Raises:
            ValueError: The player reads the skill statements, and no privileged information was handed over.
        """
        known = privileged if self.reads_privileged and privileged is not None else [None] * len(views)
        return [self._next(view, side) for view, side in zip(views, known, strict=True)]

    def _next(self, view: StudentView, privileged: Privileged | None) -> Action:
        try:
            if view.turn == 0:
                self._episodes[view.slot] = self._begin(view, privileged)
                text = next(self._episodes[view.slot])
            else:
                text = self._episodes[view.slot].send(view.observation)
        except StopIteration:
            text = ""
        return Action(text, text, Parse.OK if text else Parse.EMPTY)

    def _begin(self, view: StudentView, privileged: Privileged | None) -> Generator[str, str, None]:
        statements: Sequence[str] = ()
        if self.reads_privileged:
            if privileged is None:
                raise ValueError(
                    "a scripted player with the skill statements expects privileged information for every view, got "
                    "none: make the environment with expose_privileged=True, or choose the player without them"
                )
            statements = privileged.reveal()["skills"]["compact_lines"]
        return self._play(view, statements, (self.seed, *view.draw, view.task_id))


class HumanAgent:
    """A person at a terminal, with completion of the admissible actions where prompt_toolkit can give it.

    Args:
        read_line: Asks for one line: ``(prompt, choices) -> line``. None takes prompt_toolkit on a terminal, and plain
            `input` elsewhere.
        show: Shows an observation; None prints it. Control characters of a world never reach the terminal.
    """

    reads_privileged = False

    def __init__(
        self,
        read_line: Callable[[str, Sequence[str]], str] | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self._read_line = read_line or line_reader()
        self._show = show or print

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """Ask for one action per view.

        Raises:
            EOFError: The input has ended.
        """
        return [self._ask(view) for view in views]

    def _ask(self, view: StudentView) -> Action:
        self._show(for_terminal(view.observation))
        line = self._read_line("> ", [for_terminal(action) for action in view.admissible_actions])
        text = line.strip()
        return Action(text, line, Parse.OK if text else Parse.EMPTY)


def for_terminal(text: str) -> str:
    """The text with every character that could steer a terminal shown as a replacement mark; line breaks stay."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def line_reader() -> Callable[[str, Sequence[str]], str]:
    """The best way to ask for a line: completion on a terminal that has prompt_toolkit, `input` otherwise."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _plain_line
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
    except ImportError:
        return _plain_line
    session: PromptSession[str] = PromptSession()

    def completed_line(prompt: str, choices: Sequence[str]) -> str:
        # The whole line is one candidate: "go to fri" completes to "go to fridge 1".
        return session.prompt(prompt, completer=WordCompleter(list(choices), sentence=True, match_middle=True))

    return completed_line


def _plain_line(prompt: str, choices: Sequence[str]) -> str:
    return input(prompt)
