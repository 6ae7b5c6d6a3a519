"""A server that answers as vLLM's does (0.11 to 0.28), with a model of one table behind it.

Shapes of requests, answers, streams and complaints follow vLLM's documentation and its
`entrypoints/openai/completion`; what the model says hangs on the last token alone.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import numpy as np

WORDS = 32
EOS = 2
MOST = 64  # tokens it takes, read and written together
PACE_S = 0.002  # between two tokens


class Table:
    """A model: log-probabilities of the next token by the last one, float64 [words, words]."""

    def __init__(self, seed: int = 0) -> None:
        logits = 2 * np.random.default_rng(seed).normal(size=(WORDS, WORDS))
        self.log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """What it writes."""
        said = list(prompt)
        for _ in range(count):
            said.append(int(self.log_probs[said[-1]].argmax()))
        return said[len(prompt) :]


class VllmServer:
    """On loopback; what it was asked and how far it came with it is kept.

    Args:
        key: What it asks for; nothing when empty.
        names: Of the models it serves.
        defaults: Of its generation_config, which a request overrides.
    """

    def __init__(
        self, *, key: str = "", names: tuple[str, ...] = ("small",), **defaults: float
    ) -> None:
        self.table, self.key, self.names = Table(), key, names
        self.defaults = defaults
        self.asked: list[tuple[str, Any]] = []
        self.written = 0  # tokens handed out in streams
        self.hung_up = Event()
        self.says_tokens = self.says_likelihoods = True
        self.breaks_after: int | None = None  # tokens of a stream
        self.fails_after: int | None = None
        self.silent_s = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self, None)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                server.answer(self, json.loads(self.rfile.read(length)))

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=lambda: self._server.serve_forever(0.005), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        self.asked.append((handler.path, body))
        time.sleep(self.silent_s)
        known = handler.headers.get("Authorization") == f"Bearer {self.key}"
        if self.key and handler.path.startswith("/v1") and not known:
            return _send(handler, 401, {"error": "Unauthorized"})
        if handler.path == "/version":
            return _send(handler, 200, {"version": "0.11.0"})
        if handler.path == "/v1/models":
            cards = [
                {
                    "id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": name,
                    "parent": None, "max_model_len": MOST, "permission": [],
                }
                for name in self.names
            ]  # fmt: skip
            return _send(handler, 200, {"object": "list", "data": cards})
        if handler.path != "/v1/completions" or body is None:
            return _send(handler, 404, {"detail": "Not Found"})
        complaint = self.complaint(body)
        if complaint is not None:
            return _send(handler, complaint["code"], {"error": complaint})
        body = self.defaults | body
        return self.stream(handler, body) if body.get("stream") else self.complete(handler, body)

    def complaint(self, body: Any) -> dict[str, Any] | None:
        if body.get("model") not in self.names:
            what = f"The model `{body.get('model')}` does not exist."
            return {"message": what, "type": "NotFoundError", "param": "model", "code": 404}
        total = len(body["prompt"]) + body.get("max_tokens", 16)
        what = ""
        if total > MOST:
            what = f"This model's maximum context length is {MOST} tokens, but {total} were asked."
        elif max(body["prompt"]) >= WORDS:
            what = f"Token id {max(body['prompt'])} is out of vocabulary"
        elif body.get("stream") and body.get("prompt_logprobs"):
            what = "`prompt_logprobs` are not available when `stream=True`."
        if what:
            return {"message": what, "type": "BadRequestError", "param": None, "code": 400}
        return None

    def says(self, body: Any) -> list[int]:
        """Greedy tokens up to the count, a stop token or the end; warm when temperature says so."""
        penalised = body.get("repetition_penalty", 1.0) != 1.0 or body.get("temperature", 1.0) > 0
        said = self.table.greedy(body["prompt"], body["max_tokens"])
        if penalised:  # any other text than the greedy one
            said = [(token + 1) % WORDS for token in said]
        ends = {*body.get("stop_token_ids", ()), *(() if body.get("ignore_eos") else (EOS,))}
        for i, token in enumerate(said):
            if token in ends:
                return said[: i + 1]
        return said

    def complete(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        prompt, said = body["prompt"], self.says(body)
        choice = {
            "index": 0, "text": " ".join(map(str, said)), "logprobs": None,
            "finish_reason": "length", "stop_reason": None, "prompt_logprobs": None,
        }  # fmt: skip
        if body.get("prompt_logprobs") is not None and self.says_likelihoods:
            choice["prompt_logprobs"] = [
                None,
                *(
                    self.looked_up(last, token, body["prompt_logprobs"])
                    for last, token in pairwise(prompt)
                ),
            ]
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(said)}
        _send(handler, 200, self.envelope(choice) | {"usage": usage})

    def looked_up(self, last: int, token: int, most: int) -> dict[str, Any]:
        """The token that stood there, and as many of the likeliest as were asked for."""
        row = self.table.log_probs[last]
        order = list(np.argsort(-row))
        return {
            str(one): {
                "logprob": float(row[one]), "rank": order.index(one) + 1, "decoded_token": f" {one}"
            }
            for one in (token, *(int(top) for top in order[:most]))
        }  # fmt: skip

    def envelope(self, choice: dict[str, Any]) -> dict[str, Any]:
        about = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": self.names[0]}
        return about | {"choices": [choice]}

    def stream(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.end_headers()
        said = self.says(body)
        try:
            for i, token in enumerate(said):
                if i == self.breaks_after:
                    return
                if i == self.fails_after:
                    failed = {"message": "EngineCore died", "type": "InternalServerError"}
                    _event(handler, {"error": failed | {"param": None, "code": 500}})
                    break
                choice: dict[str, Any] = {"index": 0, "text": f" {token}", "logprobs": None}
                choice |= {"finish_reason": None, "stop_reason": None}
                if body.get("return_token_ids") and self.says_tokens:
                    choice["token_ids"] = [token]
                    choice["prompt_token_ids"] = body["prompt"] if i == 0 else None
                _event(handler, self.envelope(choice) | {"usage": None})
                self.written += 1
                time.sleep(PACE_S)
            handler.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):  # the client has left
            self.hung_up.set()


def _event(handler: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
    handler.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    handler.wfile.flush()


def _send(handler: BaseHTTPRequestHandler, status: int, content: Any) -> None:
    text = json.dumps(content).encode()
    with suppress(BrokenPipeError, ConnectionResetError):  # the client no longer waits
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)
