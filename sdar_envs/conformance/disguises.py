"""Finds a secret text in other text, also where it is written otherwise: reversed, encoded, spelled out, in two parts.

What it cannot find is a text that says the same in other words: a paraphrase, an acrostic, a number computed from the
secret. `leaks.check_counterfactual` finds those.
"""

from __future__ import annotations

import base64
import codecs
import html
import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

# A shorter secret would be found by chance.
SHORTEST = 8
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s:]?){8,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}={0,2}")
_CODES = re.compile(r"(?:\d{2,3}[\s,;]+){7,}\d{2,3}")
_NOT_LETTERS = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """Letters and digits alone, in one case, so that spacing, marks between letters and capitals hide nothing."""
    return _NOT_LETTERS.sub("", text.casefold())


def _as_it_is(text: str) -> Iterator[str]:
    yield text


def _unescaped(text: str) -> Iterator[str]:
    yield html.unescape(text)
    yield urllib.parse.unquote_plus(text)
    yield re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1] or m[2], 16)), text)


def _from_hexadecimal(text: str) -> Iterator[str]:
    for found in _HEX.findall(text):
        digits = re.sub(r"[^0-9a-fA-F]", "", found)
        for start in (0, 1):
            whole = digits[start : start + (len(digits) - start) // 2 * 2]
            yield bytes.fromhex(whole).decode("utf-8", "replace")


def _from_base64(text: str) -> Iterator[str]:
    for found in _BASE64.findall(text):
        standard = found.rstrip("=").replace("-", "+").replace("_", "/")
        for start in range(4):  # what stands before it may have joined the run
            piece = standard[start:]
            piece = piece[:-1] if len(piece) % 4 == 1 else piece  # one character alone encodes no byte
            yield base64.b64decode(piece + "=" * (-len(piece) % 4)).decode("utf-8", "replace")


def _from_character_codes(text: str) -> Iterator[str]:
    for found in _CODES.findall(text):
        yield "".join(chr(int(code)) for code in re.findall(r"\d+", found))


def _reversed(text: str) -> Iterator[str]:
    yield text[::-1]
    yield " ".join(text.split()[::-1])


def _rotated(text: str) -> Iterator[str]:
    yield codecs.encode(text, "rot13")


# Name of a disguise -> what a text reads when it is taken off.
DISGUISES: dict[str, Callable[[str], Iterator[str]]] = {
    "plain": _as_it_is,
    "escaped": _unescaped,
    "hexadecimal": _from_hexadecimal,
    "base64": _from_base64,
    "character codes": _from_character_codes,
    "reversed": _reversed,
    "rot13": _rotated,
}


def long_enough(secret: str) -> bool:
    """Whether a secret has enough letters to be looked for."""
    return len(letters(secret)) >= SHORTEST


def find(secrets: Sequence[str], texts: Sequence[str]) -> tuple[str, str, str] | None:
    """Look for secrets in texts.

    Args:
        secrets: What must not be there; those that are not `long_enough` are passed over.
        texts: What an agent sees at one moment. They are also read as one, since a secret may be shown in parts.

    Returns:
        The secret, the disguise, and the end of the text in which it stands; None where there is none.
    """
    wanted = [(secret, letters(secret)) for secret in secrets if long_enough(secret)]
    if not wanted:
        return None
    shown = [text for text in texts if text]
    joined = ["".join(shown)] if len(shown) > 1 else []
    for name, reading in DISGUISES.items():
        for text in [*shown, *joined]:
            for read in reading(text):
                plain = letters(read)
                for secret, form in wanted:
                    if form in plain:
                        return secret, "in parts" if text in joined and name == "plain" else name, text[-120:]
    return None
