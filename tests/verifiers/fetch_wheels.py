"""What verifiers' own chat harness installs when it first runs, fetched before the tests: `fetch_wheels.py FOLDER`.

The harness is a script with dependencies of its own. verifiers has uv install them at the first turn, from the network,
into a cache below the home; a test has an empty home, so that it would fetch them anew, and fail with the network.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path


def dependencies(script: str) -> list[str]:
    """What the comment at a script's head asks for (PEP 723)."""
    head = script.partition("# /// script\n")[2].partition("# ///\n")[0]
    return [str(one) for one in tomllib.loads(head.replace("# ", ""))["dependencies"]]


def main(folder: Path) -> None:
    """Fetch, unless the same has been fetched before."""
    from verifiers.v1.harnesses.utils.launch import CHAT_PROGRAM

    asked = "\n".join(dependencies(CHAT_PROGRAM)) + "\n"
    done = folder / "asked.txt"
    if done.is_file() and done.read_text(encoding="utf-8") == asked:
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(folder)]
    subprocess.run([*command, *asked.split()], check=True)
    done.write_text(asked, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
