"""A retriever over HTTP: Search-R1's protocol in both dialects, with everything that can go wrong on the way.

A request has a time limit, three tries over all addresses with growing, jittered pauses, and a memory of addresses that
keep failing (a circuit breaker), so that an outage costs seconds and not minutes per query. What is left of an outage
is a `RetrievalError`, which an environment raises or turns into a marked end of the episode: never a text that a model
reads.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ..choices import require_number
from ..randomness import counted_generator
from .corpus import CorpusError, Passage, encodable, read_record
from .retriever import MAX_TOPK, Hit, RetrievalError, clean_query

MAX_QUERIES = 1_024
_MAX_ANSWER = 1 << 26
_PATH = "/retrieve"
_BUSY = (429, 500, 502, 503, 504)  # answers that say nothing about what a server knows


@dataclass(slots=True)
class _Server:
    """One address: which dialect it speaks, and whether it is worth asking now."""

    scheme: str
    host: str
    port: int
    path: str
    takes_lists: bool = True
    failures: int = 0
    open_until: float = 0.0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class _Refused(Exception):
    """An answer that says no: `again` tells whether asking again may help."""

    def __init__(self, why: str, *, status: int = 0, again: bool = True, wait: float = 0.0) -> None:
        super().__init__(why)
        self.status, self.again, self.wait = status, again, wait


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How long a client waits, and how often it asks: for a large index on slow disks, set `read_timeout` to minutes.

    Attributes:
        connect_timeout: Seconds to be connected.
        read_timeout: Seconds between two pieces of an answer.
        tries: Requests per search at most.
        pause: Seconds before the second try, doubled each time.

    Raises:
        ValueError: A number out of range.
    """

    connect_timeout: float = 2.0
    read_timeout: float = 30.0
    tries: int = 3
    pause: float = 0.2

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "read_timeout"):
            require_number(name, getattr(self, name), "HttpRetriever", low=1e-3)
        require_number("tries", self.tries, "HttpRetriever", low=1, whole=True)
        require_number("pause", self.pause, "HttpRetriever", low=0)


