"""Retrieval over HTTP: our server, our client, both dialects, and everything that can go wrong between them."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from sdar_envs.searchqa.client import HttpRetriever
from sdar_envs.searchqa.corpus import MemoryCorpus, Passage
from sdar_envs.searchqa.retriever import Hit, RetrievalError

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


# The client.


def test_a_search_is_one_request_with_all_queries_and_asks_for_scores():
    with fake_server(lambda body, _: (200, scored(body["queries"]))) as (url, seen):
        hits = client(url)[0].search(["one", "", "two"], 2)
    assert seen == [{"queries": ["one", "two"], "topk": 2, "return_scores": True}]
    assert [[hit.passage.title for hit in found] for found in hits] == [["one", "one"], [], ["two", "two"]]
    assert hits[0][1].passage.id == 1 and hits[0][0].score == 1.0


def test_a_server_of_the_other_dialect_is_asked_one_by_one_and_remembered():
    def respond(body: dict[str, Any], _: int) -> tuple[int, bytes]:
        return (200, scored([body["query"]])) if "query" in body else (422, b'{"detail": "query: field required"}')

    with fake_server(respond) as (url, seen):
        retriever, waits = client(url)
        first = retriever.search(["one", "two"], 2)
        retriever.search(["three"], 2)
    assert ["queries" in body for body in seen] == [True, False, False, False] and waits == []
    assert [found[0].passage.title for found in first] == ["one", "two"]


def test_documents_without_scores_and_with_title_and_text_are_read():
    answer = {"result": [[{"id": "doc-7", "title": "T", "text": "U"}, {"id": 3, "contents": "V"}]]}
    with fake_server(lambda *_: (200, json.dumps(answer).encode())) as (url, _):
        [[one, other]] = client(url)[0].search(["x"], 3)
    assert one == Hit(Passage("doc-7", '"T"\nU'), 0.0) and other.passage == Passage(3, "V")


def test_more_hits_than_were_asked_for_are_cut_and_strange_scores_are_none():
    listed = [
        [{"document": {"id": n, "contents": "c"}, "score": s} for n, s in enumerate([float("nan"), "high", True])]
    ]
    with fake_server(lambda *_: (200, json.dumps({"result": listed}).encode())) as (url, _):
        [hits] = client(url)[0].search(["x"], 2)
    assert [hit.score for hit in hits] == [0.0, 0.0]


def test_half_surrogates_in_an_answer_become_marks():
    with fake_server(lambda *_: (200, b'{"result": [[{"id": 1, "contents": "a\\ud800b"}]]}')) as (url, _):
        [[hit]] = client(url)[0].search(["x"], 2)
    assert hit.passage.contents == "a?b"


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"<html>proxy error</html>",
        b"null",
        b"[]",
        b"{}",
        b'{"result": null}',
        b'{"result": [[], []]}',
        b'{"result": [{}]}',
        b'{"result": [[null]]}',
        b'{"result": [[{"document": {"id": 1}}]]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=lambda value: repr(value[:24]),
)
def test_junk_is_tried_again_and_then_one_error_that_is_no_answer(junk: bytes):
    with fake_server(lambda *_: (200, junk)) as (url, seen):
        retriever, waits = client(url)
        with pytest.raises(RetrievalError, match="retrieval failed for 1 queries"):
            retriever.search(["x"], 2)
    assert len(seen) == 3 and len(waits) == 2


def test_a_passing_fault_is_not_seen():
    with fake_server(lambda body, n: (200, scored(body["queries"])) if n > 2 else (500, b"boom")) as (url, seen):
        retriever, waits = client(url)
        assert len(retriever.search(["x"], 2)[0]) == 2
    assert len(seen) == 3 and 0.2 <= waits[0] < 0.4 <= waits[1] < 0.8


def test_a_busy_server_is_given_the_time_it_asks_for():
    with fake_server(lambda body, n: (200, scored(body["queries"])) if n > 1 else (503, b"")) as (url, _):
        retriever, waits = client(url)
        retriever.search(["x"], 2)
    assert waits == [2.0]


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_what_will_not_get_better_is_not_tried_again(status: int):
    with fake_server(lambda *_: (status, b'{"detail": "no"}')) as (url, seen):
        retriever, waits = client(url)
        with pytest.raises(RetrievalError, match=f"HTTP {status}"):
            retriever.search(["x"], 2)
    assert len(seen) == 1 and waits == []


def test_a_slow_server_costs_its_time_limit_and_not_more():
    given_up = threading.Event()
    # The server answers only when the client has given up: a client that waits for it waits for a minute.
    with fake_server(lambda *_: (given_up.wait(60.0), (200, b""))[1]) as (url, _):
        retriever, waits = client(url, read_timeout=0.05)
        with pytest.raises(RetrievalError, match="timed out"):
            retriever.search(["x"], 2)
        assert len(waits) == 2
        given_up.set()


def test_a_server_that_is_down_is_left_to_the_next_one():
    with fake_server(lambda body, _: (200, scored(body["queries"]))) as (url, seen):
        retriever, waits = client(closed_port(), url)
        for number in range(3):
            assert retriever.search([str(number)], 2)[0]
    assert len(seen) == 3 and len(waits) == 1  # once: the next search begins with the one that works


def test_an_address_that_keeps_failing_is_left_alone_and_tried_again_later():
    now = [0.0]
    retriever, _ = client(closed_port(), tries=3, break_after=3, break_for=5.0, clock=lambda: now[0])
    tried: list[int] = []
    exchange = retriever._exchange
    retriever._exchange = lambda *args: (tried.append(1), exchange(*args))[1]  # type: ignore[method-assign]
    with pytest.raises(RetrievalError, match="refused"):
        retriever.search(["x"], 2)
    assert len(tried) == 3
    with pytest.raises(RetrievalError, match="left alone"):
        retriever.search(["x"], 2)
    assert len(tried) == 3  # nothing was sent
    now[0] = 5.1
    with pytest.raises(RetrievalError, match="refused"):
        retriever.search(["x"], 2)
    assert len(tried) == 4  # one probe, and it is left alone for longer


def test_a_closed_connection_that_was_kept_is_opened_again_without_a_word():
    with fake_server(lambda body, _: (200, scored(body["queries"]))) as (url, seen):
        retriever, waits = client(url)
        retriever.search(["x"], 2)
        [[connection]] = retriever._idle.values()
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
        retriever.search(["y"], 2)
    assert len(seen) == 2 and waits == []


def test_many_queries_go_in_pieces_that_servers_take():
    with fake_server(lambda body, _: (200, scored(body["queries"], k=1))) as (url, seen):
        found = client(url)[0].search([f"q{n}" for n in range(2_500)], 1)
    assert [len(body["queries"]) for body in seen] == [1_024, 1_024, 452]
    assert found[2_499][0].passage.title == "q2499"


@pytest.mark.parametrize(
    "bad",
    [
        *("", "localhost:8000", "ftp://x/retrieve", "http://", "http://x:99999/", "file:///etc"),
        *(f"http://{'a' * 70}.org/", "http://name:word@x/"),
    ],
)
def test_what_is_no_address_is_refused(bad: str):
    with pytest.raises(ValueError, match="address"):
        HttpRetriever([bad])
    with pytest.raises(ValueError, match="at least one"):
        HttpRetriever([])


def test_a_client_travels_as_its_addresses_and_limits():
    urls = ["http://h:1", "https://g/x", "http://[::1]:2/a b?index=wiki"]
    twin = pickle.loads(pickle.dumps(HttpRetriever(urls, read_timeout=7.0, tries=1)))
    assert twin.addresses == ["http://h:1/retrieve", "https://g:443/x", "http://[::1]:2/a%20b?index=wiki"]
    assert (twin._read_timeout, twin._tries) == (7.0, 1)


def test_what_an_address_asks_for_behind_its_path_is_sent():
    with fake_server(lambda body, _: (200, scored(body["queries"]))) as (url, _):
        paths: list[str] = []
        retriever, _ = client(f"{url}?index=wiki")
        request = http.client.HTTPConnection.request
        connection = retriever._new(retriever._servers[0])
        connection.request = lambda method, path, *rest: (  # type: ignore[method-assign]
            paths.append(path),
            request(connection, method, path, *rest),
        )[1]
        retriever._new = lambda server: connection  # type: ignore[method-assign]
        assert retriever.search(["x"], 1)[0]
    assert paths == ["/retrieve?index=wiki"]


def test_threads_share_the_connections_that_are_kept_and_closing_closes_them():
    with fake_server(lambda body, _: (200, scored(body["queries"]))) as (url, seen):
        retriever, _ = client(url)
        for number in range(5):  # threads of which each one is gone before the next
            thread = threading.Thread(target=retriever.search, args=([f"q{number}"], 1))
            thread.start()
            thread.join()
        [[connection]] = retriever._idle.values()
        kept = connection.sock
        assert kept is not None and kept.fileno() >= 0
        retriever.close()
        assert kept.fileno() == -1
        assert retriever.search(["again"], 1)[0]
        retriever.close()
    assert len(seen) == 6


def test_a_client_that_is_dropped_leaves_no_connection_behind():
    with fake_server(lambda body, _: (200, scored(body["queries"]))) as (url, _):
        retriever, _ = client(url)
        retriever.search(["x"], 1)
        [[connection]] = retriever._idle.values()
        kept = connection.sock
        assert kept is not None
        del retriever
        assert kept.fileno() == -1


def test_an_address_that_says_no_for_good_is_left_to_the_next_one_without_waiting():
    with (
        fake_server(lambda body, _: (404, b"{}")) as (wrong, asked),
        fake_server(lambda body, _: (200, scored(body["queries"]))) as (right, _),
    ):
        retriever, waits = client(wrong, right)
        assert retriever.search(["x"], 1)[0] and len(asked) == 1 and waits == []


def test_another_server_in_the_place_of_one_may_speak_the_other_dialect():
    dialect = ["query"]

    def respond(body: dict[str, Any], _: int) -> tuple[int, bytes]:
        if dialect[0] not in body:
            return 422, b"{}"
        return 200, scored(body["queries"] if dialect[0] == "queries" else [body["query"]])

    with fake_server(respond) as (url, seen):
        retriever, _ = client(url)
        for name, requests in (("query", 2), ("query", 1), ("queries", 2), ("queries", 1), ("query", 2)):
            dialect[0] = name
            before = len(seen)
            assert retriever.search(["x"], 1)[0] and len(seen) - before == requests


# The server, in a process of its own.

SERVER = """
import sys, json
from sdar_envs.searchqa import server
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.retriever import Hit
server.PATIENCE = float(sys.argv[2])
PASSAGES = [Passage.of(n, f"Thing {n}", f"Entry {n} \\u00e9 about topic {n % 7}.") for n in range(50)]
class Listed:
    name = "listed"
    def search(self, queries, k):
        if "fail" in queries: raise RuntimeError("secret detail")
        return [[Hit(PASSAGES[(int(q) + n) % 50], 1.0 - n / 100) for n in range(k)] if q else [] for q in queries]
    def normalise(self, query): return query
