"""Break important lines one at a time and see that the tests notice: ``python tests/mutants/run.py``.

Works on copies of the tree in a temporary folder. Prints a line per mutant and the score; exit status 1 when one lives.
Options: ``--jobs N`` at a time, and words that names must contain.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("sdar_envs", "agents", "trainers", "assets", "tests", "benchmarks", "docs")
FILES = (
    *("pyproject.toml", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md"),
    *("mkdocs.yml", "tox.ini", "constraints.txt"),
)
LIMIT_S = 600.0  # of the tests of one mutant
SOUND_LIMIT_S = 3600.0  # of all of them together, without a mutant


def copy_tree(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, tests: Sequence[str], limit_s: float = LIMIT_S) -> tuple[bool, str]:
    """Whether the tests pass on a tree, and the end of what they print."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return False, "over the time limit"
    if done.returncode not in (0, 1):  # 1 is failed tests; others are mistakes in this list
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.returncode == 0, done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def try_mutant(tree: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether a mutant lives, and what the tests said."""
    path = tree / mutant.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(mutant.original, mutant.broken), encoding="utf-8")
    try:
        return run_tests(tree, mutant.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def main() -> int:
    """Run the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time [2]")
    parser.add_argument("words", nargs="*", help="only mutants whose name contains one of these")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.words or any(word in m.name for word in options.words)]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as base:
        trees: Queue[Path] = Queue()
        for number in range(options.jobs):
            trees.put(copy_tree(Path(base) / str(number)))

        def work(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                lives, last = try_mutant(tree, mutant)
            finally:
                trees.put(tree)
            print(f"{'LIVES ' if lives else 'killed'}  {mutant.name}  ({last})", flush=True)
            return lives

        tree = trees.get()
        sound, last = run_tests(tree, sorted({test for mutant in chosen for test in mutant.tests}), SOUND_LIMIT_S)
        trees.put(tree)
        if not sound:
            print(f"the tests fail without any mutant: {last}")
            return 2
        with ThreadPoolExecutor(options.jobs) as pool:
            living = sum(pool.map(work, chosen))
    print(f"{len(chosen) - living} of {len(chosen)} mutants killed in {time.monotonic() - start:.0f} s")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
