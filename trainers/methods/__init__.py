"""The table of methods, and how an entry of it is carried out.

Every training method is an entry of data plus at most one pure function (`method`). `apply` carries out any of them,
and `objective` builds the whole loss around it; no trainer asks for a method's name. A new method stands in the file of
its kind, which is imported here; `register` adds one from anywhere else.
"""

from __future__ import annotations

from . import contrastive as contrastive
from . import core as core
from . import hindsight as hindsight
from . import information as information
from . import multipliers as multipliers
from . import successors as successors
from .apply import Injected, apply, signal_and_weight, teacher_logprobs, weigh
from .method import (
    COMBINES,
    IterationPlan,
    Method,
    gate,
    identity,
    live_gap,
    sampled_gap,
)
from .schedules import constant, linear_decay
from .table import METHODS, get_method, register

__all__ = [
    "COMBINES",
    "METHODS",
    "Injected",
    "IterationPlan",
    "Method",
    "apply",
    "constant",
    "gate",
    "get_method",
    "identity",
    "linear_decay",
    "live_gap",
    "register",
    "sampled_gap",
    "signal_and_weight",
    "teacher_logprobs",
    "weigh",
]
