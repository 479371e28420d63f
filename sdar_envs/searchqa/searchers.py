"""Scripted searchers: what a sensible reader reaches with and without skill statements, in generated worlds.

They read questions and observations and nothing else, make no mistakes of form, and forget nothing. Their success rates
bound what knowing the regularities is worth. They are baselines, and play the demonstrations for tiny models.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from . import tables
from .passages import state
from .protocol import answer_action, search_action
from .questions import LEAST
from .regularities import BY_BYNAME

_NUMBER = re.compile(r"\d+")
# The style of passages that `read_passages` reads, by size of world.
STYLES = {"small": "plain", "full": "search_r1"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question taken apart: the names in it, the relations from the inside out, and the end that is compared."""

    names: tuple[str, ...]
    path: tuple[str, ...]
    superlative: int | None = None


@cache
def _patterns(size: str) -> tuple[list[tuple[str, int | None, re.Pattern[str]]], list[tuple[str, re.Pattern[str]]]]:
    """Whole questions and noun phrases as patterns, each with its relation."""

    def pattern(template: str, slot: str) -> re.Pattern[str]:
        before, _, after = template.partition(slot)
        return re.compile(re.escape(before) + "(?P<inner>.+)" + re.escape(after))

    questions: list[tuple[str, int | None, re.Pattern[str]]] = []
    phrases: list[tuple[str, re.Pattern[str]]] = []
    for name in tables.SIZE_RELATIONS[size]:
        relation = tables.relation_of(size, name)
        questions += [(name, end, pattern(text, "{C}")) for end, text in enumerate(relation.superlatives or ())]
        questions += [(name, None, pattern(text, "{S}")) for text in relation.questions]
        phrases += [(name, pattern(text, "{S}")) for text in relation.phrases]
    return questions, phrases


def read_question(text: str, size: str) -> Asked:
    """Take a generated question apart.

    Raises:
        ValueError: It is none of the size's wordings.
    """
    questions, phrases = _patterns(size)
    for name, superlative, pattern in questions:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        inner = match["inner"]
        if superlative is not None:
            *first, last = re.split(r", | or ", inner)
            return Asked((*first, last), (name,), superlative)
        path = [name]
        while (found := next(((n, m) for n, p in phrases if (m := p.fullmatch(inner))), None)) is not None:
            path.insert(0, found[0])
            inner = found[1]["inner"]
        return Asked((inner,), tuple(path))
    raise ValueError(f"expected one of the wordings of generated questions, got {text!r:.200}")


def read_passages(observation: str, size: str) -> list[tuple[str, str]]:
    """Title and text of every passage of an observation in the style that the size's searchers read."""
    inside = observation.partition("<information>")[2].partition("</information>")[0]
    if STYLES[size] == "plain":
        pairs = (line.partition(": ") for line in inside.splitlines())
        return [(title, text) for title, _, text in pairs]
    return re.findall(r'Doc \d+\(Title: "(.*?)"\) (.*)', inside)


def read_fact(label: str, title: str, text: str, relation: tables.Relation) -> str:
    """The value that a passage states for a relation of what its title names; "" when it states none."""
    if not title.startswith(label) or not re.fullmatch(r" \w+| \(\w+\)", title[len(label) :]):
        return ""
    for sentence in re.split(r"(?<=\.) ", text):
        for term in relation.terms:
            if term not in sentence:
                continue
            for template in relation.sentences:
                for value in ("VALUE", "aVALUE"):  # "a" and "an" are worded apart
                    pattern = re.escape(state(template, label, value, term)).replace(value, "(.+)")
                    if match := re.fullmatch(pattern, sentence):
                        return match[1]
    return ""


