"""The pages that a user reads, and the commands and blocks of code on them; found, so that a new page is looked at."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a reader follows. The changelog names commands of earlier versions.
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\s*)?^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```", re.M | re.S
)
# The first word of what a line of a page asks a reader to run.
STARTS = re.compile(r"(sdar|python|tox|pytest|pip|pre-commit|torchrun|vllm|mkdocs|git|cd|export|jupyter)\b")


def blocks(page: Path, *languages: str) -> list[tuple[str, str | None]]:
    """The blocks in these languages, with the reason for which one is not run."""
    text = page.read_text(encoding="utf-8")
    return [(m["body"], m["reason"]) for m in FENCE.finditer(text) if m["language"] in languages]


def commands(page: Path) -> list[list[str]]:
    """The words of every shell command on the page, fenced or indented, without comments and prompts.

    A line that ends in a backslash goes on in the next; settings of the environment in front of a command are left out.
    """
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(body for body, _ in blocks(page, "bash", "sh", "console", "shell"))
    indented = "\n".join(re.findall(r"^ {4,}(\S.*)$", FENCE.sub("", text), re.M))
    found = []
    for line in re.sub(r"\\\n\s*", " ", f"{shell}\n{indented}").splitlines():
        line = re.sub(r"^([A-Z_]+=\S+ +)+", "", line.strip().removeprefix("$ "))
        if STARTS.match(line):
            try:
                found += [shlex.split(part, comments=True) for part in line.split("&&")]
            except ValueError:
                continue  # prose with an apostrophe
    return [words for words in found if words and not is_output(words)]


def is_output(words: list[str]) -> bool:
    """Whether a line that begins with the command's name is what it prints: an error, or the progress of a run."""
    return len(words) > 1 and bool(re.fullmatch(r"\d+/\d+|[a-z-]+:", words[1]))


def inline_commands(page: Path) -> list[str]:
    """What stands in code marks within the text and begins with ``sdar`` and a word."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(found.split()) for found in re.findall(r"`(sdar [a-z][^`]*)`", text)]
