"""A model that knows the plans: an endpoint of chat completions on this machine, which keeps the requests it got."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint(ThreadingHTTPServer):
    """Replies with the plan whose task is named in the first message, one action a turn.

    Args:
        plans: A text that the first user message of a task has and no other's -> its replies in order.
    """

    daemon_threads = True

    def __init__(self, plans: Mapping[str, Sequence[str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plans = plans
        self.bodies: list[str] = []

    @property
    def url(self) -> str:
        """What clients call the base of the API."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def reply(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The action whose turn it is; "look" where nothing is planned any more."""
        first = next(message["content"] for message in messages if message["role"] == "user")
        (plan,) = [plan for text, plan in self.plans.items() if text in first]
        taken = sum(message["role"] == "assistant" for message in messages)
        return plan[taken] if taken < len(plan) else "look"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8")
        self.server.bodies.append(body)
        asked = json.loads(body)
        message = {"role": "assistant", "content": self.server.reply(asked["messages"])}
        answer: dict[str, Any] = {"id": "1", "created": 1, "model": asked["model"]}
        if asked.get("stream"):
            choices = [{"index": 0, "delta": message, "finish_reason": "stop"}]
            chunk = {**answer, "object": "chat.completion.chunk", "choices": choices}
            self._send("text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")
        else:
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            whole = {**answer, "object": "chat.completion", "choices": choices, "usage": usage}
            self._send("application/json", json.dumps(whole))

    def _send(self, kind: str, text: str) -> None:
        data = text.encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing on the error stream."""


@contextmanager
def serving(plans: Mapping[str, Sequence[str]]) -> Iterator[Endpoint]:
    """The endpoint, while the block runs."""
    endpoint = Endpoint(plans)
    thread = threading.Thread(target=endpoint.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.shutdown()
        endpoint.server_close()
