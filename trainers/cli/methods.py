"""The table of training methods: what a teacher reads, which signal comes of it, and where the weight enters."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import itertools
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .terminal import make_console, one_line, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..methods.method import Method

USAGE = "[NAME] [--json | --markdown]"
EPILOGUE = """examples:
  sdar methods
  sdar methods sdar-centred
  sdar methods my_module:my_method
  sdar methods --json

A method is chosen with --method NAME, your own with --method module:name; --set distill_coef=0.1 and the like change
its defaults."""

LEGEND = (
    "S, O, T: log-prob of the sampled token by the student, the weights that sampled, the teacher. H: the student's "
    "entropy. A: advantage. reward: whether the policy gradient is in the loss. aux: -w S is added to it; divergence: "
    "w D of whole distributions is; adv_mul, adv_add: A is multiplied, or added to "
    "(adv_add_signed: but keeps its sign). coef: its coefficient."
)
ENTERS = {
    "none": "nowhere",
    "aux": "loss + c (-w S)",
    "adv_mul": "A ((1 - c) + c w) in place of A",
    "adv_add": "A + c w in place of A",
    "adv_add_signed": "A + c w in place of A, which keeps its sign: at most down to 0, and 0 stays 0",
    "divergence": "loss + c w D, D the divergence of whole next-token distributions",
}
WEIGHTS = {
    "current": "the weights that sampled",
    "initial": "the initial weights",
    "ema": "a moving average of the weights",
}
# Wide enough for every column but the source; below, what identifies a method and what it does.
SHORT = ("method", "reward", "signal x", "weight w", "enters", "coef")
WIDE, WIDEST = 115, 190
WRAPS = (("schedule", "read by", "source"), ("signal x", "weight w"))
_LEAST_WIDTH = 10
_LONGEST_FORMULA = 32


def formula(function: Callable[..., Any] | None) -> str:
    """A signal or weight in symbols: its docstring up to the first colon; its name where there is no such thing."""
    if function is None:
        return "-"
    name: str = getattr(function, "__name__", type(function).__name__)
    text, colon, _ = (inspect.getdoc(function) or "").partition(":")
    return one_line(text) if colon and len(text) <= _LONGEST_FORMULA else name.strip("_").replace("_", " ")


def meaning(function: Callable[..., Any]) -> str:
    """The first paragraph of a function's docstring, without markup."""
    return one_line((inspect.getdoc(function) or "").partition("\n\n")[0]).replace("`", "")


def readings(method: Method) -> str:
    """Which readings by a teacher a method wants."""
    views = " + ".join(method.teacher_views)
    return f"{method.combine} of {views}" if method.combine and views else views or "-"


def read_by(method: Method) -> str:
    """Who reads what is privileged: the teacher's views, the student itself, or nobody."""
    acts_or_plays = method.student_view == "privileged" or method.eval_views == ("privileged",)
    return "student" if acts_or_plays else readings(method)


