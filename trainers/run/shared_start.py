"""The start of a run that several processes share: what they must have in common, and whose directory it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..engine.base import Engine
from ..options import Options
from ..rollout.environments import EnvironmentSource
from .directory import RunDirectory, versions
from .followed_directory import FollowedDirectory


def common_facts(options: Options, source: EnvironmentSource, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What all processes of a run must have in common before a model is read: versions, options, the world.

    Args:
        options: The configuration of this process; the device is its own.
        source: The environment.
        identity: What else the run is known by.
    """
    found = versions()
    del found["platform"]  # machines of one cluster may run different kernels
    return {
        **{f"the version of {name}": value for name, value in found.items()},
        **{name: value for name, value in options.to_dict().items() if name != "device"},
        **identity,
        "the world's version": source.world_version,
        "the number of training tasks": len(source.task_ids("train")),
    }


def open_directory(
    engine: Engine,
    options: Options,
    use_sets: Callable[[Path], None],
    *,
    resume: bool,
    identity: Mapping[str, Any],
    **facts: Any,
) -> RunDirectory:
    """The run directory: the writer claims it, and the other processes follow.

    Args:
        engine: The processes.
        options: The configuration.
        use_sets: Takes the evaluation sets of a folder, and writes those that it lacks.
        resume: Whether an earlier part of the same run may be in it.
        identity: What else the run is known by.
        facts: Further arguments of `RunDirectory`.

    Raises:
        RunDirectoryError: It is in use or holds another run, or this machine does not see it.
    """
    directory: RunDirectory | None = None
    if engine.is_writer:
        directory = RunDirectory(options.output_dir, options, resume=resume, extra=identity, **facts)
        use_sets(directory.path / "panels")
    engine.gather(None)  # from here on the folder and its evaluation sets are there
    if directory is None:
        directory = FollowedDirectory(options.output_dir, log_privileged=options.log_privileged)
        use_sets(directory.path / "panels")
    return directory
