"""The table of docs/public-environments.md, made from the reports in docs/data/public_environments.

    python -m benchmarks.public_environments

Reports are made by examples/public_environments/check.py, each in an environment that has the package.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from sdar_envs.files import replaced_file

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "data" / "public_environments"
PAGE = ROOT / "docs" / "public-environments.md"
BEGIN, END = "<!-- table: python -m benchmarks.public_environments -->", "<!-- end of table -->"
FOUND = ("failed", "error", "warned")


def entries() -> ModuleType:
    """The module of the examples that lists the environments."""
    place = ROOT / "examples" / "public_environments" / "entries.py"
    spec = importlib.util.spec_from_file_location("public_environment_entries", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reports() -> dict[str, dict[str, Any]]:
    """The stored reports by name, in the order of the entries."""
    return {
        name: json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        for name in entries().ENTRIES
        if (DATA / f"{name}.json").is_file()
    }


def found_by(report: dict[str, Any]) -> dict[str, str]:
    """Check -> status, of those that found something."""
    return {result["name"]: result["status"] for result in report["results"] if result["status"] in FOUND}


def anchor(heading: str) -> str:
    """The address of a heading, as the site makes it."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def rendered() -> str:
    """The table in Markdown."""
    lines = ["| environment | package | held | found | not looked at |", "|---|---|---|---|---|"]
    for name, report in reports().items():
        entry = entries().ENTRIES[name]
        statuses = [result["status"] for result in report["results"]]
        found = [
            f"[`{check}`](#{anchor(entry.findings[check])}){' (warning)' if status == 'warned' else ''}"
            for check, status in found_by(report).items()
        ]
        title = f"{'*' if entry.fresh else ''}{entry.title}{'*' if entry.fresh else ''}"
        package = f"{report['package']} {report['version']}"
        skipped = statuses.count("skipped")
        parts = sum(result["status"] == "held" and "looked_at" in result for result in report["results"])
        held = f"{statuses.count('held')}{f' ({parts} in part)' if parts else ''}"
        lines.append(f"| {title} | {package} | {held} | {', '.join(found) or 'nothing'} | {skipped} |")
    return "\n".join(lines)


def with_table(page: str, table: str) -> str:
    """The page with the table between its marks."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the table into the page."""
    page = with_table(PAGE.read_text(encoding="utf-8"), rendered())
    with replaced_file(PAGE) as beside:
        beside.write_text(page, encoding="utf-8")
    print(rendered())


if __name__ == "__main__":
    main()
