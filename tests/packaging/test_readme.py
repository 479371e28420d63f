"""What the pages say works: Python blocks run, commands and flags exist, and links lead somewhere.

A Python block after the comment ``<!-- not run: REASON -->`` is only compiled (one that needs pretrained weights, say).
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import FENCE, IDS, PAGES, ROOT, blocks, commands, inline_commands

OLD_STUDY_FORM = (ROOT / "trainers/cli/study/old_form.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_blocks_run_in_order_in_a_fresh_interpreter(page: Path, tmp_path: Path):
    found = blocks(page, "python", "py")
    for body, _ in found:
        compile(body, str(page), "exec")
    code = "\n".join(body for body, reason in found if reason is None)
    if not code:
        pytest.skip("no Python block to run on this page")
    if re.search(r"\b(agents|trainers|torch)\b", code):
        pytest.importorskip("torch")
    if "SearchQA" in code:
        pytest.importorskip("faiss")
    if "TextWorld-v0" in code:
        pytest.importorskip("textworld")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def understood(words: list[str]) -> bool:
    """Whether ``sdar`` takes these words; letters that stand for a value, as in ``--seed S``, are given one."""
    from trainers.cli import command_parser

    filled = ["1" if len(word) == 1 and word.isupper() else word for word in words[1:]]
    try:
        command_parser(words[0])[0].parse_args(filled)
    except SystemExit:
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_of_the_page_exist_with_their_flags(page: Path):
    pytest.importorskip("yaml")
    for words in commands(page):
        if words[0] == "sdar" and len(words) > 1 and not words[1].startswith("-") and "|" not in words:
            assert understood(words[1:]), f"{words} on {page.name}"
        elif words[0] == "tox" and "-e" in words:
            settings = configparser.ConfigParser()
            settings.read(ROOT / "tox.ini")
            known = {name.removeprefix("testenv:") for name in settings.sections()} | {"py311", "py312", "py313"}
            assert set(words[words.index("-e") + 1].split(",")) <= known, f"{words} on {page.name}"
        elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
            program = ROOT / words[2].replace(".", "/")
            found = program.with_suffix(".py"), program / "__main__.py"
            assert any(path.is_file() for path in found), f"{words} on {page.name}"
        elif words[0] == "pytest":
            for path in (word for word in words[1:] if word.startswith("tests/")):
                assert (ROOT / path.split("::")[0]).exists(), f"{words} on {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_within_the_text_exist_with_their_flags(page: Path):
    pytest.importorskip("yaml")
    from trainers.cli import COMMANDS, command_parser

    for command in inline_commands(page):
        name, *words = command.split()[1:]
        assert name in COMMANDS, f"{command} on {page.name}"
        known = command_parser(name)[0].format_help()
        if name == "study":
            from trainers.cli.study.subcommands import SUBCOMMANDS, subcommand_parser

            named = [words[0]] if words and words[0].isalpha() else list(SUBCOMMANDS)
            assert named[0] in SUBCOMMANDS, f"{command} on {page.name}"
            # The form without a subcommand still works, with flags of its own.
            known = "".join(subcommand_parser(each).format_help() for each in named) + OLD_STUDY_FORM
        for flag in re.findall(r"(?<!\S)--[a-z][\w-]*", command):
            assert re.search(rf"{flag}(?![\w-])", known) or flag.startswith("--no-"), f"{command} on {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_lead_somewhere(page: Path):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"(https?|mailto):|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{target} on {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_named_in_code_marks_exist(page: Path):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for name in re.findall(r"`((?:sdar_envs|agents|trainers|assets|tests|benchmarks|docs)/[\w./-]+\w)`", text):
        assert (ROOT / name).exists(), f"`{name}` on {page.name}"


def test_a_wrong_flag_would_be_noticed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("```bash\nsdar train --no-such-flag 3\n```\n", encoding="utf-8")
    assert commands(page) == [["sdar", "train", "--no-such-flag", "3"]]
    with pytest.raises(AssertionError, match="no-such-flag"):
        test_commands_of_the_page_exist_with_their_flags(page)
