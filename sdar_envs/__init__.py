"""Text worlds with a privileged side, registered with Gymnasium.

Importing this package registers ids as strings and loads nothing heavy: no torch, textworld, faiss or bs4.
"""

from __future__ import annotations

import gymnasium as gym

__version__ = "0.1.0"

# id -> entry point. The horizon is the environment's own (it depends on the size), so no TimeLimit is registered.
ENVIRONMENTS: dict[str, str] = {
    "sdar/Household-v0": "sdar_envs.household.env:HouseholdEnv",
    "sdar/ALFWorld-v0": "sdar_envs.household.alfworld:ALFWorldEnv",
    "sdar/WebShop-v0": "sdar_envs.webshop.env:WebShopEnv",
    "sdar/SearchQA-v0": "sdar_envs.searchqa.env:SearchQAEnv",
}

# Environments that bring their own vector: `gymnasium.make_vec` takes it.
VECTORS: dict[str, str] = {"sdar/SearchQA-v0": "sdar_envs.searchqa.vector:SearchQAVectorEnv"}


def _register() -> None:
    for env_id, entry_point in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(id=env_id, entry_point=entry_point, vector_entry_point=VECTORS.get(env_id))


_register()

__all__ = ["ENVIRONMENTS", "VECTORS", "__version__"]
