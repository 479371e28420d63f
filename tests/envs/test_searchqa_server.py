"""The retrieval server: what it answers, what it refuses, and what a crowd, a slow visitor or a restart does to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import pytest
from retrieval_servers import PASSAGES, Listed, client, closed_port, documents, fake_server, own_server, post

from sdar_envs.searchqa.client import HttpRetriever
from sdar_envs.searchqa.corpus import MemoryCorpus
from sdar_envs.searchqa.retriever import Hit, RetrievalError


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with own_server() as (number, _):
        yield number


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


def asked(port: int, content: bytes, *, buffer: int | None = None) -> socket.socket:
    """A connection on which these bytes were sent and nothing is read."""
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    connection.sendall(content)
    return connection


def request(fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields).encode()
    return b"POST /retrieve HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def ended(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection, which it must."""
    content = b""
    try:
        while part := connection.recv(1 << 16):
            content += part
    except ConnectionResetError:
        pass
    connection.close()
    return content


def test_half_sent_heads_keep_nobody_out_and_end_on_a_fresh_connection_and_on_a_used_one():
    with own_server(patience=1.0, connections=8) as (port, _):
        fresh = [asked(port, b"POST /retrieve HTTP/1.1\r\nHost: loc") for _ in range(8)]
        assert post(port, {"query": "5"})[0] == 200  # more than may be are there, and a newcomer is answered
        for connection in fresh:
            assert ended(connection) == b""
        used = [asked(port, request({"query": "5"})) for _ in range(8)]
        for connection in used:
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            connection.sendall(b"POST /retr")
        assert post(port, {"query": "5"})[0] == 200
        for connection in used:
            ended(connection)
        # Nor does a body that goes on after its answer hold a connection.
        early = asked(port, b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
        assert early.recv(1 << 16).startswith(b"HTTP/1.1 404")
        early.sendall(b"d")
        ended(early)


def test_who_does_not_read_an_answer_is_dropped_and_answers_under_way_are_bounded_in_bytes():
    large = request({"queries": [str(n % 50) for n in range(1024)], "topk": 40})  # an answer of 3 MB
    with own_server(patience=0.5, kept=8_000_000) as (port, process):
        readers = [asked(port, large, buffer=4096) for _ in range(8)]
        deadline = time.monotonic() + 20
        statuses: list[bytes] = []
        for connection in readers:
            statuses.append(connection.recv(12))
            assert time.monotonic() < deadline
        time.sleep(1.5)  # patience for who takes nothing, and a look
        assert 2 <= statuses.count(b"HTTP/1.1 200") < 8 and set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert post(port, {"query": "5"})[0] == 200  # small ones always have room
        told = next(each for each, status in zip(readers, statuses, strict=True) if status.endswith(b"503"))
        assert b"retry-after" in ended(told).lower()
        got = [len(ended(each)) for each, status in zip(readers, statuses, strict=True) if status.endswith(b"200")]
        status, found = post(port, json.loads(large.partition(b"\r\n\r\n")[2]))
        assert status == 200 and len(found["result"]) == 1024
        assert max(got) < len(json.dumps(found))
        assert process.poll() is None


def test_where_all_connections_have_asked_for_something_a_newcomer_is_told_when_to_come_back():
    with own_server(connections=4) as (port, _):
        held = [asked(port, request({"query": "wait"})) for _ in range(4)]
        time.sleep(0.5)
        told = ended(asked(port, request({"query": "5"})))
        assert told.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in told.lower() and b"too many clients" in told
        for connection in held:
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            connection.close()
        assert post(port, {"query": "5"})[0] == 200


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


def test_the_fingerprint_that_a_server_tells_is_that_of_the_passages():
    assert MemoryCorpus(PASSAGES).fingerprint != MemoryCorpus(PASSAGES[1:]).fingerprint
