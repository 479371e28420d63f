"""Check one of the environments where its package is installed, and keep the report with the version.

    python check.py textarena-blackjack

The package and sdar-envs have to be importable, and this has to be the current folder. The report goes to
docs/data/public_environments; `python -m benchmarks.public_environments` makes the page's table of all that lie there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from entries import ENTRIES

DATA = Path(__file__).resolve().parents[2] / "docs" / "data" / "public_environments"
ALWAYS = ("name", "status", "what", "measured")
KEPT = (*ALWAYS, "looked_at")


def main(name: str) -> None:
    """Run the command of an entry, and write its report."""
    entry = ENTRIES[name]
    words = ["check", entry.target, *entry.options]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "report.json")
        command = [sys.executable, "-m", "sdar_envs", *words, "--format", "json", "--output", str(out)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # status 1 where something was found
        report = json.loads(out.read_text(encoding="utf-8"))
    kept = [{key: result[key] for key in KEPT if result[key] or key in ALWAYS} for result in report["results"]]
    found = {
        "package": entry.package,
        "version": version(entry.package),
        "python": sys.version.split()[0],
        "command": " ".join(["sdar", *words]),
        "results": kept,
    }
    DATA.mkdir(exist_ok=True)
    (DATA / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(name, ", ".join(result["name"] for result in kept if result["status"] in ("failed", "warned", "error")))


if __name__ == "__main__":
    main(sys.argv[1])
