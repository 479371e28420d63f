"""The scripted players of Pair. They read the view of their own seat and nothing else.

The usual cook goes to the pass (opening the destination on the way where it has a door), waits for what it needs, and
finishes. Runners differ in what they know: `informed` ones read statements about wishes and homes.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Generator, Mapping, Sequence

from ...choices import require_choice
from ...household import tables as house
from ...household.searchers import read_sentence
from ...privileged import StudentView
from ...randomness import counted_generator
from ..player import Player
from ..scripted import played_by
from .tables import COOK, RUNNER

_REACH = re.compile(r"you reach: ([a-z0-9, ]+)\.")
_PASS = re.compile(r"the pass is the (\w+ \d+)\.")
_TASK = re.compile(r"your task is to: ([^.]+\.)")
_RUNNER = re.compile(r"you are the runner in a (\w+)\. it is (\w+)\.")
_THING = re.compile(r"\ba (\w+ \d+)")
_SEEN_PUT = re.compile(r"you see the runner move (\w+ \d+) to (\w+ \d+)\.")
_QUOTED = re.compile(r'"[^"]*"')
_SAID = re.compile(r'the (?:cook|runner) says "([^"]*)"\.')
_WISH = re.compile(r"at (\w+) in the (\w+): the cook wants the (\w+)\.")
_HOME = re.compile(r"the (\w+) is usually in the (\w+)\.")

Turns = Generator[str, StudentView, None]


class Script(abc.ABC):
    """A player that follows a generator of actions; when it ends, it waits."""

    def __init__(self, statements: Sequence[str] = ()) -> None:
        self.statements = tuple(statements)
        self._turns: Turns | None = None
        self._views: list[StudentView] = []  # what was read so far, to be read again by a copy

    def __getstate__(self) -> dict[str, object]:
        """Everything but the running generator, which cannot be copied."""
        return {**self.__dict__, "_turns": None}

    def act(self, view: StudentView) -> str:
        """The next action."""
        if view.turn == 0:
            self._turns, self._views = None, []
        self._views.append(view)
        if self._turns is None:
            return self._catch_up()
        try:
            return self._turns.send(view)
        except StopIteration:
            return "wait"

    def _catch_up(self) -> str:
        """Begin, or read again what was read before a copy was made."""
        self._turns = self._play(self._views[0])
        action = next(self._turns, "wait")
        for view in self._views[1:]:
            try:
                action = self._turns.send(view)
            except StopIteration:
                return "wait"
        return action

    @abc.abstractmethod
    def _play(self, view: StudentView) -> Turns:
        """The turns of a game, from its first view on; each further view is sent in."""


class Cook(Script):
    """Waits at the pass for what its task names, and does with it what the task asks."""

    announces = False

    def _reach(self, view: StudentView) -> list[str]:
        return _reach(view.observation)

    def _pass(self, view: StudentView) -> str:
        return _shared(view)

    def _wanted(self, view: StudentView, target: str, shared: str) -> str:
        """The wanted thing that lies on the pass as far as a view shows; "" for none."""
        seen = _QUOTED.sub("", view.observation)
        on_pass = _THING.findall(seen.partition(f"On the {shared}, you see ")[2].partition("you see the runner")[0])
        put = [name for name, place in _SEEN_PUT.findall(seen) if place == shared]
        return next((name for name in [*on_pass, *put] if _kind(name) == target), "")

    def _play(self, view: StudentView) -> Turns:
        found = _TASK.search(view.instruction)
        assert found is not None, "a cook's instruction names its task"
        task_type, target, destination = read_sentence(f"Your task is to: {found[1]}")
        first = view.observation
        reach, shared = _reach(first), _shared(view)
        if self.announces:
            view = yield f"say {target}"
        goal = next(name for name in reach if _kind(name) == destination)
        opened = destination in house.OPENABLE
        if opened:
            view = yield f"go to {goal}"
            if "is closed" in view.observation:
                view = yield f"open {goal}"
        view = yield f"go to {shared}"
        while not (thing := self._wanted(view, target, shared)):
            view = yield "wait"
        view = yield f"take {thing} from {shared}"
        if task_type in house.APPLIANCES:
            tool = next(name for name in reach if _kind(name) == house.APPLIANCES[task_type])
            view = yield f"go to {tool}"
            view = yield f"{task_type} {thing} with {tool}"
            if tool == goal:
                yield f"move {thing} to {goal}"
                return
        view = yield f"go to {goal}"
        yield f"move {thing} to {goal}"


class Teller(Cook):
    """Says the name of what it needs before anything else; where nothing can be said, that turn is lost."""

    announces = True


class Runner(Script):
    """Looks for things and carries them to the pass, one after the other.

    What is wanted is what it was told by a word, else what a statement says, else whatever it finds.
    """

    reads_wishes = True
    reads_homes = True
    listens = False

    def _play(self, view: StudentView) -> Turns:
        found = _RUNNER.search(view.instruction)
        assert found is not None, "a runner's instruction names the room and the occasion"
        kind, occasion = found[1], found[2]
        shared = _shared(view)
        wanted = self._wish(kind, occasion) if self.reads_wishes else ""
        if self.listens and (words := _SAID.findall(view.observation)):
            wanted = words[-1]
        homes = {m[1]: m[2] for line in self.statements if (m := _HOME.fullmatch(line))} if self.reads_homes else {}
        places = self._ordered(_reach(view.observation), homes.get(wanted, ""), view)
        delivered: set[str] = set()
        fetched = False
        while True:  # a second round takes what the first one passed over
            for place in places:
                view = yield f"go to {place}"
                if "is closed" in view.observation:
                    view = yield f"open {place}"
                things = _THING.findall(_QUOTED.sub("", view.observation).partition(f"{place}")[2])
                for thing in things:
                    if thing in delivered or _kind(thing) in house.LAMPS:
                        continue
                    if wanted and not fetched and _kind(thing) != wanted:
                        continue
                    view = yield f"take {thing} from {place}"
                    if not view.is_action_valid:
                        continue
                    view = yield f"go to {shared}"
                    view = yield f"move {thing} to {shared}"
                    if not view.is_action_valid:  # the pass does not take it
                        view = yield f"go to {place}"
                        view = yield f"move {thing} to {place}"
                    delivered.add(thing)
                    fetched = fetched or _kind(thing) == wanted
                    break
                else:
                    continue
                break
            else:
                if fetched or not wanted:
                    return
                fetched = True  # nothing of the wanted kind is about: carry what there is

    def _wish(self, kind: str, occasion: str) -> str:
        for line in self.statements:
            found = _WISH.fullmatch(line)
            if found and (found[1], found[2]) == (occasion, kind):
                return found[3]
        return ""

    def _ordered(self, places: Sequence[str], home: str, view: StudentView) -> list[str]:
        """The home's kind of place first, the others in a drawn order."""
        order = counted_generator("pair", "runner", *view.draw, view.task_id).permutation(len(places))
        return sorted((places[int(number)] for number in order), key=lambda name: _kind(name) != home)


