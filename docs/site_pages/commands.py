"""The reference of the command line: a page for each command, made from its parser."""

from __future__ import annotations

import argparse
import re

from trainers.cli import COMMANDS, command_parser
from trainers.cli.study.subcommands import SUBCOMMANDS, subcommand_parser

from .tables import cell, table

INDEX = "command-line.md"
_DEFAULT = re.compile(r"(?P<text>.*?)\s*\[(?P<default>[^\[\]]*)\]$", re.S)


def pages_in_order() -> list[str]:
    """Paths of the commands' pages below docs/."""
    return [f"cli/{name}.md" for name in COMMANDS]


def pages() -> dict[str, str]:
    """Path below docs/ -> text."""
    made = {f"cli/{name}.md": command_page(name) for name in COMMANDS}
    made[INDEX] = index_page()
    return made


def index_page() -> str:
    """The list of commands."""
    rows = [[f"[`sdar {name}`](cli/{name}.md)", cell(summary)] for name, (_, summary) in COMMANDS.items()]
    return "\n\n".join(
        [
            "# Command line",
            "`sdar COMMAND --help` prints what these pages show; they are made from the same parsers.",
            table(["command", "what it does"], rows),
            "`sdar --version` prints the versions of the suite and of what it runs on. `--debug`, with any command, "
            "shows the traceback of an error. The exit status is 0, 2 for a mistake of the caller (one line says what "
            "was expected), and 130 after Ctrl-C.",
        ]
    )


def command_page(name: str) -> str:
    """Everything about a command; the subcommands of `sdar study` are sections of its page."""
    parser, _ = command_parser(name)
    parts = [f"# sdar {name}", *described(parser)]
    if name == "study":
        for sub, known in SUBCOMMANDS.items():
            parts += [f"## sdar study {sub}", f"{known.summary[0].upper()}{known.summary[1:]}."]
            parts += described(subcommand_parser(sub), depth=3, summary=False)
    return "\n\n".join(parts) + "\n"


def described(parser: argparse.ArgumentParser, depth: int = 2, *, summary: bool = True) -> list[str]:
    """Description, usage, options by group, and examples of a parser."""
    parts = [prose(parser.description or "")] if summary else []
    parts.append(f"```text\n{parser.usage}\n```")
    if parser.epilog:
        parts.append(examples(parser.epilog))
    for group in parser._action_groups:
        rows = [option_row(action) for action in group._group_actions if action.help != argparse.SUPPRESS]
        if rows:
            parts.append(f"{'#' * depth} {(group.title or 'options').capitalize()}")
            parts.append(f'<div class="options" markdown>\n\n{table(["option", "meaning", "default"], rows)}\n\n</div>')
    return parts


def option_row(action: argparse.Action) -> list[str]:
    """An option: how it is written, what it means, and the default that its help names in brackets."""
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    if isinstance(action, argparse.BooleanOptionalAction):
        names = [" / ".join(f"`{text}`" for text in action.option_strings)]
    else:
        names = [f"`{text}{value}`" for text in action.option_strings] or [f"`{action.metavar or action.dest}`"]
    text = (action.help or "").replace("%%", "%")
    found = _DEFAULT.match(text)
    default = f"`{found['default']}`" if found else ""
    return [cell(", ".join(names)), cell(found["text"] if found else text), cell(default)]


def prose(text: str) -> str:
    """A description: paragraphs as they are, and what is set in columns as a block of its own."""
    parts = []
    for part in text.strip().split("\n\n"):
        columns = any("  " in line.strip() or line.startswith(" ") for line in part.splitlines())
        parts.append(f"```text\n{part}\n```" if columns else cell(part))
    return "\n\n".join(parts)


def examples(text: str) -> str:
    """An epilogue: indented lines are commands, the others prose."""
    parts = []
    for part in text.strip().split("\n\n"):
        lines = part.splitlines()
        code = [line[2:] for line in lines if line.startswith("  ")]
        said = [line for line in lines if not line.startswith("  ")]
        head = " ".join(said)
        parts += [cell(head[0].upper() + head[1:])] if head else []
        parts += ["```bash\n" + "\n".join(code) + "\n```"] if code else []
    return "\n\n".join(parts)
