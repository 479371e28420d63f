"""Scripted shoppers: what a sensible player reaches with and without the statements of the skill bank.

They read plain text observations and nothing else, make no mistakes of form, and forget nothing. Their success rates
bound what knowledge is worth at a horizon: the small store's horizon was chosen with them. They are baselines; the
demonstrations of `demonstrator.py` are theirs with detours.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import gymnasium as gym

from ..randomness import counted_generator
from .instructions import PHRASINGS
from .pages import BUY, NEXT, PREVIOUS, SEPARATOR
from .planner import click
from .taxonomy import CUES, PAGES, SIZES, taxonomy

_STATEMENTS = {
    "cue": re.compile(r"search by the (\w+)\."),
    "page": re.compile(r"look in the (\w+)\."),
    "part": re.compile(r"the (\w+) counts\."),
    "price": re.compile(r"take the (\w+)\."),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request says."""

    kind: str
    use: str
    material: str
    style: str
    attribute: str
    extra: str
    bound: float

    def cue(self, name: str) -> str:
        """One of the three cues."""
        return str(getattr(self, name))


_EXTRA = r"(?: with \w+: (?P<official>[\w ]+)|, in (?P<human>[\w ]+))?"
_BOUND = r"(?:, and price lower than (?P<bound>[\d.]+) dollars)?"


def _patterns() -> list[re.Pattern[str]]:
    slots = {
        "a": "(?:a|a pair of) ",
        "thing": r"(?P<style>\w+) (?P<material>\w+) (?P<kind>\w+)",
        "use": r"(?P<use>\w+)",
        "attribute": r"(?P<attribute>\w+(?: \w+)?)",
        "is_": "(?:is|are)",
    }
    patterns = []
    for phrasing in PHRASINGS:
        pattern = re.escape(phrasing)
        for name, slot in slots.items():
            pattern = pattern.replace(re.escape(f"{{{name}}}"), slot)
        patterns.append(re.compile(pattern + _EXTRA + _BOUND))
    return patterns


_PATTERNS = _patterns()


@cache
def _told(name: str) -> tuple[str, ...]:
    """All attributes, or all parts, of stores of any size."""
    departments = [one for size in SIZES for one in taxonomy(size).departments.values()]
    return tuple(dict.fromkeys(value for department in departments for value in getattr(department, name)))


