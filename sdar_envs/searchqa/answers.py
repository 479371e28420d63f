"""How an answer is judged: the official normalisation, exact match, sub-string match, token F1.

The order of the steps matters and is the official one: lower case, ASCII punctuation deleted (not spaced: "404,487" is
"404487"), the articles a, an, the replaced by a space, white space collapsed. Other punctuation, an en dash for one,
stays. A gold answer of which nothing is left would match an empty answer exactly and every answer as a sub-string, so
it counts for nothing; the letter A alone is kept.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_DELETED = str.maketrans("", "", string.punctuation)
_VERDICTS = frozenset({"yes", "no", "noanswer"})
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """The official normal form of an answer."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DELETED)).split())


def usable(golds: Sequence[str]) -> list[str]:
    """The gold answers of which something is left in normal form, and the letter A, which is no article there."""
    return [gold for gold in golds if _form(gold)]


def _form(text: str) -> str:
    """The normal form, or "a" for the letter A alone: a grade, a blood group, a note."""
    form = normalise(text)
    return "a" if not form and text.lower().translate(_DELETED).strip() == "a" else form


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 when the answer's normal form is that of a gold answer, else 0."""
    given = _form(answer)
    return float(any(given == _form(gold) for gold in usable(golds)))


def sub_exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 when the normal form of a gold answer is a sub-string of the answer's, else 0."""
    given = normalise(answer)
    return float(any(form in given for gold in golds if (form := normalise(gold))) or exact_match(answer, golds))


def f1(answer: str, golds: Sequence[str]) -> float:
    """The best token F1 over the gold answers, on normal forms.

    As HotpotQA has it: where either of the two is yes, no or noanswer, nothing but the same word earns anything ("yes
    and no" is no half of a "yes").
    """
    form = _form(answer)
    given = Counter(form.split())
    best = 0.0
    for gold in usable(golds):
        wanted_form = _form(gold)
        if form != wanted_form and (form in _VERDICTS or wanted_form in _VERDICTS):
            continue
        wanted = Counter(wanted_form.split())
        common = sum((given & wanted).values())
        if common:
            precision, recall = common / sum(given.values()), common / sum(wanted.values())
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


MATCHERS = {"em": exact_match, "subem": sub_exact_match, "f1": f1}