listener = server.bind("127.0.0.1", int(sys.argv[1]))
app = server.make_app(Listed(), facts={"ntotal": 50}, hosts=server.LOOPBACK)
server.serve(app, listener, connections=int(sys.argv[3]),
             ready=lambda: print(listener.getsockname()[1], flush=True))
"""


@contextmanager
def own_server(
    port: int = 0, patience: float = 5.0, connections: int = 512
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(patience), str(connections)],
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


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with own_server() as (number, _):
        yield number


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


def test_both_dialects_are_answered_in_search_r1s_form(port: int):
    expected = [[{"document": d, "score": 1.0 - n / 100} for n, d in enumerate(documents(q, 2))] for q in (5, 49)]
    assert post(port, {"queries": ["5", "49"], "topk": 2, "return_scores": True}) == (200, {"result": expected})
    assert post(port, {"query": "5", "topk": 2, "return_scores": True}) == (200, {"result": expected[:1]})
    assert post(port, {"queries": ["5", "49"], "topk": 2}) == (200, {"result": [documents(5, 2), documents(49, 2)]})
    for default in ({}, {"topk": None}, {"topk": 0}):
        assert post(port, {"query": "7", **default}) == (200, {"result": [documents(7, 3)]})


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_no_number_of_queries_without_scores_is_special(count: int, port: int):
    assert post(port, {"queries": ["5"] * count}) == (200, {"result": [documents(5, 3)] * count})


def test_an_empty_query_finds_nothing_and_a_long_one_is_cut(port: int):
    assert post(port, {"queries": ["", " ?! ", "\ud800", "5"]}) == (200, {"result": [[], [], [], documents(5, 3)]})
    assert post(port, {"query": " " * 20_000 + "5"})[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"\xff\xfe",
        b'"text"',
        b"[" * 200_000,
        b'{"queries": "5"}',
        b'{"queries": [5]}',
        b'{"queries": [null]}',
        b'{"query": ["5"]}',
        b"{}",
        b'{"queries": null}',
        b'{"queries": ["5"], "query": "5"}',
        b'{"query": "5", "topk": 101}',
        b'{"query": "5", "topk": -1}',
        b'{"query": "5", "topk": true}',
        b'{"query": "5", "topk": false}',
        b'{"query": "5", "topk": NaN}',
        b'{"query": "5", "topk": 2.5}',
        b'{"query": "5", "topk": "3"}',
        b'{"query": "5", "return_scores": 1}',
        json.dumps({"queries": ["5"] * 1_025}).encode(),
    ],
    ids=lambda value: repr(value[:36]),
)
def test_malformed_requests_are_422_with_a_detail(body: bytes, port: int):
    status, answer = post(port, body)
    assert status == 422 and isinstance(answer["detail"], str)
    assert post(port, {"query": "5"})[0] == 200


def test_a_body_that_is_too_long_is_413_whether_it_says_so_or_not(port: int):
    assert post(port, b"x" * 100, headers={"Content-Length": str(10**11)})[0] == 413
    pieces = iter([b'{"queries": ["'] + [b"x" * (1 << 20)] * 17)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/retrieve", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has hung up in the middle of it, which is its right
    finally:
        connection.close()
    assert post(port, {"query": "5"})[0] == 200


def test_other_paths_and_methods_do_nothing(port: int):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for method, path, status in (
        ("GET", "/retrieve", 405),
        ("DELETE", "/retrieve", 405),
        ("POST", "/health", 405),
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/retrieve/..%2fhealth", 404),
    ):
        connection.request(method, path)
        response = connection.getresponse()
        assert (response.status, b"root:" in response.read()) == (status, False), path
    connection.close()


def test_health_says_what_is_served_and_the_client_reads_it(port: int):
    retriever = HttpRetriever([f"http://127.0.0.1:{port}"])
    assert retriever.health() == {"status": "ok", "ntotal": 50}
    with fake_server(lambda *_: (200, b"")) as (url, _):  # a server of others: it has no such page
        assert client(url)[0].health() is None
    with pytest.raises(RetrievalError):
        client(closed_port())[0].health()


def test_a_foreign_host_name_is_refused(port: int):
    assert post(port, {"query": "5"}, headers={"Host": "evil.example"})[0] == 400
    assert post(port, {"query": "5"}, headers={"Host": "localhost:1234"})[0] == 200


@pytest.fixture(name="server")
def server_module() -> ModuleType:
    for needed in ("starlette", "uvicorn"):
        pytest.importorskip(needed)
    from sdar_envs.searchqa import server

    return server


def test_an_address_of_version_6_is_served_under_its_own_name(server: ModuleType):
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    with TestClient(server.make_app(Listed(), hosts=server.LOOPBACK)) as browser:
        for host in ("[::1]:8000", "[::1]", "127.0.0.1", "LOCALHOST:9"):
            assert browser.get("/health", headers={"Host": host}).status_code == 200
        for host in ("::1.evil.org", "[::1", "[::2]", "evil.org:8000", ""):
            refused = browser.get("/health", headers={"Host": host})
            assert refused.status_code == 400 and "127.0.0.1" in refused.json()["detail"]
    with TestClient(server.make_app(Listed())) as browser:
        assert browser.get("/health", headers={"Host": "any.org"}).status_code == 200


def test_a_search_that_fails_says_so_without_details(port: int):
    status, answer = post(port, {"query": "fail"})
    assert status == 500 and "secret" not in json.dumps(answer)
    assert post(port, {"query": "5"})[0] == 200


@pytest.mark.parametrize("outage", [False, True])
def test_a_request_that_fails_does_not_take_those_along_that_it_was_searched_with(server: ModuleType, outage: bool):
    calls: list[list[str]] = []

    class Damaged(Listed):
        def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
            calls.append(list(queries))
            if "13" in queries:
                raise RetrievalError("down") if outage else ValueError("a damaged line")
            return super().search(queries, k)

    async def ask() -> list[Any]:
        batcher = server.Batcher(Damaged())
        asked = [["1"], ["13"], ["2", "3"], ["4"]]
        try:
            return await asyncio.gather(*(batcher.search(queries, 1) for queries in asked), return_exceptions=True)
        finally:
            batcher.close()

    one, bad, two, three = asyncio.run(ask())
    together = ["1", "13", "2", "3", "4"]
    if outage:
        assert calls == [together] and all(isinstance(a, RetrievalError) for a in (one, bad, two, three))
    else:
        assert calls == [together, ["1"], ["13"], ["2", "3"], ["4"]] and isinstance(bad, ValueError)
        assert [hits[0].passage.id for found in (one, two, three) for hits in found] == [1, 2, 3, 4]


def test_a_backlog_for_one_number_of_hits_does_not_hold_up_another(server: ModuleType):
    numbers: list[int] = []

    class Counting(Listed):
        def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
            numbers.append(k)
            return super().search(queries, k)

    async def ask() -> None:
        batcher = server.Batcher(Counting())
        await asyncio.gather(*(batcher.search(["1"] * 1_024, k) for k in (3, 3, 3, 5)))
        batcher.close()

    asyncio.run(ask())
    assert numbers == [3, 5, 3, 3]


def test_our_client_and_our_server_agree(port: int):
    retriever = HttpRetriever([f"http://127.0.0.1:{port}/retrieve"])
    queries = [str(n % 50) for n in range(300)] + [""]
    assert retriever.search(queries, 4) == Listed().search(queries, 4)


def stress(port: int, clients: int, requests: int) -> list[str]:
    """Many clients at once, each with a connection of its own; what went wrong."""
    wrong: list[str] = []

    def work(number: int) -> None:
        retriever = HttpRetriever([f"http://127.0.0.1:{port}"])
        for turn in range(requests // clients):
            query, k = (number * 31 + turn) % 50, 1 + turn % 4
            hits = retriever.search([str(query)], k)
            if hits != Listed().search([str(query)], k):
                wrong.append(f"client {number}, request {turn}: {hits}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_32_clients_get_5000_right_answers_while_others_dawdle_and_talk_nonsense():
    with own_server(patience=1.0) as (port, process):
        dawdlers = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for number, dawdler in enumerate(dawdlers):
            dawdler.sendall(
                [b"", b"POST /retr", b"POST /retrieve HTTP/1.1\r\nHost: localhost\r\n", b"\x00\xff"][number % 4]
            )
        assert stress(port, 32, 5_024) == []  # 157 requests for each of 32
        assert process.poll() is None
        deadline = time.monotonic() + 20
        for dawdler in dawdlers:
            dawdler.settimeout(max(0.1, deadline - time.monotonic()))
            while dawdler.recv(4_096):  # an answer to nonsense, then the end
                pass
            dawdler.close()


@pytest.mark.slow
def test_64_clients_get_100000_right_answers():
    with own_server() as (port, _):
        assert stress(port, 64, 100_032) == []


def test_more_connections_than_allowed_are_told_to_come_back():
    with own_server(connections=4) as (port, _):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        try:
            assert post(port, {"query": "5"})[0] == 503
        finally:
            for connection in held:
                connection.close()
        deadline = time.monotonic() + 10
        while post(port, {"query": "5"})[0] != 200:
            assert time.monotonic() < deadline


def test_a_server_that_is_killed_and_comes_back_loses_nothing_that_the_client_was_told():
    """Restarts under load: every answer that comes is right, and the client finds the server again."""
    with own_server() as (port, _):
        pass
    retriever = HttpRetriever([f"http://127.0.0.1:{port}"], pause=0.01, break_for=0.01)
    answered = outages = 0
    for _ in range(3):
        with own_server(port) as (_, process):
            for query in range(40):
                try:
                    assert retriever.search([str(query)], 2) == Listed().search([str(query)], 2)
                    answered += 1
                except RetrievalError:
                    outages += 1
                if query == 30:
                    process.kill()
                    process.wait()
    assert answered >= 60 and outages >= 3


def test_a_taken_port_is_named_with_the_way_out(port: int):
    from sdar_envs.searchqa.server import bind

    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} .*--port"):
        bind("127.0.0.1", port)
    with pytest.raises(OSError, match="--port"):
        bind("127.0.0.1", 99_999)


# An environment over a server.


def test_an_environment_plays_over_a_server_as_it_does_here(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("faiss")
    pytest.importorskip("uvicorn")
    from sdar_envs.searchqa.env import SearchQAEnv

    home = str(tmp_path_factory.mktemp("cache"))
    command = [
        sys.executable,
        "-m",
        "trainers",
        "serve-retrieval",
        "--size",
        "small",
        "--split",
        "valid",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", home)
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
            url = said[1].split()[2]
            kwargs: dict[str, Any] = {"size": "small", "topk": 1, "passage_style": "plain", "split": "valid"}
            here, there = SearchQAEnv(**kwargs), SearchQAEnv(**kwargs, retriever=url)
            for number in range(6):
                task = {"task_id": f"valid:{number:06d}"}
                (one, info), (other, _) = here.reset(options=task), there.reset(options=task)
                while info["privileged"]["plan"]:
                    assert one == other
                    action = info["privileged"]["next_action"]
                    (one, *rest), (other, *others) = here.step(action), there.step(action)
                    info = rest[-1]
                    assert rest == others
                assert info["success"]
            wrong = SearchQAEnv(**{**kwargs, "split": "test"}, retriever=url)
            with pytest.raises(ValueError, match=r"serves corpus .* --split test"):
                wrong.reset(seed=0)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_every_address_is_asked_whether_it_serves_the_world_of_the_questions():
    pytest.importorskip("faiss")
    from sdar_envs.searchqa.corpus import fingerprint_of
    from sdar_envs.searchqa.env import SearchQAEnv
    from sdar_envs.searchqa.library import open_library

    world = open_library("small", "valid", 0, 0.85).world
    own = json.dumps({"corpus": fingerprint_of(MemoryCorpus(world.passages))}).encode()

    def respond(body: dict[str, Any], _: int) -> tuple[int, bytes]:
        return 200, scored(body["queries"])

    def made(*urls: str) -> SearchQAEnv:
        return SearchQAEnv(split="valid", size="small", retriever=urls)

    with (
        fake_server(respond, (200, own)) as (right, _),
        fake_server(respond, (200, b'{"corpus": "of another"}')) as (wrong, _),
        fake_server(respond, (200, b"ok")) as (silent, _),
        fake_server(respond, (503, b"")) as (busy, _),
    ):
        for urls in ((right,), (right, silent), (right, closed_port()), (busy, right)):
            assert made(*urls).reset(seed=0)[0]
        for urls in ((wrong,), (right, wrong), (closed_port(), busy, wrong)):
            with pytest.raises(ValueError, match=rf"^{wrong} serves corpus of another.*--split valid"):
                made(*urls).reset(seed=0)


def test_what_is_down_is_not_asked_for_its_health_for_ever():
    now = [0.0]
    retriever, _ = client(closed_port(), clock=lambda: now[0])
    tried: list[int] = []
    exchange = retriever._exchange
    retriever._exchange = lambda *args: (tried.append(1), exchange(*args))[1]  # type: ignore[method-assign]
    for _ in range(10):
        assert retriever.healths() == {}
    assert len(tried) == 3
    now[0] = 6.0
    assert retriever.healths() == {} and len(tried) == 4


STRICT = """
import sys
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class One(BaseModel):
    query: str
    topk: int | None = None
    return_scores: bool = False
