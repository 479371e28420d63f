"""Scripted searchers: what a sensible player reaches with and without the statements of the skill bank.

They read observations and nothing else (no privileged field, no list of admissible actions), make no mistakes of form,
and forget nothing. Their success rates bound what knowledge is worth at a horizon: the smaller houses' horizons were
chosen with them. They are baselines, not policies to imitate.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

import gymnasium as gym

from ..randomness import counted_generator
from . import tables

_SEEN = re.compile(r"\ba (\w+) (\d+)")
_HOME = re.compile(r"the (\w+) is usually in the (\w+)\.")
_STORAGE = re.compile(r"the (\w+) belongs on the (\w+)\.")
_TOOL = re.compile(r"to (\w+), use the (\w+)\.")


def _sentence_patterns() -> list[tuple[str, re.Pattern[str]]]:
    patterns = []
    for task_type, instruction in itertools.product(tables.TASK_TYPES, tables.INSTRUCTIONS):
        for sentence in tables.sentences(task_type, instruction):
            pattern = re.escape(sentence).replace(r"\{object\}", r"(?P<target>\w+)")
            for name in ("receptacle", "lamp"):
                pattern = pattern.replace(rf"\{{{name}\}}", r"(?P<destination>\w+)")
            patterns.append((task_type, re.compile(pattern)))
    return patterns


_SENTENCES = _sentence_patterns()


def read_sentence(observation: str) -> tuple[str, str, str]:
    """The task type, target type and destination (or lamp) type that a first observation asks for.

    The destination is ``""`` where the sentence does not name it.

    Raises:
        ValueError: No task sentence was found.
    """
    for task_type, pattern in _SENTENCES:
        if match := pattern.search(observation.rpartition("Your task is to: ")[2]):
            return task_type, match["target"], match.groupdict().get("destination", "")
    raise ValueError(f"expected one of the task sentences in {observation[-200:]!r}")


def receptacles_in(observation: str) -> list[str]:
    """The receptacles that a first observation names, in its order."""
    room = observation.partition("you see ")[2].partition("\n")[0]
    return [f"{name} {number}" for name, number in _SEEN.findall(room)]


@dataclass
class Searcher:
    """Looks for what the sentence names; in the places the statements name first, else in random order.

    Args:
        statements: Compact lines of skill statements, e.g. ``the apple is usually in the fridge.``; without them
            nothing is known, and the appliance of a verb, and where a thing belongs, are found by trying.
        seed: Key of the random orders.
    """

    statements: Sequence[str] = ()
    seed: Sequence[int | str] = (0,)
    _contents: dict[str, list[str]] = field(default_factory=dict, init=False)
    _here: str = field(default="", init=False)
    _places: dict[str, str] = field(default_factory=dict, init=False)  # of what was moved; "" is the hand

    def __post_init__(self) -> None:
        self._homes = {found[1]: found[2] for line in self.statements if (found := _HOME.search(line))}
        self._storages = {found[1]: found[2] for line in self.statements if (found := _STORAGE.search(line))}
        self._tools = {found[1]: found[2] for line in self.statements if (found := _TOOL.search(line))}

    def play(self, observation: str) -> Generator[str, str, None]:
        """Yield actions and be sent what the world answers; ends when nothing is left to try."""
        task_type, target, destination = read_sentence(observation)
        self._contents, self._here, self._places = {}, "", {}
        receptacles = receptacles_in(observation)
        order = counted_generator("searcher", *self.seed).permutation(len(receptacles))
        self._receptacles = [receptacles[int(i)] for i in order]
        if task_type == "light":
            yield from self._find(target, "")
            yield from self._find(destination, "", take=False)
            return
        # What has to be moved there is not there yet.
        avoided = destination if task_type in ("place", "two") else ""
        things: list[str] = []
        for kind in [destination] if destination else self._storage_order(target):
            place = ""
            for number in range(2 if task_type == "two" else 1):
                if number < len(things):
                    yield from self._fetch(things[number])
                else:
                    thing = yield from self._find(target, avoided)
                    if not thing:
                        return
                    if task_type in tables.APPLIANCES:
                        yield from self._process(task_type, thing)
                    things.append(thing)
                place = place or self._nearest(kind)
                if not (yield from self._put(things[number], place)):
                    break  # nothing of its kind can be put there

    def _type(self, name: str) -> str:
        return name.rpartition(" ")[0]

    def _go(self, receptacle: str) -> Generator[str, str, None]:
        if self._here != receptacle:
            self._here = receptacle
            self._look(receptacle, (yield f"go to {receptacle}"))

    def _look(self, receptacle: str, text: str) -> None:
        if "you see" in text:
            seen = _SEEN.findall(text.partition("you see")[2])
            self._contents[receptacle] = [f"{name} {number}" for name, number in seen]

    def _open(self, receptacle: str) -> Generator[str, str, None]:
        if receptacle not in self._contents:
            self._look(receptacle, (yield f"open {receptacle}"))

    def _preferred(self, wanted: str, avoided: str) -> Iterable[str]:
        """Where to look: where one was seen, then the stated home, then anywhere not yet seen."""

        def has_one(name: str) -> bool:
            return any(self._type(thing) == wanted for thing in self._contents.get(name, ()))

        fitting = [name for name in self._receptacles if self._type(name) != avoided]
        unseen = [name for name in fitting if name not in self._contents]
        home = self._homes.get(wanted, "")
        return [name for name in fitting if has_one(name)] + sorted(unseen, key=lambda name: self._type(name) != home)

    def _find(self, wanted: str, avoided: str, *, take: bool = True) -> Generator[str, str, str]:
        while places := list(self._preferred(wanted, avoided)):
            receptacle = places[0]
            yield from self._go(receptacle)
            yield from self._open(receptacle)
            for thing in self._contents.setdefault(receptacle, []):
                if self._type(thing) == wanted:
                    if take:
                        self._contents[receptacle].remove(thing)
                    yield f"take {thing} from {receptacle}" if take else f"use {thing}"
                    return thing
        return ""

    def _process(self, verb: str, held: str) -> Generator[str, str, None]:
        tool = self._tools.get(verb)
        places = self._receptacles if tool is None else [n for n in self._receptacles if self._type(n) == tool]
        for receptacle in places:
            yield from self._go(receptacle)
            if (yield f"{verb} {held} with {receptacle}") != "Nothing happens.":
                return

    def _storage_order(self, target: str) -> list[str]:
        """The kinds of receptacle to try when the task does not say where a thing belongs: what is stated, then any."""
        kinds = list(dict.fromkeys(self._type(name) for name in self._receptacles))
        return sorted(kinds, key=lambda kind: kind != self._storages.get(target))

    def _nearest(self, kind: str) -> str:
        fitting = [name for name in self._receptacles if self._type(name) == kind]
        # Standing at one already saves a step.
        return next((name for name in fitting if name == self._here), fitting[0])

    def _put(self, thing: str, place: str) -> Generator[str, str, bool]:
        yield from self._go(place)
        yield from self._open(place)
        accepted = (yield f"move {thing} to {place}") != "Nothing happens."
        if accepted:
            self._places[thing] = place
        return accepted

    def _fetch(self, thing: str) -> Generator[str, str, None]:
        """Have a thing in the hand again that was put where it does not belong."""
        if place := self._places.get(thing):
            yield from self._go(place)
            yield f"take {thing} from {place}"
            self._places[thing] = ""


def search_steps(env: gym.Env[str, str], task_id: str, statements: Sequence[str] = ()) -> int | None:
    """How many steps a `Searcher` takes to solve a task; None where it does not within the environment's horizon."""
    observation, info = env.reset(options={"task_id": task_id})
    player = Searcher(statements, ("searcher", task_id)).play(observation)
    answer: str | None = None
    steps = 0
    try:
        while True:
            action = next(player) if answer is None else player.send(answer)
            answer, _, terminated, truncated, info = env.step(action)
            steps += 1
            if terminated or truncated:
                return steps if info["success"] else None
    except StopIteration:
        return None
