"""How many tasks, samples and seeds a claim needs, and what a comparison of a given size can see.

The claim: one arm's success rate is higher than the other's by a difference. Computed from how success rates differ
between tasks, between seeds and by chance, and checked by simulation with --simulate. Two-sided at 5 %.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .terminal import make_console, percent, show_table

if TYPE_CHECKING:
    from ..referee.power import Claim, Design

USAGE = "--p RATE --difference D [options]"
EPILOGUE = """examples:
  sdar power --p .8 --difference .05
  sdar power --p .8 --difference .05 --tasks 500 --seeds 10
  sdar power --p .8 --difference .094 --tasks 128 --unpaired --simulate"""

# Seeds that the table of needs goes through, and sizes that are common, shown where none is asked for.
SEEDS = (1, 2, 3, 5, 8, 10, 20)
USUAL: tuple[dict[str, Any], ...] = (
    {"tasks": 128, "paired": False},
    {"tasks": 134},
    {"tasks": 500, "seeds": 3},
    {"tasks": 500, "seeds": 5},
    {"tasks": 134, "samples": 4, "seeds": 5},
    {"tasks": 400, "seeds": 10, "own_tasks": True},
)

# Of paired runs of this suite's household study (docs/study-household.md): 36 pairs of nine arms, ten seeds, 400 tasks.
# Between tasks lay half of the variance p(1 - p) of an outcome; between the runs of an arm a deviation of 2.7 points.
MEASURED_SEED = 0.027


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar power``."""
    parser.add_argument("--p", type=float, required=True, metavar="RATE", help="success rate of the reference")
    parser.add_argument(
        "--difference", type=float, required=True, metavar="D", help="claimed difference, .05 is 5 points"
    )
    parser.add_argument("--power", type=float, default=0.8, metavar="RATE", help="wanted chance of finding it [.8]")
    size = parser.add_argument_group("a size to judge (otherwise: what is needed, and what usual sizes can see)")
    size.add_argument("--tasks", type=int, metavar="N", help="tasks of an arm's run")
    size.add_argument("--samples", type=int, default=1, metavar="N", help="episodes on each task [1]")
    size.add_argument("--seeds", type=int, default=1, metavar="N", help="runs per arm [1]")
    size.add_argument("--unpaired", action="store_true", help="the arms are evaluated on different tasks")
    size.add_argument("--own-tasks", action="store_true", help="every seed has tasks of its own, as in our studies")
    spread = parser.add_argument_group("standard deviations of success rates, .1 is ten points")
    spread.add_argument("--task-sd", type=float, metavar="SD", help="between tasks [half of p(1 - p) as variance]")
    spread.add_argument("--effect-sd", type=float, metavar="SD", help="of the difference, between tasks [D]")
    spread.add_argument("--seed-sd", type=float, metavar="SD", help=f"between runs of an arm [{MEASURED_SEED}]")
    spread.add_argument("--residual-sd", type=float, metavar="SD", help="of a run on a task [p(1 - p)/16 as variance]")
    parser.add_argument(
        "--simulate", type=int, nargs="?", const=1000, metavar="N", help="draw N comparisons of each size too [1000]"
    )
    parser.add_argument("--json", metavar="FILE", help="write all of it to this file too, - for standard output")


def run(options: argparse.Namespace) -> int:
    """Compute, print; status 0."""
    from sdar_envs.choices import require_number
    from sdar_envs.files import write_file

    from ..referee.power import Design

    require_number("--power", options.power, "sdar power", low=0.06, high=0.999)
    if options.simulate is not None:
        require_number("--simulate", options.simulate, "sdar power", low=2, whole=True)
    if options.difference == 0:
        raise ValueError("sdar power expects a --difference other than 0: what is to be found")
    claim = claim_of(options)
    if options.tasks is None:
        given = [name for name in ("samples", "seeds") if getattr(options, name) != 1]
        if given or options.unpaired or options.own_tasks:
            raise ValueError("sdar power expects --tasks N with --samples, --seeds, --unpaired or --own-tasks: a size")
        needs = needed(claim, options.power)
        designs = [Design(**each) for each in USUAL]
    else:
        needs = []
        designs = [Design(options.tasks, options.samples, options.seeds, not options.unpaired, options.own_tasks)]
    seen = [judged(claim, design, options.power, options.simulate) for design in designs]
    spread = {name: getattr(claim.spread, name) for name in ("task", "effect", "seed", "residual")}
    content = {"p": claim.p, "difference": claim.difference, "power": options.power, "spread": spread}
    content |= {"needed": needs, "designs": seen}
    if options.json == "-":
        print(json.dumps(content, indent=1))
        return 0
    show(claim, options.power, needs, seen)
    if options.json:
        write_file(options.json, json.dumps(content, indent=1) + "\n")
    return 0


def claim_of(options: argparse.Namespace) -> Claim:
    """The claim with the spreads that were given, and assumed ones for the others."""
    from ..referee.outcomes import Spread
    from ..referee.power import Claim

    most = max(options.p * (1 - options.p), 0.0)
    assumed = {
        "task": math.sqrt(most / 2),
        "effect": min(abs(options.difference), math.sqrt(most / 8)),
        "seed": min(MEASURED_SEED, math.sqrt(most / 16)),
        "residual": math.sqrt(most / 16),
    }
    given = {name: getattr(options, f"{name}_sd") for name in assumed}
    spread = Spread(**{name: value if given[name] is None else given[name] for name, value in assumed.items()})
    return Claim(options.p, options.difference, spread)


