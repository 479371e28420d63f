"""From the options of a subcommand to a plan: which options make one, and what their words mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..flags import old_spelling, read_pairs, read_scalar

if TYPE_CHECKING:
    from ...study.plan_records import Plan

# Options that make a plan, with their flags; without any of them the directory's own plan is taken.
PLANNING = {
    "plan": "--plan",
    "env": "--env",
    "model": "--model",
    "preset": "--preset",
    "methods": "--methods",
    "seeds": "--seeds",
    "privilege": "--privilege",
    "corrupted": "--corrupted",
    "pairs": "--set",
    "warm": "--warm-start",
    "iterations": "--iterations",
}


def add_planning_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that make a plan."""
    add = parser.add_argument
    add("--plan", metavar="NAME|FILE", help="a plan of the suite's, or a YAML file, instead of the flags below")
    add("--env", metavar="ID", help="environment [sdar/Household-v0]")
    add("--model", metavar="PATH", help="model path or name; without it a tiny one is warmed up per seed")
    add("--preset", metavar="NAME", help="preset of the runs [chosen by environment and model]")
    add(
        "--methods", metavar="A,B,...",
        help="methods by name, your own as module:name [grpo,opsd,grpo+opsd,rlsd,skill-sd,sdar]",
    )  # fmt: skip
    add("--seeds", metavar="N|LIST", help="how many, or which: 5, 0,3,7 or 10-14 [5]")
    add("--privilege", metavar="A,B,...", help="an axis: what the teacher is shown")
    add("--corrupted", metavar="X,Y,...", help="an axis: share of wrong statements in the skill bank [0.25]")
    add(
        "--set", "--vary", nargs="+", action="extend", default=[], metavar="KEY=V[,W...]", dest="pairs",
        help="options of the runs; several values make an axis, e.g. --set distill_coef=0.1,0.3",
    )  # fmt: skip
    add(
        "--warm-start", nargs="+", action="extend", default=[], metavar="KEY=V[,W...]", dest="warm",
        help="options of the warm start; several values make an axis, e.g. --warm-start student_high=0.2,0.35",
    )  # fmt: skip
    add("--iterations", type=int, metavar="N", help="training iterations per run; the budget B is half of them [60]")


def point_out_old_planning(parser: argparse.ArgumentParser) -> None:
    """Accept the old names of these options."""
    old_spelling(parser, "--stale", "--corrupted")


def planning_flags(options: argparse.Namespace) -> list[str]:
    """The flags that make a plan, of those that were given."""
    return [flag for name, flag in PLANNING.items() if getattr(options, name) not in (None, [])]


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the flags describe.

    Raises:
        StudyError: No such plan.
        ValueError: A flag that no plan takes.
    """
    from ...study.plan import make_plan, read_plan

    if options.plan is not None:
        others = [flag for flag in planning_flags(options) if flag != "--plan"]
        if others:
            raise ValueError(f"--plan says everything a study is: leave out {', '.join(others)}, or edit the plan")
        return read_plan(options.plan)
    return make_plan(plan_content(options), "sdar study")


def plan_content(options: argparse.Namespace) -> dict[str, Any]:
    """The flags as the mapping that a plan's file would hold.

    Raises:
        ValueError: A word is not what its flag takes.
    """
    from ...study.plan import STUDY_STALE

    axes, common, warm = _axes_and_values(options)
    content: dict[str, Any] = {
        "env_id": options.env or "sdar/Household-v0",
        "name": Path(options.output_dir).name,
        "model": options.model,
        "warm_start": warm,
        "axes": axes,
    }
    if options.iterations is not None:
        common["max_steps"] = options.iterations
    if options.preset is not None:
        content["preset"] = options.preset
    if options.methods is not None:
        content["arms"] = [name.strip() for name in options.methods.split(",") if name.strip()]
    if options.seeds is not None:
        content["seeds"] = read_seeds(options.seeds)
    content["common"] = common
    if "stale" not in axes and "env_kwargs.stale" not in common and _takes_stale(content["env_id"]):
        common["env_kwargs.stale"] = STUDY_STALE
    return content


def _axes_and_values(options: argparse.Namespace) -> tuple[dict[str, list[Any]], dict[str, Any], dict[str, Any]]:
    """Options with several values, options of the runs with one, and options of the warm start with one."""
    common: dict[str, Any] = {}
    axes: dict[str, list[Any]] = {}
    warm: dict[str, Any] = {}
    for name, words in (("privilege", options.privilege), ("stale", options.corrupted)):
        if words is not None:
            axes[name] = _several(words)
    for prefix, single, pairs in (("", common, options.pairs), ("warm_start.", warm, options.warm)):
        for word in pairs:
            key, equals, value = word.partition("=")
            if equals and "," in value and not value.startswith(("[", "{")):
                axes[prefix + key] = _several(value)
            else:
                single.update(read_pairs([word], "--set" if not prefix else "--warm-start"))
    return axes, common, warm


def _takes_stale(env_id: str) -> bool:
    import inspect

    from ..envs import creator_of

    return "stale" in inspect.signature(creator_of(env_id)[1]).parameters


def _several(words: str) -> list[Any]:
    return [read_scalar(word.strip()) for word in words.split(",") if word.strip()]


def read_seeds(text: str) -> list[int]:
    """``5`` is 0 to 4; ``0,3,7`` and ``10-14`` are what they say.

    Raises:
        ValueError: It is none of these.
    """
    return list(range(int(text))) if text.isdecimal() else listed_seeds(text)


def listed_seeds(text: str) -> list[int]:
    """``5`` is seed 5; ``0,3,7`` and ``10-14`` are what they say.

    Raises:
        ValueError: It is none of these.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds are expected as 5, as 0,3,7 or as 10-14, got {text!r}")
        seeds += range(int(first), int(last if dash else first) + 1)
    return seeds