class HttpRetriever:
    """Asks one server, or the next one when it fails.

    Connections are kept, as many as searches ran at once; `close` closes them. To another process the addresses and
    limits travel, connections and the memory of failures do not.

    Args:
        urls: Addresses, e.g. ``http://127.0.0.1:8000/retrieve``; the path may be left out.
        connect_timeout: Seconds to be connected.
        read_timeout: Seconds between two pieces of an answer.
        tries: Requests per search at most.
        pause: Seconds before the second try, doubled each time, up to as much again added at random.
        break_after: Failures in a row after which an address is left alone.
        break_for: For so many seconds, doubled up to sixteenfold while it keeps failing.
        clock: Seconds; for tests.
        sleep: Waits; for tests.

    Raises:
        ValueError: An address that is none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        connect_timeout: float = 2.0,
        read_timeout: float = 30.0,
        tries: int = 3,
        pause: float = 0.2,
        break_after: int = 3,
        break_for: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not urls:
            raise ValueError("HttpRetriever expects at least one address, got none")
        require_number("tries", tries, "HttpRetriever", low=1, whole=True)
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}  # by address, between two requests
        self._pid = os.getpid()
        self._servers = [_parsed(url) for url in urls]
        self.name = ", ".join(str(server) for server in self._servers)
        self._connect_timeout, self._read_timeout = connect_timeout, read_timeout
        self._tries, self._pause = tries, pause
        self._break_after, self._break_for = break_after, break_for
        self._clock, self._sleep = clock, sleep
        self._waits = 0
        self._next = 0

    def normalise(self, query: str) -> str:
        """See `retriever.Retriever`; what a server makes of white space inside a query is its own business."""
        return query.strip()

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See `retriever.Retriever`."""
        require_number("k", k, "HttpRetriever.search", low=1, high=MAX_TOPK, whole=True)
        asked = [clean_query(query) for query in queries]
        full = [query for query in asked if query]
        found: list[list[Hit]] = []
        for start in range(0, len(full), MAX_QUERIES):
            found += self._search(full[start : start + MAX_QUERIES], k)
        answers = iter(found)
        return [next(answers) if query else [] for query in asked]

    def health(self) -> dict[str, Any] | None:
        """What the first server that answers says of itself; None where it has nothing to say (servers of others).

        Raises:
            RetrievalError: No server answers.
        """
        for health in self.healths().values():
            return health
        raise RetrievalError(f"{self.name}: no server answers. Is one up? `sdar serve-retrieval` starts one")

    def healths(self) -> dict[str, dict[str, Any] | None]:
        """The same of every address that answers; one that is left alone after failures is not asked."""
        answers: dict[str, dict[str, Any] | None] = {}
        for server in self._servers:
            if server.open_until > self._clock():
                continue
            try:
                answer = self._exchange(server, "GET", "/health", None)
            except _Refused as refused:
                if not refused.status:
                    self._note_failure(server)
                if not refused.status or refused.status in _BUSY:
                    continue
                answer = None
            answers[str(server)] = answer if isinstance(answer, dict) else None
        return answers

    @property
    def addresses(self) -> list[str]:
        """Whom it asks."""
        return [str(server) for server in self._servers]

    def close(self) -> None:
        """Close the connections that are kept; a later search opens new ones."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    # One search.

    def _search(self, queries: list[str], k: int) -> list[list[Hit]]:
        why = "every address is left alone after failures"
        gone: set[str] = set()  # addresses that would say the same again
        for number in range(self._tries):
            server = self._chosen(gone)
            if server is None:
                break
            try:
                hits = self._ask(server, queries, k)
            except _Refused as refused:
                why = f"{server}: {refused}"
                self._note_failure(server)
                self._next = (self._next + 1) % len(self._servers)
                if not refused.again:
                    gone.add(str(server))
                elif number + 1 < self._tries:
                    self._wait(number, refused.wait)
                continue
            server.failures = 0
            return hits
        raise RetrievalError(
            f"retrieval failed for {len(queries)} queries: {why}. Is the server up? `sdar serve-retrieval` starts one; "
            "its /health tells what it serves"
        )

    def _ask(self, server: _Server, queries: list[str], k: int) -> list[list[Hit]]:
        lists = server.takes_lists
        try:
            return self._ask_in(lists, server, queries, k)
        except _Refused as refused:
            if refused.status != 422:
                raise
        # The other dialect, remembered only when it is understood: another server may stand here now.
        hits = self._ask_in(not lists, server, queries, k)
        server.takes_lists = not lists
        return hits

    def _ask_in(self, lists: bool, server: _Server, queries: list[str], k: int) -> list[list[Hit]]:
        """All queries in one request, or one request for each."""
        if lists:
            return _hits(self._request(server, {"queries": queries, "topk": k, "return_scores": True}), len(queries), k)
        hits: list[list[Hit]] = []
        for query in queries:
            hits += _hits(self._request(server, {"query": query, "topk": k, "return_scores": True}), 1, k)
        return hits

    def _chosen(self, gone: set[str]) -> _Server | None:
        """The next address that is worth asking, in turn from the last one that worked."""
        now = self._clock()
        for offset in range(len(self._servers)):
            place = (self._next + offset) % len(self._servers)
            if self._servers[place].open_until <= now and str(self._servers[place]) not in gone:
                self._next = place
                return self._servers[place]
        return None

    def _note_failure(self, server: _Server) -> None:
        server.failures += 1
        over = server.failures - self._break_after
        if over >= 0:
            server.open_until = self._clock() + self._break_for * 2 ** min(over, 4)

    def _wait(self, number: int, at_least: float) -> None:
        self._waits += 1
        jitter = float(counted_generator("retrieval pause", os.getpid(), self._waits).random())
        self._sleep(max(min(at_least, 5.0), self._pause * 2**number * (1.0 + jitter)))

    # One request.

    def _request(self, server: _Server, body: dict[str, Any]) -> Any:
        return self._exchange(server, "POST", server.path, json.dumps(body).encode())

    def _exchange(self, server: _Server, method: str, path: str, body: bytes | None) -> Any:
        while True:
            kept = self._kept(server)
            connection = self._new(server) if kept is None else kept
            try:
                if connection.sock is None:
                    connection.connect()
                assert connection.sock is not None
                connection.sock.settimeout(self._read_timeout)
                connection.request(method, path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read(_MAX_ANSWER + 1)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # One that was kept may have been closed meanwhile; that says nothing about the server.
                if kept is not None and not isinstance(error, TimeoutError):
                    continue
                raise _Refused(f"no answer: {type(error).__name__}: {error}") from error
            except BaseException:
                connection.close()  # interrupted in the middle: what comes next on it is not for the next request
                raise
            if len(content) > _MAX_ANSWER:
                connection.close()  # the rest of it is still on the way
            elif connection.sock is not None:
                self._idle.setdefault(str(server), []).append(connection)
            return _content(response, content)

    def _kept(self, server: _Server) -> http.client.HTTPConnection | None:
        """An idle connection to a server, the one used last; a fork's belong to its parent."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self.close()
        try:
            return self._idle[str(server)].pop()
        except (KeyError, IndexError):
            return None

    def _new(self, server: _Server) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
        return kind(server.host, server.port, timeout=self._connect_timeout)

    def __reduce__(self) -> tuple[Any, tuple[list[str], dict[str, Any]]]:
        limits = {
            "connect_timeout": self._connect_timeout,
            "read_timeout": self._read_timeout,
            "tries": self._tries,
            "pause": self._pause,
            "break_after": self._break_after,
            "break_for": self._break_for,
        }
        return _again, (self.addresses, limits)


