"""OpenEnv's runtime level without Docker: its own checks and ours on a package whose server runs here."""

from __future__ import annotations

import json
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sdar_envs.__main__ import main

pytestmark = pytest.mark.openenv
pytest.importorskip("openenv")
pytest.importorskip("uvicorn")

ROOT = Path(__file__).parents[2]
QUICK = ["--episodes", "2", "--hostile-actions", "60", "--sessions", "4", "--split-tasks", "8", "--step-seconds", "30"]
OPENENVS_OWN = ("runtime.startup", "runtime.observation_schema", "runtime.reward_well_formed", "runtime.state_contract")
OURS = (
    "runtime.seed_control",
    "runtime.episode_determinism",
    "runtime.episode_isolation",
    "runtime.task_declaration_accuracy",
    "semantic.oracle_max",
    "semantic.verifier_determinism",
    "semantic.replayability",
)


def checked(folder: Path, *words: str) -> tuple[int, Any, dict[str, str]]:
    """The status of the command, its report as OpenEnv reads it, and what each check came to."""
    from openenv.validation.report import ValidationReportV2

    out = folder.parent / f"{folder.name}.json"
    status = main(["check", str(folder), *QUICK, "--format", "openenv", "--output", str(out), *words])
    report = ValidationReportV2.model_validate_json(out.read_text(encoding="utf-8"))
    return status, report, {result.check_id: result.status.value for result in report.results}


@pytest.mark.parametrize("world", ["Household", "WebShop", "SearchQA"])
def test_an_exported_package_passes_openenvs_runtime_level_and_ours(world: str, tmp_path: Path):
    if world == "SearchQA":
        pytest.importorskip("faiss")
    folder = tmp_path / "package"
    assert main(["export-env", f"sdar/{world}-v0", str(folder), "--env-kwargs", "size=small"]) == 0
    status, report, found = checked(folder)
    assert status == 0 and report.verdict.value == "warn", found  # warn: most reserved checks have no implementation
    assert {found[check] for check in (*OPENENVS_OWN, *OURS)} == {"pass"}, found
    assert set(found.values()) == {"pass", "skip"}
    assert [int(level) for level in report.levels_run] == [1, 2, 3]
    by_id = {result.check_id: result for result in report.results}
    # Ours are beside OpenEnv's own under one id, and what is not enforced is said.
    assert by_id["runtime.state_contract"].measured["sdar"]["hostile_actions"]["status"] == "held"
    assert "not bounded" in " ".join(by_id["runtime.startup"].evidence)
    assert found["runtime.network_policy"] == "skip"
    # Nobody said what a secret is: not looked at is never a pass.
    assert found["semantic.no_solution_leakage"] == "skip"


CARELESS = """
import random
from openenv.core.env_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class Words(Action):
    text: str


class Seen(Observation):
    text: str = ""
    task_id: str = ""


class Careless(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True
    episode, steps = None, 0

    def reset(self, episode_id=None, **options):  # the seed is dropped
        self.episode, self.steps = episode_id, 0
        return Seen(text=f"door {random.random()}", reward=0.0)

    def step(self, action, timeout_s=None, **options):
        self.steps += 1
        return Seen(text="nothing", reward=0.0, done=self.steps > 3)

    @property
    def state(self):
        return State(episode_id=self.episode, step_count=self.steps)


app = create_fastapi_app(Careless, Words, Seen, env_name="careless", max_concurrent_envs=16)
"""


def test_a_server_that_drops_its_seed_fails_and_a_checker_of_openenv_alone_would_not_see_it(tmp_path: Path):
    from openenv.validation import Level, run_validation

    from sdar_envs.bridges.openenv_provider import LocalProvider

    folder = tmp_path / "package"
    assert main(["export-env", "sdar/Household-v0", str(folder), "--env-kwargs", "size=small"]) == 0
    (folder / "server" / "app.py").write_text(CARELESS, encoding="utf-8")
    stock = run_validation(folder, max_level=Level.RUNTIME, provider=LocalProvider())
    assert stock.verdict.value == "warn" and all(result.status.value != "fail" for result in stock.results)
    status, report, found = checked(folder)
    assert status == 1 and report.verdict.value == "fail"
    assert found["runtime.seed_control"] == "fail"
    assert found["runtime.task_declaration_accuracy"] == "fail"  # it enumerates no tasks, and the manifest says so many
    assert all(found[check] == "pass" for check in OPENENVS_OWN), found


def test_a_server_that_does_not_start_says_why_and_leaves_no_process(tmp_path: Path):
    folder = tmp_path / "package"
    assert main(["export-env", "sdar/Household-v0", str(folder), "--env-kwargs", "size=small"]) == 0
    (folder / "server" / "app.py").write_text("raise RuntimeError('no such store')\n", encoding="utf-8")
    status, report, found = checked(folder)
    assert status == 1 and found["runtime.startup"] == "fail" and found["runtime.seed_control"] == "skip"
    said = next(result.evidence for result in report.results if result.check_id == "runtime.startup")
    assert "no such store" in " ".join(said)


def test_an_oracle_that_gets_too_little_fails(tmp_path: Path):
    folder = tmp_path / "package"
    assert main(["export-env", "sdar/Household-v0", str(folder), "--env-kwargs", "size=small"]) == 0
    (folder / "validation" / "oracle.py").write_text("print(0.5)\n", encoding="utf-8")
    _, report, found = checked(folder, "--only", "plays")
    assert found["semantic.oracle_max"] == "fail" and found["runtime.seed_control"] == "skip"
    measured = next(result.measured for result in report.results if result.check_id == "semantic.oracle_max")
    assert measured == {"oracle_reward": 0.5, "required": 1.0}


def test_a_folder_that_is_no_package_is_the_callers_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "openenv.yaml").write_text("[]\n", encoding="utf-8")
    assert main(["check", str(tmp_path), "--format", "openenv"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"
    assert main(["check", str(tmp_path), "--env-kwargs", "size=small"]) == 2
    assert "text_key" in capsys.readouterr().err


@pytest.mark.parametrize("project", ["pyproject.toml", "packages/sdar-envs/pyproject.toml"])
def test_every_grader_is_an_entry_point_that_openenvs_loader_takes(project: str):
    from openenv.validation.graders import ENTRY_POINT_GROUP, Grader, GraderRegistry

    from sdar_envs.bridges.openenv_graders import graders

    declared = tomllib.loads((ROOT / project).read_text(encoding="utf-8"))["project"]["entry-points"][ENTRY_POINT_GROUP]
    registry, found = GraderRegistry(), []
    for reference in declared.values():
        module, _, name = reference.partition(":")
        grader = getattr(import_module(module), name)
        assert isinstance(grader, Grader)
        registry.register(grader)
        found.append((grader.check_id, grader.level))
    assert sorted(found) == sorted((grader.check_id, grader.level) for grader in graders())
