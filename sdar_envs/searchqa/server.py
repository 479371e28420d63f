"""The retrieval server: Search-R1's HTTP protocol, in both dialects of its clients, over any retriever of this package.

``POST /retrieve`` takes ``queries`` (a list) or ``query`` (a text), ``topk`` and ``return_scores``; ``GET /health``
says what is served. What arrives while a search is running is searched together in the next one, so many small requests
cost little more than a few large ones. Everything that a client can overdo has a cap, and a client that dawdles is
dropped. It is imported by the commands that serve and needs the extra ``web``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..bounded_files import parse_json
from .client import MAX_QUERIES
from .retriever import MAX_TOPK, Hit, RetrievalError, Retriever, clean_query

try:
    from starlette.applications import Starlette
    from starlette.datastructures import Headers
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from ..loopback import read_body
    from ..patient_http import Patience, serve_patiently
except ImportError as error:
    raise ImportError(
        'serving needs Starlette and uvicorn: pip install "sdar-gym[web]" (or: starlette uvicorn)'
    ) from error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_BODY = 1 << 24
_MOST_VALUES = 1_000_000  # of a body, commas in its texts included
MAX_ANSWER = 1 << 27  # bytes: all hits of all queries that a request may have, at a kilobyte each
MAX_KEPT = 1 << 27  # bytes of bodies and answers under way, of all connections
PATIENCE = 5.0  # seconds for the head of a request to arrive, and between two requests; twice that to read of an answer
_WAITING = 16_384  # queries that may wait; more are sent away for a second
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class BadRequest(Exception):
    """What is wrong with a request, with the status that says so."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as read."""

    queries: list[str]
    topk: int
    scores: bool


def read_ask(body: bytes, default_topk: int) -> Ask:
    """Read the body of a request.

    Raises:
        BadRequest: It is not one; the detail says what was expected.
    """
    try:
        fields = parse_json(body, values=_MOST_VALUES)
    except ValueError as error:
        raise BadRequest(422, f"expected a JSON object: {str(error)[:200]}") from error
    if not isinstance(fields, dict):
        raise BadRequest(422, f"expected a JSON object, got {type(fields).__name__}")
    given = [name for name in ("queries", "query") if fields.get(name) is not None]
    if len(given) != 1:
        raise BadRequest(422, "expected either queries, a list of texts, or query, a text")
    queries = fields["queries"] if given == ["queries"] else [fields["query"]]
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise BadRequest(422, f"expected {given[0]} to be {'a list of texts' if given == ['queries'] else 'a text'}")
    if len(queries) > MAX_QUERIES:
        raise BadRequest(422, f"expected at most {MAX_QUERIES:,} queries, got {len(queries):,}")
    topk = fields.get("topk")
    if topk is None or (topk == 0 and not isinstance(topk, bool)):
        topk = default_topk
    if isinstance(topk, bool) or not isinstance(topk, int) or not 1 <= topk <= MAX_TOPK:
        raise BadRequest(422, f"expected topk to be a whole number from 1 to {MAX_TOPK}")
    scores = fields.get("return_scores", False)
    if not isinstance(scores, bool):
        raise BadRequest(422, "expected return_scores to be true or false")
    return Ask([clean_query(query) for query in queries], topk, scores)


def as_json(hits: Sequence[Sequence[Hit]], *, scores: bool) -> bytes:
    """The body of an answer."""

    def document(hit: Hit) -> dict[str, Any]:
        return {"id": str(hit.passage.id), "contents": hit.passage.contents}

    result = [
        [{"document": document(hit), "score": hit.score} if scores else document(hit) for hit in found]
        for found in hits
    ]
    return json.dumps({"result": result}).encode()


def _require_room(hits: Sequence[Sequence[Hit]]) -> None:
    """Refuse an answer that nobody should have to hold.

    Raises:
        BadRequest: It would be longer than `MAX_ANSWER`.
    """
    length = sum(len(hit.passage.contents) + 64 for found in hits for hit in found)
    if length > MAX_ANSWER:
        raise BadRequest(413, f"the answer would have {length:,} bytes: ask for fewer queries or hits at a time")


_Waiting = tuple[list[str], asyncio.Future[list[list[Hit]]]]  # what is asked, and who waits for it


