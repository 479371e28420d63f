"""What a run must remember besides its parameters, and how all of it goes into a checkpoint and comes back.

Not here: when to save, and where the files lie (`checkpoint`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine.checkpoint import OPTIMIZER, Checkpoint, CheckpointStore, load_optimizer_state, optimizer_state
from ..engine.single import quiet_transformers
from ..engine.updater import UpdateCounters, Updater
from ..options import Options
from .directory import RunDirectory, RunDirectoryError

MASTERS = "masters"


@dataclass(slots=True)
class RunState:
    """How far a run is.

    `before` holds the evaluations before the first iteration, as JSON by name (`measured.measured_name`);
    `before_outcomes` the outcomes of the test set then, one per task, for the paired difference at the end.
    `watched_at` is the iteration after which the watched set was logged last. `cpu_seconds` is process time of
    iterations alone, all threads, without evaluation and logging. `retrieval` is what a bandit has learned
    (`skill_bandit.SkillBandit.state`).
    """

    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    sampled_tokens: int = 0
    trained_tokens: int = 0
    failed_episodes: int = 0
    before: dict[str, Any] = field(default_factory=dict)
    before_outcomes: dict[str, list[bool | None]] = field(default_factory=dict)
    teacher_start: float | None = None
    watched_at: int = -1
    retrieval: dict[str, Any] = field(default_factory=dict)


def save_run(
    store: CheckpointStore,
    directory: RunDirectory,
    state: RunState,
    updater: Updater,
    options: Options,
    initial_weights: str,
    save_model: Callable[[Path], object],
) -> Path:
    """Write a checkpoint of the run as it stands, logs flushed to disk before.

    Raises:
        CheckpointError: The file system refused.
    """
    tensors, numbers = optimizer_state(updater.optimizer, updater.masters.named_masters())
    content = {
        "progressed": dataclasses.asdict(state),
        "counters": dataclasses.asdict(updater.counters),
        "optimizer_numbers": numbers,
        "log_offsets": {name: written.flush(sync=True) for name, written in directory.logs().items()},
        "config_digest": options.digest(),
        "initial_weights": initial_weights,
    }
    masters = {MASTERS: updater.masters.separate()}
    return store.save(state.step, save_model, content, optimizer=tensors, **masters)


def restore_run(
    checkpoint: Checkpoint | None,
    directory: RunDirectory,
    updater: Updater,
    options: Options,
    initial_weights: str,
) -> RunState:
    """Bring parameters, optimiser, counters and logs back to a checkpoint; without one, the logs to their start.

    With another directory's checkpoint, this one's logs begin there.

    Raises:
        RunDirectoryError: The checkpoint belongs to a run with another configuration or another initial model.
    """
    logs = directory.logs()
    if checkpoint is None:
        for written in logs.values():
            written.cut(0)
        return RunState()
    content = checkpoint.state()
    for key, mine, words in (
        ("config_digest", options.digest(), "configuration"),
        ("initial_weights", initial_weights, "initial model"),
    ):
        if content[key] != mine:
            raise RunDirectoryError(
                f"{checkpoint.path} belongs to a run with another {words}: resume with the same one"
            )
    model = updater.root.language_model
    with quiet_transformers():
        saved = type(model).from_pretrained(checkpoint.path, dtype=next(model.parameters()).dtype)
    updater.engine.load_whole(updater.root, saved.state_dict())
    named = updater.masters.named_masters()
    load_optimizer_state(updater.optimizer, named, checkpoint.path / OPTIMIZER, content["optimizer_numbers"])
    updater.masters.load_separate(checkpoint.path / f"{MASTERS}.safetensors")
    updater.counters = UpdateCounters(**content["counters"])
    own = checkpoint.path.resolve().parent == directory.checkpoints.resolve()
    for name, written in logs.items():
        written.cut(content["log_offsets"].get(name, 0) if own else 0)
    return RunState(**content["progressed"])
