"""A small server that speaks vLLM's protocol, with a real model behind it, and that can be made faulty.

It answers as vLLM 0.32 does where this suite asks: it loads the checkpoints and adapters that it is told to load and
samples from them, keeps what it has computed for a prompt until it is told to forget it (so that a forgotten reset
shows), loses all that it was told when it is restarted, and refuses requests with fields that vLLM does not know. Its
decoding is its own: one sequence at a time through the model's cache, with torch's draws.
"""

from __future__ import annotations

import contextlib
import copy
import json
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

# The fields of a completion request that this server knows, which are vLLM's.
KNOWN = {
    *("model", "prompt", "max_tokens", "temperature", "seed", "n", "top_p", "top_k", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "min_tokens", "ignore_eos", "stop", "stop_token_ids"),
    *("include_stop_str_in_output", "skip_special_tokens", "return_token_ids", "return_tokens_as_token_ids"),
    *("logprobs", "stream"),
}
# What a request must say for the whole distribution to be drawn from.
WHOLE = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0}
SERVED = "served-model"


class HttpError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Drop(Exception):
    """The connection breaks without an answer."""


class ProtocolServer:
    """Serves a model's folder; `start` it, and `stop` it, in which case all it was told is lost.

    Args:
        folder: The model that it starts with.
        processed: Log-probs of the distribution that is drawn from, as ``--logprobs-mode processed_logprobs``.
        max_logprobs: Log-probs per token at most; -1 is the whole vocabulary.
        max_model_len: Tokens per sequence.
        dev: Whether it has the routes of ``VLLM_SERVER_DEV_MODE=1``.
        lora: Whether it takes adapters.
    """

    def __init__(
        self,
        folder: Path,
        *,
        processed: bool = True,
        max_logprobs: int = 20,
        max_model_len: int = 1024,
        dev: bool = True,
        lora: bool = True,
    ) -> None:
        self.folder = folder
        self.processed, self.max_logprobs, self.max_model_len = processed, max_logprobs, max_model_len
        self.dev, self.lora = dev, lora
        self.port = 0
        self.log: list[tuple[str, dict[str, Any]]] = []  # every request: path and body
        self.faults: deque[Callable[[dict[str, Any], dict[str, Any]], Any]] = deque()  # for the next completions
        self.ignores_reload = False
        self.ignores_reset = False
        self.inbox: queue.Queue[tuple[str, torch.Tensor]] = queue.Queue()  # what a sender of tensors sends
        self._lock = threading.Lock()  # of the model
        self._open: set[socket.socket] = set()
        self._http: ThreadingHTTPServer | None = None
        self._begin()

    def _begin(self) -> None:
        """As after the start of the process: the first weights, and nothing of what it was told."""
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.model = AutoModelForCausalLM.from_pretrained(self.folder).eval()
        self.adapters: dict[str, Any] = {}
        self.version = "default"
        self.group: dict[str, Any] | None = None
        self.updating = False
        self.asleep: set[str] = set()
        self._computed: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}

    # Life of the process.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> ProtocolServer:
        """Listen; on the same port as before after a `stop`."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server._open.add(self.connection)

            def finish(self) -> None:
                server._open.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                server._handle(self, {})

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                server._handle(self, json.loads(self.rfile.read(length) or b"{}"))

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:
                pass  # a client that has gone

        self._http = Server(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """End as a killed process does: connections break, and what it was told is lost."""
        if self._http is None:
            return
        self._http.shutdown()
        self._http.server_close()
        self._http = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def restart(self, folder: Path | None = None) -> None:
        """Stop and start with the first weights, or with those of another folder."""
        self.stop()
        self.folder = folder or self.folder
        with self._lock:
            self._begin()
        self.start()

    # Requests.

    def completions(self) -> list[dict[str, Any]]:
        """The completions that were asked for, without probes."""
        return [
            body for path, body in self.log if path == "/v1/completions" and not isinstance(body["prompt"][0], list)
        ]

    def paths(self) -> list[str]:
        """The routes that were asked, in order."""
        return [path for path, _ in self.log]

    def _handle(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        parts = urlsplit(handler.path)
        self.log.append((parts.path, {**body, **({"query": parse_qs(parts.query)} if parts.query else {})}))
        try:
            status, answer = 200, self._route(handler.command, parts.path, parse_qs(parts.query), body)
        except HttpError as error:
            status, answer = error.status, {"error": {"message": str(error), "code": error.status}}
        except Drop:
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _route(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        routes: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "/health"): lambda: None,
            ("GET", "/version"): lambda: {"version": "0.32.0"},
            ("GET", "/v1/models"): self._models,
            ("POST", "/tokenize"): lambda: self._tokenize(body),
            ("POST", "/v1/completions"): lambda: self._complete(body),
        }
        if self.lora:
            routes[("POST", "/v1/load_lora_adapter")] = lambda: self._load_adapter(body)
            routes[("POST", "/v1/unload_lora_adapter")] = lambda: self._unload_adapter(body)
        if self.dev:
            routes |= {
                ("POST", "/collective_rpc"): lambda: self._reload(body),
                ("POST", "/reset_prefix_cache"): self._reset,
                ("POST", "/update_weight_version"): lambda: self._name(body["new_version"]),
                ("GET", "/weight_info"): lambda: {"weight_version": self.version},
                ("POST", "/sleep"): lambda: self._sleep(int(query["level"][0])),
                ("POST", "/wake_up"): lambda: self._wake(query.get("tags", ["weights", "kv_cache"])),
                ("GET", "/is_sleeping"): lambda: {"is_sleeping": bool(self.asleep)},
                ("GET", "/get_world_size"): lambda: {"world_size": 1},
                ("POST", "/init_weight_transfer_engine"): lambda: self._join(body["init_info"]),
                ("POST", "/start_weight_update"): self._start_update,
                ("POST", "/update_weights"): lambda: self._receive(body["update_info"]),
                ("POST", "/finish_weight_update"): lambda: self._finish_update(body.get("weight_version")),
            }
        if (method, path) not in routes:
            known = {route for _, route in routes}
            raise HttpError(405 if path in known else 404, "Not Found")
        return routes[method, path]()

    def _models(self) -> Any:
        cards = [{"id": SERVED, "root": str(self.folder), "max_model_len": self.max_model_len}]
        return {"data": [*cards, *({"id": name, "parent": SERVED} for name in self.adapters)]}

    def _tokenize(self, body: dict[str, Any]) -> Any:
        ids = self.tokenizer.encode(body["prompt"], add_special_tokens=body.get("add_special_tokens", True))
        return {"count": len(ids), "tokens": ids}

    # Weights.

    def _name(self, name: str) -> Any:
        self.version = name
        return {"success": True, "new_version": name}

    def _reset(self) -> Any:
        if not self.ignores_reset:
            self._computed.clear()
        return {"success": True}

    def _reload(self, body: dict[str, Any]) -> Any:
        if body.get("method") != "reload_weights":
            raise HttpError(500, f"no method {body.get('method')!r}")
        file = Path(body["kwargs"]["weights_path"]) / "model.safetensors"
        if not file.is_file():
            raise HttpError(500, f"Worker failed with error: there is no {file}")
        if not self.ignores_reload:
            self._take(load_file(file))
        return {"results": [None]}

    def _take(self, tensors: dict[str, torch.Tensor]) -> None:
        own = self.model.state_dict()
        for name, tensor in tensors.items():
            if name not in own or own[name].shape != tensor.shape:
                raise HttpError(500, f"Worker failed with error: {name} of shape {tuple(tensor.shape)} does not fit")
        with self._lock, torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(tensor)

    def _load_adapter(self, body: dict[str, Any]) -> bytes:
        """``W + alpha / rank * B A`` for every layer that the files name, on a copy of the base model."""
        name, folder = body["lora_name"], Path(body["lora_path"])
        if name in self.adapters:
            raise HttpError(400, f"The lora adapter '{name}' has already been loaded.")
        if not (folder / "adapter_model.safetensors").is_file():
            raise HttpError(404, f"No adapter found for {folder}")
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
        model = copy.deepcopy(self.model)
        own = model.state_dict()
        with torch.no_grad():
            for key, first in tensors.items():
                if ".lora_A." not in key:
                    continue
                layer = key.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
                second = tensors[key.replace(".lora_A.", ".lora_B.")]
                own[layer] += config["lora_alpha"] / config["r"] * (second @ first)
        self.adapters[name] = model
        return f"Success: LoRA adapter '{name}' added successfully.".encode()

    def _unload_adapter(self, body: dict[str, Any]) -> bytes:
        if body["lora_name"] not in self.adapters:
            raise HttpError(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        del self.adapters[body["lora_name"]]
        return b"Success"

    # Tensors sent directly.

    def _join(self, info: dict[str, Any]) -> Any:
        missing = {"master_address", "master_port", "rank_offset", "world_size"} - info.keys()
        if missing or self.group is not None:
            raise HttpError(500, f"Worker failed with error: missing {missing}, or a group is there already")
        self.group = info
        return {"message": "Weight transfer initialized"}

    def _start_update(self) -> Any:
        if self.group is None:
            raise HttpError(500, "Weight transfer not configured. Please set weight_transfer_config")
        self.updating = True
        return {"message": "Weight update started"}

    def _receive(self, info: dict[str, Any]) -> Any:
        if not self.updating:
            raise HttpError(500, "Worker failed with error: no update was started")
        received: dict[str, torch.Tensor] = {}
        for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
            sent, tensor = self.inbox.get(timeout=10)
            if sent != name or list(tensor.shape) != shape or str(tensor.dtype) != f"torch.{dtype}":
                raise HttpError(500, f"Worker failed with error: expected {name} {shape} {dtype}, received {sent}")
            received[name] = tensor
        self._take(received)
        return {"message": "Weights updated"}

    def _finish_update(self, version: str | None) -> Any:
        self.updating = False
        if version is not None:
            self.version = version
        return {"message": "Weight update finished"}

    # Sleep.

    def _sleep(self, level: int) -> Any:
        self.asleep = {"weights", "kv_cache"}
        self._computed.clear()
        if level == 2:
            with self._lock, torch.no_grad():
                for tensor in self.model.state_dict().values():
                    tensor.zero_()  # memory that others have written to meanwhile
        return {"status": "sleeping", "level": level}

    def _wake(self, tags: list[str]) -> Any:
        self.asleep -= set(tags)
        return {"status": "sleeping" if self.asleep else "awake", "tags": tags}

    # Completions.

    def _complete(self, body: dict[str, Any]) -> Any:
        several = isinstance(body["prompt"][0], list)
        fault = self.faults.popleft() if self.faults and not several else None
        if self.asleep:
            raise HttpError(500, f"the engine sleeps: {sorted(self.asleep)}")
        if unknown := body.keys() - KNOWN:
            raise HttpError(400, f"unknown fields {sorted(unknown)}")
        if any(body.get(name) != value for name, value in WHOLE.items()):
            raise HttpError(400, "this server expects the whole distribution to be asked for, setting by setting")
        name = body["model"]
        if name != SERVED and name not in self.adapters:
            raise HttpError(404, f"The model `{name}` does not exist.")
        if body["logprobs"] == -1 and self.max_logprobs != -1:
            raise HttpError(400, f"Requested -1 logprobs, which is more than max_logprobs {self.max_logprobs}")
        prompts = body["prompt"] if several else [body["prompt"]]
        for ids in prompts:
            if len(ids) + body["max_tokens"] > self.max_model_len:
                raise HttpError(400, f"{len(ids)} + {body['max_tokens']} tokens are over {self.max_model_len}")
            if not ids or max(ids) >= self.model.config.vocab_size:
                raise HttpError(400, "token ids out of vocabulary")
        with self._lock:
            choices = [self._choice(name, ids, body) for ids in prompts]
        answer = {"id": "cmpl-0", "object": "text_completion", "model": name, "choices": choices}
        return answer if fault is None else fault(body, answer)

    @torch.inference_mode()
    def _choice(self, name: str, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        model = self.adapters.get(name, self.model)
        # The position after a prompt that was read before comes from the prefix cache.
        key, past = (name, tuple(prompt)), None
        if key not in self._computed:
            output = model(torch.tensor([prompt]), use_cache=True)
            self._computed[key], past = output.logits[0, -1].clone(), output.past_key_values
        logits = self._computed[key]
        if past is None and body["max_tokens"] > 1:
            past = model(torch.tensor([prompt]), use_cache=True).past_key_values
        temperature = body["temperature"]
        draws = torch.Generator().manual_seed(body["seed"])
        ends = set() if body["ignore_eos"] else self._end_ids()
        ids: list[int] = []
        chosen: list[float] = []
        tops: list[dict[str, float]] = []
        reason, stop_reason = "length", None
        while len(ids) < body["max_tokens"]:
            drawn_from = torch.log_softmax(logits.float() / (temperature or 1.0), -1)
            token = int(drawn_from.exp().multinomial(1, generator=draws)) if temperature else int(logits.argmax())
            shown = drawn_from if self.processed else torch.log_softmax(logits.float(), -1)
            ids.append(token)
            chosen.append(float(shown[token]))
            count = len(shown) if body["logprobs"] == -1 else body["logprobs"]
            best = shown.topk(count) if count else None
            likeliest = {} if best is None else dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            tops.append({f"token_id:{i}": max(value, -9999.0) for i, value in {token: chosen[-1], **likeliest}.items()})
            if token in body["stop_token_ids"] or token in ends:
                reason, stop_reason = "stop", token if token in body["stop_token_ids"] else None
                break
            text = self.tokenizer.decode(ids)
            if met := [stop for stop in body["stop"] if stop in text]:
                reason, stop_reason = "stop", met[0]
                break
            output = model(torch.tensor([[token]]), past_key_values=past, use_cache=True)
            logits, past = output.logits[0, -1], output.past_key_values
        return {
            "index": 0,
            "text": self.tokenizer.decode(ids),
            "token_ids": ids,
            "prompt_token_ids": list(prompt),
            "finish_reason": reason,
            "stop_reason": stop_reason,
            "logprobs": {"token_logprobs": chosen, "top_logprobs": tops, "tokens": [f"token_id:{i}" for i in ids]},
        }

    def _end_ids(self) -> set[int]:
        end = self.model.generation_config.eos_token_id
        return set() if end is None else {end} if isinstance(end, int) else set(end)


# Faults: (request, the right answer) -> what is sent instead.


def answers_500(body: dict[str, Any], answer: dict[str, Any]) -> Any:
    raise HttpError(500, "EngineCore encountered an issue")


def breaks_off(body: dict[str, Any], answer: dict[str, Any]) -> Any:
    return json.dumps(answer).encode()[:-40]


def drops(body: dict[str, Any], answer: dict[str, Any]) -> Any:
    raise Drop


def slow(seconds: float) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    def wait(body: dict[str, Any], answer: dict[str, Any]) -> Any:
        time.sleep(seconds)
        return answer

    return wait


def changed(**fields: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """Fields of the choice replaced; a function is called with what was there."""

    def change(body: dict[str, Any], answer: dict[str, Any]) -> Any:
        choice = answer["choices"][0]
        for name, value in fields.items():
            choice[name] = value(choice[name]) if callable(value) else value
        return answer

    return change
