"""One running TextWorld game, guarded: only commands that the game itself lists reach its interpreter.

Jericho, which interprets ``.z8`` files, cuts a long action inside a UTF-8 character and raises; an Inform game also
knows commands (``restart``, ``undo``, ``save``, ``tw-print``) that write files, tell what is hidden or part the game
from the facts that are tracked beside it. None of them is listed, so none of an agent's text can do any of that.
"""

from __future__ import annotations

import re
import threading
import warnings
from pathlib import Path
from typing import Any

from .textworld_words import Fact, describe, room_of

NOT_UNDERSTOOD = "That is not understood here. Try one of the admissible commands."
WON, LOST = "*** The End ***", "*** You lost! ***"  # as the narrator of a compiled game says
_SHORT = {"n": "go north", "e": "go east", "s": "go south", "w": "go west", "i": "inventory", "l": "look"}
_SHORT |= {direction: f"go {direction}" for direction in ("north", "east", "south", "west")}
_STATUS_LINE = re.compile(r"^>\s+-= .* =-\d+/\d+\s*\Z", re.MULTILINE)  # what Jericho reads of the screen's top
_ARTICLES = re.compile(r"\b(?:the|an?) ")
# Inform's substitutions. What depends on a state is left out whole: the description of the room says that.
_INFORM = re.compile(r"\[if [^\]]*\].*?\[end if\]|\[[^\]]*\]", re.DOTALL)
_LOCK = threading.Lock()  # TextWorld is imported, and its warnings silenced, by one thread at a time


class TextWorldPlay:
    """A game that is being played. Call `reset` first, and `close` when done.

    Args:
        path: A ``.z8`` with its ``.json`` beside it, or a ``.json`` alone.

    Raises:
        ImportError: TextWorld is not installed.
        ValueError: TextWorld cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.narrated = path.suffix == ".z8"
        with _LOCK, warnings.catch_warnings():
            try:
                import textworld
            except ImportError as missing:
                raise ImportError(
                    f'a game of TextWorld needs TextWorld ({missing}): pip install "sdar-envs[textworld]"'
                ) from missing
            warnings.simplefilter("ignore")  # Jericho has not heard of generated games, and says so for each
            wanted = ("policy_commands", "facts", "admissible_commands", "objective", "max_score", "won", "lost")
            infos = textworld.EnvInfos(**dict.fromkeys(wanted, True), score=True)
            try:
                self._game: Any = textworld.start(str(path), infos)
            except (OSError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"TextWorld cannot read {path}: {error!r:.200}") from error
        self._state: Any = None

    def reset(self) -> str:
        """Begin, and return the objective with what is seen."""
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._state = self._game.reset()
        if not self.narrated:
            return f"{self.objective}\n\n{describe(self.known)}"
        _, found, text = str(self._state.feedback).partition(self.objective)  # what comes before is TextWorld's sign
        return _tidy(found + text if found else str(self._state.feedback))

    def step(self, command: str) -> tuple[str, bool]:
        """Play a command; returns what is seen, and whether it was one of the admissible."""
        understood = self.understood(command)
        if understood is None:
            return NOT_UNDERSTOOD, False
        self._state, _, _ = self._game.step(understood)
        if self.narrated:
            return _tidy(str(self._state.feedback).partition("Would you like to RESTART")[0]), True
        if self.over:
            return WON if self.won else LOST, True
        described = self._described(understood.removeprefix("examine ")) if understood.startswith("examine ") else ""
        return described or describe(self.known), True

    def _described(self, item: str) -> str:
        """What the game's author wrote of a thing, such as the recipe in a cookbook."""
        named = (thing for thing in self._state["game"].infos.values() if thing.name == item)
        written = next((str(thing.desc or "") for thing in named), "")
        plain = {"[noun]": item, "[line break]": "\n", "[paragraph break]": "\n\n"}
        return _tidy(_INFORM.sub(lambda found: plain.get(found[0], ""), written))

    def understood(self, text: str) -> str | None:
        """The admissible command that a text means: case, white space, articles and usual abbreviations do not count.

        None where there is no such command; what is returned comes from the game, never from the text.
        """
        words = " ".join(text[:200].lower().split())
        wanted = _SHORT.get(words, words)
        if wanted.startswith("x "):
            wanted = f"examine {wanted[2:]}"
        for command in self.admissible:
            if wanted == command.lower() or _ARTICLES.sub("", wanted) == _ARTICLES.sub("", command.lower()):
                return command
        return None

    @property
    def admissible(self) -> list[str]:
        """The commands that do something now, sorted; none once the game is over."""
        return [] if self.over else sorted(str(command) for command in self._state["admissible_commands"])

    @property
    def plan(self) -> list[str]:
        """The commands that win from here, as TextWorld keeps them up to date; none where it is over or lost."""
        return [] if self.over else [str(command) for command in self._state["policy_commands"] or ()]

    @property
    def objective(self) -> str:
        """What is to be done."""
        return " ".join(str(self._state["objective"]).split()) if not self.narrated else str(self._state["objective"])

    @property
    def known(self) -> tuple[Fact, ...]:
        """Every fact that holds now, sorted."""
        return tuple(sorted((fact.name, *(each.name for each in fact.arguments)) for fact in self._state["facts"]))

    @property
    def room(self) -> str:
        """Where the player is."""
        return room_of(self.known)

    @property
    def won(self) -> bool:
        """Whether the objective is reached."""
        return bool(self._state["won"])

    @property
    def over(self) -> bool:
        """Whether the game is won or lost."""
        return self.won or bool(self._state["lost"])

    @property
    def score(self) -> float:
        """The game's own score as a share of its highest, 0 to 1."""
        if self.won:
            return 1.0
        points, most = self._state.get("score") or 0, self._state.get("max_score") or 0
        return min(max(points / most, 0.0), 1.0) if most else 0.0

    def close(self) -> None:
        """Let the interpreter go; a second call does nothing."""
        game, self._game = self._game, None
        if game is not None:
            game.close()


def _tidy(text: str) -> str:
    """A narrator's text with single blank lines and no white space at the ends."""
    lines = "\n".join(line.strip() for line in _STATUS_LINE.sub("", text.rstrip()).splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip()
