"""Environments as OpenEnv servers: episodes as they are here, nothing of the teacher's on the agents' port."""

from __future__ import annotations

import base64
import functools
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.__main__ import main
from sdar_envs.conformance import run_checks
from sdar_envs.core import TextEnv

pytestmark = pytest.mark.openenv
openenv = pytest.importorskip("openenv")
pytest.importorskip("uvicorn")

from running_server import TOKEN, Running  # noqa: E402

WORLDS = {
    "sdar/Household-v0": {"size": "small"},
    "sdar/WebShop-v0": {"size": "small"},
    "sdar/SearchQA-v0": {"size": "small"},
}


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any], Running]]:
    kwargs = WORLDS[request.param]
    if request.param == "sdar/SearchQA-v0":
        pytest.importorskip("faiss")
    running = Running(functools.partial(gym.make, request.param, **kwargs))
    yield request.param, kwargs, running
    running.stop()


def status_of(address: str, token: str = "") -> int:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_an_expert_who_reads_the_teachers_channel_alone_solves_ten_tasks(world):
    env_id, kwargs, running = world
    local = gym.make(env_id, split="valid", **kwargs)
    with running.client() as client:
        for index in range(10):
            episode = f"expert-{index}"
            result = client.reset(split="valid", index=index, episode_id=episode)
            observation, info = local.reset(options={"task_id": local.unwrapped.task_ids("valid")[index]})
            steps = 0
            while not result.done:
                assert result.observation["text"] == observation
                assert result.observation["admissible_actions"] == info["admissible_actions"]
                answer = running.known(episode)
                assert (answer["protocol"], answer["step_count"]) == (1, steps)
                assert answer["privileged"] == json.loads(json.dumps(info["privileged"]))
                action = answer["privileged"]["next_action"]
                result = client.step({"text": action})
                observation, reward, *_, info = local.step(action)
                assert result.reward == reward
                steps += 1
            assert result.observation["success"] is True and result.observation["score"] == 1.0


def test_seeds_splits_and_tasks_choose_what_is_played(world):
    env_id, kwargs, running = world
    env = gym.make(env_id, **kwargs)
    with running.client() as client:
        first = client.reset(seed=5).observation
        assert client.reset(seed=5).observation == first
        assert env.reset(seed=5)[1]["task_id"] == first["task_id"]
        task = env.unwrapped.task_ids("test")[3]
        assert client.reset(task_id=task).observation["task_id"] == task
        assert client.reset(split="eval", index=3).observation["task_id"] == task
        assert client.state()["episode_id"] and client.state()["step_count"] == 0
        for options, said in (
            ({"sed": 1}, "seed"),
            ({"split": "vlid"}, "valid"),
            ({"split": "valid", "index": 10**9}, "index: expected"),
            ({"index": 3}, "expected a split"),
            ({"task_id": "zzz"}, "task id"),
        ):
            with pytest.raises(Exception, match=said):
                client.reset(**options)
        assert client.reset(seed=5).observation == first  # the session goes on


@pytest.mark.parametrize("sessions", [12, 32])
def test_sessions_at_once_are_sessions_in_a_row(world, sessions: int):
    _, _, running = world

    def play(number: int) -> list[Any]:
        with running.client() as client:
            seen = [client.reset(seed=number)]
            while not seen[-1].done and len(seen) < 12:
                actions = seen[-1].observation["admissible_actions"] or ["look"]
                seen.append(client.step({"text": actions[(number + len(seen)) % len(actions)]}))
        return [(result.observation, result.reward, result.done) for result in seen]

    with ThreadPoolExecutor(sessions) as pool:
        together = list(pool.map(play, range(sessions)))
    assert together == [play(number) for number in range(sessions)]


