"""Options of the run itself: its directory, the key of its draws, logs and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .option import OptionGroup, option

_option = partial(option, group="run")


@dataclass(frozen=True, kw_only=True)
class RunOptions(OptionGroup):
    """Run directory, seed, logs and checkpoints."""

    output_dir: str = _option("runs/sdar", "run directory", maths=False)
    seed: int = _option(0, "key of all random draws", low=0)
    logging_steps: int = _option(1, "iterations between metric lines", low=1, maths=False)
    save_steps: int = _option(50, "iterations between checkpoints; 0 is only the last", low=0, maths=False)
    save_total_limit: int | None = _option(3, "checkpoints kept; none keeps all", low=1, maths=False)
    report_to: tuple[str, ...] = _option((), "further sinks for metrics: tensorboard, wandb", maths=False)
    log_privileged: bool = _option(False, "write privileged information to a file of its own", maths=False)
    log_tokens: str = _option(
        "sample",
        "token ids in the episode log: sample (a few episodes, with texts and weights) or all (all episodes, packed)",
        choices=("sample", "all"),
        maths=False,
    )
