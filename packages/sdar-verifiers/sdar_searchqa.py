"""`sdar/SearchQA-v0` as a taskset: its id is this module's name."""

from typing import ClassVar

from sdar_verifiers import DirectHarness, WorldEnv, WorldTaskset


class SearchQATaskset(WorldTaskset):
    """Tasks of `sdar/SearchQA-v0`."""

    ENV_ID: ClassVar[str] = "sdar/SearchQA-v0"


__all__ = ["DirectHarness", "SearchQATaskset", "WorldEnv"]