def describe(method: Method) -> dict[str, Any]:
    """A method as plain JSON values; "explained" is what `sdar methods NAME` says, as pairs of heading and text."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        if callable(value) and not hasattr(value, "__dataclass_fields__"):
            value = getattr(value, "__name__", type(value).__name__)
        elif isinstance(value, (tuple, frozenset)):
            value = sorted(value) if isinstance(value, frozenset) else list(value)
        elif not isinstance(value, (str, int, float, bool, type(None))):
            value = str(value)
        values[field.name] = value
    used = method.injection != "none" and method.signal is not None
    values["signal_formula"] = formula(method.signal) if used else None
    values["weight_formula"] = formula(method.weight) if method.injection != "none" else None
    values["explained"] = [[name, one_line(text)] for name, text in _lines(method)]
    return values


def cells(method: Method) -> dict[str, str]:
    """A method as a person reads it, by column."""
    injects = method.injection != "none"
    return {
        "method": method.name,
        "read by": read_by(method),
        "signal x": formula(method.signal) if injects else "-",
        "weight w": formula(method.weight) if injects else "-",
        "enters": method.injection if injects else "-",
        "coef": f"{method.coef:g}" if injects else "-",
        "schedule": str(method.schedule) if injects else "-",
        "reward": "yes" if method.pg_coef else "-",
        "fidelity": method.fidelity,
        "source": method.source,
    }


def columns(width: int) -> list[str]:
    """The columns that fit into a terminal."""
    if width >= WIDEST:
        return [*SHORT, "schedule", "read by", "fidelity", "source"]
    return [*SHORT, "schedule", "read by", "fidelity"] if width >= WIDE else list(SHORT)


def grouped() -> dict[str, list[Method]]:
    """All methods by group: those that do not learn, those that learn from the reward alone, then the others."""
    from ..methods import METHODS
    from ..methods.method import GROUPS

    table = sorted(METHODS.values(), key=lambda m: 2 if m.injection != "none" else int(m.pg_coef != 0.0))
    listed = {group: [method for method in table if method.group == group] for group in GROUPS}
    return {group: methods for group, methods in listed.items() if methods}


def show_all(console: Console) -> None:
    """Print the table, group by group."""
    if not console.is_terminal:
        names = ["method", "group", *columns(WIDEST)[1:]]
        rows = [[{**cells(m), "group": g}[n] for n in names] for g, methods in grouped().items() for m in methods]
        show_table(console, "", names, rows, left=len(names))
        return
    from rich.text import Text

    names = columns(console.width)
    table = [{name: one_line(text) for name, text in cells(m).items()} for ms in grouped().values() for m in ms]
    widths = fitted({name: max(len(name), *(len(row[name]) for row in table)) for name in names}, console.width)

    def line(row: Mapping[str, str], style: str = "") -> None:
        wrapped = [textwrap.wrap(row[name], widths[name]) or [""] for name in names]
        for parts in itertools.zip_longest(*wrapped, fillvalue=""):
            text = "  ".join(
                part.rjust(widths[name]) if name == "coef" else part.ljust(widths[name])
                for name, part in zip(names, parts, strict=True)
            )
            console.print(Text(text.rstrip(), style=style), soft_wrap=True)

    line({name: name for name in names}, style="dim")
    for group, methods in grouped().items():
        console.print(Text(f"\n{group}", style="bold"))
        for method in methods:
            line(cells(method))
    console.print(f"\n{LEGEND} `sdar methods NAME` shows one method whole, with its gradient and source.")


def fitted(natural: Mapping[str, int], room: int) -> dict[str, int]:
    """Column widths with two spaces between: what may wrap gives way, words before formulas, until the line fits."""
    widths = dict(natural)
    for wraps in WRAPS:
        shrinking = [name for name in widths if name in wraps]
        while shrinking and sum(widths.values()) + 2 * (len(widths) - 1) > room:
            widest = max(shrinking, key=lambda name: widths[name])
            if widths[widest] <= _LEAST_WIDTH:
                break
            widths[widest] -= 1
    return widths


def show_one(console: Console, method: Method) -> None:
    """Print everything that is known of one method."""
    from rich.padding import Padding

    console.print(f"{method.name}  ({method.group}, fidelity: {method.fidelity})")
    for name, text in _lines(method):
        if not console.is_terminal:
            console.print(f"  {name:<12}{text}")
            continue
        # A hanging indent: the name once, then the text wrapped beside it.
        wrapped = Padding(text, (0, 0, 0, 14))
        lines = console.render_lines(wrapped, console.options, pad=False)
        plain = ["".join(segment.text for segment in line).rstrip() for line in lines]
        plain[0] = f"  {name:<12}{plain[0].strip()}"
        console.print("\n".join(plain), soft_wrap=True)


def _lines(method: Method) -> list[tuple[str, str]]:
    from ..config import SDARConfig

    acts = f"acts under the {method.student_view} prompt"
    if method.learn_view not in (None, method.student_view):
        acts += f", learns given the {method.learn_view} one"
    lines = [("summary", method.summary), ("gradient", method.gradient), ("student", acts)]
    lines.append(("evaluated", "under the " + " and the ".join(method.eval_views) + " prompt"))
    if method.injection == "none":
        lines.append(("teacher", "reads nothing"))
    else:
        weights = WEIGHTS[method.teacher_weights]
        reading = (
            f"reads the view {readings(method)}, by {weights} (teacher_weights)"
            if method.teacher_views
            else "reads nothing"
        )
        lines.append(("teacher", reading))
        if method.keep is not None:
            lines.append(("episodes", meaning(method.keep)))
        if method.signal is not None:
            lines.append(("signal x", meaning(method.signal)))
        lines.append(("weight w", meaning(method.weight)))
        if method.timing == "iteration":
            lines.append(("", "taken once per iteration, before its first update"))
        lines.append(("enters", f"{method.injection}: {ENTERS[method.injection]}"))
        lines.append(("coefficient", f"c = {method.coef:g} (distill_coef), {method.schedule} (distill_decay)"))
    lines.append(("reward", f"policy gradient with coefficient {method.pg_coef:g}" if method.pg_coef else "not used"))
    if method.advantage:
        lines.append(("advantage", method.advantage))
    options = {option.name: option for option in dataclasses.fields(SDARConfig)}
    for index, name in enumerate(method.options):
        about = f"{name} = {options[name].default}: {options[name].metadata['help']}"
        lines.append(("options" if index == 0 else "", about))
    lines.append(("source", method.source))
    if method.note:
        lines.append(("note", method.note))
    return lines


def markdown() -> str:
    """The table, and what each method's gradient is, as `docs/methods.md` has them."""
    names = ["method", "group", *SHORT[1:], "schedule", "read by", "fidelity"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for group, methods in grouped().items():
        for method in methods:
            texts = {**cells(method), "group": group, "method": f"`{method.name}`"}
            lines.append("| " + " | ".join(texts[name].replace("|", "\\|") for name in names) + " |")
    for group, methods in grouped().items():
        lines += ["", f"### {group.capitalize()}", ""]
        for method in methods:
            lines.append(
                textwrap.fill(
                    f"- **{method.name}**: {method.summary} Gradient: {method.gradient}. {method.note} "
                    f"*Source: {method.source}.*".replace(".. ", ". ").replace("  ", " "),
                    width=120,
                    subsequent_indent="  ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar methods``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one method, whole; your own as module:name")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all fields, as one JSON list (or object, with a name)")
    form.add_argument("--markdown", action="store_true", help="the table in Markdown")


def run(options: argparse.Namespace) -> int:
    """Print the table, or one method."""
    from ..methods import METHODS, get_method

    chosen: Sequence[Method] = [get_method(options.name)] if options.name else list(METHODS.values())
    if options.json:
        listed = [describe(method) for method in chosen]
        print(json.dumps(listed[0] if options.name else listed, indent=2))
        return 0
    if options.markdown:
        print(markdown())
        return 0
    console = make_console()
    if options.name:
        show_one(console, chosen[0])
    else:
        show_all(console)
    return 0
