"""The argument parser of the trainer's commands, which knows what other libraries call their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from sdar_envs import command_line

from ..options.other_names import OTHER_NAMES


class Parser(command_line.Parser):
    """`sdar_envs.command_line.Parser` that leads from other libraries' names to ours."""

    other_names: ClassVar[Mapping[str, str]] = {
        theirs: "--" + ours.replace("_", "-") for theirs, ours in OTHER_NAMES.items()
    }