@dataclass
class Searcher:
    """Looks a generated question up and answers it.

    Args:
        size: ``full`` (in the style ``search_r1``) or ``small`` (in the style ``plain``).
        statements: Compact lines of skill statements; without them every regularity is guessed.
        rng: Of the guesses.
        turns: Turns of an episode; the last one answers.
    """

    size: str
    statements: Sequence[str]
    rng: np.random.Generator
    turns: int
    _left: int = field(default=0, init=False)
    _names: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        lines = "\n".join(self.statements)
        self._terms = dict(re.findall(r"the (\w+) is called (\w+)\.", lines))
        self._kinds = dict(re.findall(r"the (\w+) stands in the (\w+)\.", lines))
        self._filing = dict(re.findall(r"a (\w+) is filed ([\w ]+)\.", lines))

    def play(self, question: str) -> Generator[str, str, None]:
        """Yield actions and be sent what comes back."""
        asked = read_question(question, self.size)
        self._left, self._names = self.turns - 1, list(asked.names)
        if asked.superlative is None:
            value = asked.names[0]
            for name in asked.path:
                value = yield from self._look_up(value, tables.relation_of(self.size, name))
                if not value:
                    break
            yield answer_action(value or self._choice(self._names))
            return
        relation = tables.relation_of(self.size, asked.path[0])
        numbers: dict[str, tuple[int, ...]] = {}
        for name in asked.names:
            value = yield from self._look_up(name, relation)
            if value:
                numbers[name] = _order(value)
        if len(numbers) >= min(2, len(asked.names)):
            best = min if asked.superlative == LEAST else max
            yield answer_action(best(numbers, key=lambda name: numbers[name]))
        else:
            yield answer_action(self._choice(asked.names))

    def _choice(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def _look_up(self, name: str, relation: tables.Relation) -> Generator[str, str, str]:
        """Search for a fact until it is found or the turns are used up; the value, or ""."""
        label = name
        if self._filing.get(relation.subject) == BY_BYNAME:
            label = (yield from self._find(name, tables.relation_of(self.size, tables.BYNAME.name), 2)) or name
        patience = 2 if label == name and tables.SIZE_TABLES[self.size].bynames else 9
        value = yield from self._find(label, relation, patience)
        if not value and label == name and tables.SIZE_TABLES[self.size].bynames:
            # Nothing under the name: perhaps it has another one.
            other = yield from self._find(name, tables.relation_of(self.size, tables.BYNAME.name), 2)
            value = yield from self._find(other or name, relation, 9)
        return value

    def _find(self, label: str, relation: tables.Relation, tries: int) -> Generator[str, str, str]:
        for term, kind in self._wordings(relation):
            if not tries or not self._left:
                return ""
            tries, self._left = tries - 1, self._left - 1
            form = tables.QUERIES[self.size][0]
            found = yield search_action(form.format(S=label, term=term, kind=kind))
            for title, text in read_passages(found, self.size):
                if value := read_fact(label, title, text, relation):
                    self._names.append(value)
                    return value
        return ""

    def _wordings(self, relation: tables.Relation) -> Iterator[tuple[str, str]]:
        """Term and kind of source to try: what is stated first, then both guessed anew each time."""
        terms = [relation.terms[int(i)] for i in self.rng.permutation(len(relation.terms))]
        listed = tables.KINDS
        kinds = [listed[int(i)] for i in self.rng.permutation(len(listed))]
        term, kind = self._terms.get(relation.name, ""), self._kinds.get(relation.name, "")
        if term and kind:
            yield term, kind
            # One of the two may be wrong.
            yield from [(term, other) for other in kinds if other != kind][:1]
            yield from [(other, kind) for other in terms if other != term][:1]
        while True:
            for number in range(max(len(terms), len(kinds))):
                yield terms[number % len(terms)], kinds[number % len(kinds)]
            kinds = kinds[1:] + kinds[:1]


def _order(value: str) -> tuple[int, ...]:
    """Where a year, date or number stands on its scale."""
    months = {month: number for number, month in enumerate(_MONTHS)}
    words = value.replace(",", "").split()
    if len(words) == 3 and words[1] in months:
        return int(words[2]), months[words[1]], int(words[0])
    return tuple(int(number) for number in _NUMBER.findall(value.replace(",", "")))


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
