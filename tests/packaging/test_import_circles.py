"""No file imports itself by way of others, whether at its top, inside a function, or for its type hints.

A circle that Python can load all the same (because one of its imports waits inside a function) still means that none of
its files can be understood, tested or moved without the others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sdar_envs", "agents", "trainers")


def modules_of(folder: Path) -> dict[str, Path]:
    """Dotted name -> file, of every file of a package; a package stands for its ``__init__.py``."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the same package that a module imports, wherever in its text."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from .package import name` is of the file `name` where there is one, and of `__init__` otherwise.
                target = f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in modules else origin
                if target in modules:
                    yield target


def import_graph(folder: Path) -> dict[str, set[str]]:
    """Module -> the modules of the same package that it imports."""
    modules = modules_of(folder)
    return {name: set(imported(name, path, modules)) for name, path in modules.items()}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components with a circle in them: modules that all reach each other (Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1 or name in graph[name]:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return sorted(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other_in_a_circle(package: str):
    graph = import_graph(ROOT / package)
    assert sum(map(len, graph.values())) >= len(graph), "the scan sees too few imports to mean anything"
    found = circles(graph)
    listed = "\n".join(f"  {', '.join(circle)}" for circle in found)
    assert not found, f"{len(found)} import circles in {package}:\n{listed}"


def made(tmp_path: Path, **files: str) -> Path:
    """A made-up package; double underscores in a name stand for a folder, and ``init`` for ``__init__``."""
    for name, text in files.items():
        path = tmp_path / "made_up" / (name.replace("__", "/").replace("init", "__init__") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "made_up"


@pytest.mark.parametrize(
    "back",
    [
        "def f():\n    from .a import g\n",
        "def f():\n    from . import a\n",
        "def f():\n    from made_up import a\n",
        "def f():\n    import made_up.a\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import g\n",
        "class A:\n    def f(self):\n        from made_up.a import g as h\n",
    ],
)
def test_a_circle_through_a_function_or_a_type_hint_is_found(tmp_path: Path, back: str):
    folder = made(tmp_path, init="", a="import os\nfrom .b import f\n", b=back, c="from .a import g\n")
    assert circles(import_graph(folder)) == [["made_up.a", "made_up.b"]]


def test_circles_run_through_packages_and_folders(tmp_path: Path):
    folder = made(
        tmp_path,
        init="",
        a="from .sub import name\n",
        sub__init="from .b import name\n",
        sub__b="from .. import a\nfrom .c import x\n",
        sub__c="from ..sub.c import x\n",
    )
    assert circles(import_graph(folder)) == [["made_up.a", "made_up.sub", "made_up.sub.b"], ["made_up.sub.c"]]


def test_imports_that_go_one_way_are_no_circle(tmp_path: Path):
    folder = made(
        tmp_path,
        init="x = 1\n",
        a="from . import x, b\nfrom .sub.c import y\n",
        b="from .sub import c\n",
        sub__init="",
        sub__c="from .. import x\n",
    )
    graph = import_graph(folder)
    assert graph["made_up.a"] == {"made_up", "made_up.b", "made_up.sub.c"} and graph["made_up.b"] == {"made_up.sub.c"}
    assert circles(graph) == []
