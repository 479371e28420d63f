"""Text to search terms, as Lucene's English analysis does it for the original store.

Four steps: words by the default boundaries of Unicode's annex 29, possessive 's off and lower case, 33 stop words out,
Porter's stemmer. Lucene's stemmer is the one with Martin Porter's own later changes, which nltk has as a mode; it
leaves words of one or two letters alone. Checked against Lucene 8 itself, see `tests/envs/test_webshop_search.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

# Lucene's set for English; nltk and scikit-learn ship longer ones.
_STOP = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they
this to was will with
"""
STOP_WORDS = frozenset(_STOP.split())

# Longer words are cut into pieces of this length.
LONGEST_WORD = 255

# Terms of words up to this length are remembered, so that what is remembered is bounded in bytes.
_REMEMBERED_LENGTH = 32

# One letter per code point, so that word boundaries are a regular expression over classes:
# A letter, N digit, _ connector, K katakana, H a script written without spaces (a word per character),
# S South-East Asian letter, E picture, M skin tone, R half a flag, x what joins whatever it follows, Z the joiner of
# pictures; : . ' , the marks that may stand inside a word.
_MARKS = {
    ":": ":\u00b7\u0387\u05f4\u2027\ufe13\ufe55\uff1a",
    ".": ".\u2018\u2019\u2024\ufe52\uff07\uff0e",
    "'": "'",
    ",": ",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b",
    "_": "\u202f",
    " ": "\u200b\u3006",
    "A": "\u02d7\u05f3",
    "K": "\u3031\u3032\u3033\u3034\u3035\u309b\u309c\u30a0",
    "x": "\uff9e\uff9f",
    "Z": "\u200d",
    "M": "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff",
}
# Pictures and signs that count as words, code points and ranges of them (Unicode's Extended_Pictographic).
_PICTURES = """
A9 AE 203C 2049 2122 2194-2199 21A9-21AA 231A-231B 2328 2388 23CF 23E9-23F3 23F8-23FA 25AA-25AB 25B6 25C0
25FB-25FE 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271D 2721 2728 2733-2734 2744 2747 274C
274E 2753-2755 2757 2763-2767 2795-2797 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D 3297
3299 1F000-1F0FF 1F10D-1F10F 1F12F 1F16C-1F16F 1F18E 1F191-1F19A 1F1AD-1F1E5 1F200-1F20F 1F21A 1F22F
1F232-1F23A 1F23C-1F23F 1F249-1F53D 1F546-1F64F 1F680-1F6FF 1F774-1F77F 1F7D5-1F7FF 1F80C-1F80F 1F848-1F84F
1F85A-1F85F 1F888-1F88F 1F8AE-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1FAFF
"""
_LETTER_SIGN = re.compile("(?:CIRCLED|SQUARED|NEGATIVE CIRCLED|NEGATIVE SQUARED) LATIN")
_KATAKANA = "(?:K[xZ]*)+"
# A mark stands inside a word only between letters, or only between digits, or both, by its class.
_LETTERS_AND_DIGITS = "(?:A[xZ]*(?:[:.'][xZ]*(?=A))?|N[xZ]*(?:[,.'][xZ]*(?=N))?)+"
_CORE = f"(?:{_KATAKANA}|{_LETTERS_AND_DIGITS})"
_CONNECTED = f"(?:_[xZ]*)*{_CORE}(?:(?:_[xZ]*)+{_CORE})*(?:_[xZ]*)*"
_PICTURE = "[EM]M?x*(?:Z[EM]M?x*)*[xZ]*"
_WORD = re.compile(f"{_CONNECTED}|S[SxZ]*|H[xZ]*|{_PICTURE}|R[xZ]*R[xZ]*")


@cache
def _picture_ranges() -> list[tuple[int, int]]:
    return [
        (int(first, 16), int(last or first, 16)) for first, _, last in (r.partition("-") for r in _PICTURES.split())
    ]


def _class_of(code: int) -> str:
    character = chr(code)
    for name, marks in _MARKS.items():
        if character in marks:
            return name
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if category == "Nd":
        return "N"
    if category == "Pc":
        return "_"
    if category in ("Mn", "Me", "Mc", "Cf"):
        return "x"
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return "R"
    if any(first <= code <= last for first, last in _picture_ranges()):
        return "E"
    if category[0] == "L" or category == "Nl":
        return _letter_class(name)
    return "A" if _LETTER_SIGN.match(name) else " "


def _letter_class(name: str) -> str:
    script = name.split(" ", 1)[0]
    if script in ("CJK", "HIRAGANA", "IDEOGRAPHIC", "HANGZHOU"):
        return "H"
    if "KATAKANA" in name:
        return "K"
    return "S" if script in ("THAI", "LAO", "KHMER", "MYANMAR", "TAI") else "A"


class _Classes(dict[int, str]):
    """A table for `str.translate` that fills itself."""

    def __missing__(self, code: int) -> str:
        self[code] = _class_of(code)
        return self[code]


_CLASSES = _Classes()


def words(text: str) -> list[str]:
    """The words of a text, in order, as they are written."""
    found = [text[match.start() : match.end()] for match in _WORD.finditer(text.translate(_CLASSES))]
    if any(len(word) > LONGEST_WORD for word in found):
        return [word[at : at + LONGEST_WORD] for word in found for at in range(0, len(word), LONGEST_WORD)]
    return found


def terms(text: str) -> list[str]:
    """The search terms of a text, in order: words without stop words, lower-cased and stemmed."""
    return [term for word in words(text) if (term := term_of(word)) is not None]


def term_of(word: str) -> str | None:
    """The term of one word, None for a stop word."""
    return _short_term(word) if len(word) <= _REMEMBERED_LENGTH else _term(word)


@lru_cache(maxsize=1 << 16)
def _short_term(word: str) -> str | None:
    return _term(word)


def _term(word: str) -> str | None:
    if word[-2:] in ("'s", "'S", "\u2019s", "\u2019S", "\uff07s", "\uff07S"):
        word = word[:-2]
    # Letter by letter: Python's own would make two characters of a dotted capital I, and a final sigma of a sigma.
    lowered = word.lower() if word.isascii() else "".join(c.lower()[0] for c in word)
    if lowered in STOP_WORDS:
        return None
    return _stemmer()(lowered) if len(lowered) > 2 else lowered


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer  # takes a second to import

    porter = PorterStemmer(PorterStemmer.MARTIN_EXTENSIONS)

    def stem(word: str) -> str:
        return str(porter.stem(word, to_lowercase=False))

    return stem
