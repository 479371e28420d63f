"""The options of a run in groups, each with its default, range, choices, help and when it is read."""

from __future__ import annotations

from .adapter import AdapterOptions as AdapterOptions
from .evaluation import EvaluationOptions as EvaluationOptions
from .joined import Options as Options
from .machine import MachineOptions as MachineOptions
from .method import MethodOptions as MethodOptions
from .optimiser import OptimiserOptions as OptimiserOptions
from .policy import PolicyOptions as PolicyOptions
from .rollout import RolloutOptions as RolloutOptions
from .run import RunOptions as RunOptions
from .seats import SeatOptions as SeatOptions
from .server import ServerOptions as ServerOptions
