"""Sampled tokens per CPU second, end to end: our GRPO against TRL's, one after the other from the same weights.

    python -m benchmarks.peer --trl-python PATH [--model DIR] [--rounds 5] [--lookup 8] [--whole-rows] [--json]

PATH is an interpreter that has TRL (``pip install trl``); it runs `benchmarks/peer_trl.py`, ours runs
`benchmarks.peer_workload`. Without ``--model``, TRL's program first builds and warm-starts the common weights. Each
round runs both programs as processes of their own, back to back, and the order changes from round to round, so that
what else the machine does meets both. What is compared is CPU seconds of whole optimiser steps: rollout, environment,
loss, update.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .countdown import DROPPED, GROUP, PROMPTS, STEPS
from .measure import emit, table

ROOT = Path(__file__).resolve().parents[1]
RATE = "sampled_tok_per_cpu_s_end_to_end"
# Both sides sample by chance; more than this apart in tokens per step, they did not do the same work.
ALIKE = 0.15


class PeerError(RuntimeError):
    """A program failed, or the two did not do the same work."""


def run_program(command: Sequence[str], threads: int) -> dict[str, Any]:
    """Run one side; returns the JSON object on the last line of its output.

    Raises:
        PeerError: It failed, or printed something else.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        if done.returncode == 0:
            printed: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
            return printed
    except (ValueError, IndexError):
        pass
    raise PeerError(
        f"{' '.join(command)}: expected exit status 0 and a line of JSON, got status {done.returncode} and "
        f"{done.stdout[-500:]!r}; its messages end with:\n{done.stderr[-2000:]}"
    )


def check_alike(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Refuse a comparison of unlike work.

    Raises:
        PeerError: Another model, another first prompt, or too different a number of sampled tokens.
    """
    for key in ("params", "first_prompt_sha256", "steps_measured"):
        if key in theirs and ours[key] != theirs[key]:
            raise PeerError(f"{key}: expected the same on both sides, got {ours[key]} here and {theirs[key]} there")
    counts = ours["sampled_tokens_per_step"], theirs["sampled_tokens_per_step"]
    if abs(counts[0] - counts[1]) > ALIKE * max(counts):
        raise PeerError(
            f"sampled tokens per step: expected at most {ALIKE:.0%} apart, got {counts[0]:.0f} here and "
            f"{counts[1]:.0f} there: measure more steps (--steps)"
        )


def compare(rounds: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Medians over the rounds; the ratio is the median of the rounds' ratios."""
    keys = (
        RATE,
        "trained_real_tok_per_cpu_s",
        "cpu_s_per_step_median",
        "sampled_tokens_per_step",
        "real_tokens_in_loss_forward",
    )
    sides = {
        name: {key: statistics.median(pair[side][key] for pair in rounds) for key in keys}
        for side, name in enumerate(("ours", "trl"))
    }
    ratios = [ours[RATE] / theirs[RATE] for ours, theirs in rounds]
    return {
        "episodes_per_step": PROMPTS * GROUP,
        "steps_measured": rounds[0][0]["steps_measured"],
        "threads": rounds[0][0]["threads"],
        **sides,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "trl_versions": rounds[0][1].get("versions", {}),
    }


def main() -> None:
    """Alternate, compare, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--trl-python", required=True, help="interpreter that has TRL")
    options.add_argument("--model", help="folder with the common weights (peer_trl.py --save-model); none builds them")
    options.add_argument("--rounds", type=int, default=5, help="runs of each side")
    options.add_argument("--steps", type=int, default=STEPS, help=f"optimiser steps, of which {DROPPED} do not count")
    options.add_argument("--threads", type=int, default=1, help="threads of torch, on both sides")
    options.add_argument("--lookup", type=int, default=8, help="our prompt_lookup_num_tokens; 0 for our defaults")
    options.add_argument("--whole-rows", action="store_true", help="our share_prompts off, as it is by default")
    options.add_argument("--peer-script", default=str(ROOT / "benchmarks/peer_trl.py"), help="TRL's program")
    options.add_argument("--peer-arguments", default="", help="further arguments of another --peer-script, quoted")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trl = [
            chosen.trl_python,
            chosen.peer_script,
            *shlex.split(chosen.peer_arguments),
            "--threads",
            str(chosen.threads),
        ]
        if chosen.model is None:
            run_program([*trl, "--steps", str(DROPPED), "--save-model", folder], chosen.threads)
        length = ["--steps", str(chosen.steps)]
        model = str(Path(chosen.model or folder).resolve())
        ours = [sys.executable, "-m", "benchmarks.peer_workload", "--threads", str(chosen.threads)]
        ours += ["--lookup", str(chosen.lookup), *(() if chosen.whole_rows else ("--share",))]
        rounds = []
        for number in range(chosen.rounds):
            pair: dict[str, dict[str, Any]] = {}
            for side in ("ours", "trl") if number % 2 == 0 else ("trl", "ours"):
                command = [*ours, "--model", model] if side == "ours" else [*trl, "--load-model", model]
                pair[side] = run_program([*command, *length], chosen.threads)
            check_alike(pair["ours"]["figures"], pair["trl"])
            rounds.append((pair["ours"]["figures"], pair["trl"]))
    figures = compare(rounds)
    rows = [
        [name, figures[side][RATE], figures[side]["cpu_s_per_step_median"], figures[side]["sampled_tokens_per_step"]]
        for name, side in (("sdar-gym, GRPO", "ours"), ("TRL GRPOTrainer", "trl"))
    ]
    tables = [
        table(["trainer", "sampled tokens per CPU-s", "CPU-s per step", "sampled tokens per step"], rows),
        f"ratio {figures['ratio']:.2f} (rounds: {', '.join(f'{ratio:.2f}' for ratio in figures['ratios'])})",
        f"TRL's side: {', '.join(f'{name} {version}' for name, version in figures['trl_versions'].items())}",
    ]
    # Loaded for their versions: the work was done in processes of their own.
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(chosen.threads)
    emit("peer", figures, tables, as_json=chosen.json)


if __name__ == "__main__":
    main()
