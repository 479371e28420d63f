"""Functions of published code, for tests marked `official`: from files beside the repository, none of it in it.

The folder ``methods`` of `$SDAR_OFFICIAL_DATA` holds single files of public repositories, as they were published. A
test takes one function out of such a file, so that nothing else of a repository has to be installed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest
from official_data import official_folder

# File -> where it is from: repository, path.
FILES = {
    "core_algos.py": "lasgroup/SDPO, verl/trainer/ppo/core_algos.py",
    "opsd_utils.py": "ZethWang/AgentOPSD, verl/trainer/ppo/opsd_utils.py",
    "grsd_utils.py": "BinbZheng1/GRSD, verl/trainer/ppo/grsd_utils.py",
}


def published(file: str, function: str, **names: Any) -> Callable[..., Any]:
    """One function of a published file; the test that asks is skipped where the file is not at hand.

    Args:
        file: A key of `FILES`.
        function: Its name there; other functions of the file that it calls have to be among `names`.
        names: What it finds under the names of its module.
    """
    path = official_folder("methods") / file
    if not path.is_file():
        pytest.skip(f"$SDAR_OFFICIAL_DATA/methods has no {file} (from {FILES[file]})")
    wanted = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    assert wanted, f"{path}: expected a function {function}, got none"
    wanted[0].decorator_list = []  # a registry of its own
    module = ast.Module([ast.parse("from __future__ import annotations").body[0], wanted[0]], type_ignores=[])
    space = dict(names)
    exec(compile(ast.fix_missing_locations(module), str(path), "exec"), space)
    found: Callable[..., Any] = space[function]
    return found