def needed(claim: Claim, power: float) -> list[dict[str, Any]]:
    """Tasks by number of seeds, one and four samples, and unpaired; None where no number is enough."""
    from ..referee.power import Design, tasks_needed

    return [
        {
            "seeds": seeds,
            "tasks": tasks_needed(claim, Design(2, 1, seeds), power=power),
            "tasks_at_4_samples": tasks_needed(claim, Design(2, 4, seeds), power=power),
            "tasks_unpaired": tasks_needed(claim, Design(2, 1, seeds, paired=False), power=power),
        }
        for seeds in SEEDS
    ]


def judged(claim: Claim, design: Design, power: float, comparisons: int | None) -> dict[str, Any]:
    """What a comparison of a size can see, computed and, where asked for, counted."""
    from ..referee.power import Claim, false_positives_of, planned_test, smallest_seen
    from ..referee.power_simulation import simulate

    test = planned_test(claim, design)
    found: dict[str, Any] = {
        "tasks": design.tasks,
        "samples": design.samples,
        "seeds": design.seeds,
        "paired": design.paired,
        "own_tasks": design.own_tasks,
        "episodes": design.episodes,
        "rule": design.rule,
        "half_width": test.half_width,
        "power": test.power(claim.difference),
        "false_positives": false_positives_of(claim, design),
        "smallest_seen": smallest_seen(claim, design, power=power),
    }
    if comparisons is not None:
        key = (design.tasks, design.samples, design.seeds, int(design.paired), int(design.own_tasks))
        for name, asked in (("power", claim), ("false_positives", Claim(claim.p, 0.0, claim.spread))):
            counted = simulate(asked, design, comparisons=comparisons, key=(name, *key))
            found[f"simulated_{name}"] = {"share": counted.share, "error": counted.error, "drawn": counted.drawn}
    return found


def show(claim: Claim, power: float, needs: Sequence[dict[str, Any]], seen: Sequence[dict[str, Any]]) -> None:
    """Print all of it."""
    console = make_console()
    spread = claim.spread
    console.print(
        f"{100 * claim.p:.1f} % against {100 * (claim.p + claim.difference):.1f} %: a difference of "
        f"{100 * claim.difference:+.1f} points, tested two-sided at 5 %"
    )
    console.print(
        f"deviations, in points: {100 * spread.task:.1f} between tasks, {100 * spread.effect:.1f} of the difference "
        f"between tasks, {100 * spread.seed:.1f} between runs, {100 * spread.residual:.1f} of a run on a task"
    )
    console.print("")
    if needs:
        rows = [
            [str(each["seeds"]), *(_tasks(each, name) for name in ("tasks", "tasks_at_4_samples", "tasks_unpaired"))]
            for each in needs
        ]
        columns = ["seeds per arm", "tasks, 1 sample", "tasks, 4 samples", "unpaired, 1 sample"]
        show_table(console, f"tasks that find it with {100 * power:.0f} % power", columns, rows, left=0)
        console.print("never: no number of tasks, since the spread between runs stays. Paired: both arms play the same")
        console.print("tasks. One run per arm shows no spread between runs, so no test knows how wrong it is.")
        console.print("")
    columns = ["size", "half width", "sees", "finds it", "false positives"]
    rows = [[_size(each), *_figures(each)] for each in seen]
    show_table(
        console, f"what a size can see (sees: the smallest gain found with {100 * power:.0f} % power)", columns, rows
    )
    if any(each["seeds"] == 1 for each in seen):
        console.print(
            "With one run per arm the interval is of these two runs, not of two methods: false positives say how"
        )
        console.print("often two runs of equally good methods differ significantly.")


def _tasks(each: dict[str, Any], name: str) -> str:
    return "blind" if each["seeds"] == 1 else "never" if each[name] is None else f"{each[name]:,}"


def _size(each: dict[str, Any]) -> str:
    samples = "" if each["samples"] == 1 else f" x {each['samples']} samples"
    seeds = "one run" if each["seeds"] == 1 else f"{each['seeds']} seeds"
    own = ", own tasks" if each["own_tasks"] and each["seeds"] > 1 else ""
    return f"{each['tasks']} tasks{samples}, {seeds}{own}, {'paired' if each['paired'] else 'unpaired'}"


def _figures(each: dict[str, Any]) -> list[str]:
    sees = "-" if each["smallest_seen"] is None else f"{percent(each['smallest_seen'])}"
    return [
        f"±{percent(each['half_width'])}",
        sees,
        *(f"{percent(each[name])} %{_counted(each, name)}" for name in ("power", "false_positives")),
    ]


def _counted(each: dict[str, Any], name: str) -> str:
    counted = each.get(f"simulated_{name}")
    return "" if counted is None else f" (simulated {percent(counted['share'])} ± {percent(2 * counted['error'])})"
