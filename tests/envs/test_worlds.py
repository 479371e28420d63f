"""The table of environments: everything that its rows name is there."""

from __future__ import annotations

import importlib
import subprocess
import sys

import gymnasium as gym
import pytest

from sdar_envs import ENVIRONMENTS, VECTORS, WORLDS, WorldEntry, world_entry
from sdar_envs.assets import asset_path
from sdar_envs.core import TextEnv
from sdar_envs.demonstrations import SCRIPTS, Script, script_of

rows = pytest.mark.parametrize("entry", WORLDS.values(), ids=lambda entry: entry.env_id)


def named(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@rows
def test_the_classes_of_a_row_exist(entry: WorldEntry):
    environment = named(entry.entry_point)
    assert isinstance(environment, type) and issubclass(environment, TextEnv) and environment.env_id == entry.env_id
    if entry.vector_entry_point is not None:
        vector = named(entry.vector_entry_point)
        assert isinstance(vector, type) and issubclass(vector, gym.vector.VectorEnv)
    if entry.demonstrator is not None:
        assert isinstance(named(entry.demonstrator), Script)


@rows
def test_a_row_is_what_gymnasium_has(entry: WorldEntry):
    spec = gym.spec(entry.env_id)
    assert (spec.entry_point, spec.vector_entry_point) == (entry.entry_point, entry.vector_entry_point)


@rows
def test_the_skill_folders_of_a_row_exist(entry: WorldEntry):
    for folder in filter(None, (entry.skill_folder, entry.official_skill_folder)):
        assert asset_path("skills", folder, "general.md").is_file()


@rows
def test_the_presets_of_a_row_are_for_its_environment_and_family(entry: WorldEntry):
    yaml = pytest.importorskip("yaml")
    for family, name in entry.presets.items():
        content = yaml.safe_load(asset_path("configs", f"{name}.yaml").read_text(encoding="utf-8"))
        assert (content["family"], content["env_id"]) == (family, entry.env_id)


def test_no_preset_and_no_skill_bank_is_without_a_row():
    presets = {name for entry in WORLDS.values() for name in (*entry.presets.values(), *entry.machine_presets)}
    # `any-tiny` is for environments outside the table.
    assert presets | {"any-tiny"} == {path.stem for path in asset_path("configs").glob("*.yaml")}
    folders = {folder for entry in WORLDS.values() for folder in (entry.skill_folder, entry.official_skill_folder)}
    assert folders - {None} == {path.name for path in asset_path("skills").iterdir()}


def test_an_entry_is_found_by_id_and_no_other_is_made_up():
    for env_id, entry in WORLDS.items():
        assert world_entry(env_id) is entry and entry.env_id == env_id
    assert world_entry("CartPole-v1") is None


def test_the_derived_tables_hold_what_the_rows_hold():
    assert ENVIRONMENTS.keys() == WORLDS.keys() and VECTORS.keys() | SCRIPTS.keys() <= WORLDS.keys()
    for env_id, entry in WORLDS.items():
        assert (VECTORS.get(env_id), SCRIPTS.get(env_id)) == (entry.vector_entry_point, entry.demonstrator)
        if entry.demonstrator:
            assert script_of(env_id) is named(entry.demonstrator)
        else:
            with pytest.raises(ValueError, match="environment with demonstrations"):
                script_of(env_id)


def test_reading_the_table_imports_no_world():
    code = (
        "import sys, sdar_envs; before = set(sys.modules); [str(row) for row in sdar_envs.WORLDS.values()]; "
        "print([m for m in sys.modules if m.startswith('sdar_envs.') or m not in before])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "['sdar_envs.distribution']\n"  # which asks whether two distributions hold this package