class Carrier(Runner):
    """Knows nothing, and carries whatever it finds."""

    reads_wishes = reads_homes = False


class Homely(Runner):
    """Knows the homes alone; that helps nobody who does not know what is wanted."""

    reads_wishes = False


class Wishful(Runner):
    """Knows the wishes alone."""

    reads_homes = False


class Listener(Runner):
    """Knows what the cook says, and the homes."""

    reads_wishes = False
    listens = True


class Random(Player):
    """Draws from what can be done."""

    def act(self, view: StudentView) -> str:
        """The next action."""
        actions = [action for action in view.admissible_actions if "<" not in action] or ["wait"]
        rng = counted_generator("pair", "random player", *view.draw, view.task_id, view.turn)
        return actions[int(rng.integers(len(actions)))]


class Silent(Player):
    """Never does anything."""

    def act(self, view: StudentView) -> str:
        """The next action."""
        return "wait"


def _kind(name: str) -> str:
    return name.rpartition(" ")[0]


def _reach(observation: str) -> list[str]:
    found = _REACH.search(observation)
    return found[1].split(", ") if found else []


def _shared(view: StudentView) -> str:
    found = _PASS.search(view.instruction)
    assert found is not None, "an instruction of Pair names the pass"
    return found[1]


Maker = Callable[[Sequence[str]], Player]
# Role -> name -> player. The first of each role is its usual one.
PLAYERS: Mapping[str, Mapping[str, Maker]] = {
    COOK: {"cook": Cook, "teller": Teller, "random": lambda _: Random(), "silent": lambda _: Silent()},
    RUNNER: {
        "informed": Runner,
        "carrier": Carrier,
        "homes": Homely,
        "wishes": Wishful,
        "listener": Listener,
        "random": lambda _: Random(),
        "silent": lambda _: Silent(),
    },
}
# The word for a role's usual player.
PARTNER = "partner"


def make_player(name: str, role: str, statements: Sequence[str] = ()) -> Player:
    """A scripted player by name.

    Args:
        name: One of `PLAYERS` of the role, or ``partner`` for its usual one.
        role: The seat.
        statements: Short lines of the role's skill bank, which runners read as far as they do.

    Raises:
        ValueError: The role has no such player.
    """
    names = PLAYERS[role]
    if name == PARTNER:
        return next(iter(names.values()))(statements)
    require_choice("player", name, (PARTNER, *names), f"Pair's {role}")
    return names[name](statements)


def _usual(view: StudentView, statements: Sequence[str]) -> Player:
    if view.role == COOK:
        return Cook()
    return Runner(statements) if statements else Carrier()


# What anyone reaches in either seat who knows the rules, and who is told wishes and homes as well.
generic = played_by(_usual)
