"""Serving over HTTP to clients that dawdle: deadlines for heads and answers, bounds in connections and bytes.

uvicorn's own limits are a number of connections, beyond which everybody is refused with a bare 503, and the time that a
connection may rest between two requests. A head that never ends, a body that trickles in after its answer, and an
answer that nobody reads are not among them. This adds what is missing to its protocol, and to any ASGI application. Not
here: what is served, and whose requests are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CHUNK = 1 << 14  # bytes of an answer that are given to a connection at a time
_SMALL = 1 << 16  # bytes that are never refused for want of room


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for clients, and how much of theirs is kept meanwhile.

    Attributes:
        head: Seconds for the head of a request to arrive, from the connection or from its first byte.
        idle: Seconds between an answer and the next request.
        write: Seconds in which a client that is sent an answer must take some of it.
        answer: Seconds in which it must take all of it.
        connections: At one time. Where there are as many, the one that has been silent longest makes room; only where
            all have asked for something is a new one told to come back.
        kept: Bytes of bodies that are being received and of answers that are being sent, of all connections together;
            what would exceed that is told to come back. Up to 64 KiB are always taken.
        longest_body: Bytes of a body at most: what is reserved where a client does not say how many it will send.
    """

    head: float = 5.0
    idle: float = 5.0
    write: float = 10.0
    answer: float = 60.0
    connections: int = 512
    kept: int = 1 << 27
    longest_body: int = 1 << 24


def serve_patiently(
    app: ASGIApp,
    listener: socket.socket,
    patience: Patience,
    busy: ASGIApp,
    *,
    lifespan: bool = False,
    ready: Callable[[], None] | None = None,
) -> None:
    """Answer on a socket until the process is interrupted.

    Args:
        app: What is served.
        listener: A socket that is bound.
        patience: With clients.
        busy: Answers whoever is to come back: with 503, and ``Retry-After``.
        lifespan: Whether `app` wants to know of the beginning and the end.
        ready: Called when requests are taken.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """

    class Protocol(PatientProtocol):
        rules, told_to_come_back = patience, staticmethod(busy)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None:
                ready()

    config = uvicorn.Config(
        BoundedBytes(app, busy, patience),
        http=Protocol,
        ws="none",
        lifespan="on" if lifespan else "off",
        log_level="warning",
        access_log=False,  # addresses may hold secrets
        timeout_keep_alive=max(1, round(patience.idle)),
        timeout_graceful_shutdown=2,
        backlog=max(128, patience.connections),
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=1 << 16,
    )
    logging.getLogger("uvicorn.error").addFilter(_said_once)
    _allow_files(2 * patience.connections + 256)
    Server(config).run(sockets=[listener])


def _allow_files(wanted: int) -> None:
    """Let this process hold as many open files as its connections take, as far as the system allows."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@dataclass(slots=True)
class _Repeated:
    """A filter for what clients can make a server say as often as they like."""

    told: set[str] = field(default_factory=set)

    def __call__(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message not in ("Invalid HTTP request received.", "Unsupported upgrade request."):
            return True
        first = message not in self.told
        self.told.add(message)
        return first


_said_once = _Repeated()


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP over h11, with deadlines, and with room made for newcomers."""

    rules: Patience
    told_to_come_back: Any  # an ASGI application

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clocks; make room where there are too many connections."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_CHUNK)
        now = self.loop.time()
        self._silent_since = now  # since when it has not asked for anything
        self._head_since: float | None = now  # since when a head is waited for
        self._unread = 0  # bytes that the client has not taken, at the last look
        self._took_at = self._unread_since = now
        self._look_every = min(self.rules.head, self.rules.write, self.rules.answer, 4.0) / 4
        self._clock = self.loop.call_later(self._look_every, self._look)
        others = [other for other in self.connections if other is not self and not other.transport.is_closing()]
        if len(others) >= 2 * self.rules.connections:
            transport.abort()  # there is not even room to say so
        elif len(others) >= self.rules.connections and not _make_room(others):
            self.app = self.told_to_come_back

    def data_received(self, data: bytes) -> None:
        """Take bytes; those that are no whole head start its clock."""
        super().data_received(data)
        self._note_head(arrived=True)

    def on_response_complete(self) -> None:
        """The next head may be in part here already."""
        super().on_response_complete()
        self._silent_since = self.loop.time()
        self._note_head(arrived=bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._clock.cancel()
        super().connection_lost(exc)

    def _note_head(self, *, arrived: bool) -> None:
        if self._is_asking():
            self._head_since = None
        elif arrived and self._head_since is None:
            self._head_since = self.loop.time()

    def _is_asking(self) -> bool:
        """Whether a request is being answered."""
        cycle = getattr(self, "cycle", None)
        return cycle is not None and not cycle.response_complete

    def _look(self) -> None:
        """End the connection where the client has exceeded a deadline."""
        now, rules = self.loop.time(), self.rules
        self._clock = self.loop.call_later(self._look_every, self._look)
        if not self._is_asking() and self._head_since is not None and now - self._head_since > rules.head:
            self.transport.abort()
            return
        unread = self.transport.get_write_buffer_size()
        if not unread:
            self._unread_since = self._took_at = now
        elif unread != self._unread:
            self._took_at = now
        self._unread = unread
        if unread and (now - self._took_at > rules.write or now - self._unread_since > rules.answer):
            self.transport.abort()


def _make_room(others: Iterable[Any]) -> bool:
    """Drop the connection that has been silent longest; False where all are being answered."""
    silent = [each for each in others if not each._is_asking() and not each.transport.get_write_buffer_size()]
    if not silent:
        return False
    min(silent, key=lambda each: each._silent_since).transport.abort()
    return True


class BoundedBytes:
    """An application whose bodies and answers are bounded in bytes, over all of its connections.

    Args:
        app: The application.
        busy: Answers whoever is to come back.
        patience: The bounds.
    """

    def __init__(self, app: ASGIApp, busy: ASGIApp, patience: Patience) -> None:
        self._app, self._busy, self._rules = app, busy, patience
        self._kept = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say that there is no room."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = self._body_of(scope)
        if not self._has_room(body):
            await self._busy(scope, receive, send)
            return
        begun: Message | None = None  # held back until it is known how long the answer is
        refused = False

        async def send_in_parts(message: Message) -> None:
            nonlocal begun, refused
            if refused:
                return
            if message["type"] == "http.response.start":
                begun = message
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            content = message.get("body", b"")
            if begun is not None:
                first, begun = begun, None
                if not self._has_room(len(content)):
                    refused = True
                    await self._busy(scope, receive, send)
                    return
                await send(first)
            self._kept += len(content)
            try:
                for start in range(0, max(len(content), 1), _CHUNK):
                    part = content[start : start + _CHUNK]
                    more = start + _CHUNK < len(content) or message.get("more_body", False)
                    await send({"type": "http.response.body", "body": part, "more_body": more})
            finally:
                self._kept -= len(content)

        self._kept += body
        try:
            await self._app(scope, receive, send_in_parts)
        finally:
            self._kept -= body

    def _has_room(self, size: int) -> bool:
        return size <= _SMALL or not self._kept or self._kept + size <= self._rules.kept

    def _body_of(self, scope: Scope) -> int:
        """Bytes that a request's body will take at most."""
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and len(declared) < 16:
            return min(int(declared), self._rules.longest_body)
        return self._rules.longest_body if b"transfer-encoding" in headers else 0
