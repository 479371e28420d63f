"""A page for every family of methods, made from ``docs/data/methods.json``, the output of `sdar methods --json`.

The file is used and not the table itself, because the table needs torch; a test holds both equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .tables import cell, table

FILE = Path(__file__).resolve().parents[1] / "data" / "methods.json"
# Family -> what its methods have in common.
FAMILIES = {
    "core": "The methods of the SDAR paper and its code: no learning, GRPO, distillation with and without a reward, "
    "and the gate in its forms. Each differs from its neighbour in one thing.",
    "ours": "Variants that the paper does not have: what the motivation says and the published loss does not do.",
    "equal information": "Methods that use the same privileged side without a teacher's log-probabilities: what a gain "
    "of a distilling method has to be compared with.",
    "control": "Methods whose teacher knows nothing of use. A gain that they have, too, does not come from a teacher.",
    "successor": "Methods that were published after SDAR, as far as an entry of the table can express them.",
}
_APART = ("summary", "gradient", "source", "note")


def pages() -> dict[str, str]:
    """Path below docs/ -> text."""
    listed: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    families = dict.fromkeys(method["group"] for method in listed)
    return {
        f"methods/{family.replace(' ', '-')}.md": family_page(family, [m for m in listed if m["group"] == family])
        for family in families
    }


def family_page(family: str, methods: list[dict[str, Any]]) -> str:
    """What a family is, its methods in a table, then each whole."""
    rows = [
        [
            f"[`{m['name']}`](#{m['name'].replace('+', '')})",
            "yes" if m["pg_coef"] else "-",
            cell(m["signal_formula"] or "-"),
            cell(m["weight_formula"] or "-"),
            m["injection"].replace("_", "\\_") if m["injection"] != "none" else "-",
            f"{m['coef']:g}" if m["injection"] != "none" else "-",
        ]
        for m in methods
    ]
    parts = [f"# Methods: {family}", FAMILIES[family]]
    parts.append(table(["method", "reward", "signal x", "weight w", "enters", "coef"], rows))
    parts.append("[Methods](../methods.md) explains the columns, the symbols S, O, T, A, H, and how to add a method.")
    for method in methods:
        parts += one_method(method)
    return "\n\n".join(parts) + "\n"


def one_method(method: dict[str, Any]) -> list[str]:
    """A method: what it does, its gradient, its parts, where it is from, and how it is run."""
    parts = [f"## {method['name']}", cell(method["summary"]), f"**Gradient.** {cell(method['gradient'])}."]
    rows = [[name, cell(text)] for name, text in method["explained"] if name not in _APART]
    parts.append(f'<div class="facts" markdown>\n\n{table(["", ""], rows)}\n\n</div>')
    parts += [cell(method["note"])] if method["note"] else []
    parts.append(f"*Source:* {cell(method['source'])}. *Fidelity:* {method['fidelity']}.")
    parts.append(f"```bash\nsdar train --env sdar/Household-v0 --method {method['name']}\n```")
    return parts
