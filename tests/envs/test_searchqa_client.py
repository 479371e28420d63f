"""The client of a retrieval server: both dialects, and everything that can go wrong on the way."""

from __future__ import annotations

import http.client
import json
import pickle
import socket
import subprocess
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from retrieval_servers import client, closed_port, fake_server, scored

from sdar_envs.searchqa.client import HttpRetriever
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.retriever import Hit, RetrievalError


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


def test_the_query_of_an_address_is_sent():
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


def test_a_client_that_is_dropped_leaves_no_connection():
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


def test_an_environments_arguments_set_the_clients_limits():
    pytest.importorskip("faiss")
    from sdar_envs.searchqa.env import SearchQAEnv

    attempts = 0

    def respond(body: dict[str, Any], _: int) -> tuple[int, bytes]:
        nonlocal attempts
        attempts += 1
        return 500, b"{}"

    with fake_server(respond) as (url, _):
        limits = {"connect_timeout": 1.0, "read_timeout": 77.0, "tries": 5, "pause": 0.0}
        env = SearchQAEnv(size="small", retriever=url, **limits)
        env.reset(seed=0)
        client_of = env._retriever.inner  # type: ignore[attr-defined]
        assert client_of.__reduce__()[1][1] | limits == client_of.__reduce__()[1][1]
        before = attempts
        with pytest.raises(RetrievalError):
            env.step("<search>mayor</search>")
        assert attempts - before <= 5
    for name, wrong in (("tries", 0), ("read_timeout", 0), ("connect_timeout", -1), ("pause", -0.1)):
        with pytest.raises(ValueError, match=name):
            SearchQAEnv(size="small", retriever="http://127.0.0.1:1/", **{name: wrong})
