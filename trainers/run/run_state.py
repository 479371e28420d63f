"""The state of a run besides its parameters, and how all of it is saved in a checkpoint and restored.

Not here: when to save (`trainer`), and the files of a checkpoint (`engine.checkpoint`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..engine.adapters import adapted_layers, load_into
from ..engine.checkpoint import OPTIMIZER, Checkpoint, CheckpointStore, load_optimizer_state, optimizer_state
from ..engine.single import quiet_transformers
from ..engine.updater import UpdateCounters, Updater
from ..options import Options
from .directory import RunDirectory, RunDirectoryError

MASTERS = "masters"
AVERAGE = "teacher_average"


@dataclass(slots=True)
class RunState:
    """Counts and results of a run so far.

    Attributes:
        step: Iterations done.
        seconds: Wall-clock time.
        cpu_seconds: Process time of iterations alone, all threads, without evaluation and logging.
        sampled_tokens: Tokens sampled in training, those of replaced episodes included.
        trained_tokens: Tokens of the rows that were learned from, prompts included.
        failed_episodes: Training episodes whose environment broke.
        before: The evaluations before the first iteration, as JSON by name (`measured.measured_name`).
        before_outcomes: The outcomes of the test set then, one per task, for the paired difference at the end.
        teacher_start: Success rate of the privileged-prompt policy before training.
        watched_at: The iteration after which the watched set was logged last.
        retrieval: What a bandit has learned (`skill_bandit.SkillBandit.state`).
        baselines: What each role has earned on average, for the estimator `rae`.
        health: The findings so far (`health.Health.to_json`).
        health_streaks: How many iterations in a row something has been wrong that is not said yet or again.
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
    baselines: dict[str, float] = field(default_factory=dict)
    health: list[dict[str, Any]] = field(default_factory=list)
    health_streaks: dict[str, int] = field(default_factory=dict)


def save_run(
    store: CheckpointStore,
    directory: RunDirectory,
    state: RunState,
    updater: Updater,
    options: Options,
    initial_weights: str,
    save_model: Callable[[Path], object],
) -> Path:
    """Write a checkpoint of the run; the logs are flushed to disk first.

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
    average = {} if updater.average is None else {AVERAGE: updater.average.values}
    return store.save(state.step, save_model, content, optimizer=tensors, **masters, **average)


def restore_run(
    checkpoint: Checkpoint | None,
    directory: RunDirectory,
    updater: Updater,
    options: Options,
    initial_weights: str,
) -> RunState:
    """Restore parameters, optimiser, counters and logs from a checkpoint; without one, empty the logs.

    From the checkpoint of another directory, this directory's logs start empty.

    Args:
        checkpoint: Where to go on from; None starts the run over.
        directory: The open run directory.
        updater: Its parameters and optimiser are restored.
        options: The run's configuration, which must be the checkpoint's.
        initial_weights: Fingerprint of the initial model, which must be the checkpoint's.

    Raises:
        RunDirectoryError: The checkpoint belongs to a run with another configuration or another initial model.
    """
    logs = directory.logs()
    if checkpoint is None:
        for written in logs.values():
            written.cut(0)
        return RunState()
    # The same run: configuration and initial model.
    content = checkpoint.state()
    for key, mine, words in (
        ("config_digest", options.digest(), "configuration"),
        ("initial_weights", initial_weights, "initial model"),
    ):
        if content[key] != mine:
            raise RunDirectoryError(
                f"{checkpoint.path} belongs to a run with another {words}: resume with the same one"
            )
    # Parameters, then optimiser, float32 masters and counters.
    model = updater.root.language_model
    if adapted_layers(model):
        load_into(model, checkpoint.path)
    else:
        with quiet_transformers():
            dtype = next(model.parameters()).dtype
            saved = type(model).from_pretrained(checkpoint.path, dtype=dtype, use_safetensors=True)
        updater.engine.load_whole(updater.root, saved.state_dict())
    named = updater.masters.named_masters()
    load_optimizer_state(updater.optimizer, named, checkpoint.path / OPTIMIZER, content["optimizer_numbers"])
    updater.masters.load_separate(checkpoint.path / f"{MASTERS}.safetensors")
    if updater.average is not None:
        updater.average.load(load_file(checkpoint.path / f"{AVERAGE}.safetensors"))
    updater.counters = UpdateCounters(**content["counters"])
    # Lines after the checkpoint are cut: the run writes them again.
    own = checkpoint.path.resolve().parent == directory.checkpoints.resolve()
    for name, written in logs.items():
        written.cut(content["log_offsets"].get(name, 0) if own else 0)
    return RunState(**content["progressed"])
