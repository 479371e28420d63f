"""The wheel carries the three packages and the assets, nothing of the tests, and plays outside the checkout."""

from __future__ import annotations

import configparser
import email
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="building needs the `build` dependency group: tox -e packaging")
pytest.importorskip("hatchling", reason="building needs the `build` dependency group: tox -e packaging")

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "TOX_"))}


def call(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=CLEAN | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    result = call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")  # built from the sdist, so the sdist is complete
    return path


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel and what the worlds need, and nothing else."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    executable = home / "bin" / "python"
    light = ["gymnasium", "numpy"]
    constraints = ROOT / "constraints.txt"
    pip = [sys.executable, "-m", "pip", "--python", executable, "install", "--quiet"]
    for arguments in ([*light, "-c", constraints], ["--no-deps", wheel]):
        result = call(*pip, *arguments, cwd=home)
        assert result.returncode == 0, result.stderr
    return executable


def test_the_wheels_top_level_names_are_exactly_the_three_packages(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sdar_envs", "agents", "trainers"}


def test_the_wheel_carries_every_asset_and_no_test(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assets = {
        f"sdar_envs/_assets/{path.relative_to(ROOT / 'assets').as_posix()}"
        for path in (ROOT / "assets").rglob("*")
        if path.is_file()
    }
    assert {name for name in names if name.startswith("sdar_envs/_assets/")} == assets
    assert {f"{package}/py.typed" for package in ("sdar_envs", "agents", "trainers")} <= names
    assert not [name for name in names if "test" in name or name.startswith("benchmarks")]


def test_the_wheel_says_what_it_is(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (metadata_name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        metadata = email.message_from_bytes(archive.read(metadata_name))
        groups = configparser.ConfigParser()
        groups.read_string(archive.read(entry_points).decode())
        assert dict(groups["console_scripts"]) == {"sdar": "trainers.cli:main"}
        # Graders, by which OpenEnv's validation finds our checks.
        assert set(groups.sections()) == {"console_scripts", "openenv.validation.graders"}
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert metadata["Name"] == "sdar-gym"
    assert metadata["License-Expression"] == "Apache-2.0"
    required = {requirement.split(";")[0].strip() for requirement in metadata.get_all("Requires-Dist")}
    assert {"torch>=2.11", "transformers>=5.17"} <= required
    # Fast Downward is compiled at install, so it is never among what everybody gets.
    always = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert not [line for line in always if "pddl" in line or "alfworld" in line]


def test_the_sdist_can_be_tested(built: Path):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "constraints.txt", "tox.ini"} <= names
    assert "tests/packaging/test_wheel.py" in names
    assert not [name for name in names if name.startswith((".git/", "runs/", ".tox", ".venv"))]


PLAY = """
import gymnasium as gym, sdar_envs
from pathlib import Path
assert "site-packages" in sdar_envs.__file__, sdar_envs.__file__
for size in ("small", "full"):
    env = gym.make("sdar/Household-v0", size=size)
    env.reset(seed=0)
    print(env.step("look")[4]["is_action_valid"])
"""


def test_the_installed_wheel_plays_outside_the_checkout(python: Path, tmp_path: Path):
    result = call(python, "-c", PLAY, cwd=tmp_path)
    assert (result.returncode, result.stdout.split()) == (0, ["True", "True"]), result.stderr


def test_the_official_games_say_what_to_download(python: Path, tmp_path: Path):
    code = "import gymnasium as gym, sdar_envs; gym.make('sdar/ALFWorld-v0')"
    result = call(python, "-c", code, cwd=tmp_path, HOME=str(tmp_path))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "ALFWORLD_DATA" in last or "alfworld-download" in last


def test_the_command_is_installed_and_helps_without_torch(python: Path, tmp_path: Path):
    # PyYAML reads presets; it is the one thing that the command's help needs beyond the light install.
    result = call(python.parent / "sdar", "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "sdar train --env sdar/Household-v0" in result.stdout


def test_a_foreign_package_is_refused_by_the_installed_command(python: Path, tmp_path: Path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("", encoding="utf-8")
    result = call(python.parent / "sdar", "--help", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "got a foreign one at" in result.stderr
    assert str(tmp_path / "agents") in result.stderr


def test_a_consumer_can_be_type_checked(python: Path, tmp_path: Path):
    mypy = pytest.importorskip("mypy", reason="mypy is in the `type` dependency group")
    (tmp_path / "consumer.py").write_text(
        "from sdar_envs.skills import Claim\nfrom sdar_envs.spaces import FreeText\n"
        "space: FreeText = FreeText(10)\nreveal_type(space.sample())\nreveal_type(Claim.line)\n",
        encoding="utf-8",
    )
    result = call(
        sys.executable, "-m", mypy.__name__, "--strict", "--python-executable", python, "consumer.py", cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout
    assert 'Revealed type is "str"' in result.stdout
