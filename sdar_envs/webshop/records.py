"""Official records to products and instructions, tolerant of what is known to be broken in the official files.

A record that cannot be a product is left out, a field that says nothing is read as missing; each kind of trouble has a
name and is counted, so that a loader can say once what it met. What the original would crash on never stops a load, and
what the original reads is read the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from .catalog import ID_LENGTH, Product, Review
from .goals import Instruction
from .pages import choosable

# What a product without an entry in the attribute file has.
NO_ATTRIBUTES = ("DUMMY_ATTR",)
# Field of our own exports that the original ignores; its own files bring no reviews.
REVIEWS_FIELD = "customer_reviews"

Trouble = Counter[str]

# Troubles by which a whole record is left out.
SKIPPED = (
    "record is not an object",
    "asin is missing",
    "asin is 'nan' or longer than 10 characters",
    "asin occurs before",
    "record without instruction_attributes",
    "instruction is not an object",
)

_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_NOT_NUMBER = re.compile(r"[^\d.]")


def read_product(record: object, attributes: object, trouble: Trouble) -> Product | None:
    """Read one entry of ``items_shuffle.json`` with its entry of ``items_ins_v2.json``.

    Args:
        record: The entry.
        attributes: The product's entry of the attribute file, None where it has none.
        trouble: Counts what was wrong, by kind.

    Returns:
        The product, or None when the record cannot be one.
    """
    if not isinstance(record, Mapping):
        trouble["record is not an object"] += 1
        return None
    asin = record.get("asin")
    if not isinstance(asin, str) or not asin:
        trouble["asin is missing"] += 1
        return None
    if asin == "nan" or len(asin) > ID_LENGTH:
        trouble["asin is 'nan' or longer than 10 characters"] += 1
        return None
    description = record.get("small_description")
    return Product(
        asin=asin,
        title=_text(record, "name", trouble),
        description=_text(record, "full_description", trouble),
        bullets=_texts(description if isinstance(description, list) else [description], "small_description", trouble),
        pricing=_prices(record.get("pricing"), trouble),
        category=_text(record, "category", trouble),
        query=_text(record, "query", trouble).lower().strip(),
        product_category=_text(record, "product_category", trouble),
        options=_options(record.get("customization_options"), trouble),
        attributes=_attributes(attributes, trouble),
        image=next(iter(_texts(record.get("images") or [], "images", trouble)), ""),
        reviews=_reviews(record.get(REVIEWS_FIELD), trouble),
    )


def read_synthetic(asin: str, entry: object, trouble: Trouble) -> Instruction | None:
    """The sentence that ``items_ins_v2.json`` holds for a product, None where there is none."""
    if not isinstance(entry, Mapping) or entry.get("instruction") is None:
        return None
    attributes = _texts(entry.get("instruction_attributes") or [], "instruction_attributes", trouble)
    if not attributes:
        trouble["record without instruction_attributes"] += 1
        return None
    return Instruction(asin, _text(entry, "instruction", trouble), attributes)


def read_human(asin: str, entries: object, trouble: Trouble) -> tuple[Instruction, ...]:
    """What ``items_human_ins.json`` holds for a product, in order; entries without attributes are left out."""
    if not isinstance(entries, list):
        trouble["instruction is not an object"] += 1
        return ()
    found = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            trouble["instruction is not an object"] += 1
            continue
        attributes = _texts(entry.get("instruction_attributes") or [], "instruction_attributes", trouble)
        if not attributes:
            trouble["record without instruction_attributes"] += 1
            continue
        options = _texts(entry.get("instruction_options") or [], "instruction_options", trouble)
        found.append(Instruction(asin, _text(entry, "instruction", trouble), attributes, options))
    return tuple(found)


def _text(record: Mapping[str, Any], key: str, trouble: Trouble) -> str:
    value = record.get(key)
    if isinstance(value, str):
        return _encodable(value)
    trouble[f"{key} is missing" if value is None else f"{key} is not a text"] += 1
    return ""


def _texts(values: object, key: str, trouble: Trouble) -> tuple[str, ...]:
    if not isinstance(values, list):
        trouble[f"{key} is not a list"] += 1
        return ()
    texts = tuple(_encodable(value) for value in values if isinstance(value, str))
    if len(texts) < len(values):
        trouble[f"{key} holds something that is not a text"] += 1
    return texts


def _encodable(text: str) -> str:
    """The text with lone surrogates, which JSON can spell and UTF-8 cannot, as marks."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _prices(text: object, trouble: Trouble) -> tuple[float, ...]:
    """Read ``$12.99`` or ``$12.99$19.99``; what stands before the first dollar is dropped, as is a third price."""
    if not text:
        return ()
    if not isinstance(text, str):
        trouble["pricing is not a text"] += 1
        return ()
    prices = [_NOT_NUMBER.sub("", part) for part in text.split("$")[1:]]
    if not prices or not all(_NUMBER.fullmatch(price) and math.isfinite(float(price)) for price in prices):
        trouble["pricing is unreadable"] += 1
        return ()
    return tuple(float(price) for price in prices[:2])


def _options(groups: object, trouble: Trouble) -> dict[str, tuple[str, ...]]:
    if not groups:
        return {}
    if not isinstance(groups, Mapping):
        trouble["customization_options is not an object"] += 1
        return {}
    options: dict[str, tuple[str, ...]] = {}
    for name, contents in groups.items():
        if contents is None:
            continue
        values = [_option_value(content) for content in contents] if isinstance(contents, list) else [None]
        if None in values:
            trouble["customization_options holds a value that is not a text"] += 1
        options[_encodable(name.lower())] = tuple(value for value in values if value is not None)
    # They are kept, because the original counts goals with them, although nobody can choose them there either.
    if hidden := sum(map(len, options.values())) - sum(map(len, choosable(options).values())):
        trouble["option is empty, or called like a button or like one of a later group"] += hidden
    return options


def _option_value(content: object) -> str | None:
    value = content.get("value") if isinstance(content, Mapping) else None
    return _encodable(value.strip().replace("/", " | ").lower()) if isinstance(value, str) else None


def _attributes(entry: object, trouble: Trouble) -> tuple[str, ...]:
    if not isinstance(entry, Mapping) or "attributes" not in entry:
        return NO_ATTRIBUTES
    return _texts(entry["attributes"], "attributes", trouble)


def _reviews(entries: object, trouble: Trouble) -> tuple[Review, ...]:
    if not isinstance(entries, list):
        return ()
    reviews = []
    for entry in entries:
        score = entry.get("score") if isinstance(entry, Mapping) else None
        if isinstance(score, int | float) and 0 <= score <= 5:
            reviews.append(Review(_text(entry, "title", trouble), float(score), _text(entry, "body", trouble)))
        else:
            trouble["customer_reviews holds something that is not a review"] += 1
    return tuple(reviews)
