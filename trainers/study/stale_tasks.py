"""Which tasks have a corrupted skill statement: asked of the environment's skill bank by task, apart from any agent.

A student is evaluated in environments that keep their teacher's side to themselves, so its episodes do not say what a
teacher would have read. This asks the bank directly, with the task's public keys, and takes from its answer one bit per
task and no text. Every arm is sorted by the same answer, that of the plain retrieval, whatever its own teacher reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..rollout.environments import EnvironmentSource
from ..rollout.making import reset_to

FRESH, STALE, UNCLAIMED = "f", "s", "-"


def statements_of_tasks(source: EnvironmentSource, task_ids: Sequence[str]) -> str:
    """One character per task: ``f`` all statements about it are true, ``s`` some are wrong, ``-`` there are none."""
    bank = source.skill_bank
    if bank is None or not source.enumerates_tasks:
        return UNCLAIMED * len(task_ids)
    closed = {"expose_privileged": False} if "expose_privileged" in source.options else {}
    public = EnvironmentSource(source.env_id, {**source.env_kwargs, **closed})
    env = public.make()
    found = []
    try:
        for task_id in task_ids:
            _, info = reset_to(env, task_id, True)
            read = bank.retrieve(
                "task_type",
                task_type=str(info["task_type"]),
                keys=list(info["skill_keys"]),
                text=str(info["instruction"]),
                seed_key=(task_id,),
            )
            found.append(UNCLAIMED if not read["stale"] else STALE if any(read["stale"]) else FRESH)
    finally:
        env.close()
        public.close()
    return "".join(found)
