"""What hostile and careless HTTP clients do to a server on this machine; each attack says what came of it.

An attack ends well when the server refuses it with a status from 400 to 599, ends the connection, or, where nothing is
wrong with the request but its client, answers it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Mapping

HELD = 30.0  # seconds after which a server should have ended any connection that only holds it
_HEAD = b"%s %s HTTP/1.1\r\nHost: localhost\r\n"


def _connect(port: int, buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(HELD)
    connection.connect(("127.0.0.1", port))
    return connection


def _refused(port: int, request: bytes) -> str:
    """Send a request that must not be obeyed; what went wrong, empty for nothing."""
    with _connect(port) as connection:
        answer = b""
        try:
            connection.sendall(request)
            answer = connection.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return ""
        except TimeoutError:
            return "no answer, and the connection is held"
    if not answer:
        return ""
    status = answer[9:12]
    if not status.startswith((b"4", b"5")):
        return f"answered with {status!r}"
    if b"Traceback" in answer or b'File "' in answer:
        return "answered with a traceback"
    return ""


def _ends(port: int, *parts: bytes, pause: float = 0.0) -> str:
    """Send parts, then nothing more; the server must end the connection."""
    with _connect(port) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            while connection.recv(1 << 16):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            return f"held for {HELD:g} s"
    return ""


def half_head(port: int, path: bytes) -> str:
    """A head that never ends."""
    return _ends(port, _HEAD % (b"POST", path))


def half_head_again(port: int, path: bytes) -> str:
    """The same on a connection that was used before."""
    return _ends(port, _HEAD % (b"GET", b"/") + b"\r\n", b"GET / HT", pause=0.2)


def slow_head(port: int, path: bytes) -> str:
    """A head that comes a byte at a time."""
    return _ends(port, *(bytes([each]) for each in _HEAD % (b"POST", path)), pause=0.25)


def half_body(port: int, path: bytes) -> str:
    """A body that never ends."""
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n"
    return _ends(port, _HEAD % (b"POST", path) + kind + b"Content-Length: 100\r\n\r\nquer")


def body_after_answer(port: int, path: bytes) -> str:
    """A body that goes on after its refusal."""
    return _ends(port, _HEAD % (b"POST", b"/nowhere") + b"Content-Length: 9000\r\n\r\nab", b"c", pause=0.2)


def unread(port: int, path: bytes) -> str:
    """Many requests whose answers are not read."""
    with _connect(port, buffer=4096) as connection, contextlib.suppress(OSError):
        connection.settimeout(5.0)
        connection.sendall((_HEAD % (b"GET", b"/") + b"\r\n") * 400)
        time.sleep(1.0)
    return ""


def huge_length(port: int, path: bytes) -> str:
    """A body that would not fit anywhere."""
    return _refused(port, _HEAD % (b"POST", path) + _FORM + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 70_000)


def negative_length(port: int, path: bytes) -> str:
    """A length that is none."""
    return _refused(port, _HEAD % (b"POST", path) + b"Content-Length: -5\r\n\r\n")


def bad_chunks(port: int, path: bytes) -> str:
    """Chunks that are none."""
    return _refused(port, _HEAD % (b"POST", path) + _FORM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n")


def two_lengths(port: int, path: bytes) -> str:
    """Two lengths that contradict each other."""
    return _refused(port, _HEAD % (b"POST", path) + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")


def nonsense(port: int, path: bytes) -> str:
    """Bytes that are no HTTP."""
    return _refused(port, b"\x16\x03\x01\x00\xff\x00\r\n\r\n" + bytes(range(256)))


def long_head(port: int, path: bytes) -> str:
    """A head of a megabyte."""
    return _refused(port, _HEAD % (b"GET", b"/") + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n")


def foreign_host(port: int, path: bytes) -> str:
    """A name that somebody made point here."""
    return _refused(port, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")


def traversal(port: int, path: bytes) -> str:
    """An address that would lead to a file."""
    return _refused(port, _HEAD % (b"GET", b"/..%2f..%2f../etc/passwd") + b"\r\n")


def no_origin(port: int, path: bytes) -> str:
    """A form that does not say where it comes from, and a body that is none."""
    return _refused(port, _HEAD % (b"POST", path) + b"Content-Length: 5\r\n\r\nhello")


def deep_json(port: int, path: bytes) -> str:
    """JSON that is nested a hundred thousand deep."""
    body = b"[" * 100_000 + b"]" * 100_000
    return _refused(port, _HEAD % (b"POST", path) + b"Content-Length: %d\r\n\r\n" % len(body) + body)


_FORM = b"Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n"
ATTACKS: Mapping[str, Callable[[int, bytes], str]] = {
    each.__name__.replace("_", " "): each
    for each in (
        *(half_head, half_head_again, slow_head, half_body, body_after_answer, unread, huge_length, negative_length),
        *(bad_chunks, two_lengths, nonsense, long_head, foreign_host, traversal, no_origin, deep_json),
    )
}
