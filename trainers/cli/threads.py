"""Torch's threads in a command: one for a tiny model on the CPU, unless somebody has chosen.

A product of matrices of 64 channels is over before a second thread has begun: where other work has the core, the first
waits for it, thousands of times a second. Commands alone set this, and give back what they found when they end; a
program that imports the library keeps its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Parameters from which on more threads are worth their waiting. The embedded models have 0.2 million.
TINY_PARAMETERS = 5_000_000
# Whoever sets one of these has chosen; launchers of several processes set the first.
CHOICES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

_found: list[int] = []  # the number of threads before a command set it


def use_one_thread_if_tiny(console: Console, parameters: int | None, device: str) -> None:
    """Compute with one thread where the model is tiny and the device the CPU, and say so in a line.

    Nothing happens where one of `CHOICES` is set, or where there is one thread already.

    Args:
        console: Where the line goes.
        parameters: Of the model; None where that is not known, which changes nothing.
        device: As `MachineOptions.device` names it.
    """
    import torch

    if parameters is None or parameters > TINY_PARAMETERS or any(os.environ.get(name) for name in CHOICES):
        return
    on_cpu = device.startswith("cpu") or (device == "auto" and not torch.cuda.is_available())
    threads = torch.get_num_threads()
    if threads == 1 or not on_cpu:
        return
    set_threads(1)
    console.print(f"threads: one of {threads}, since the model is tiny and more would wait for one another; "
                  f"{CHOICES[0]} chooses another number")  # fmt: skip


def set_threads(number: int) -> None:
    """Set torch's threads until the command ends."""
    import torch

    _found.append(torch.get_num_threads())
    torch.set_num_threads(number)


def give_back_threads() -> None:
    """Set the number of threads that was found before a command changed it."""
    if _found:
        import torch

        torch.set_num_threads(_found[0])
        _found.clear()


def parameters_of(model: str | None) -> int | None:
    """The parameters of a model by its configuration, without its weights; of the embedded one where None is named.

    None where the configuration does not say.
    """
    from ..engine.model_shape import ModelShape, UnknownShapeError

    if model is None:
        from ..warm_start.tiny_model import tiny_shape

        return tiny_shape().parameters
    from sdar_envs.model_files import config_of

    config = config_of(model)
    try:
        return None if config is None else ModelShape.of_config(config, model).parameters
    except UnknownShapeError:
        return None
