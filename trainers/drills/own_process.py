"""A drill's run in a whole new interpreter, as a command would be: nothing is imported, nothing remembered.

    python -m trainers.drills.own_process FILE

The JSON file has what the run needs, in plain values (`write_order`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json
from sdar_envs.files import write_file

from ..rollout.making import Environment, reference_to, resolve


def write_order(
    path: Path,
    *,
    model: Path,
    output: Path,
    env_id: str | Callable[..., Environment],
    options: Mapping[str, Any],
    die_before: int | None = None,
) -> None:
    """Write down what a run needs.

    Args:
        path: The file.
        model: The folder of the model.
        output: The run directory.
        env_id: The environment.
        options: The configuration but for its `output_dir`.
        die_before: The number of the operation on files before which the run kills itself; None for never.

    Raises:
        CannotSendError: The environment is made by something that another process cannot import.
    """
    named = isinstance(env_id, str)
    order = {
        "model": str(model),
        "env_id": env_id if named else "",
        "factory": "" if named else reference_to(env_id),  # type: ignore[arg-type]
        "options": {**options, "output_dir": str(output)},
        "die_before": die_before,
    }
    write_file(path, json.dumps(order, indent=1) + "\n")


def main() -> None:
    """Do the run that a file orders, or go on with it."""
    from ..config import SDARConfig
    from ..trainer import SDARTrainer
    from .file_operations import die_before

    order = load_json(sys.argv[1])
    if order["die_before"] is not None:
        die_before(order["die_before"])
    env_id = order["env_id"] or resolve(order["factory"])
    SDARTrainer(order["model"], env_id, SDARConfig(**order["options"])).train(resume_from_checkpoint=True)


if __name__ == "__main__":
    main()
