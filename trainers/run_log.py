"""What a run writes while it goes on: metric lines, episodes, and further sinks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from .batch import Row
from .episode_log import episode_record, privileged_record, token_arrays
from .measurement import Measured
from .rollout import Rollout
from .run_directory import RunDirectory

if TYPE_CHECKING:
    from .config import SDARConfig

Columns = Callable[[Sequence[Row]], Mapping[str, Sequence[Sequence[float]]]]


class Sink(Protocol):
    """A further place for metric lines."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Take one line."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class TensorBoardSink:
    """Scalars for TensorBoard, in ``tensorboard/`` of the run directory."""

    def __init__(self, directory: RunDirectory) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory.path / "tensorboard"))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add each figure as a scalar."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbSink:
    """A Weights & Biases run named after the run directory."""

    def __init__(self, directory: RunDirectory) -> None:
        import wandb

        self._run = wandb.init(name=directory.path.name, dir=str(directory.path), resume="allow")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of an iteration."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


# By the name of the package that each needs.
SINKS: dict[str, Callable[[RunDirectory], Sink]] = {"tensorboard": TensorBoardSink, "wandb": WandbSink}


def require_sinks(config: SDARConfig) -> None:
    """Refuse sinks whose package is missing, before a run begins.

    Raises:
        ImportError: The message has the command that installs it.
    """
    for name in config.report_to:
        if find_spec(name) is None:
            raise ImportError(f"report_to={name} needs a package that is not installed: pip install {name}")


class RunLog:
    """Writes a run's records.

    Args:
        directory: The open run directory.
        config: Seed, sinks, and whether the privileged side is written.
        decode: Token id to text, for token arrays.

    """

    def __init__(self, directory: RunDirectory, config: SDARConfig, decode: Callable[[int], str]) -> None:
        self.directory = directory
        self.config = config
        self.decode = decode
        self.sinks = [SINKS[name](directory) for name in config.report_to]

    def metrics(self, step: int, figures: Mapping[str, Any]) -> None:
        """One metric line; sinks get its numbers. What is not finite is null, which JSON has."""
        numbers = {name: float(value) for name, value in figures.items() if isinstance(value, (int, float))}
        unknown = {name: None for name, value in numbers.items() if not math.isfinite(value)}
        self.directory.metrics.write({"step": step, **figures, **unknown})
        for sink in self.sinks:
            sink.log(step, numbers)

    def episodes(
        self,
        rollouts: Sequence[Rollout],
        *,
        iteration: int,
        phase: str,
        view: str = "plain",
        rows: Sequence[Row] = (),
        columns: Columns | None = None,
    ) -> None:
        """One line per episode; those that `rows` belong to get token arrays.

        Args:
            rollouts: Episodes.
            iteration: Iterations done when they were played.
            phase: Why they were played.
            view: The prompt they were acted behind; behind the privileged one nothing is logged token by token.
            rows: Rows to log token by token; their ``episode_id`` is the index in `rollouts`.
            columns: Computes the numbers per token of those rows.
        """
        arrays = self._arrays(rows if view == "plain" else (), columns)
        seed = self.config.seed
        where: dict[str, Any] = {"run": self.directory.path.name, "iteration": iteration, "phase": phase, "view": view}
        for index, rollout in enumerate(rollouts):
            self.directory.episodes.write(episode_record(rollout, **where, seed=seed, tokens=arrays.get(index)))
            if self.directory.privileged is not None:
                self.directory.privileged.write(privileged_record(rollout, **where))

    def panel(
        self, measured: Measured, *, iteration: int, rows: Sequence[Row] = (), columns: Columns | None = None
    ) -> None:
        """The episodes of all that was measured on a panel, each under its name; `rows` are of the plain prompt."""
        for name, (view, evaluation) in measured.named().items():
            if name == "teacher" and measured.plays_its_teacher:
                continue
            self.episodes(
                evaluation.rollouts,
                iteration=iteration,
                phase=name,
                view=view,
                rows=rows if view == "plain" else (),
                columns=columns,
            )

    def _arrays(self, rows: Sequence[Row], columns: Columns | None) -> dict[int, dict[int, dict[str, list[Any]]]]:
        if not rows:
            return {}
        values = {} if columns is None else columns(rows)
        texts = {token: self.decode(token) for token in sorted({t for row in rows for t in row.student.sampled_ids()})}
        arrays = {}
        for episode_id in sorted({row.episode_id for row in rows}):
            own = [index for index, row in enumerate(rows) if row.episode_id == episode_id]
            picked = {name: [column[index] for index in own] for name, column in values.items()}
            arrays[episode_id] = token_arrays([rows[index] for index in own], texts, picked)
        return arrays

    def close(self) -> None:
        """Finish the sinks."""
        for sink in self.sinks:
            sink.close()
