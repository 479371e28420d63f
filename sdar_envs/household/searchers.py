"""Scripted searchers: what a sensible player reaches with and without the statements of the skill bank.

They read observations and nothing else (no privileged field, no list of admissible actions), make no mistakes of form,
and forget nothing. Their success rates bound what knowledge is worth at a horizon: the smaller houses' horizons were
chosen with them. They are baselines, not policies to imitate.

What a player knows without the skill bank comes in three degrees: nothing; what anyone knows of houses (`GENERIC`:
which appliance does what, what is kept in what, and to look first at what need not be opened); and beside it how often
things stood where in training tasks that were seen (`seen_frequencies`).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import gymnasium as gym

from ..randomness import counted_generator
from . import tables
from .generator import generate, task_ids

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

# What anyone knows of appliances, in the words of the skill statements.
GENERIC = tuple(f"to {verb}, use the {tool}." for verb, tool in tables.APPLIANCES.items())


@dataclass(frozen=True)
class Frequencies:
    """How often things stood in and had to go to kinds of receptacles: kind of thing -> receptacle type -> count."""

    places: Mapping[str, Counter[str]]
    storages: Mapping[str, Counter[str]]


def seen_frequencies(tasks: int, *, size: str, instruction: str = "named", world_seed: int = 0) -> Frequencies:
    """What a player could have written down who saw the first training tasks of a house being solved."""
    places: dict[str, Counter[str]] = {}
    storages: dict[str, Counter[str]] = {}
    for task_id in task_ids("train")[:tasks]:
        draft = generate(task_id, size=size, instruction=instruction, world_seed=world_seed).draft
        for kind, position in draft.placements:
            if kind in (draft.target, draft.destination):
                places.setdefault(kind, Counter())[draft.layout.receptacle_types[position]] += 1
        if draft.task_type != "light":
            storages.setdefault(draft.target, Counter())[draft.destination] += 1
    return Frequencies(places, storages)


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
        sensible: Whether things are looked for, and taken to, where they can be at all, and places that need not be
            opened are looked at before the others.
        frequencies: What was seen in training: the likeliest places for their cost are looked at first.
    """

    statements: Sequence[str] = ()
    seed: Sequence[int | str] = (0,)
    sensible: bool = False
    frequencies: Frequencies | None = None
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

    def _is_odd(self, thing: str, kind: str) -> bool:
        """Whether nobody who knows houses would look for a thing in such a receptacle."""
        return self.sensible and kind not in tables.CONTAINMENT.get(thing, ())

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
        counts = Counter(self._type(name) for name in self._receptacles)
        places = self.frequencies.places.get(wanted, Counter()) if self.frequencies else Counter()

        def order(name: str) -> tuple[bool, float, bool, bool]:
            kind = self._type(name)
            is_closed = self.sensible and kind in tables.OPENABLE
            # Per place and per step that looking there takes.
            seen = places[kind] / counts[kind] / (2 if is_closed else 1)
            return kind != home, -seen, self._is_odd(wanted, kind), is_closed

        return [name for name in fitting if has_one(name)] + sorted(unseen, key=order)

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
        seen = self.frequencies.storages.get(target, Counter()) if self.frequencies else Counter()

        def order(kind: str) -> tuple[bool, int, bool, bool]:
            is_closed = self.sensible and kind in tables.OPENABLE
            return kind != self._storages.get(target), -seen[kind], self._is_odd(target, kind), is_closed

        return sorted(kinds, key=order)

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


def search_steps(
    env: gym.Env[str, str],
    task_id: str,
    statements: Sequence[str] = (),
    *,
    sensible: bool = False,
    frequencies: Frequencies | None = None,
) -> int | None:
    """How many steps a `Searcher` takes to solve a task; None where it does not within the environment's horizon."""
    observation, info = env.reset(options={"task_id": task_id})
    searcher = Searcher(statements, ("searcher", task_id), sensible=sensible, frequencies=frequencies)
    player = searcher.play(observation)
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
