"""Bounds of what servers keep, and where they listen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("starlette", reason='serving needs the extra: pip install "sdar-gym[web]"')
pytest.importorskip("uvicorn", reason='serving needs the extra: pip install "sdar-gym[web]"')

from starlette.responses import PlainTextResponse

from sdar_envs.loopback import ADDRESS, listen
from sdar_envs.patient_http import BoundedBytes, Patience

BUSY = PlainTextResponse("busy", 503, {"Retry-After": "1"})


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}


async def ask(app: Any, *headers: tuple[bytes, bytes], gate: asyncio.Event | None = None) -> tuple[int, bytes]:
    status, body = 0, b""

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            if gate is not None and body:
                await gate.wait()  # a client that has read the first part and no more
            body += message["body"]

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope(*headers), receive, send)
    return status, body


def test_bodies_that_would_take_too_much_together_are_told_to_come_back() -> None:
    held = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await held.wait()
        await PlainTextResponse("done")(scope, receive, send)

    async def play() -> None:
        bounded = BoundedBytes(app, BUSY, Patience(kept=1_000_000, longest_body=900_000))
        large = (b"content-length", b"600000")
        first = asyncio.create_task(ask(bounded, large))
        unsaid = (b"transfer-encoding", b"chunked")
        await asyncio.sleep(0)
        assert (await ask(bounded, large))[0] == 503
        assert (await ask(bounded, unsaid))[0] == 503
        small = asyncio.create_task(ask(bounded, (b"content-length", b"5000")))
        await asyncio.sleep(0)
        held.set()
        assert (await first)[0] == (await small)[0] == 200
        assert (await ask(bounded, large))[0] == 200

    asyncio.run(play())


def test_answers_that_would_take_too_much_together_are_told_to_come_back() -> None:
    content = "x" * 600_000

    async def play() -> None:
        bounded = BoundedBytes(PlainTextResponse(content), BUSY, Patience(kept=1_000_000))
        gate = asyncio.Event()
        slow = asyncio.create_task(ask(bounded, gate=gate))
        await asyncio.sleep(0)
        assert (await ask(bounded))[0] == 503
        gate.set()
        assert await slow == (200, content.encode())
        assert (await ask(bounded))[0] == 200

    asyncio.run(play())


def test_an_answer_arrives_as_it_was_made_whatever_its_length() -> None:
    for length in (0, 1, (1 << 14) - 1, 1 << 14, (1 << 14) + 1, 100_000):
        content = bytes(number % 251 for number in range(length))
        bounded = BoundedBytes(PlainTextResponse(content), BUSY, Patience())
        assert asyncio.run(ask(bounded)) == (200, content)
        assert bounded._kept == 0


def test_the_store_listens_on_this_machine_alone() -> None:
    listener = listen(0)
    try:
        assert listener.getsockname()[0] == ADDRESS == "127.0.0.1"
    finally:
        listener.close()


def test_retrieval_listens_on_this_machine_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    cli = pytest.importorskip("trainers.cli")
    from sdar_envs.searchqa import server

    taken: list[str] = []
    monkeypatch.setattr(server, "serve", lambda app, listener, **how: taken.append(listener.getsockname()[0]))
    words = ["serve-retrieval", "--size", "small", "--port", "0"]
    assert cli.main(words) == 0
    assert taken == ["127.0.0.1"] and "can be reached from elsewhere" not in capsys.readouterr().err
    assert cli.main([*words, "--host", "0.0.0.0"]) == 0
    assert taken[1:] == ["0.0.0.0"]
    assert "can be reached from elsewhere, and there is no password" in capsys.readouterr().err
