"""A small store in the layout of the official files, hand-made: what the original stumbles over, and plain shirts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MARK = "\u203a"

ITEMS_FILE, ATTRIBUTES_FILE, HUMAN_FILE = "items_shuffle_1000.json", "items_ins_v2_1000.json", "items_human_ins.json"


def _values(*values: str) -> list[dict[str, Any]]:
    return [{"value": value, "image": None} for value in values]


def _item(
    asin: str, name: str, description: str, bullets: Any, pricing: str | None, query: str, path: str, **more: Any
):
    return {
        "asin": asin,
        "name": name,
        "full_description": description,
        "small_description": bullets,
        "pricing": pricing,
        "images": ["http://example.org/picture.jpg"],
        "category": more.pop("category", "fashion"),
        "query": query,
        "product_category": path.replace(">", MARK),
        "customization_options": more,
    }


def items() -> list[dict[str, Any]]:
    """``items_shuffle``: odd prices, options that are called like buttons, records that are to be left out."""
    found = [
        _item(
            *("B0AAAAAA01", "Soft Cotton Men's T-Shirt, Crew Neck & Short Sleeve"),
            *("A <b>soft</b> tee.\nMachine wash. &amp; tumble dry", ["100% cotton", "Machine wash", "", "  "]),
            *("$12.99", "Men's T-Shirts ", "Clothing > Men > Shirts"),
            Color=_values("Navy Blue", "Dark Grey", "Dark Green", "Red/White"),
            Size=_values("X-Large", "Large", "Medium", "XX-Large"),
            Fit=None,
        ),
        _item(
            *("B0AAAAAA02", "Women's Running Shoes Lightweight", "Light shoes. Slip resistant."),
            *("one single string", "$39.00$59.50", "running shoes", "Shoes > Women > Running"),
            size=_values("8", "8.5", "10", "10.5"),
            color=_values("black", "white"),
        ),
        _item(
            *("B0AAAAAA03", 'Queen Size Pillow "Cloud" 2-pack', "", ["hypoallergenic"], None),
            *("pillows", "Home > Bedding > Pillows"),
            category="garden",
        ),
        _item(
            *("B0AAAAAA04", "USB C Charger 65W Fast Charging\u2122", "Charges phones", ["fast charging", "usb c"], ""),
            *("usb c charger", "Electronics > Chargers"),
            category="electronics",
        )
        | {"customization_options": ""},
        _item(
            *("B0AAAAAA05", "Lavender Shampoo", "Sulfate free.  Paraben free.", ["sulfate free", "paraben free"]),
            *("List: $1,234.50", "shampoo", "Beauty > Hair > Shampoo"),
            category="beauty",
            Scent=_values("lavender", "tea tree & mint", "'quoted'", "<angle>"),
            Pack=_values("pack of 2", "pack of 3"),
        ),
        _item(
            *("B0AAAAAA06", "Conditioner", " ", [" "], "$5", "shampoo", "Beauty > Hair > Conditioner"),
            category="beauty",
            Scent=_values("description", "color", "features"),
            color=_values("color", "mint"),
        ),
        _item("nan", "nan", "", [], None, "", "", category=""),
        _item("B0AAAAAA01", "duplicate", "", ["a"], None, "", "", category=""),
        _item("B0TOOLONGASIN", "toolong", "", ["a"], None, "", "", category=""),
        _item(
            *("B0AAAAAA07", "Tea, English Breakfast \u2014 16 ounce (pack of 6)", "Best tea."),
            *(["Soothing aroma", "Calming, great feeling"], "$10$20$30", "tea", "Grocery > Tea"),
            category="grocery",
            **{
                "Flavor Name": _values("english breakfast", "earl grey"),
                "Size": _values("16 ounce (pack of 6)", "12 ounce (pack of 6)", "1 lb"),
            },
        ),
        _item(
            *("B0AAAAAA08", "Shirt for Women red", "A shirt. shirt shirt", ["cotton"], "$995.00"),
            *("men's t-shirts", "Clothing > Women > Shirts"),
            color=_values("red", "  Blue  "),
        ),
    ]
    for number in range(14):
        found.append(
            _item(
                f"B0BBBBBB{number:02d}",
                f"Cotton Shirt number {number} {'striped' if number % 2 else 'plain'}",
                "cotton " * (number % 5) + "shirt",
                [f"bullet {number}", "second"],
                *(f"${10 + number}.{number:02d}", "shirt", "Clothing > Shirts"),
                **({"color": _values("red", "blue")} if number % 3 else {}),
            )
        )
    return found


def attributes() -> dict[str, Any]:
    """``items_ins_v2``: attributes, and the sentences of synthetic goals."""
    found: dict[str, Any] = {}
    for item in items():
        shirt = "irt" in item["name"]
        found[item["asin"]] = {
            "attributes": ["machine wash", "cotton", "short sleeve"]
            if shirt
            else ["sulfate free", "natural ingredients", "tea tree"],
            "instruction": f"Find me a {item['query'].strip().lower()} that is nice"
            if item["asin"] != "B0AAAAAA04"
            else None,
            "instruction_attributes": ["machine wash", "cotton"] if shirt else ["sulfate free", "tea tree"],
        }
    del found["B0AAAAAA07"]["attributes"]
    return found


def human() -> dict[str, Any]:
    """``items_human_ins``: what people asked for."""

    def asked(asin: str, text: str, wanted: list[str], options: list[str]) -> dict[str, Any]:
        return {
            "asin": asin,
            "instruction": text,
            "instruction_attributes": wanted,
            "instruction_options": options,
            "worker_id": "x",
            "assignment_id": "y",
        }

    return {
        "B0AAAAAA01": [
            asked("B0AAAAAA01", "i'm looking for a soft tee in dark blue..", ["machine wash"], ["navy blue", "large"]),
            asked("B0AAAAAA01", "skipped", [], []),
        ],
        "B0AAAAAA08": [asked("B0AAAAAA08", "i want an expensive shirt", ["cotton"], ["red"])],
        "B0AAAAAA05": [
            asked(
                *("B0AAAAAA05", ".shampoo please."),
                *(["sulfate free", "paraben free"], ["tea tree & mint", "pack of 2"]),
            )
        ],
        "B0AAAAAA07": [asked("B0AAAAAA07", "tea", ["great feeling"], [])],
    }


def write(folder: Path) -> Path:
    """Write the three files; returns the folder."""
    for name, content in ((ITEMS_FILE, items()), (ATTRIBUTES_FILE, attributes()), (HUMAN_FILE, human())):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder
