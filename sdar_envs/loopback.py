"""Web sites for one machine: listening on 127.0.0.1, and what every answer and every question must be like there.

For what serves a world to a browser or to a process on the same machine. It needs Starlette and uvicorn, which come
with the extra ``web``, and nothing of this suite imports it unless something is served. Not here: pages and routes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

try:
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.exceptions import HTTPException
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse
except ImportError as missing:  # pragma: no cover  # depends on the installation
    raise ImportError(
        f'serving needs Starlette and uvicorn, and there is no {missing.name}: pip install "sdar-gym[web]"'
    ) from missing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ADDRESS = "127.0.0.1"
# Names under which a program on this machine may ask; a foreign name that was made to point here is refused.
HOSTS = ("127.0.0.1", "localhost")

# A form is a few short fields.
LONGEST_FORM = 16_384
MOST_FIELDS = 8
BODY_SECONDS = 10.0

HEADERS = {
    # No script at all, nothing from elsewhere, and no frame around it.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": with that, a browser hides the origin of our own forms from us.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def guarded(app: ASGIApp, *, headers: Mapping[str, str] = HEADERS) -> ASGIApp:
    """Wrap an application: foreign host names and other sites' forms are refused, and every answer has `headers`."""
    return _WithHeaders(TrustedHostMiddleware(_OwnFormsOnly(app), allowed_hosts=HOSTS, www_redirect=False), headers)


class _WithHeaders:
    """Puts headers on every answer, refusals and failures included."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _OwnFormsOnly:
    """Refuses what the page of another site sends here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD") and _is_foreign(Headers(scope=scope)):
            await PlainTextResponse("expected a form of this site, with its origin", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # A browser sends one of the two with every form. Who sends neither is a program, which can send an origin, too.
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc != headers.get("host")


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: It is longer than `limit` bytes (413), slow (408), or breaks off (400).
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise HTTPException(413, f"expected at most {limit} bytes")
    except TimeoutError:
        raise HTTPException(408, f"expected the whole body within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; of a name that comes twice, the last.

    Raises:
        HTTPException: As `read_body`; or not a form (415), or one with too many fields (400).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, f"expected a form, got {kind[:80] or 'no content type'}")
    body = await read_body(request, LONGEST_FORM)
    try:
        return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise HTTPException(400, f"expected at most {MOST_FIELDS} fields") from None


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine's own address; port 0 takes a free one.

    Raises:
        ValueError: No port, or one that is in use or not allowed; the message says what to do.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port expects 0 to 65535, got {port}")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reasons = {errno.EADDRINUSE: "is in use", errno.EACCES: "needs rights that this user does not have"}
        if error.errno not in reasons:
            raise
        raise ValueError(
            f"port {port} of {ADDRESS} {reasons[error.errno]}: name another with --port N, "
            "or take a free one with --port 0"
        ) from None
    return listener


def serve(app: ASGIApp, listener: socket.socket, *, busy: ASGIApp | None = None, connections: int = 512) -> None:
    """Answer on a socket until the process is interrupted.

    Args:
        app: What is served.
        listener: What `listen` took.
        busy: Answers whoever is to come back, with 503 and ``Retry-After``; None does so in one line.
        connections: At one time.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        from .patient_http import Patience, serve_patiently
    except ImportError as missing:  # pragma: no cover  # depends on the installation
        raise ImportError('serving needs uvicorn: pip install "sdar-gym[web]"') from missing

    patience = Patience(connections=connections, kept=1 << 25, longest_body=LONGEST_FORM)
    serve_patiently(app, listener, patience, busy or PlainTextResponse("busy", 503, {"Retry-After": "2"}))
