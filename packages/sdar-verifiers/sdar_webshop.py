"""`sdar/WebShop-v0` as a taskset: its id is this module's name."""

from typing import ClassVar

from sdar_verifiers import DirectHarness, WorldEnv, WorldTaskset


class WebShopTaskset(WorldTaskset):
    """Tasks of `sdar/WebShop-v0`."""

    ENV_ID: ClassVar[str] = "sdar/WebShop-v0"


__all__ = ["DirectHarness", "WebShopTaskset", "WorldEnv"]
