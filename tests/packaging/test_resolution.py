"""The worlds resolve beside the stacks that they are for, by wheels alone; the whole suite does not, which is why.

Only metadata is asked of the index: nothing is installed, and nothing large is fetched.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

pytestmark = pytest.mark.network
pytest.importorskip("uv", reason="uv is in the `resolution` dependency group: tox -e resolution")

# Extras that constraints.txt knows; the others have environments of their own.
DOCUMENTED = ("lora", "web", "report", "parquet", "tensorboard", "examples", "reference", "adam8bit", "gguf")
# Stack -> the oldest Python that it takes.
STACKS = {"verl==0.9.1": "3.11", "skyrl==0.4.0": "3.12", "skyrl-gym==0.4.0": "3.11", "verifiers==0.4.0": "3.11"}


def uv(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of uv, without the constraints of this suite's own tests."""
    command = [sys.executable, "-m", "uv", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sdar-envs as users get it."""
    out = tmp_path_factory.mktemp("wheel")
    built = uv("build", "--quiet", "--wheel", ROOT / "packages" / "sdar-envs", "--out-dir", out)
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("*.whl")
    return path


def resolved(folder: Path, python: str, *requirements: str, wheels_alone: bool = False) -> tuple[dict[str, str], str]:
    """The versions that are chosen, empty where none can be, and what uv says."""
    asked = folder / "asked.in"
    asked.write_text("\n".join(requirements), encoding="utf-8")
    words = ["--no-header", "--no-annotate", "--python-version", python]
    done = uv("pip", "compile", asked, *words, *(["--only-binary", ":all:"] if wheels_alone else []))
    chosen = [line.partition("==") for line in done.stdout.splitlines() if "==" in line]
    versions = {name: version.split(" ")[0] for name, _, version in chosen}
    return (versions if done.returncode == 0 else {}), done.stderr


@pytest.mark.parametrize(
    ("stack", "extra"),
    [*((stack, "") for stack in STACKS), ("verl==0.9.1", "[openenv]"), ("verifiers==0.4.0", "[faiss]")],
)
def test_the_worlds_resolve_beside_a_stacks_own_pins(stack: str, extra: str, wheel: Path, tmp_path: Path) -> None:
    name, _, version = stack.partition("==")
    chosen, said = resolved(tmp_path, STACKS[stack], stack, f"sdar-envs{extra} @ {wheel.as_uri()}")
    assert chosen.get(name) == version, said
    assert {"gymnasium", "numpy", "nltk", "rapidfuzz"} <= chosen.keys()


@pytest.mark.parametrize("stack", ["verl==0.9.1", "skyrl==0.4.0"])
def test_the_whole_suite_does_not_since_it_needs_a_newer_transformers(stack: str, tmp_path: Path) -> None:
    chosen, said = resolved(tmp_path, STACKS[stack], stack, f"sdar-gym @ {ROOT.as_uri()}")
    assert not chosen and "transformers" in said and "unsatisfiable" in said


def test_openenv_and_verifiers_want_two_environments(wheel: Path, tmp_path: Path) -> None:
    both = ("verifiers==0.4.0", f"sdar-envs[openenv] @ {wheel.as_uri()}")
    chosen, said = resolved(tmp_path, "3.11", *both)
    assert not chosen and "mcp" in said


def constrained(folder: Path, python: str, constraints: str) -> subprocess.CompletedProcess[str]:
    """What `pip install -c constraints.txt -e ".[...]"` chooses on a Python."""
    (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
    extras = [word for extra in DOCUMENTED for word in ("--extra", extra)]
    return uv("pip", "compile", ROOT / "pyproject.toml", *extras, "-c", folder / "constraints.txt",
              "--python-version", python, "--quiet")  # fmt: skip


def test_the_constraints_fit_the_oldest_python_that_is_promised(tmp_path: Path) -> None:
    """Debian 12 has 3.11.2, and a release that wants a later 3.11 is no release for people who follow the README."""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    done = constrained(tmp_path, "3.11.0", constraints)
    assert done.returncode == 0 and "gymnasium==" in done.stdout, done.stderr
    newer = re.sub(r"^soupsieve==.*$", "soupsieve==4.1.1", constraints, flags=re.MULTILINE)  # wants 3.11.5
    assert newer != constraints and constrained(tmp_path, "3.11.0", newer).returncode != 0


@pytest.mark.parametrize("extra", ["", "[faiss]", "[openenv]"])
def test_the_wheel_is_pure_small_and_needs_no_compiler(extra: str, wheel: Path, tmp_path: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl") and wheel.stat().st_size <= 60e6
    chosen, said = resolved(tmp_path, "3.11", f"sdar-envs{extra} @ {wheel.as_uri()}", wheels_alone=True)
    assert "gymnasium" in chosen and not {"torch", "transformers"} & chosen.keys(), said
