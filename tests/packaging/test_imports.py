"""`import sdar_envs` costs nothing heavy, and a light install can play."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import pytest

import sdar_envs

HEAVY = ("torch", "transformers", "textworld", "faiss", "bs4", "pettingzoo", "agents", "trainers")


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Block())
"""


def test_blocked_modules_are_blocked():
    run(
        BLOCK
        + "try:\n import agents\nexcept ImportError as e: assert 'blocked' in str(e)\n"
        + "else: raise SystemExit('not blocked')"
    )


@pytest.mark.parametrize("module", ["sdar_envs", "agents", "trainers", "trainers.cli"])
def test_importing_a_package_loads_nothing_heavy(module: str):
    heavy = set(HEAVY) - {"agents", "trainers"}
    code = f"import sys, {module}; print(sorted(n for n in {sorted(heavy)} if n in sys.modules))"
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_household_plays_where_everything_heavy_is_blocked(size: str):
    printed = run(
        BLOCK
        + f"""
import gymnasium as gym, sdar_envs
env = gym.make("sdar/Household-v0", size={size!r})
observation, info = env.reset(seed=0)
total = 0.0
while True:
    observation, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
    total += reward
    if terminated or truncated:
        break
print(total, terminated)
"""
    )
    assert printed.strip() == "1.0 True"


def test_the_prefix_route_needs_no_import():
    printed = run(
        "import gymnasium as gym\n"
        "print(gym.make('sdar_envs:sdar/Household-v0', size='small').reset(seed=0)[1]['success'])"
    )
    assert printed.strip() == "False"


def test_gymnasium_has_no_plugins_so_an_import_is_needed():
    # When Gymnasium brings entry-point plugins back, this fails and the README's first lines can be shorter.
    run(
        "import gymnasium as gym\ntry:\n gym.make('sdar/Household-v0')\n"
        "except gym.error.NamespaceNotFound: pass\nelse: raise SystemExit('found without import')"
    )


@pytest.mark.parametrize("env_id", sorted(sdar_envs.ENVIRONMENTS))
def test_every_entry_point_resolves(env_id: str):
    entry_point = gym.spec(env_id).entry_point
    assert isinstance(entry_point, str)
    assert issubclass(gym.envs.registration.load_env_creator(entry_point), gym.Env)


def test_a_spec_goes_through_json_and_back():
    env = gym.make("sdar/Household-v0", split="valid", size="small", task_type="heat", stale=0.25)
    twin = gym.envs.registration.EnvSpec.from_json(env.spec.to_json()).make()
    assert twin.spec.kwargs == env.spec.kwargs
    assert twin.reset(seed=3) == env.reset(seed=3)


def test_importing_twice_overrides_nothing():
    code = "import warnings; warnings.simplefilter('error'); import sdar_envs, importlib; importlib.reload(sdar_envs)"
    run(code)


def test_the_version_is_the_distributions():
    metadata = pytest.importorskip("importlib.metadata")
    try:
        installed = metadata.version("sdar-gym")
    except metadata.PackageNotFoundError:
        pytest.skip("sdar-gym is not installed here (the checkout is on the path)")
    assert installed == sdar_envs.__version__
