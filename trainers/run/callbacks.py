"""Callbacks with the event names of Hugging Face's Trainer, so that existing ones work.

A callback is any object with some of the methods ``on_train_begin``, ``on_step_begin``, ``on_step_end``, ``on_log``,
``on_save``, ``on_evaluate``, ``on_train_end``, each called as ``(args, state, control, **kwargs)``. One event is this
suite's own: ``on_rollout_end``, with ``rollouts=``. This file imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class TrainerState:
    """How far a run is; names as in transformers' ``TrainerState``."""

    global_step: int = 0
    max_steps: int = 0
    epoch: float | None = None
    log_history: list[dict[str, Any]] = field(default_factory=list)
    is_world_process_zero: bool = True
    is_local_process_zero: bool = True


@dataclass(slots=True)
class TrainerControl:
    """Requests of callbacks; names as in transformers' ``TrainerControl``. A request holds for one iteration."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_evaluate: bool = False
    should_save: bool = False
    should_log: bool = False


@dataclass(slots=True)
class CallbackList:
    """Calls every callback that has an event's method, in order."""

    callbacks: Sequence[Any]
    args: Any
    state: TrainerState
    control: TrainerControl = field(default_factory=TrainerControl)

    def fire(self, event: str, **kwargs: Any) -> None:
        """Call ``event``; a returned control replaces the present one, as in transformers."""
        for callback in self.callbacks:
            method = getattr(callback, event, None)
            if method is not None:
                self.control = method(self.args, self.state, self.control, **kwargs) or self.control