class Many(BaseModel):
    queries: list[str]
    topk: int | None = None
    return_scores: bool = False
app = FastAPI()
def found(query, k):
    return [{"document": {"id": str(n), "contents": f'"{query}"\\n{n}'}, "score": 1.0 - n} for n in range(k or 3)]
if sys.argv[2] == "query":
    @app.post("/retrieve")
    def retrieve(asked: One):
        return {"result": [found(asked.query, asked.topk)]}
else:
    @app.post("/retrieve")
    def retrieve(asked: Many):
        return {"result": [found(query, asked.topk) for query in asked.queries]}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["query", "queries"])
def test_servers_that_check_their_fields_are_understood_in_either_dialect(dialect: str):
    """The published servers are of this kind: models of FastAPI, which answer 422 to a field of the other dialect."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    port = urlsplit(closed_port()).port
    process = subprocess.Popen([sys.executable, "-c", STRICT, str(port), dialect])
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        retriever = HttpRetriever([f"http://127.0.0.1:{port}/retrieve"], tries=1)
        for _ in range(2):
            hits = retriever.search(["one", "", "two"], 2)
            assert [[(hit.passage.title, hit.passage.id) for hit in found] for found in hits] == [
                [("one", 0), ("one", 1)],
                [],
                [("two", 0), ("two", 1)],
            ]
        assert retriever._servers[0].takes_lists == (dialect == "queries")
        assert retriever.health() is None
    finally:
        process.kill()
        process.wait()


def test_the_fingerprint_that_a_server_tells_is_that_of_the_passages():
    assert MemoryCorpus(PASSAGES).fingerprint != MemoryCorpus(PASSAGES[1:]).fingerprint
