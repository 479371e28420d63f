"""A foreign package named `agents` is refused by name and place, before it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sdar_envs import ownership
from sdar_envs.ownership import require_own_package


def run(code: str, *first_on_path: Path) -> subprocess.CompletedProcess[str]:
    path = ":".join([*map(str, first_on_path), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        cwd=str(first_on_path[0]) if first_on_path else None,
        capture_output=True,
        text=True,
        check=False,
    )


def foreign(tmp_path: Path, content: str) -> Path:
    package = tmp_path / "agents"
    package.mkdir()
    (package / "__init__.py").write_text(content, encoding="utf-8")
    return package


@pytest.mark.parametrize("name", ["agents", "trainers"])
def test_our_own_packages_pass(name: str):
    require_own_package(name)


def test_a_foreign_agents_package_is_refused_without_being_run(tmp_path: Path):
    package = foreign(tmp_path, 'open("was-run", "w").close()\n')
    result = run("import trainers", tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: sdar-gym expects its own package 'agents', got a foreign one at")
    assert str(package / "__init__.py") in last
    assert "virtual environment" in last
    assert not (tmp_path / "was-run").exists()


def test_a_foreign_agents_package_that_is_loaded_already_is_refused(tmp_path: Path):
    foreign(tmp_path, "")
    result = run("import agents\nimport trainers", tmp_path)
    assert "got a foreign one at" in result.stderr


def test_a_package_with_another_marker_is_foreign(tmp_path: Path):
    foreign(tmp_path, 'PACKAGE_MARKER = "other"\n')
    assert "got a foreign one at" in run("import trainers", tmp_path).stderr


def test_a_missing_package_says_so():
    with pytest.raises(ImportError, match=r"its package 'no_such_package' and there is none: reinstall"):
        require_own_package("no_such_package")


def test_a_plain_folder_of_that_name_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lonely_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="lonely_folder"):
        require_own_package("lonely_folder")


def test_the_marker_is_the_distributions_name():
    assert ownership.MARKER == "sdar-gym"
