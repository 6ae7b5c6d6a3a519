"""The API server of a cluster: where it is, who we are to it, and one request at a time."""

from __future__ import annotations

import base64
import json
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negawatt.core.errors import RunnerUnavailable

_INSIDE = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Api:
    """A connection.

    Args:
        server: Such as https://10.0.0.1:6443.
        namespace: Where things live.
        token: A bearer token, or a file that holds the present one, which the cluster renews.
        tls: What checks the server, and shows who we are; None for plain HTTP.
    """

    server: str
    namespace: str
    token: str | Path = ""
    tls: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """One request; its status, and what came back as JSON.

        Raises:
            RunnerUnavailable: there is no answer, or one that is no JSON.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        token = self.token
        if isinstance(token, Path):
            token = token.read_text(encoding="ascii").strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # `connect` lets http and https pass only
            f"{self.server}{path}", data=data, headers=headers, method=method
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            *([urllib.request.HTTPSHandler(context=self.tls)] if self.tls else []),
        )
        try:
            with opener.open(request, timeout=_PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _json(error.read())
        except (OSError, ValueError) as error:
            raise RunnerUnavailable(
                f"the API server {self.server} does not answer: {getattr(error, 'reason', error)}",
                fix="see whether `kubectl get jobs` works here",
            ) from error


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace")[:200]}


def connect(server: str, namespace: str, token: str, ca: str, kubeconfig: str) -> Api:
    """The connection that is meant: as given, of the cluster we run in, or of a kubeconfig.

    Raises:
        RunnerUnavailable: there is none of these.
    """
    if server:
        if not server.startswith(("http://", "https://")):
            raise RunnerUnavailable(
                f"{server} is no address of an API server", fix="write https://HOST:PORT"
            )
        tls = ssl.create_default_context(cafile=ca or None) if server[:5] == "https" else None
        return Api(server.rstrip("/"), namespace or "default", token, tls)
    if not kubeconfig and (host := os.environ.get("KUBERNETES_SERVICE_HOST")):
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        space = (_INSIDE / "namespace").read_text(encoding="ascii").strip()
        tls = ssl.create_default_context(cafile=str(_INSIDE / "ca.crt"))
        shown = f"[{host}]" if ":" in host else host
        return Api(f"https://{shown}:{port}", namespace or space, _INSIDE / "token", tls)
    named = kubeconfig or os.environ.get("KUBECONFIG", "") or str(Path.home() / ".kube" / "config")
    return _of_file(Path(named.split(os.pathsep)[0]), namespace)


def _of_file(path: Path, namespace: str) -> Api:
    """The current context of a kubeconfig; JSON always, YAML where PyYAML is installed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunnerUnavailable(
            f"no cluster is named: there is no kubeconfig at {path}",
            fix="write kubernetes?server=https://HOST:PORT&token=…, or log in to a cluster",
        ) from error
    try:
        config = json.loads(text)
    except ValueError:
        config = _yaml(text, path)
    try:
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        server = str(cluster["server"])
    except (KeyError, TypeError, StopIteration) as error:
        raise RunnerUnavailable(
            f"{path} names no cluster and user for its current context",
            fix="choose one: kubectl config use-context NAME",
        ) from error
    if not {"token", "tokenFile", "client-certificate", "client-certificate-data"} & user.keys():
        raise RunnerUnavailable(
            f"the user of {path} has neither a token nor a certificate",
            fix="negawatt does not run login programs: give token=$(kubectl create token NAME)",
        )
    space = namespace or context.get("namespace", "default")
    token = Path(user["tokenFile"]) if "tokenFile" in user else str(user.get("token", ""))
    return Api(server.rstrip("/"), space, token, _tls(server, cluster, user))


def _named(rows: Any, name: str) -> Any:
    return next(row for row in rows if row["name"] == name)


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise RunnerUnavailable(
            f"{path} is YAML, and nothing here reads it",
            fix="pip install pyyaml, or: kubectl config view --raw -o json > config.json",
        ) from error
    return yaml.safe_load(text)


def _tls(server: str, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | None:
    if not server.startswith("https"):
        return None
    data = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(data).decode() if data else None,
    )
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        with tempfile.TemporaryDirectory() as folder:  # the library reads files alone
            files = [Path(folder) / name for name in ("crt", "key")]
            for file, key in zip(files, ("certificate", "key"), strict=True):
                file.touch(0o600)
                file.write_bytes(base64.b64decode(user[f"client-{key}-data"]))
            context.load_cert_chain(str(files[0]), str(files[1]))
    return context
