"""A generated store in the three official files: for programs that read those, and as a fixture of our own loader.

Products become ``items_shuffle.json``, their attributes and a sentence per request ``items_ins_v2.json``, and requests
as people speak ``items_human_ins.json``. Reviews, which the official files do not have, stand in a field of their own
that the original ignores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .catalog import Product
from .generator import GeneratedStore, Request
from .instructions import HUMAN
from .official import HUMAN_FILE
from .records import REVIEWS_FIELD

ITEMS_FILE, ATTRIBUTES_FILE = "items_shuffle.json", "items_ins_v2.json"


def export_official(generated: GeneratedStore, folder: Path) -> None:
    """Write the three files into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    requests = {r.family.target.asin: r for some in generated.requests.values() for r in some}
    items = [item_record(product) for product in generated.catalog]
    entries = {product.asin: attribute_record(product, requests.get(product.asin)) for product in generated.catalog}
    human = {asin: human_records(request, HUMAN) for asin, request in requests.items()}
    for name, content in ((ITEMS_FILE, items), (ATTRIBUTES_FILE, entries), (HUMAN_FILE, human)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def item_record(product: Product) -> dict[str, Any]:
    """A product as an entry of ``items_shuffle.json``."""
    return {
        "asin": product.asin,
        "name": product.title,
        "full_description": product.description,
        "small_description": list(product.bullets),
        "pricing": "".join(f"${price:.2f}" for price in product.pricing) or None,
        "images": [product.image],
        "category": product.category,
        "query": product.query,
        "product_category": product.product_category,
        "customization_options": {
            group: [{"value": value, "image": None} for value in values] for group, values in product.options.items()
        },
        REVIEWS_FIELD: [
            {"title": review.title, "score": review.score, "body": review.body} for review in product.reviews
        ],
    }


def attribute_record(product: Product, request: Request | None) -> dict[str, Any]:
    """A product as an entry of ``items_ins_v2.json``; only targets of requests have an instruction."""
    record: dict[str, Any] = {
        "attributes": list(product.attributes),
        "instruction": None,
        "instruction_attributes": None,
    }
    if request is not None:
        goal = request.goal(0)
        record |= {"instruction": _bare(goal.instruction), "instruction_attributes": list(goal.attributes)}
    return record


def human_records(request: Request, phrasings: Iterable[int]) -> list[dict[str, Any]]:
    """A request as entries of ``items_human_ins.json``, one per phrasing."""
    records = []
    for phrasing in phrasings:
        goal = request.goal(phrasing)
        records.append(
            {
                "asin": goal.asin,
                "instruction": _bare(goal.instruction),
                "instruction_attributes": list(goal.attributes),
                "instruction_options": [str(option) for option in goal.options],
            }
        )
    return records


def _bare(instruction: str) -> str:
    """Without its price clause, which readers of the files draw and append themselves."""
    return instruction.rpartition(", and price lower than ")[0]