def read_request(instruction: str) -> Wanted:
    """What a generated request asks for.

    Raises:
        ValueError: It is worded in none of the known ways.
    """
    for pattern in _PATTERNS:
        if found := pattern.fullmatch(instruction):
            said = found.groupdict()
            return Wanted(
                kind=said["kind"],
                use=said["use"],
                material=said["material"],
                style=said["style"],
                attribute=said["attribute"],
                extra=said["official"] or said["human"] or "",
                bound=float(said["bound"] or "inf"),
            )
    raise ValueError(f"expected one of the {len(PHRASINGS)} phrasings, got {instruction[:200]!r}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A product on a page of results."""

    asin: str
    title: str
    price: float


def read_results(observation: str) -> list[Listed]:
    """The products that a page of results lists."""
    _, mark, listed = observation.partition(SEPARATOR + NEXT + SEPARATOR)
    texts = listed.split(SEPARATOR) if mark else []
    triples = zip(texts[::3], texts[1::3], texts[2::3], strict=False)
    return [Listed(asin, title, float(price.removeprefix("$"))) for asin, title, price in triples]


@dataclass
class Shopper:
    """Searches by one cue after the other, inspects what it finds, and buys what has the wanted attribute.

    Args:
        statements: Compact lines of skill statements; without them cues, pages, parts and the order of products are
            guessed.
        seed: Key of the guesses.
        inspects: Whether a product is bought only after its attribute was read.
        wary: Whether titles that show two cues are taken for lures, and the third cue is searched by next.
    """

    statements: Sequence[str] = ()
    seed: Sequence[int | str] = (0,)
    inspects: bool = True
    wary: bool = True
    _known: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        text = " ".join(self.statements)
        self._known = {name: found[1] for name, pattern in _STATEMENTS.items() if (found := pattern.search(text))}
        self._rng = counted_generator("shopper", *self.seed)

    def play(self, observation: str) -> Generator[str, str, None]:
        """Yield actions and be sent what the store answers; ends when nothing is left to try."""
        wanted = read_request(observation.split(SEPARATOR)[2])
        cues = self._ordered(CUES, self._known.get("cue"))
        while cues:
            cue = cues.pop(0)
            query = f"search[{wanted.cue(cue)} {wanted.kind}]"
            listed = [one for one in read_results((yield query)) if one.price <= wanted.bound]
            named = [one for one in listed if {wanted.cue(cue), wanted.kind} <= set(one.title.lower().split())]
            shown = {name for name in CUES if named and wanted.cue(name) in named[0].title.lower().split()}
            if len(shown) > 1 and self.wary:
                # Titles that show two of the three cues are lures: what counts is the third.
                cues = [name for name in CUES if name not in shown]
                continue
            for number, product in enumerate(self._preferred(named)):
                if number:
                    yield query
                item = yield click(product.asin)
                groups = self._groups_with_style(item, wanted)
                if not groups:
                    break
                fits = True
                if self.inspects:
                    fits = yield from self._inspect(wanted)
                if fits:
                    yield from self._buy(groups, wanted)
                    return
                if number == 2:
                    break

    def _ordered(self, values: Sequence[str], first: str | None) -> list[str]:
        """All values in a guessed order, the known one in front."""
        order = [values[int(i)] for i in self._rng.permutation(len(values))]
        return sorted(order, key=lambda value: value != first)

    def _preferred(self, listed: Sequence[Listed]) -> list[Listed]:
        order = [listed[int(i)] for i in self._rng.permutation(len(listed))]
        known = self._known.get("price")
        sign = {"cheapest": 1, "dearest": -1}.get(known or "", 0)
        return sorted(order, key=lambda one: sign * one.price)

    def _groups_with_style(self, item: str, wanted: Wanted) -> list[str]:
        """The parts that come in the wanted style."""
        return [part for part in _told("parts") if f"{SEPARATOR}{wanted.style} {part}{SEPARATOR}" in item]

    def _inspect(self, wanted: Wanted) -> Generator[str, str, bool]:
        pages = self._ordered(PAGES, self._known.get("page"))
        # Without knowledge, a page that says nothing of the matter sends one to the next.
        for page in pages[: 1 if "page" in self._known else 2]:
            text = yield click(page)
            if wanted.attribute in text.partition(SEPARATOR + PREVIOUS + SEPARATOR)[2].lower():
                yield click(PREVIOUS)
                return True
            said = text.partition(SEPARATOR + PREVIOUS + SEPARATOR)[2].lower()
            if any(attribute in said for attribute in _told("attributes")):
                return False
            if page != pages[-1] and "page" not in self._known:
                yield click(PREVIOUS)
        return False

    def _buy(self, groups: list[str], wanted: Wanted) -> Generator[str, str, None]:
        part = self._ordered(groups, self._known.get("part"))[0]
        yield click(f"{wanted.style} {part}")
        if wanted.extra:
            yield click(wanted.extra)
        yield click(BUY)


class FirstHit:
    """The naive baseline: search for the whole request, open the first hit, choose what shares its words, buy."""

    def play(self, observation: str) -> Generator[str, str, None]:
        """Yield actions and be sent what the store answers."""
        request = observation.split(SEPARATOR)[2]
        words = set(re.findall(r"[\w.]+", request.lower()))
        listed = read_results((yield f"search[{request.replace('[', ' ').replace(']', ' ')}]"))
        if not listed:
            return
        item = yield click(listed[0].asin)
        options = item.partition(SEPARATOR + PREVIOUS + SEPARATOR)[2].partition(SEPARATOR + listed[0].title)[0]
        for value in options.split(SEPARATOR):
            if words & set(value.split()):
                yield click(value)
        yield click(BUY)


@dataclass
class RandomShopper:
    """The random baseline: searches for one to three words of the request, and clicks what there is.

    Args:
        seed: Key of the draws.
    """

    seed: Sequence[int | str] = (0,)

    def play(self, observation: str) -> Generator[str, str, None]:
        """Yield actions and be sent what the store answers; never ends of its own accord."""
        rng = counted_generator("random shopper", *self.seed)
        words = re.findall(r"[a-z]+", observation.split(SEPARATOR)[2].lower())
        while True:
            chosen = [words[int(i)] for i in rng.permutation(len(words))[: int(rng.integers(1, 4))]]
            names = [PREVIOUS, NEXT, BUY, *PAGES, *(one.asin for one in read_results(observation))]
            shown = [name for name in names if name.lower() in observation.lower()]
            options = observation.partition(SEPARATOR + PREVIOUS + SEPARATOR)[2].partition(SEPARATOR + "Price: ")[0]
            shown += options.split(SEPARATOR)[:-1]
            if not shown or rng.random() < 0.1:
                observation = yield f"search[{' '.join(chosen)}]"
            else:
                observation = yield click(shown[int(rng.integers(len(shown)))])


class Player(Protocol):
    """Anything that plays by reading."""

    def play(self, observation: str) -> Generator[str, str, None]:
        """Yield actions and be sent what the store answers."""
        ...


def shop(env: gym.Env[str, str], task_id: str, shopper: Player) -> float:
    """Play one task of a store with a scripted player; the score that it reached within the horizon."""
    observation, info = env.reset(options={"task_id": task_id})
    player = shopper.play(observation)
    answer: str | None = None
    try:
        while True:
            action = next(player) if answer is None else player.send(answer)
            answer, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                return float(info["score"])
    except StopIteration:
        return float(info["score"])