class Batcher:
    """Searches for many callers with one thread: whatever waits when it is free goes into one search."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="retrieval")
        self._waiting: dict[int, deque[_Waiting]] = {}
        self._queries = 0
        self._running: asyncio.Task[None] | None = None

    async def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        """The hits of each query.

        Raises:
            BadRequest: Too many queries wait already.
        """
        if not queries:
            return []
        if self._queries + len(queries) > _WAITING:
            raise BadRequest(503, "too many queries are waiting: try again in a second")
        self._queries += len(queries)
        future: asyncio.Future[list[list[Hit]]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(k, deque()).append((queries, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._work())
        try:
            return await future
        finally:
            self._queries -= len(queries)

    async def _work(self) -> None:
        while self._waiting:
            k = next(iter(self._waiting))
            batch: list[_Waiting] = []
            waiting = self._waiting.pop(k)
            taken = 0
            while waiting and (not batch or taken + len(waiting[0][0]) <= MAX_QUERIES):
                taken += len(waiting[0][0])
                batch.append(waiting.popleft())
            if waiting:  # after the other numbers of hits: no backlog keeps those waiting
                self._waiting[k] = waiting
            await self._serve(batch, k)

    async def _serve(self, batch: list[_Waiting], k: int) -> None:
        """Search for a batch; a request that cannot be answered fails alone, an outage fails all."""
        queries = [query for asked, _ in batch for query in asked]
        loop = asyncio.get_running_loop()
        try:
            found = iter(await loop.run_in_executor(self._thread, self._retriever.search, queries, k))
        except Exception as error:  # belongs to the requests, not to this loop
            if len(batch) > 1 and not isinstance(error, RetrievalError):
                for one in batch:
                    await self._serve([one], k)
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for asked, future in batch:
            hits = [next(found) for _ in asked]
            if not future.done():  # its client may have gone
                future.set_result(hits)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def make_app(
    retriever: Retriever, *, topk: int = 3, facts: dict[str, Any] | None = None, hosts: Sequence[str] = ("*",)
) -> Starlette:
    """The application.

    Args:
        retriever: Who searches.
        topk: Hits of a request that names no number.
        facts: What ``/health`` says besides its status.
        hosts: Names under which the server may be called; another page's script could otherwise reach a local one.
    """
    batcher = Batcher(retriever)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        batcher.close()

    async def retrieve(request: Request) -> Response:
        try:
            ask = read_ask(await _body(request), topk)
            hits = await batcher.search(ask.queries, ask.topk)
            _require_room(hits)
        except BadRequest as refused:
            return _refusal(refused)
        except RetrievalError as error:
            logger.error("retrieval failed: %s", error)
            return _refusal(BadRequest(502, "the retriever behind this server does not answer"))
        except Exception:
            logger.exception("a search failed")
            return _refusal(BadRequest(500, "the search failed; the server's log says why"))
        return _answer(200, as_json(hits, scores=ask.scores))

    async def health(_: Request) -> Response:
        return _answer(200, json.dumps({"status": "ok", **(facts or {})}).encode())

    return Starlette(
        routes=[Route("/retrieve", retrieve, methods=["POST"]), Route("/health", health, methods=["GET"])],
        middleware=[] if "*" in hosts else [Middleware(KnownHosts, hosts=hosts)],
        lifespan=lifespan,
    )


class KnownHosts:
    """Refuses requests under other names than `hosts`; unlike Starlette's own guard it knows addresses of version 6."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and self._name(Headers(scope=scope).get("host", "")) not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            refused = _refusal(BadRequest(400, f"this server answers under {names} and no other name"))
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _name(host: str) -> str:
        try:
            return urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return ""


async def _body(request: Request) -> bytes:
    """The body, within its caps of size and time."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY:
        raise BadRequest(413, f"expected at most {MAX_BODY:,} bytes")
    try:
        return await read_body(request, MAX_BODY)
    except HTTPException as error:
        raise BadRequest(error.status_code, str(error.detail)) from error


def _answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    kept = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", **(headers or {})}
    return Response(body, status, kept, "application/json")


def _refusal(refused: BadRequest) -> Response:
    # What is left of the request cannot be distinguished from the next one.
    headers = {"Connection": "close"} if refused.status in (408, 413, 503) else {}
    if refused.status == 503:
        headers["Retry-After"] = "1"
    return _answer(refused.status, json.dumps({"detail": refused.detail}).encode(), headers)


def bind(host: str, port: int) -> socket.socket:
    """Take an address; port 0 takes any that is free.

    Raises:
        OSError: It is taken, or it is none; the message says which and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"{host}:{port} cannot be served at: {why}: choose another --port (0 takes a free one)"
        ) from error
    return listener


def serve(
    app: Starlette, listener: socket.socket, *, connections: int = 512, ready: Callable[[], None] | None = None
) -> None:
    """Serve until interrupted.

    Args:
        app: What `make_app` made.
        listener: What `bind` took.
        connections: At one time: the one that has been silent longest makes room for a new one; where all have asked
            for something, it is answered with 503.
        ready: Called when requests are taken.
    """
    patience = Patience(
        head=PATIENCE, idle=PATIENCE, write=2 * PATIENCE, answer=12 * PATIENCE, connections=connections, kept=MAX_KEPT
    )
    busy = _refusal(BadRequest(503, "too many clients: try again in a second"))
    serve_patiently(app, listener, patience, busy, lifespan=True, ready=ready)
