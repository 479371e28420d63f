"""Sinks: further places for the metric lines of a run, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Protocol

from ..options import RunOptions
from .directory import RunDirectory


class Sink(Protocol):
    """A further place for metric lines."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one line."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class TensorBoardSink:
    """Scalars for TensorBoard, in ``tensorboard/`` of the run directory."""

    def __init__(self, directory: RunDirectory) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory.path / "tensorboard"))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add each metric as a scalar."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbSink:
    """A Weights & Biases run named after the run directory."""

    def __init__(self, directory: RunDirectory) -> None:
        import wandb

        self._run = wandb.init(name=directory.path.name, dir=str(directory.path), resume="allow")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an iteration."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


# By the name of the package that each needs.
SINKS: dict[str, Callable[[RunDirectory], Sink]] = {"tensorboard": TensorBoardSink, "wandb": WandbSink}


def require_sinks(options: RunOptions) -> None:
    """Refuse sinks whose package is missing, before a run begins.

    Raises:
        ImportError: The message has the command that installs it.
    """
    for name in options.report_to:
        if find_spec(name) is None:
            raise ImportError(f"report_to={name} needs a package that is not installed: pip install {name}")
