"""The state of a run besides its parameters, and how all of it is saved in a checkpoint and restored.

Not here: when to save (`trainer`), and the files of a checkpoint (`engine.checkpoint`).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ..engine.adapters import adapted_layers, load_into
from ..engine.checkpoint import OPTIMIZER, Checkpoint, CheckpointStore, load_optimizer_state, optimizer_state
from ..engine.single import quiet_transformers
from ..engine.updater import UpdateCounters, Updater
from ..options import Options
from .directory import RunDirectory, RunDirectoryError

logger = logging.getLogger(__name__)

MASTERS = "masters"
AVERAGE = "teacher_average"


@dataclass(slots=True)
class RunState:
    """Counts and results of a run so far.

    Attributes:
        step: Iterations done.
        seconds: Wall-clock time.
        cpu_seconds: Process time of iterations alone, all threads, without evaluation and logging.
        sampled_tokens: Tokens sampled in training, those of replaced episodes and of teacher texts included.
        trained_tokens: Tokens of the rows that were learned from, prompts included.
        failed_episodes: Training episodes whose environment broke.
        before: The evaluations before the first iteration, as JSON by name (`measured.measured_name`).
        before_outcomes: The outcomes of the test set then, one per task, for the paired difference at the end.
        teacher_start: Success rate of the privileged-prompt policy before training.
        watched_at: The iteration after which the watched set was logged last.
        retrieval: What a bandit has learned (`skill_bandit.SkillBandit.state`).
        baselines: What each role has earned on average, for the estimator `rae`.
        health: The findings so far (`health.Health.to_json`).
        streaks: How many iterations in a row what would become a finding has held.
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
    streaks: dict[str, int] = field(default_factory=dict)


def save_run(
    store: CheckpointStore,
    directory: RunDirectory,
    state: RunState,
    updater: Updater,
    options: Options,
    initial_weights: str,
    save_model: Callable[[Path, Mapping[str, Tensor]], object],
) -> Path | None:
    """Write a checkpoint of the run; the logs are flushed to disk first.

    All processes call this: they gather what is cut over them. Only the writer writes, and gets the path.

    Args:
        store: The checkpoints.
        directory: The open run directory.
        state: How far the run is.
        updater: Its parameters and optimiser are saved.
        options: The run's configuration.
        initial_weights: Fingerprint of the initial model.
        save_model: Writes the model's files, with these whole parameters, into a directory.

    Raises:
        CheckpointError: The file system refused.
    """
    engine = updater.engine
    moments, numbers = optimizer_state(updater.optimizer, updater.masters.named_masters())
    tensors = {OPTIMIZER.partition(".")[0]: moments, MASTERS: updater.masters.separate()}
    if updater.average is not None:
        tensors[AVERAGE] = updater.average.values
    gathered = {name: engine.whole(values) for name, values in tensors.items()}
    parameters = engine.whole_state(updater.root, learning_only=options.lora)
    if not engine.is_writer:
        return None
    content = {
        "progressed": dataclasses.asdict(state),
        "counters": dataclasses.asdict(updater.counters),
        "optimizer_numbers": numbers,
        "log_offsets": {name: written.flush(sync=True) for name, written in directory.logs().items()},
        "config_digest": options.digest(),
        "initial_weights": initial_weights,
        "processes": engine.world_size,
    }

    def write_model(folder: Path) -> None:
        save_model(folder, parameters)

    return store.save(state.step, write_model, content, **gathered)


def misfit(checkpoint: Checkpoint, directory: RunDirectory) -> str:
    """Why a directory's own logs do not go with a checkpoint of it; nothing where they do."""
    offsets = checkpoint.state()["log_offsets"]
    return next(filter(None, (log.misfit(offsets.get(name, 0)) for name, log in directory.logs().items())), "")


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
    then, now = content.get("processes", 1), updater.engine.world_size
    if then != now and updater.engine.is_writer:
        logger.warning(
            "resumed with %d %s where it was written by %d: tasks and draws are the same, but sums are rounded in "
            "another order, so from here on the run is not bit for bit the one that it would have been",
            now,
            "process" if now == 1 else "processes",
            then,
        )
    # Parameters, then optimiser, float32 masters and counters.
    model = updater.root.language_model
    if adapted_layers(model):
        load_into(model, checkpoint.path)
    else:
        with quiet_transformers():
            dtype = updater.engine.dtype
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