def test_the_task_api_lists_what_there_is(world):
    env_id, kwargs, running = world
    env = gym.make(env_id, **kwargs).unwrapped

    def ask(route: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{running.url}/world/{route}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    assert [split["name"] for split in ask("splits")] == ["train", "valid", "test"]
    assert ask("num_tasks", {"split": "valid"})["num_tasks"] == len(env.task_ids("valid"))
    listed = ask("tasks", {"split": "valid"})
    assert "valid" in json.dumps(listed)


def test_the_teachers_side_asks_for_its_token_and_is_not_on_the_agents_port(world):
    _, _, running = world
    with running.client() as client:
        client.reset(seed=1, episode_id="held")
        assert status_of(f"{running.teacher}/privileged/held", TOKEN) == 200
        assert status_of(f"{running.teacher}/privileged/held") == 401
        assert status_of(f"{running.teacher}/privileged/held", TOKEN[:-1] + "x") == 401
        assert status_of(f"{running.teacher}/privileged/nobody", TOKEN) == 404
        assert status_of(f"{running.url}/privileged/held", TOKEN) == 404
        for hidden in ("docs", "openapi.json", "redoc"):
            assert status_of(f"{running.teacher}/{hidden}", TOKEN) == 404
        with running.client() as other, pytest.raises(Exception, match="another session's"):
            other.reset(seed=2, episode_id="held")
    deadline = time.monotonic() + 30
    while status_of(f"{running.teacher}/privileged/held", TOKEN) != 404:  # gone with its session
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_token_there_is_no_teachers_side():
    running = Running(functools.partial(gym.make, "sdar/Household-v0", size="small"), token=None)
    assert running.apps.teacher is None and running.teacher == ""
    running.stop()


CANARY = "canary0427zqx"


class Marked(TextEnv):
    """A world whose privileged side is a canary, and whose steps fail with it."""

    env_id = "marked"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(horizon=9, **kwargs)

    def task_ids(self, split=None):
        return [f"{split or self.split}:{number}" for number in range(5)]

    def _begin(self, task_id):
        return f"Room {task_id}."

    def _act(self, action):
        from sdar_envs.core import Transition

        if action == "fail":
            raise ValueError(f"the plan is {CANARY}")
        return Transition("Nothing.", 0.0, False, True)

    def _public(self):
        empty: list[str] = []
        return {
            "task_type": "any",
            "skill_keys": empty,
            "instruction": "Wait.",
            "admissible_actions": ["wait", "fail"],
            "success": False,
            "score": 0.0,
        }

    def _privileged(self):
        return {"plan": [CANARY], "next_action": CANARY, "hints": [], "facts": {}, "skills": {}, "task_type": "any"}


def agents_bytes(running: Running) -> bytes:
    """Everything that the agents' port answers: frames of a session with a failure in it, and every route."""
    import websockets.sync.client

    frames: list[bytes] = []
    with websockets.sync.client.connect(running.url.replace("http", "ws") + "/ws") as socket:
        for message in (
            {"type": "reset", "data": {"seed": 1, "episode_id": "marked"}},
            {"type": "step", "data": {"text": "wait"}},
            {"type": "state"},
            {"type": "step", "data": {"text": "fail"}},
            {"type": "step", "data": {"txt": "wait"}},
            {"type": "reset", "data": {"task_id": "nowhere"}},
            {"type": "mcp", "data": {"jsonrpc": "2.0", "method": "tools/list", "id": 1}},
            {"type": "nonsense"},
        ):
            socket.send(json.dumps(message))
            answer = socket.recv()
            frames.append(answer if isinstance(answer, bytes) else answer.encode())
    routes = (
        "state",
        "schema",
        "openapi.json",
        "metadata",
        "health",
        "docs",
        "world/splits",
        "world/tasks",
        "reset",
        "step",
    )
    for route in (*routes, "list_environments"):
        for data in (None, b'{"split": "train"}', b'{"action": {"text": "fail"}}'):
            request = urllib.request.Request(f"{running.url}/{route}", data, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    frames.append(answer.read())
            except urllib.error.HTTPError as error:
                frames.append(error.read())
    return b"\n".join(frames)


def forms(canary: str) -> list[bytes]:
    raw = canary.encode()
    return [raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw)[:-4]]


def test_no_byte_of_the_agents_port_is_the_teachers(capfd: pytest.CaptureFixture[str]):
    running = Running(Marked)
    sent = agents_bytes(running)
    assert not [form for form in forms(CANARY) if form in sent]
    assert b"the environment failed (error" in sent
    assert CANARY in capfd.readouterr().err  # the server's own log has it
    with running.client() as client:
        client.reset(seed=1, episode_id="asked")
        assert running.known("asked")["privileged"]["plan"] == [CANARY]
    running.stop()


def test_a_careless_server_would_be_seen():
    from openenv.core.env_server import create_fastapi_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, Observation, State

    class Words(Action):
        text: str

    class Careless(Environment):
        def reset(self, seed=None, episode_id=None, **options):
            return Observation(metadata={"plan": CANARY})

        def step(self, action, timeout_s=None, **options):
            raise RuntimeError("out of order")

        @property
        def state(self):
            return State()

    running = object.__new__(Running)
    running.servers = [running._start(create_fastapi_app(Careless, Words, Observation, env_name="world"))]
    running.url = f"http://127.0.0.1:{running.servers[0].servers[0].sockets[0].getsockname()[1]}"
    assert CANARY.encode() in agents_bytes(running)
    running.stop()


def test_a_remote_environment_keeps_the_contract_of_text_worlds(world):
    _, _, running = world
    make = functools.partial(
        gym.make, "sdar/OpenEnv-v0", url=running.url, teacher_url=running.teacher, teacher_token=TOKEN
    )
    report = run_checks(make, episodes=2, hostile_actions=60, step_seconds=20.0, sessions=4, split_tasks=8)
    assert report.failures == [], str(report)
    assert {result.name for result in report.results if result.skipped} <= {
        "horizon",
        "render",
        "canary",
        "declared_secret",
        "counterfactual",
        "oracle",
        "spaces",
    }, str(report)


def test_a_server_is_checked_by_its_address(world, capsys: pytest.CaptureFixture[str]):
    _, _, running = world
    words = ["check", running.url, "--episodes", "1", "--only", "text", "info_json", "determinism", "task_replay"]
    assert main(words) == 0
    assert "4 held" in capsys.readouterr().out


def test_what_openenv_itself_checks_passes(world, tmp_path: Path):
    env_id, kwargs, running = world
    command = [str(Path(sys.executable).with_name("openenv")), "validate", "--url", running.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    arguments = [f"{key}={value}" for key, value in kwargs.items()]
    assert main(["export-env", env_id, str(tmp_path / "package"), "--env-kwargs", *arguments]) == 0
    static = ["validate", str(tmp_path / "package"), "--level", "static", "--skip-build"]
    done = subprocess.run([command[0], *static], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and re.search("pass", done.stdout, re.IGNORECASE), done.stdout + done.stderr


def test_the_exported_program_serves_the_world(tmp_path: Path):
    assert main(["export-env", "sdar/Household-v0", str(tmp_path), "--env-kwargs", "size=small"]) == 0
    scope: dict[str, Any] = {}
    exec(compile((tmp_path / "server" / "app.py").read_text(encoding="utf-8"), "app.py", "exec"), scope)
    assert "/ws" in {getattr(route, "path", "") for route in scope["app"].routes}
    oracle = subprocess.run([sys.executable, tmp_path / "validation" / "oracle.py"], capture_output=True, text=True)
    assert float(oracle.stdout) == 1.0, oracle.stderr


def test_a_report_in_openenvs_schema_is_one(tmp_path: Path):
    from openenv.validation.report import ValidationReportV2

    from sdar_envs.conformance.openenv_report import IDS, validation_report

    report = run_checks(functools.partial(gym.make, "sdar/Household-v0", size="small"), episodes=2, sessions=4)
    read = ValidationReportV2.model_validate(validation_report(report, "sdar/Household-v0"))
    assert str(read.verdict.value) == "pass"
    import openenv.validation as package

    policy = json.loads((Path(package.__file__).parent / "policies" / "severity-v2.json").read_text(encoding="utf-8"))
    assert IDS.keys() <= {entry["check_id"] for entry in policy["entries"]}


def test_serving_says_where_and_refuses_a_short_token(tmp_path: Path):
    (tmp_path / "token").write_text("short\n", encoding="utf-8")
    words = ["serve", "sdar/Household-v0", "--teacher-token-file", str(tmp_path / "token")]
    assert main(words) == 2
    assert main(["serve", "sdar/Household-v9"]) == 2
    assert sdar_envs.__version__
