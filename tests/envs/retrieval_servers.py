"""Servers of passages that tests talk to: one that says what a test wants, and ours in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sdar_envs.searchqa.client import HttpRetriever
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.retriever import Hit

PASSAGES = [Passage.of(n, f"Thing {n}", f"Entry {n} \u00e9 about topic {n % 7}.") for n in range(50)]


class Listed:
    """A retriever whose answer to "5" is passages 5, 6, 7, ..."""

    name = "listed"

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [[Hit(PASSAGES[(int(q) + n) % 50], 1.0 - n / 100) for n in range(k)] if q else [] for q in queries]

    def normalise(self, query: str) -> str:
        return query


# A server that says what a test wants.


@contextmanager
def fake_server(
    respond: Callable[[dict[str, Any], int], tuple[int, bytes]], health: tuple[int, bytes] = (404, b"")
) -> Iterator[tuple[str, list[Any]]]:
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            status, content = respond(body, len(seen))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 503:
                self.send_header("Retry-After", "2")
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.send_response(health[0])
            self.send_header("Content-Length", str(len(health[1])))
            self.end_headers()
            self.wfile.write(health[1])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/retrieve", seen
    finally:
        server.shutdown()
        server.server_close()


def scored(queries: Sequence[str], k: int = 2) -> bytes:
    listed = [
        [{"document": {"id": str(n), "contents": f'"{q}"\ntext {n}'}, "score": 1.0 - n} for n in range(k)]
        for q in queries
    ]
    return json.dumps({"result": listed}).encode()


def client(*urls: str, **options: Any) -> tuple[HttpRetriever, list[float]]:
    waits: list[float] = []
    return HttpRetriever(urls, sleep=waits.append, **options), waits


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/retrieve"


SERVER = """
import sys, json
from sdar_envs.searchqa import server
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.retriever import Hit
import time
server.PATIENCE, server.MAX_KEPT = float(sys.argv[2]), int(sys.argv[4])
PASSAGES = [Passage.of(n, f"Thing {n}", f"Entry {n} \\u00e9 about topic {n % 7}.") for n in range(50)]
class Listed:
    name = "listed"
    def search(self, queries, k):
        if "fail" in queries: raise RuntimeError("secret detail")
        if "wait" in queries: time.sleep(1.5); return [[] for _ in queries]
        return [[Hit(PASSAGES[(int(q) + n) % 50], 1.0 - n / 100) for n in range(k)] if q else [] for q in queries]
    def normalise(self, query): return query
listener = server.bind("127.0.0.1", int(sys.argv[1]))
app = server.make_app(Listed(), facts={"ntotal": 50}, hosts=server.LOOPBACK)
server.serve(app, listener, connections=int(sys.argv[3]),
             ready=lambda: print(listener.getsockname()[1], flush=True))
"""


@contextmanager
def own_server(
    port: int = 0, patience: float = 5.0, connections: int = 512, kept: int = 1 << 27
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(patience), str(connections), str(kept)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.strip().isdecimal(), process.communicate(timeout=5)[1]
        yield int(said), process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def post(port: int, body: Any, path: str = "/retrieve", headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, content, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text.startswith((b"{", b"[")) else text
    finally:
        connection.close()


def documents(query: int, k: int) -> list[dict[str, str]]:
    return [{"id": str((query + n) % 50), "contents": PASSAGES[(query + n) % 50].contents} for n in range(k)]
