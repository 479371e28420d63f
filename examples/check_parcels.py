r"""What `sdar check` wants to know of an environment of yours, for `parcels.py`: four functions of one or two lines.

In this folder:

    sdar check parcels:Parcels-v0 \
        --oracle check_parcels:solve --variants check_parcels:exchanged \
        --teacher-context parcels:context --plant check_parcels:plant

Without them the checks on leaks and on scores say that nobody looked. `secret` is for environments whose secret is a
text of its own, and `--secret check_parcels:secret` says of this one that a shelf is too short to be looked for.
"""

from __future__ import annotations

from typing import Any

from parcels import Parcels


def solve(env: Parcels, observation: str, info: dict[str, Any]) -> str:
    """`--oracle`: the right action, by somebody who may look into the environment."""
    return f"put {env.shelf}"


def exchanged(which: int) -> Parcels:
    """`--variants`: the environment, for 0, and for 1 the same with another secret; all that is public stays."""
    return Parcels(exchange=which)


def plant(env: Parcels, canary: str) -> None:
    """`--plant`: put a mark into the teacher's side; the check looks whether it comes out on the student's."""
    inner = env.privileged
    env.privileged = lambda: {**inner(), "hints": [canary]}  # type: ignore[method-assign]


def secret(env: Parcels) -> list[str]:
    """`--secret`: the texts that the student must not have at this moment."""
    return [env.shelf]
