"""How often a study's decision rule is wrong, and what it finds, on synthetic studies: false positives and power.

    python -m benchmarks.verdicts [--studies 1000] [--deviation 0.023] [--json]

Every study has five hypotheses against one reference. A deviation of 2.3 points is that of `area`, paired by seed,
between SDAR and GRPO in the household study.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from trainers.referee.verdict_rates import NOISES, SyntheticStudy, verdict_rates

from .measure import table

SEEDS = (3, 5, 8, 10)
HYPOTHESES = 5
EFFECTS = (0.02, 0.04, 0.06)


def false_positives(seeds: int, noise: str, deviation: float, studies: int) -> dict[str, Any]:
    """Studies without an effect in which some hypothesis came out as supported."""
    study = SyntheticStudy(seeds, (0.0,) * HYPOTHESES, deviation, noise)
    rates = verdict_rates(study, studies=studies, key=("none", seeds, noise))
    refuted = sum(rates.refuted) / (studies * HYPOTHESES)
    return {"seeds": seeds, "noise": noise, "false_positives": rates.with_false_support / studies, "refuted": refuted}


def power(seeds: int, effect: float, deviation: float, studies: int) -> dict[str, Any]:
    """How often the one hypothesis with an effect came out as supported, and how often as refuted."""
    study = SyntheticStudy(seeds, (effect,) + (0.0,) * (HYPOTHESES - 1), deviation)
    rates = verdict_rates(study, studies=studies, key=("one", seeds, round(1000 * effect)))
    return {
        "seeds": seeds,
        "effect": effect,
        "supported": rates.supported[0] / studies,
        "refuted": rates.refuted[0] / studies,
    }


def main() -> None:
    """Count, and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    options.add_argument("--studies", type=int, default=1000)
    options.add_argument("--deviation", type=float, default=0.023)
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    many, deviation = arguments.studies, arguments.deviation
    none = [false_positives(seeds, noise, deviation, many) for seeds in SEEDS for noise in NOISES]
    one = [power(seeds, effect, deviation, many) for seeds in SEEDS for effect in EFFECTS]
    if arguments.json:
        print(json.dumps({"studies": many, "deviation": deviation, "false_positives": none, "power": one}))
        return
    print(f"{many} studies a line, {HYPOTHESES} hypotheses each, deviation of a paired difference {deviation}\n")
    print("No effect, per cent: studies that call a hypothesis supported; hypotheses that are called refuted\n")
    print(table(("seeds", "noise", "false positives", "refuted"),
                [(r["seeds"], r["noise"], 100 * r["false_positives"], 100 * r["refuted"]) for r in none]))  # fmt: skip
    print("\nOne of five has an effect: how often it is called supported, and refuted, per cent\n")
    print(table(("seeds", "effect, points", "supported", "refuted"),
                [(r["seeds"], 100 * r["effect"], 100 * r["supported"], 100 * r["refuted"]) for r in one]))  # fmt: skip


if __name__ == "__main__":
    main()
