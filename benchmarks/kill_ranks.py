"""kill -9 at random moments of a run of two processes, resumed each time: are weights and logs those of a run in peace?

    python -m benchmarks.kill_ranks --tries 10 --record kills.json [--sharding fsdp] [--processes 2]

A small run on the small household, with a checkpoint after every iteration, is made once in peace. Each try kills one
process of another such run at a drawn moment (after a drawn number of checkpoints and a drawn time), waits for the
others to end by themselves, resumes with the same command, and compares: every tensor file of the last checkpoint byte
by byte, and every line of the logs but for clocks. ``--record`` keeps the tries of several calls together, each with
draws of its own; what is printed is over all of them. Processes are forked (`forked_ranks`), so that a try takes
seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sdar_envs.randomness import counted_generator
from trainers.config import SDARConfig
from trainers.trainer import SDARTrainer

from .forked_ranks import Ending, ForkedRanks
from .measure import emit, table

ENV = "sdar/Household-v0"
OPTIONS: dict[str, Any] = {
    "method": "sdar",
    "max_steps": 3,
    "tasks_per_step": 4,
    "num_generations": 2,
    "max_turns": 2,
    "max_completion_length": 8,
    "max_prompt_length": 700,
    "teacher_budget": 200,
    "learning_rate": 1e-2,
    "beta": 0.05,
    "eval_steps": 2,
    "eval_episodes": 4,
    "test_episodes": 0,
    "save_steps": 1,
    "save_total_limit": 2,
    "prompt_style": "compact",
    "context": "transcript",
    "list_actions": False,
    "env_kwargs": {"size": "small"},
    "device": "cpu",
    "bf16": False,
}
# Seconds within which the processes that were not killed must have ended.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Try:
    """One kill: what was killed when, how long the others went on, and what the resumed run came to."""

    sharding: str
    processes: int
    victim: int
    wanted: int  # checkpoints that there had to be first
    seconds: float  # from then on
    checkpoints: int  # that there were at the kill
    ended_after: float  # seconds until the others had ended by themselves
    ended: bool  # within `PATIENCE`
    said: str  # what a survivor said
    same_weights: bool
    same_logs: bool


def train(folder: Path, sharding: str, *, resume: bool) -> int:
    """The small run in this process and those beside it; returns the iterations that are done."""
    config = SDARConfig(**OPTIONS, sharding=sharding, output_dir=str(folder / "run"))
    trainer = SDARTrainer(str(folder.parent / "model"), ENV, config)
    return int(trainer.train(resume_from_checkpoint=resume)["steps"])


def save_model(folder: Path) -> None:
    """A tiny model with random weights."""
    from sdar_envs.demonstrations import script_of
    from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer

    size = TinyModelConfig()
    tokenizer = build_tokenizer(list(script_of(ENV).texts()), size.vocab_size)
    build_model(tokenizer, size, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def start(folder: Path, arguments: argparse.Namespace, *, resume: bool) -> ForkedRanks:
    """Start the small run."""
    return ForkedRanks.start(lambda: train(folder, arguments.sharding, resume=resume), arguments.processes)


def outcome(folder: Path) -> tuple[dict[str, bytes], dict[str, list[dict[str, Any]]]]:
    """The tensor files of the last checkpoint, and the log lines without clocks."""
    last = folder / "run" / "checkpoints" / f"step-{OPTIONS['max_steps']:08d}"
    tensors = {path.name: path.read_bytes() for path in sorted(last.glob("*.safetensors"))}
    logs = {}
    for name in ("metrics", "episodes"):
        lines = [json.loads(line) for line in (folder / "run" / f"{name}.jsonl").read_text().splitlines()]
        logs[name] = [{key: v for key, v in line.items() if not key.startswith("seconds")} for line in lines]
    return tensors, logs


def checkpoints_of(folder: Path) -> int:
    """The newest iteration of which there is a checkpoint; 0 without one."""
    names = [path.name for path in (folder / "run" / "checkpoints").glob("step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def require_done(endings: list[Ending]) -> None:
    """Refuse a run that did not reach its end.

    Raises:
        RuntimeError: The message holds what its processes said.
    """
    for rank, ending in enumerate(endings):
        if ending.result != OPTIONS["max_steps"]:
            raise RuntimeError(f"rank {rank} did not reach the end: {ending.error or ending.status}")


def one_try(folder: Path, arguments: argparse.Namespace, number: int, seconds: float, peace: Any) -> Try | None:
    """Kill, wait, resume, compare; None where the run ended before it could be killed."""
    draw = counted_generator("kill_ranks", arguments.sharding, arguments.processes, number)
    victim, wanted = int(draw.integers(arguments.processes)), int(draw.integers(OPTIONS["max_steps"]))
    delay = float(draw.uniform(0.0, seconds / OPTIONS["max_steps"]))
    ranks = start(folder, arguments, resume=False)
    process = ranks.processes[victim]
    while process.is_alive() and checkpoints_of(folder) < wanted:
        time.sleep(0.005)
    time.sleep(delay)
    if not process.is_alive():
        ranks.wait(PATIENCE)
        return None
    checkpoints = checkpoints_of(folder)
    killed = time.monotonic()
    process.kill()
    endings = ranks.wait(PATIENCE)
    if endings[victim].status != -signal.SIGKILL:  # it was about to end
        return None
    waited = time.monotonic() - killed
    others = [ending for rank, ending in enumerate(endings) if rank != victim]
    said = next((str(ending.error).splitlines()[0] for ending in others if ending.error), "")
    require_done(start(folder, arguments, resume=True).wait(600.0))
    weights, logs = outcome(folder)
    return Try(
        sharding=arguments.sharding,
        processes=arguments.processes,
        victim=victim,
        wanted=wanted,
        seconds=delay,
        checkpoints=checkpoints,
        ended_after=waited,
        ended=all(ending.status is not None and ending.status >= 0 for ending in others),
        said=said,
        same_weights=weights == peace[0],
        same_logs=logs == peace[1],
    )


def drill(arguments: argparse.Namespace) -> list[Try]:
    """All tries on record, those of this call included; each is recorded when it is done."""
    record: Path | None = arguments.record
    held = json.loads(record.read_text()) if record is not None and record.exists() else {}
    tries = [Try(**each) for each in held.get("tries", [])]
    drawn, wanted = int(held.get("drawn", 0)), len(tries) + arguments.tries
    with tempfile.TemporaryDirectory() as place:
        save_model(Path(place) / "model")
        own = Path(place) / "peace"
        own.mkdir()
        begun = time.monotonic()
        require_done(start(own, arguments, resume=False).wait(600.0))
        seconds = time.monotonic() - begun
        peace = outcome(own)
        while len(tries) < wanted:
            drawn += 1
            folder = Path(place) / f"try-{drawn}"
            folder.mkdir()
            done = one_try(folder, arguments, drawn, seconds, peace)
            shutil.rmtree(folder)
            if done is not None:
                tries.append(done)
                verdict = "same" if done.same_weights and done.same_logs else "DIFFERENT"
                line = (
                    f"try {drawn}: rank {done.victim} killed {done.seconds:.2f} s after {done.wanted} checkpoints, the "
                    f"others ended after {done.ended_after:.1f} s, {verdict}"
                )
                print(line, file=sys.stderr, flush=True)
            if record is not None:
                record.write_text(
                    json.dumps({"drawn": drawn, "tries": [asdict(each) for each in tries]}, indent=1) + "\n"
                )
    return tries


def summary(tries: list[Try]) -> dict[str, Any]:
    """Counts over tries."""
    return {
        "tries": len(tries),
        "same weights": sum(each.same_weights for each in tries),
        "same logs": sum(each.same_logs for each in tries),
        "others ended by themselves": sum(each.ended for each in tries),
        "longest until they had, s": max((each.ended_after for each in tries), default=0.0),
        "killed, by rank": dict(sorted(Counter(each.victim for each in tries).items())),
        "killed, by iterations that were saved": dict(sorted(Counter(each.checkpoints for each in tries).items())),
        "sharding": dict(sorted(Counter(each.sharding for each in tries).items())),
    }


def main() -> None:
    """Run the drill, and show all tries on record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tries", type=int, default=10, help="kills of this call [10]")
    options.add_argument("--record", type=Path, help="JSON file that keeps the tries of several calls")
    options.add_argument("--sharding", default="ddp", choices=("ddp", "fsdp"), help="[ddp]")
    options.add_argument("--processes", type=int, default=2, help="[2]")
    options.add_argument("--json", action="store_true", help="print one JSON object and no table")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    figures = summary(drill(arguments))
    rows = [[name, str(value)] for name, value in figures.items()]
    emit("kill_ranks", figures, [table(["figure", "value"], rows)], as_json=arguments.json)


if __name__ == "__main__":
    main()
