"""Nouns of titles by a part-of-speech tagger, as the original finds them: spaCy with its small English model.

spaCy comes with the extra ``sdar-gym[spacy]``. Its model is a package of its own, which spaCy's project publishes
beside its releases. Models of different versions tag differently, so scores compare only between runs with one version.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..bounded_cache import remembered
from ..choices import unknown_choice
from .matching import TitleTokens, title_nouns

if TYPE_CHECKING:
    from spacy.language import Language

MODEL = "en_core_web_sm"
# "PNOUN" stands in the original's list too, and is no tag.
_NOUNS = frozenset(("NOUN", "PROPN"))
# The tags do not depend on these: on 300 real titles they are the same without them, in a third of the time.
_NOT_NEEDED = ("parser", "ner", "lemmatizer")

CHOICES = ("simple", "spacy")


def title_tokens_of(choice: str, where: str) -> TitleTokens:
    """The function that a choice of ``title_tokens`` stands for.

    Args:
        choice: ``simple``, ``spacy``, or ``spacy:MODEL`` with the name of an installed model or its folder.
        where: Who asks, for the error.

    Raises:
        ValueError: There is no such choice.
        ImportError: spaCy or the model is not installed; the message says how to install it.
    """
    if choice == "simple":
        return title_nouns
    name, _, model = str(choice).partition(":")
    if name != "spacy":
        raise unknown_choice("title_tokens", choice, (*CHOICES, "spacy:MODEL"), where)
    return spacy_nouns(model or MODEL)


@lru_cache(maxsize=4)
def spacy_nouns(model: str) -> TitleTokens:
    """The nouns of titles as a spaCy model tags them; titles are remembered, since one takes milliseconds.

    Raises:
        ImportError: spaCy or the model is not installed.
    """
    pipeline = load(model)

    @remembered(1 << 24)
    def nouns(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in pipeline(title) if token.pos_ in _NOUNS)

    return nouns


def load(model: str) -> Language:
    """A spaCy model without what tagging does not need.

    Raises:
        ImportError: spaCy or the model is not installed.
    """
    try:
        import spacy
    except ImportError as missing:
        raise ImportError('title_tokens="spacy" needs spaCy: pip install "sdar-gym[spacy]"') from missing
    try:
        return spacy.load(model, exclude=_NOT_NEEDED)
    except OSError as missing:
        raise ImportError(
            f"title_tokens={f'spacy:{model}'!r} needs spaCy's model {model}, and it is not installed: "
            f"python -m spacy download {MODEL}, or name an installed model or its folder as spacy:MODEL"
        ) from missing
