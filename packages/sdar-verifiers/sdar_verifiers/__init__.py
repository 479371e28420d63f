"""The worlds of sdar-envs as tasksets of verifiers 0.4: what the modules `sdar_household` and its like are made of."""

from .harness import DirectHarness, DirectHarnessConfig
from .taskset import WorldConfig, WorldData, WorldEnv, WorldEnvConfig, WorldTask, WorldTaskset

__all__ = [
    "DirectHarness",
    "DirectHarnessConfig",
    "WorldConfig",
    "WorldData",
    "WorldEnv",
    "WorldEnvConfig",
    "WorldTask",
    "WorldTaskset",
]
