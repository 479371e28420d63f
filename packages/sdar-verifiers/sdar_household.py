"""`sdar/Household-v0` as a taskset: its id is this module's name."""

from typing import ClassVar

from sdar_verifiers import DirectHarness, WorldEnv, WorldTaskset


class HouseholdTaskset(WorldTaskset):
    """Tasks of `sdar/Household-v0`."""

    ENV_ID: ClassVar[str] = "sdar/Household-v0"


__all__ = ["DirectHarness", "HouseholdTaskset", "WorldEnv"]
