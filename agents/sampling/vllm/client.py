"""Requests to a generation server, with everything that can go wrong on the way.

Three things are told apart. A *lost* server (the port is closed, the connection breaks, 503) is waited for, once for
all threads that ask. A *failed* request (no answer in time, 5xx, an answer that breaks off) is sent again, so many
times. A *refusal* (any other 4xx) is final, since the same request would be refused again. What is left is a
`GenerationServerError` that names the server, what was asked, what came, and the remedy.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from sdar_envs.choices import require_number
from sdar_envs.randomness import counted_generator

CONNECT_TIMEOUT = 5.0
LONGEST_PAUSE = 5.0  # seconds between two looks whether a lost server is back
MOST_LOSSES = 10  # times that a server may be lost over one request
_MAX_ANSWER = 1 << 28
KEY_VARIABLE = "VLLM_API_KEY"  # the variable that the server itself reads its key from


class GenerationServerError(RuntimeError):
    """A generation server does not answer, refuses, or is not the one that was expected."""


class Refused(GenerationServerError):
    """A server refused a request, and would refuse it again: `status` is the HTTP status, `reason` what it said."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class _Lost(Exception):
    """Nobody answers at the address, or the server says that it is not ready."""


class _Failed(Exception):
    """A request that may be answered when it is sent again."""


