"""Which distribution this package came in: sdar-gym carries it, and sdar-envs is it alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import metadata

DISTRIBUTIONS = ("sdar-gym", "sdar-envs")


def installed(version: Callable[[str], str] = metadata.version) -> list[str]:
    """The distributions that hold this package in this environment: none in a checkout, one where all is well."""
    found = []
    for name in DISTRIBUTIONS:
        try:
            version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def with_extra(extra: str, version: Callable[[str], str] = metadata.version) -> str:
    """The command that adds an extra to the distribution that is installed: the other one holds the same files."""
    name = next(iter(installed(version)), DISTRIBUTIONS[0])
    return f'pip install "{name}[{extra}]"'


def warn_of_two(version: Callable[[str], str] = metadata.version) -> None:
    """Say so where both are installed: the files are those of whichever was installed last."""
    if len(installed(version)) > 1:
        warnings.warn(
            "sdar-gym and sdar-envs are both installed and hold the same package sdar_envs, so that it is the one "
            "installed last and is gone when either is uninstalled: pip uninstall sdar-envs, then reinstall sdar-gym",
            stacklevel=3,
        )