def _again(urls: list[str], limits: dict[str, Any]) -> HttpRetriever:
    return HttpRetriever(urls, **limits)


def _parsed(url: str) -> _Server:
    parts = urlsplit(url)
    try:
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username is not None:
        raise ValueError(
            'expected the address of a retrieval server such as "http://127.0.0.1:8000/retrieve" (and no name or '
            f"password in it), got {url!r}"
        )
    path = quote(parts.path if parts.path not in ("", "/") else _PATH, safe="/%:=&~+!$,;'@()*")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:=&~+!$,;'@()*?")
    return _Server(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path)


def _content(response: http.client.HTTPResponse, content: bytes) -> Any:
    """The JSON of an answer."""
    if len(content) > _MAX_ANSWER:
        raise _Refused(f"an answer of more than {_MAX_ANSWER:,} bytes", again=False)
    if response.status != 200:
        wait = response.headers.get("Retry-After", "")
        raise _Refused(
            f"HTTP {response.status}: {content[:200].decode('utf-8', 'replace')!r}",
            status=response.status,
            again=response.status >= 500 or response.status == 429,
            wait=float(wait) if wait.isdecimal() else 0.0,
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"an answer that is not JSON: {content[:80]!r}", status=response.status) from error


def _hits(answer: Any, queries: int, k: int) -> list[list[Hit]]:
    """Read ``{"result": [[{"document": ..., "score": ...}, ...], ...]}``, or documents without scores."""
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, list) or len(result) != queries or not all(isinstance(hits, list) for hits in result):
        raise _Refused(f"expected a result with a list for each of {queries} queries, got {repr(answer)[:120]}")
    return [[_hit(item) for item in hits[:k]] for hits in result]


def _hit(item: Any) -> Hit:
    scored = isinstance(item, dict) and isinstance(item.get("document"), dict)
    document, score = (item["document"], item.get("score")) if scored else (item, 0.0)
    try:
        contents = read_record(document, "a retrieval server's answer")
    except CorpusError as error:
        raise _Refused(str(error)) from error
    name = document.get("id", "")
    # Only what a row's number looks like becomes one: "007" is a name.
    number = int(name) if str(name).isdecimal() and len(str(name)) < 19 and str(int(name)) == str(name) else None
    finite = isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    passage = Passage(encodable(str(name)[:200]) if number is None else number, contents)
    return Hit(passage, float(score) if finite else 0.0)
