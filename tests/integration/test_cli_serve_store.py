"""`sdar serve-store` as a process: it shops, records, refuses a port in use, and closes when told to."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import gymnasium as gym
import pytest

pytest.importorskip("starlette", reason='serving needs the extra: pip install "sdar-gym[web]"')
pytest.importorskip("uvicorn", reason='serving needs the extra: pip install "sdar-gym[web]"')

from store_visitor import Visitor

import sdar_envs  # noqa: F401  # registers the ids
from trainers.cli import main
from trainers.run.directory import read_json_lines

SMALL = ["--env-kwargs", "size=small", "num_products=300"]


@contextmanager
def serving(*words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running server: its address, and its process, which is stopped in the end."""
    command = [sys.executable, "-m", "trainers", "serve-store", "--port", "0", *SMALL, *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found, said + process.communicate(timeout=30)[1]
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


def visitor_of(server: str) -> Visitor:
    def ask(method: str, address: str, fields: Mapping[str, str] | None) -> tuple[int, str, str]:
        body = None if fields is None else urlencode(fields).encode()
        origin = {"Origin": server.rstrip("/")}
        request = urllib.request.Request(server.rstrip("/") + address, body, origin, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, urlsplit(answer.url).path, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, address, refused.read().decode()

    return Visitor(ask)


def plans(*task_ids: str) -> list[list[str]]:
    env = gym.make("sdar/WebShop-v0", split="valid", size="small", num_products=300)
    return [env.reset(options={"task_id": task_id})[1]["privileged"]["plan"] for task_id in task_ids]


def shop(visitor: Visitor, plan: list[str]) -> float:
    visitor.start()
    for action in plan:
        visitor.play(action)
    return float(visitor.soup.select_one("#reward pre").get_text())


def test_ten_people_shop_at_once_and_every_purchase_is_recorded(tmp_path: Path) -> None:
    record = tmp_path / "new" / "episodes.jsonl"
    (plan,) = plans("valid:000002")
    with serving("--task", "valid:000002", "--record", str(record)) as (address, process):
        with ThreadPoolExecutor(10) as pool:
            scores = list(pool.map(lambda number: shop(visitor_of(address), plan), range(10)))
        assert scores == [1.0] * 10
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None and process.stderr is not None
        # Not by communicate, which does not know what reading the first line has taken into the buffer.
        out, err = process.stdout.read(), process.stderr.read()
        process.wait(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert str(record) in out.replace("\n", "") and out.endswith("closed\n")
    episodes = read_json_lines(record)
    assert sorted(episode["group"] for episode in episodes) == list(range(10))
    assert {episode["task_id"] for episode in episodes} == {"valid:000002"}


def test_a_record_has_the_schema_of_the_trainers_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, played = tmp_path / "served.jsonl", tmp_path / "played.jsonl"
    task_id = "valid:000005"
    (plan,) = plans(task_id)
    script = ["search[nothing of the kind]", "click[back to search]", *plan]
    with serving("--index", "5", "--record", str(served)) as (address, _):
        shop(visitor := visitor_of(address), script)
        visitor.send(visitor.soup.find("form"), {})
        for action in plans("valid:000006")[0]:
            visitor.play(action)
    by_page = read_json_lines(served)
    assert [episode["task_id"] for episode in by_page] == ["valid:000005", "valid:000006"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in script)))
    words = ["play", "sdar/WebShop-v0", *SMALL, "--task", task_id, "--record", str(played)]
    assert main(words) == 0
    (by_terminal,) = read_json_lines(played)
    assert by_page[0] | {"run": "play"} == by_terminal
    assert by_page[0]["stop_reason"] == "success"


def test_who_sees_the_teachers_side_leaves_no_text_behind(tmp_path: Path) -> None:
    record = tmp_path / "episodes.jsonl"
    (plan,) = plans("valid:000000")
    with serving("--show-privileged", "--record", str(record)) as (address, process):
        assert process.stdout is not None and "PRIVILEGED" in process.stdout.readline()
        visitor = visitor_of(address)
        visitor.go("/")
        assert "recorded without its" in visitor.html
        visitor.start()
        assert plan[0] in visitor.soup.select_one(".privileged .plan").get_text()
        for action in plan:
            visitor.play(action)
    (episode,) = read_json_lines(record)
    assert episode["view"] == "privileged" and episode["score"] == 1.0
    assert {turn["observation"] for turn in episode["turns"]} == {turn["action"] for turn in episode["turns"]} == {None}
    assert episode["claim_ids"]


def test_a_port_in_use_is_one_line_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve-store", "--port", str(port), "--no-record", *SMALL]) == 2
    error = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is in use" in error and "--port 0" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "70000"], "--port expects 0 to 65535, got 70000"),
        (["--index", "-1"], "--index expects 0 to"),
        (["--task", "valid:999999"], "valid:999999"),
        (["--split", "tset"], '"test"'),
        (["--env-kwargs", "sise=small"], '"size"'),
        (["--max-visits", "0"], "--max-visits of at least 1"),
        (["--rest", "nan"], "--rest above 0"),
        (["--rest", "0"], "--rest above 0"),
        (["--record", "/proc/nowhere/episodes.jsonl"], "/proc/nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = [] if "--record" in words else ["--no-record"]
    assert main(["serve-store", "--port", "0", *SMALL, *record, *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_browser_is_opened_at_the_stores_address(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    served: list[Any] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sdar_envs.loopback.serve", lambda app, listener, **how: served.append(listener.getsockname()))
    assert main(["serve-store", "--port", "0", "--open", "--no-record", *SMALL]) == 0
    ((host, port),) = served
    assert opened == [f"http://{host}:{port}/"]


def test_nothing_of_the_teachers_side_is_computed_unless_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdar_envs.webshop.env import WebShopEnv

    def forbidden(self: WebShopEnv) -> Any:
        raise AssertionError("the teacher's side was asked for")

    monkeypatch.setattr(WebShopEnv, "_privileged", forbidden)
    visits: list[Any] = []
    monkeypatch.setattr("sdar_envs.webshop.server.make_app", lambda *given: visits.append(given))

    def visit_once(app: Any, listener: Any, **patience: Any) -> None:
        everyone, _ = visits[0]
        visit = everyone.find(everyone.open())
        everyone.act(visit, "search[shirt]")
        assert visit.view.observation and visit.known is None

    monkeypatch.setattr("sdar_envs.loopback.serve", visit_once)
    assert main(["serve-store", "--port", "0", "--panel", "--no-record", *SMALL]) == 0


def test_half_sent_heads_keep_nobody_out_of_the_store() -> None:
    with serving("--no-record", "--max-visits", "4") as (server, _):
        place = ("127.0.0.1", urlsplit(server).port or 0)
        dawdlers = [socket.create_connection(place, timeout=20) for _ in range(2 * 4 + 64)]
        for dawdler in dawdlers:
            dawdler.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        visitor = visitor_of(server)
        visitor.start()
        assert visitor.main.has_search_bar
        for dawdler in dawdlers:
            with suppress(ConnectionResetError):
                assert dawdler.recv(100) == b""
            dawdler.close()
