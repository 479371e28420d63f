"""The worlds as tasksets of verifiers: solvable, worth nothing untouched, and no hint in what a model is sent."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from expert_endpoint import serving
from pages import ROOT

import sdar_envs  # noqa: F401  # registers the worlds

pytestmark = pytest.mark.verifiers
vf = pytest.importorskip("verifiers.v1")
pytest.importorskip("sdar_verifiers")

WORLDS = {
    "sdar_household": "sdar/Household-v0",
    "sdar_webshop": "sdar/WebShop-v0",
    "sdar_searchqa": "sdar/SearchQA-v0",
    "sdar_trip": "sdar/Trip-v0",
}
HINTS = ("plan", "hints", "skill")
WHEELS = "SDAR_HARNESS_WHEELS"  # names the folder that `fetch_wheels.py` filled


def run(command: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of verifiers, in a home of its own: nobody is logged in there."""
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PRIME_")}
    programs = Path(sys.executable).parent
    # The harness that asks for uv finds the one of this environment, and only what has been fetched for it.
    tools = {"PATH": os.pathsep.join([str(programs), os.environ["PATH"]]), "UV_PYTHON": sys.executable}
    if wheels := os.environ.get(WHEELS):
        tools |= {"UV_NO_INDEX": "1", "UV_FIND_LINKS": wheels, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        [str(programs / command), *words, "--no-rich", "--output-dir", str(folder), "--run.dir", "run"],
        cwd=folder,
        env=clean | home | tools,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def traces_of(folder: Path) -> list[dict[str, Any]]:
    """What a command wrote of its episodes."""
    lines = (folder / "run" / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def evaluated(taskset: str, *words: str, url: str, folder: Path, places: str = "0") -> list[dict[str, Any]]:
    """The traces of an evaluation of the training tasks at some places."""
    chosen = ["--select.include.idx", places, "--model", "expert", "--client.base-url", url]
    run("vf-eval", taskset, "--no-push", *chosen, *words, folder=folder)
    return traces_of(folder)


def plan_of(env: gym.Env[str, str], task_id: str) -> tuple[str, list[str]]:
    """The instruction of a task and the actions that solve it."""
    _, info = env.reset(options={"task_id": task_id})
    actions, over = [], False
    while not over:
        actions.append(info["privileged"]["next_action"])
        _, _, ended, truncated, info = env.step(actions[-1])
        over = ended or truncated
    return info["instruction"], actions


def taskset_of(name: str, **settings: Any) -> Any:
    """A taskset as its commands load it."""
    from verifiers.v1.utils.loaders import load_taskset, taskset_config_type

    return load_taskset(taskset_config_type(name)(id=name, **settings))


@pytest.fixture
def unset_mode(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing had been said about uploads; whatever a test sets is taken back."""
    monkeypatch.setenv("PRIME_RUNS_MODE", "x")
    monkeypatch.delenv("PRIME_RUNS_MODE")
    yield


@pytest.mark.parametrize("name", WORLDS)
def test_twenty_tasks_are_solved_by_their_plans_and_unsolved_untouched(name: str, tmp_path: Path) -> None:
    run("vf-validate", name, "--runtime.type", "subprocess", "--select.limit", "20", folder=tmp_path)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert [summary["checks"][check]["valid"] for check in ("gold", "noop")] == [20, 20]


@pytest.mark.parametrize("name", WORLDS)
def test_the_experts_words_solve_and_no_request_holds_a_hint(name: str, tmp_path: Path) -> None:
    env = gym.make(WORLDS[name])
    ids = env.unwrapped.task_ids("train")  # type: ignore[attr-defined]
    known = [(place, *plan_of(env, ids[place])) for place in range(8)]
    chosen = [one for one in known if len(one[2]) >= 4][:2]
    places, plans = [place for place, _, _ in chosen], {task: actions for _, task, actions in chosen}
    spoken = {
        task: [f"<think>why not</think>Now: <action>{action}</action>" for action in actions]
        for task, actions in plans.items()
    }
    told = [task.data.demonstration for task in taskset_of(name, hint="plan").include(idx=places)]
    with serving(spoken) as endpoint:
        words = ["--env.taskset.hint", "plan"]
        traces = evaluated(name, *words, url=endpoint.url, folder=tmp_path, places=",".join(map(str, places)))
    assert [line["errors"] for line in traces] == [[], []]
    assert len(endpoint.bodies) == sum(map(len, plans.values())) >= 8  # four turns an episode
    for line in traces:
        (trace,) = line["traces"]
        (reward,) = trace["rewards"].values()
        assert trace["metrics"]["success"] == trace["metrics"]["score"] == 1.0
        assert trace["metrics"]["not_understood"] == 0.0
        # Requests to services cost a hundredth each in the world of trips.
        assert reward["score"] == 1.0 or (name == "sdar_trip" and reward["score"] > 0.9)
        # The hint rests in the file, in the clear, as the page says.
        assert line["task"]["data"]["demonstration"] == trace["task"]["data"]["demonstration"] in told
    for body in endpoint.bodies:
        roles = [message["role"] for message in json.loads(body)["messages"]]
        assert roles == ["system", "user", *["assistant", "user"] * ((len(roles) - 2) // 2)]
        for text in told:
            heading, *actions = text.split("\n")
            assert json.dumps(heading)[1:-1] not in body and json.dumps("\n".join(actions))[1:-1] not in body


def test_a_planted_canary_reaches_the_traces_and_no_request(tmp_path: Path) -> None:
    (tmp_path / "sdar_canary.py").write_text(
        """
import sdar_household, sdar_verifiers.taskset as taskset
from sdar_verifiers import DirectHarness, WorldEnv
taskset.demonstration = lambda hint, known: "CANARY-7f3a"
class Canary(sdar_household.HouseholdTaskset): pass
__all__ = ["Canary", "DirectHarness", "WorldEnv"]
""",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch, serving({"": ["look"] * 3}) as endpoint:
        patch.setenv("PYTHONPATH", path)
        words = ["--env.taskset.hint", "skill", "--env.player.max-turns", "3"]
        (line,) = evaluated("sdar_canary", *words, url=endpoint.url, folder=tmp_path)
    assert json.dumps(line).count("CANARY-7f3a") == 2
    assert len(endpoint.bodies) == 3 and "CANARY-7f3a" not in "".join(endpoint.bodies)
    (trace,) = line["traces"]
    assert trace["rewards"]["world_return"]["score"] == 0.0 and trace["metrics"]["steps"] == 3.0


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("hint", HINTS)
def test_opsd_finds_the_hint_of_a_trace_where_it_looks(name: str, hint: str, unset_mode: None) -> None:
    """It reads the trace's info first, then the task's data, under the key "demonstration"."""
    env = gym.make(WORLDS[name])
    for task in taskset_of(name, hint=hint, split="valid").take(2):
        trace = vf.Trace(
            task=vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash),
            agent=vf.AgentInfo(config=vf.AgentConfig()),
        )
        found = trace.info.get("demonstration")
        if found is None:
            found = getattr(trace.task.data, "demonstration", None)
        _, info = env.reset(options={"task_id": task.data.id})
        known = info["privileged"]
        expected = {"plan": known["plan"], "hints": known["hints"], "skill": [known["skills"]["general"]]}[hint]
        assert found and all(text in found for text in expected)


def test_a_key_names_world_task_and_version_and_not_the_hint(unset_mode: None) -> None:
    plain, *hinted = [[task.key for task in taskset_of("sdar_webshop", hint=hint).take(3)] for hint in ("none", *HINTS)]
    assert all(keys == plain for keys in hinted) and len(set(plain)) == 3
    (small,) = [task.key for task in taskset_of("sdar_webshop", env_kwargs={"size": "small"}).take(1)]
    assert small != plain[0] and "sdar/WebShop-v0|" in plain[0]


def test_a_hundred_thousand_tasks_are_listed_without_beginning_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdar_envs.core import TextEnv

    begun: list[object] = []
    reset = TextEnv.reset
    monkeypatch.setattr(TextEnv, "reset", lambda self, **options: (begun.append(1), reset(self, **options))[1])
    tasks = list(taskset_of("sdar_household"))
    assert len(tasks) == 100_000 and not begun
    assert next(iter(taskset_of("sdar_household", hint="plan").take(1))).data.demonstration and len(begun) == 1


def test_a_hint_switches_uploads_off_unless_somebody_has_said_otherwise(
    unset_mode: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taskset_of("sdar_trip")
    assert "PRIME_RUNS_MODE" not in os.environ
    taskset_of("sdar_trip", hint="plan")
    assert os.environ["PRIME_RUNS_MODE"] == "disabled"
    monkeypatch.setenv("PRIME_RUNS_MODE", "online")
    taskset_of("sdar_trip", hint="plan")
    assert os.environ["PRIME_RUNS_MODE"] == "online"


@pytest.mark.skipif(not os.environ.get(WHEELS), reason=f"{WHEELS} names no folder of wheels: tox -e verifiers fetches")
def test_verifiers_own_chat_harness_plays_too(tmp_path: Path) -> None:
    """It installs its own packages as it starts: here from a folder, since no test may depend on a network."""
    with serving({"": ["look", "inventory"]}) as endpoint:
        words = ["--env.player.harness.id", "null", "--env.player.max-turns", "2"]
        (line,) = evaluated("sdar_household", *words, url=endpoint.url, folder=tmp_path)
    assert line["ok"], line["errors"]
    assert line["traces"][0]["metrics"]["steps"] == 2.0


def commands_of(page: Path) -> list[list[str]]:
    """The lines of a page that are commands of verifiers."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    return [shlex.split(line) for line in re.findall(r"^ *(vf-.*)$", text, re.M)]


def test_no_command_on_any_page_uploads() -> None:
    pages = [page for folder in ("docs", "packages", "examples") for page in (ROOT / folder).rglob("*.md")]
    found = [words for page in [*pages, *ROOT.glob("*.md")] for words in commands_of(page)]
    asked = [words for words in found if words[0] != "vf-validate"]
    assert len(asked) >= 2 and all("--no-push" in words and "--push" not in words for words in asked)


def test_the_first_run_of_its_page_runs(tmp_path: Path) -> None:
    first, second, *_ = commands_of(ROOT / "docs" / "bridges" / "verifiers.md")
    assert commands_of(ROOT / "packages" / "sdar-verifiers" / "README.md") == [first, second]
    run(*first, folder=tmp_path)
    assert json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))["valid_rate"] == 1.0
    with serving({"": ["look"] * 50}) as endpoint:
        words = [word.replace("http://127.0.0.1:8000/v1", endpoint.url) for word in second]
        run(*words, "--clean", folder=tmp_path)
    assert len(traces_of(tmp_path)) == 2
    assert len(endpoint.bodies) == 100
