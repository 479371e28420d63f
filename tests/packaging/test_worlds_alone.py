"""sdar-envs is the worlds of this tree without the trainer: it installs into an empty environment, and they play."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import warnings
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from test_wheel import CLEAN, ROOT, call

from sdar_envs.distribution import installed, warn_of_two, with_extra

PACKAGE = ROOT / "packages" / "sdar-envs"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build", reason="building needs the `build` dependency group: tox -e packaging")
    pytest.importorskip("hatchling", reason="building needs the `build` dependency group: tox -e packaging")
    out = tmp_path_factory.mktemp("worlds")
    result = call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, PACKAGE, cwd=out)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = out.glob("*.whl")  # built from the sdist, so the sdist is complete
    assert path.name.endswith("-py3-none-any.whl") and path.stat().st_size <= 60e6
    return path


def test_it_holds_the_worlds_their_assets_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata_name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(metadata_name))
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sdar_envs").rglob("*.py")}
    assets = {
        f"sdar_envs/_assets/{path.relative_to(ROOT / 'assets').as_posix()}"
        for path in (ROOT / "assets").rglob("*")
        if path.is_file()
    }
    assert names == modules | assets | {"sdar_envs/py.typed"}
    assert (metadata["Name"], metadata["License-Expression"]) == ("sdar-envs", "Apache-2.0")
    always = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {line.partition(">")[0] for line in always} == {
        "beautifulsoup4",
        "gymnasium",
        "jinja2",
        "nltk",
        "numpy",
        "rapidfuzz",
    }
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


PLAY = """
import sys
import tomllib
from importlib.util import find_spec
import gymnasium as gym, sdar_envs
assert "site-packages" in sdar_envs.__file__, sdar_envs.__file__
assert not [name for name in ("torch", "transformers", "faiss", "textworld", "trainers", "agents") if find_spec(name)]
for world in ("Household", "WebShop", "Trip", "Haggle", "Pair"):
    env = gym.make(f"sdar/{world}-v0")
    observation, info = env.reset(seed=0)
    over = False
    while not over:
        observation, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
        over = terminated or truncated
    print(world, info["success"])
"""


def test_it_installs_into_an_empty_environment_and_every_generated_world_is_won(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True, env=CLEAN, check=False)
    assert done.returncode == 0, done.stderr
    result = call(python, "-c", PLAY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        "Household",
        "True",
        "WebShop",
        "True",
        "Trip",
        "True",
        "Haggle",
        "True",
        "Pair",
        "True",
    ]
    installed_size = sum(path.stat().st_size for path in (tmp_path / "env").rglob("*") if path.is_file())
    own = sum(path.stat().st_size for path in (tmp_path / "env").rglob("sdar_envs/**/*") if path.is_file())
    assert own < 60e6 and installed_size > own
    checked = call(
        python, "-m", "sdar_envs", "check", "sdar/Household-v0", "--episodes", "1", "--only", "plan", cwd=tmp_path
    )
    assert checked.returncode == 0 and "1 held" in checked.stdout, checked.stderr
    served = call(python, "-m", "sdar_envs", "serve", "sdar/Household-v0", cwd=tmp_path)
    assert served.returncode == 2 and 'pip install "sdar-envs[openenv]"' in served.stderr


def test_it_installs_from_the_address_of_a_repository(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building needs the `build` dependency group: tox -e packaging")
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("the form with git+ needs a repository, and git")
    names = ("sdar-envs", "sdar-verifiers")
    for name in names:
        asked = f"{name} @ git+{ROOT.as_uri()}#subdirectory=packages/{name}"
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", asked]
        built = call(*command, cwd=tmp_path)
        assert built.returncode == 0, built.stderr
    (path,) = tmp_path.glob("sdar_envs-*.whl")
    with zipfile.ZipFile(path) as archive:
        modules = {name for name in archive.namelist() if name.startswith("sdar_envs/") and name.endswith(".py")}
    listed = call("git", "ls-tree", "-r", "--name-only", "HEAD", "sdar_envs", cwd=ROOT)
    assert modules == {name for name in listed.stdout.split() if name.endswith(".py")}


def test_both_in_one_environment_are_told_in_one_sentence() -> None:
    def has(*names: str):
        def version(name: str) -> str:
            if name not in names:
                raise PackageNotFoundError(name)
            return "0.1.0"

        return version

    assert installed(has()) == [] and installed(has("sdar-envs")) == ["sdar-envs"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_two(has("sdar-gym"))
    with pytest.warns(UserWarning, match="both installed and hold the same package"):
        warn_of_two(has("sdar-gym", "sdar-envs"))


def test_a_missing_extra_is_added_to_the_distribution_that_is_there() -> None:
    def only(name: str):
        def version(asked: str) -> str:
            if asked != name:
                raise PackageNotFoundError(asked)
            return "0.1.0"

        return version

    assert with_extra("openenv", only("sdar-envs")) == 'pip install "sdar-envs[openenv]"'
    for there in ("sdar-gym", ""):  # a checkout has neither
        assert with_extra("openenv", only(there)) == 'pip install "sdar-gym[openenv]"'


def test_the_three_distributions_have_one_version() -> None:
    # The release's tag is compared with that of sdar_envs, and all three are published by it.
    verifiers = tomllib.loads((ROOT / "packages" / "sdar-verifiers" / "pyproject.toml").read_text(encoding="utf-8"))
    stated = re.search(
        r'^__version__ = "(.+)"$', (ROOT / "sdar_envs" / "__init__.py").read_text(encoding="utf-8"), re.M
    )
    assert stated is not None
    assert verifiers["project"]["version"] == stated[1]


def test_every_slow_environment_runs_weekly() -> None:
    weekly = (ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8")
    always = {"lint", "type", "docs", "envs", "py311", "packaging"}
    named = set(re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.M)) - always
    without = {name for name in named if not re.search(rf"\b{name}\b", weekly)}
    assert without <= {"gpu"}, f"in tox.ini and not in weekly.yml: {sorted(without)}"
