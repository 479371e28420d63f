"""Your own environment trained from Python: the same as the two commands at the top of `parcels.py`.

    python train_parcels.py

`make_tiny_model` builds a tokenizer and a model of 0.2 million parameters from the environment's own text and lets it
clone the demonstrator; `SDARTrainer` then trains it with the preset for such models. Any other model, a folder or a
name, goes into the same place.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import parcels

from trainers import SDARConfig, SDARTrainer, make_tiny_model
from trainers.warm_start.warm_start import WarmStartConfig


def main(folder: Path, start: WarmStartConfig | None = None, **options: Any) -> dict[str, Any]:
    """Make the model, train it, and return what `summary.json` holds.

    Args:
        folder: Where model and run directory are written.
        start: How many demonstrations are cloned, and for how long; None is what suits an environment of your own.
        **options: Options that win over the preset's.
    """
    tiny = make_tiny_model(
        SDARConfig.preset("any-tiny"),
        parcels.Parcels,  # a function or class that makes an environment, or an id such as "parcels:Parcels-v0"
        folder / "tiny",
        demonstrator=parcels.act,
        teacher_context=parcels.context,
        config=start,
        report=print,
    )
    print(f"cloned: student {tiny.student_success:.0%}, privileged-prompt policy {tiny.teacher_success:.0%}")
    trainer = SDARTrainer(
        model=str(tiny.folder),
        env_id=parcels.Parcels,
        args={
            "output_dir": str(folder / "run"),
            # Play in this process. By default an environment that is not of this suite is played in worker processes,
            # where one that hangs or dies costs an episode and not the run; this one does neither.
            "env_workers": 0,
            **options,
        },
        preset="auto",
        teacher_context=parcels.context,
    )
    summary = trainer.train()
    trainer.save_model(folder / "trained")
    print(in_words(summary))
    return summary


def in_words(summary: dict[str, Any]) -> str:
    """The success rates before and after training, with their 95 % intervals."""
    lines = []
    for when in ("before", "after"):
        if found := summary[when]:
            low, high = found["ci95"]
            lines.append(
                f"{when:<7}{found['success_rate']:6.1%} of {found['episodes']} {found['split']} tasks "
                f"(95 % interval {low:.1%} to {high:.1%})"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/python"))
    main(parser.parse_args().folder)
