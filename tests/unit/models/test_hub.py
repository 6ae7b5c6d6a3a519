"""The hub path, against a small server that speaks the endpoints the hub library uses.

The library reads its settings from the environment when it is imported, so
every case runs in an interpreter of its own; none of them imports an engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights" * 100,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "chat_template.jinja": b"hello",
    "pytorch_model.bin": b"the same weights again",
    "onnx/model.onnx": b"not wanted",
    "README.md": b"not wanted either",
    "training_args.bin": b"nor this",
}
SAFE = {
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja",
}  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """`org/tiny` and `org/pickled`, with a `main` and a `v1`; `org/gated` wants a token."""

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        parts = unquote(self.path).partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            org, name, rest = parts[2], parts[3], parts[4:]
        else:
            org, name, rest = parts[0], parts[1], parts[2:]
        repo = f"{org}/{name}"
        if repo == "org/gated":
            return self.refuse(403, "GatedRepo")
        if repo not in {"org/tiny", "org/pickled"}:
            return self.refuse(401 if body else 404, "RepoNotFound")
        revision = rest[1] if len(rest) > 1 else "main"
        commit = COMMITS.get(revision, revision if revision in COMMITS.values() else "")
        if not commit:
            return self.refuse(404, "RevisionNotFound")
        files = {f: b for f, b in FILES.items() if repo == "org/tiny" or "safetensors" not in f}
        if parts[0] == "api":
            return self.describe(repo, commit, files, tree=rest[:1] == ["tree"])
        path = "/".join(rest[2:])
        if path not in files:
            return self.refuse(404, "EntryNotFound")
        content = files[path] + (b" " if commit == COMMITS["v1"] else b"")
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')  # noqa: S324 - as git does
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
        return None

    def describe(self, repo: str, commit: str, files: dict[str, bytes], *, tree: bool) -> None:
        listing = [
            {"type": "file", "path": f, "size": len(b), "oid": "0" * 40} for f, b in files.items()
        ]
        info = {"id": repo, "sha": commit, "siblings": [{"rfilename": f} for f in files],
                "private": False, "downloads": 0, "likes": 0, "tags": []}  # fmt: skip
        text = json.dumps(listing if tree else info).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", "no")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


PROGRAM = """
import json, sys
from pathlib import Path
from negawatt.core.errors import NegawattError
from negawatt.models.hub import fetch, fetch_config
found = []
for model in sys.argv[1:]:
    try:
        if model.startswith("config:"):
            found.append(fetch_config(model.removeprefix("config:")).read_text())
            continue
        folder = fetch(model)
        found.append({str(p.relative_to(folder)): p.read_bytes().decode()
                      for p in folder.rglob("*") if p.is_file()})
    except NegawattError as error:
        found.append([type(error).__name__, error.what, error.fix])
print(json.dumps([found, [m for m in ("torch", "transformers") if m in sys.modules]]))
"""


def run(models: list[str], home: Path, endpoint: str, *, offline: bool = False) -> list[Any]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))
    } | {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": str(int(offline)), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *models],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, engines = json.loads(done.stdout)
    assert engines == []
    answers: list[Any] = found
    return answers


def test_models_are_fetched_refused_and_read_again_offline(hub: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    plain, older, pickled, unknown, revision, gated = run(
        ["org/tiny", "org/tiny@v1", "org/pickled", "org/none", "org/tiny@none", "org/gated"],
        home,
        hub,
    )
    assert set(plain) == SAFE
    assert plain["config.json"] == FILES["config.json"].decode()
    assert older["config.json"] == FILES["config.json"].decode() + " "
    assert set(pickled) == SAFE - {"model.safetensors"} | {"pytorch_model.bin"}
    assert unknown[0] == "NotAModel"
    assert "knows no model org/none" in unknown[1]
    assert revision[:2] == ["NotAModel", "org/tiny@none has no such revision"]
    assert gated[0] == "NotAModel"
    assert "terms" in gated[1]

    closed = "http://127.0.0.1:9"  # nothing listens there
    again, pickled_again, absent = run(
        ["org/tiny", "org/pickled", "org/other"], home, closed, offline=True
    )
    assert again == plain
    assert pickled_again == pickled
    assert absent[:2] == [
        "NotAModel",
        "org/other is not in the local cache and the hub cannot be reached",
    ]


def test_a_hub_that_does_not_answer_is_said(tmp_path: Path) -> None:
    (found,) = run(["org/tiny"], tmp_path / "home", "http://127.0.0.1:9")
    assert found[0] == "NotAModel"
    assert "cannot be reached" in found[1]


def test_a_configuration_is_fetched_without_its_weights(hub: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    plain, older, unknown = run(
        ["config:org/tiny", "config:org/tiny@v1", "config:org/none"], home, hub
    )
    assert plain == FILES["config.json"].decode()
    assert older == plain + " "
    assert unknown[0] == "NotAModel"
    assert "knows no model" in unknown[1]
    assert {file.name for file in home.rglob("snapshots/*/*")} == {"config.json"}

    again, absent = run(
        ["config:org/tiny", "config:org/other"], home, "http://127.0.0.1:9", offline=True
    )
    assert again == plain
    assert "cannot be reached" in absent[1]
