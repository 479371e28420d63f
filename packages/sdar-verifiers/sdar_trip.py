"""`sdar/Trip-v0` as a taskset: its id is this module's name."""

from typing import ClassVar

from sdar_verifiers import DirectHarness, WorldEnv, WorldTaskset


class TripTaskset(WorldTaskset):
    """Tasks of `sdar/Trip-v0`."""

    ENV_ID: ClassVar[str] = "sdar/Trip-v0"


__all__ = ["DirectHarness", "TripTaskset", "WorldEnv"]