class ServerClient:
    """Asks one server; any number of threads may ask at once, each over connections that are kept.

    Args:
        url: Its address, such as ``http://127.0.0.1:8000``.
        timeout: Seconds per answer at most.
        tries: Times that a request is sent at most, not counting those that were lost with the server.
        wait: Seconds that a lost server is waited for at most.
        pause: Seconds before the second try, doubled each time.
        clock: Seconds; for tests.
        sleep: Waits; for tests.
        say: Gets a line when the server is lost and when it is back.

    Raises:
        ValueError: An address that is none, or a number out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 300.0,
        tries: int = 3,
        wait: float = 300.0,
        pause: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        require_number("timeout", timeout, "ServerClient", low=1e-3)
        require_number("tries", tries, "ServerClient", low=1, whole=True)
        require_number("wait", wait, "ServerClient", low=0)
        self.url, self._scheme, self._host, self._port, self._path = parse_url(url)
        self.timeout, self.tries, self.wait = timeout, tries, wait
        self._pause, self._clock, self._sleep, self._say = pause, clock, sleep, say
        self._kept: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()  # of the kept connections
        self._waiting = threading.Lock()  # one thread waits for a lost server, the others for that thread
        self._back_at = 0.0  # when the server was last seen to be back
        self._pauses = 0

    def get(self, path: str, *, timeout: float | None = None) -> Any:
        """The JSON of a page, None for an empty one; see `post`."""
        return self._ask("GET", path, None, timeout)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send JSON and return the JSON of the answer, None for an empty one.

        Args:
            path: Under the server's address.
            body: The request; None sends an empty object.
            query: What stands in the address after ``?``; a list is repeated.
            timeout: Seconds for this answer; None takes the client's.

        Raises:
            Refused: The server will not do it.
            GenerationServerError: The server does not answer, or not with JSON, in all tries.
        """
        where = path if not query else f"{path}?{urlencode(query, doseq=True)}"
        return self._ask("POST", where, json.dumps(dict(body or {})).encode(), timeout)

    def has(self, path: str) -> bool:
        """Whether a GET route is there.

        Raises:
            GenerationServerError: The server does not answer.
        """
        try:
            self.get(path)
        except Refused as refused:
            if refused.status not in (404, 405):
                raise
            return refused.status == 405
        return True

    def require_answer(self) -> None:
        """Ask once whether anybody is there, without waiting: before a run starts.

        Raises:
            GenerationServerError: Nobody is.
        """
        try:
            self._exchange("GET", "/health", None, min(self.timeout, 30.0))
        except (_Lost, _Failed) as error:
            raise GenerationServerError(
                f"no generation server answers at {self.url}: {error}. Start it first (`vllm serve MODEL ...`; "
                "docs/vllm.md has the flags), or name another address with vllm_url"
            ) from None

    def close(self) -> None:
        """Close the connections that are kept; a later request opens new ones."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()

    # One request in all its tries.

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float | None) -> Any:
        limit = self.timeout if timeout is None else timeout
        failures = losses = 0
        while True:
            asked_at = self._clock()
            try:
                return self._exchange(method, path, body, limit)
            except _Lost as lost:
                losses += 1
                if losses > MOST_LOSSES:
                    raise GenerationServerError(
                        f"{self.url}{path}: the server was lost {losses} times over this request, the last time by: "
                        f"{lost}. Look at the server's log: something in the request may end it"
                    ) from None
                self._wait_for_return(asked_at, str(lost))
            except _Failed as failed:
                failures += 1
                if failures >= self.tries:
                    raise GenerationServerError(
                        f"{self.url}{path}: {failures} tries failed, the last: {failed}. Look at the server's log; "
                        "vllm_timeout and vllm_tries say how long and how often a run asks"
                    ) from None
                self._rest(failures)

    def _rest(self, number: int) -> None:
        """A growing pause, with up to as much again added, so that many threads do not ask at the same moment."""
        self._pauses += 1
        jitter = float(counted_generator("server pause", os.getpid(), self._pauses).random())
        self._sleep(min(self._pause * 2 ** (number - 1) * (1.0 + jitter), LONGEST_PAUSE))

    def _wait_for_return(self, lost_at: float, why: str) -> None:
        """Wait until the server answers again; `GenerationServerError` when it does not in time."""
        with self._waiting:
            if self._back_at > lost_at:  # another thread has waited meanwhile
                return
            self.close()
            start, number = self._clock(), 0
            if self.wait:
                self._say(
                    f"the generation server at {self.url} is lost ({why}): waiting for it, {self.wait:g} s at most"
                )
            while self._clock() - start < self.wait:
                number += 1
                self._rest(number)
                try:
                    self._exchange("GET", "/health", None, min(self.timeout, 30.0))
                except (_Lost, _Failed) as error:
                    why = str(error)
                    continue
                self._back_at = self._clock()
                self._say(f"the generation server at {self.url} is back after {self._clock() - start:.1f} s")
                return
            raise GenerationServerError(
                f"the generation server at {self.url} is lost, and was not back within {self.wait:g} s (vllm_wait): "
                f"{why}. Start it again, and go on with the run by --resume"
            )

    # One exchange.

    def _exchange(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        while True:
            kept = self._take()
            connection = self._new() if kept is None else kept
            try:
                if connection.sock is None:
                    connection.connect()
                assert connection.sock is not None
                connection.sock.settimeout(timeout)
                connection.request(method, self._path + path, body, self._headers())
                response = connection.getresponse()
                content = response.read(_MAX_ANSWER + 1)
            except TimeoutError as error:
                connected = connection.sock is not None
                connection.close()
                if not connected:
                    raise _Lost("no connection in time") from error
                raise _Failed(f"no answer within {timeout:g} s") from error
            except http.client.IncompleteRead as error:
                connection.close()
                raise _Failed("an answer that breaks off") from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # One that was kept may have been closed meanwhile; that says nothing about the server.
                if kept is not None:
                    continue
                raise _Lost(str(error) or type(error).__name__) from error
            except BaseException:
                connection.close()  # interrupted in the middle: what comes next on it is not for the next request
                raise
            if len(content) > _MAX_ANSWER:
                connection.close()
                raise _Failed(f"an answer of more than {_MAX_ANSWER:,} bytes")
            if connection.sock is not None:
                with self._lock:
                    self._kept.append(connection)
            return self._content(path, response.status, content)

    def _content(self, path: str, status: int, content: bytes) -> Any:
        """The JSON of an answer."""
        if status == 503:
            raise _Lost("HTTP 503, not ready")
        text = content[:500].decode("utf-8", "replace")
        if status >= 500 or status in (408, 429):
            raise _Failed(f"HTTP {status}: {text!r}")
        if status >= 400:
            raise Refused(f"{self.url}{path}: refused with HTTP {status}: {text!r}", status, text)
        if not content.strip():
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            if path.endswith(("_lora_adapter", "/metrics")):  # these answer with plain text
                return text
            raise _Failed(f"an answer that is not JSON: {content[:80]!r}") from error

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(KEY_VARIABLE)
        return {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._kept.pop() if self._kept else None

    def _new(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=CONNECT_TIMEOUT)


def parse_url(url: str) -> tuple[str, str, str, int, str]:
    """An address in its parts: as shown, scheme, host, port, and the path that every route stands under.

    Raises:
        ValueError: It is none, or holds a name or a password.
    """
    parts = urlsplit(url if "//" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username or parts.query:
        raise ValueError(
            "vllm_url: expected the address of a generation server such as http://127.0.0.1:8000, without a name or a "
            f"password in it (a key goes into the variable {KEY_VARIABLE}), got {url!r}"
        )
    port = port or (443 if parts.scheme == "https" else 80)
    path = parts.path.rstrip("/").removesuffix("/v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}{path}", parts.scheme, parts.hostname, port, path
