"""An API server that knows Jobs and ScaledObjects: what the runner asks, answered as Kubernetes does.

Merge patches (RFC 7386), Status objects for errors, names that are checked, a template that cannot
be changed, pods that go when a Job is suspended. Time passes only when a test lets it.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
TOKEN = "let-me-in"  # noqa: S105  # of a fake


class Cluster:
    """One namespace of a cluster."""

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}
        self.pods: dict[str, Any] = {}
        self.scaled: dict[str, Any] = {}
        self.asked: list[str] = []
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                cluster.asked.append(f"{self.command} {self.path}")
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, told = _status(401, "Unauthorized", "Unauthorized")
                elif self.command == "PATCH" and (
                    self.headers.get("Content-Type") != "application/merge-patch+json"
                ):
                    status, told = _status(415, "UnsupportedMediaType", "wrong patch")
                else:
                    status, told = cluster.answer(self.command, self.path, body)
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = handle_any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=lambda: self.server.serve_forever(0.005), daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        host, port = self.server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        jobs = "/apis/batch/v1/namespaces/work/jobs"
        objects = "/apis/keda.sh/v1alpha1/namespaces/work/scaledobjects/"
        if method == "POST" and path == jobs:
            return self._create(body)
        if path.startswith(f"{jobs}/"):
            return self._one(self.jobs, method, path.rpartition("/")[2], body)
        if path.startswith(objects):
            return self._one(self.scaled, method, path.rpartition("/")[2], body)
        if method == "GET" and path == "/api/v1/namespaces/work/pods":
            name = query.partition("job-name%3D")[2]
            return 200, {"kind": "PodList", "items": self.pods.get(name, [])}
        return _status(403, "Forbidden", f"cannot {method} {path}")

    def _create(self, job: Any) -> tuple[int, Any]:
        name = job["metadata"]["name"]
        if NAME.fullmatch(name) is None or len(name) > 63:
            return _status(422, "Invalid", f"metadata.name: Invalid value: {name!r}")
        spec = job["spec"]["template"]["spec"]
        if spec.get("restartPolicy") not in {"Never", "OnFailure"}:
            return _status(422, "Invalid", "spec.template.spec.restartPolicy: Required value")
        if not all(container.get("image") for container in spec["containers"]):
            return _status(422, "Invalid", "spec.template.spec.containers[0].image: Required value")
        if name in self.jobs:
            return _status(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        self.jobs[name] = {**job, "status": {}}
        self._settle(self.jobs[name])
        return 201, self.jobs[name]

    def _one(self, kind: dict[str, Any], method: str, name: str, body: Any) -> tuple[int, Any]:
        if name not in kind:
            return _status(404, "NotFound", f'"{name}" not found')
        if method == "PATCH":
            if "template" in body.get("spec", {}):
                return _status(422, "Invalid", "spec.template: field is immutable")
            kind[name] = merged(kind[name], body)
            if kind is self.jobs:
                self._settle(kind[name])
        return 200, kind[name]

    def _settle(self, job: Any) -> None:
        """What the Job controller does: pods go when it is suspended and come when it is not."""
        status, spec = job["status"], job["spec"]
        if any(one["type"] in {"Complete", "Failed"} for one in status.get("conditions", ())):
            return
        status["active"] = 0 if spec.get("suspend") else spec.get("parallelism", 1)

    def end(self, name: str, code: int) -> None:
        """Let the pods of a Job end."""
        kind = "Failed" if code else "Complete"
        condition = {"type": kind, "status": "True", "reason": "BackoffLimitExceeded"}
        self.jobs[name]["status"] = {"active": 0, "conditions": [condition]}
        ended = {"state": {"terminated": {"exitCode": code}}}
        self.pods[name] = [{"status": {"containerStatuses": [ended]}}]


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


def _status(code: int, reason: str, message: str) -> tuple[int, Any]:
    return code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message,
                  "code": code}  # fmt: skip
