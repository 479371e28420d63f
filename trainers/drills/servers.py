"""The drill of servers: both servers of the suite on the loopback, asked by honest clients while others attack them.

Every honest request must get its right answer: hits and scores that this process finds itself, or the page of the step
that was played. One that is told to come back (503 with ``Retry-After``) does. Every attack (`attacks`) must be refused
or ended.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import itertools
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sdar_envs.randomness import counted_generator

from .attacks import ATTACKS
from .small_run import DrillSubject
from .tally import Tally

REQUESTS = 4_000  # honest ones of a round, to the retrieval server
VISITS = 40  # to the store, each of several requests
CLIENTS = 8
ATTACKERS = 8
TOP = 3
_RETRIEVAL = ("serve-retrieval", "--size", "small", "--port", "0")
_STORE = ("serve-store", "--port", "0", "--no-record", "--env-kwargs", "size=small", "num_products=300")
_HIT = re.compile(rb'class="open" type="submit" name="action" value="(click\[[^"]*\])"')

Answer = list[tuple[str, float]]  # ids and scores of hits


def drill_servers(subject: DrillSubject, seed: int = 0) -> Iterator[Tally]:
    """Rounds of honest requests and attacks, without end; the subject's environment does not matter.

    Raises:
        RuntimeError: A server did not start; the message has what it said.
    """
    from sdar_envs.searchqa.library import open_library

    library = open_library("small", "train", 0, 0.85)
    queries = [passage.contents.split("\n")[0].strip('"') for passage in library.world.passages[:200]]
    # Every search is for some of the same texts, so that its answer costs this process nothing while it asks.
    right = {query: answer_of(hits) for query, hits in zip(queries, _found(library, queries), strict=True)}
    with _server(_RETRIEVAL) as retrieval, _server(_STORE) as store:
        for number in itertools.count(seed):
            tally = Tally("servers", "sdar serve-retrieval, sdar serve-store", rounds=1)
            _round(retrieval, store, right, number, tally)
            yield tally


def _found(library: Any, queries: Sequence[str]) -> list[Any]:
    return [library.retriever.inner.search([query], TOP)[0] for query in queries]


def answer_of(hits: Sequence[Any]) -> Answer:
    """What a server has to answer to one query."""
    return [(str(hit.passage.id), float(hit.score)) for hit in hits]


def differs(got: Sequence[Answer], right: Sequence[Answer]) -> bool:
    """Whether hits are others or in another order, or scores others than in single precision."""
    return [[name for name, _ in hits] for hits in got] != [[name for name, _ in hits] for hits in right] or any(
        not math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4)
        for ours, theirs in zip(got, right, strict=True)
        for (_, one), (_, other) in zip(ours, theirs, strict=True)
    )


def _round(retrieval: int, store: int, right: Mapping[str, Answer], number: int, tally: Tally) -> None:
    queries = list(right)
    lock, over = threading.Lock(), threading.Event()

    def note(kind: str, outcome: str = "survived", said: str = "") -> None:
        with lock:
            tally.count(kind, outcome, said)

    def attack(who: int) -> None:
        names = sorted(ATTACKS)
        for turn in itertools.count():
            if over.is_set():
                return
            name = names[(who * 2 + turn + number) % len(names)]
            port, path = ((retrieval, b"/retrieve"), (store, b"/start"))[(who + turn) % 2]
            try:
                said = ATTACKS[name](port, path)
            except ConnectionRefusedError:
                said = "the server is gone"
            except OSError:
                said = ""  # ended in the middle
            note(f"attack: {name}", *(() if not said else ("lost", said)))

    def search(who: int) -> None:
        client = _Client(retrieval)
        for turn in range(REQUESTS // CLIENTS):
            draw = counted_generator("drill", "servers", number, who, turn)
            asked = [queries[int(i)] for i in draw.integers(len(queries), size=int(draw.integers(1, 4)))]
            body = json.dumps({"queries": asked, "topk": TOP, "return_scores": True}).encode()
            status, content = client.ask("POST", "/retrieve", body, {"Content-Type": "application/json"})
            if status != 200:
                note("search", "lost", f"status {status}: {content[:100]!r}")
                continue
            result = json.loads(content)["result"]
            got = [[(hit["document"]["id"], float(hit["score"])) for hit in hits] for hits in result]
            wrong = differs(got, [right[query] for query in asked])
            note("search", *(() if not wrong else ("silent", f"{asked}: {got}")))

    def shop(who: int) -> None:
        for visit in range(VISITS // CLIENTS + 1):
            try:
                said = _visit(_Client(store), f"shirt {who} {visit}")
            except (OSError, http.client.HTTPException) as error:
                said = f"{type(error).__name__}: {error}"
            note("visit", *(() if not said else ("lost", said)))

    honest = [threading.Thread(target=work, args=(who,)) for work in (search, shop) for who in range(CLIENTS)]
    hostile = [threading.Thread(target=attack, args=(who,)) for who in range(ATTACKERS)]
    for thread in (*hostile, *honest):
        thread.start()
    for thread in honest:
        thread.join()
    over.set()
    for thread in hostile:
        thread.join()


def _visit(client: _Client, query: str) -> str:
    """Take an errand, search, and buy the first hit; what went wrong, empty for nothing.

    A visit that is not ended keeps its place in the store for minutes, and the store has not many.
    """
    origin = {"Origin": f"http://127.0.0.1:{client.port}"}
    status, _ = client.ask("POST", "/start", b"", origin)
    address = client.location
    if status != 303 or not address.startswith("/visit/"):
        return f"an errand was answered with {status}"
    form = {**origin, "Content-Type": "application/x-www-form-urlencoded"}
    actions = [("query", query), ("action", ""), ("action", "click[buy now]")]
    for step, (name, action) in enumerate(actions):
        status, page = client.ask("GET", address)
        if status != 200 or b"Traceback" in page:
            return f"the page of step {step} was answered with {status}"
        if step == 1:
            found = _HIT.search(page)
            if found is None:
                return f"the search for {query!r} shows no product"
            action = html.unescape(found[1].decode())
        body = urlencode({"step": step, name: action}).encode()
        if client.ask("POST", address, body, form)[0] != 303 or client.location != address:
            return f"step {step}, {action!r}, was not played"
        if client.ask("POST", address, body, form)[0] != 303 or not client.location.endswith("?old"):
            return f"step {step}, {action!r}, was played twice"
    status, page = client.ask("GET", address)
    return "" if status == 200 and b'name="step"' not in page else "the purchase did not end the visit"


class _Client:
    """Asks one server over a connection that it keeps, and comes back when it is told to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.location = ""
        self._connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and content of an answer; after ten tries the last refusal, 0 where there was no answer at all."""
        last: tuple[int, bytes] = (0, b"")
        for _ in range(10):
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                self._connection.request(method, path, body, headers or {})
                response = self._connection.getresponse()
                last = response.status, response.read()
                self.location = response.headers.get("Location", "")
                if response.status != 503:
                    return last
                time.sleep(min(float(response.headers.get("Retry-After", "1")), 2.0))
            except (http.client.HTTPException, OSError) as error:
                last = 0, repr(error).encode()
            # A connection that rested was ended: only what the server has not begun is asked again.
            if self._connection is not None:
                self._connection.close()
            self._connection = None
        return last


@contextlib.contextmanager
def _server(words: Sequence[str]) -> Iterator[int]:
    """A server in a process of its own; its port."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "trainers", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                yield int(found[1])
                return
        raise RuntimeError(f"{' '.join(command)} did not start: {said}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
