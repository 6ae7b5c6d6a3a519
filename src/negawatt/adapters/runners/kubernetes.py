"""Kubernetes: Jobs that are suspended and go on, over the API server's HTTP.

A suspended Job loses its pods: what runs in them gets SIGTERM, and begins again from its
checkpoint when the Job goes on. `scale` changes how many pods work at a time, which suits Jobs
whose pods take their work from a common queue. `ceiling` bounds what KEDA may scale to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from negawatt.adapters.runners.kubernetes_api import Api, connect
from negawatt.core.errors import RunnerUnavailable, UsageError
from negawatt.core.runners import Act, RunState, Standing, Task

_CANCELLED = "negawatt/cancelled"
_CEILING = "negawatt/max-replica-count"
_PAUSED = "autoscaling.keda.sh/paused-replicas"
_NAME = re.compile(r"[^a-z0-9-]+")


class KubernetesRunner:
    """Runs tasks as Jobs.

    Options of a task: `image` (needed), `key` (the Job's name; a second task of the same key is
    the first one), `cpu`, `memory` and `gpu` (what each pod asks for), `service_account`.

    Args:
        server: The API server, such as https://10.0.0.1:6443; that of the cluster we run in, or of
            the kubeconfig, when empty.
        namespace: Where Jobs live; the one of the connection when empty.
        token: A bearer token; that of the service account, or of the kubeconfig, when empty.
        ca: A file of the authority that signs the server.
        kubeconfig: A file; `KUBECONFIG` or ~/.kube/config when empty.
    """

    name = "kubernetes"
    can = ("pause", "scale")

    def __init__(
        self,
        server: str = "",
        namespace: str = "",
        token: str = "",
        ca: str = "",
        kubeconfig: str = "",
    ) -> None:
        self._given = (server, namespace, token, ca, kubeconfig)
        self._connected: Api | None = None

    @property
    def _api(self) -> Api:
        if self._connected is None:
            self._connected = connect(*self._given)
        return self._connected

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._api.namespace}/jobs"

    def submit(self, task: Task) -> str:
        """Make its Job, unless one of its key is there."""
        if task.begin is not None:
            raise RunnerUnavailable(
                f"{task.name}: Kubernetes starts a Job at once",
                fix="let `negawatt run` wait for you",
            )
        name = _NAME.sub("-", task.options.get("key", task.name).lower()).strip("-")[:63]
        status, told = self._api.ask("POST", self._jobs, _manifest(task, name))
        if status == 409 and "key" in task.options:  # AlreadyExists
            return name
        if status not in (200, 201):
            raise _refused(f"the Job {name}", status, told)
        return name

    def standing(self, handle: str) -> Standing:
        """Read the Job's conditions and counts."""
        job = self._job(handle)
        if job is None:
            return Standing(RunState.LOST, detail=f"there is no Job {handle}")
        spec, status = job["spec"], job.get("status", {})
        nodes = int(spec.get("parallelism", 1))
        for condition in status.get("conditions", ()):
            if condition["status"] == "True" and condition["type"] in {"Complete", "Failed"}:
                if condition["type"] == "Complete":
                    return Standing(RunState.DONE, 0, "complete")
                why = condition.get("reason", "failed")
                return Standing(RunState.FAILED, self._exit_status(handle), why)
        if _CANCELLED in job["metadata"].get("annotations", {}):
            return Standing(RunState.CANCELLED, detail="suspended for good")
        if spec.get("suspend"):
            return Standing(RunState.PAUSED, detail=f"suspended, {nodes} nodes when it goes on")
        if status.get("active", 0):
            return Standing(RunState.RUNNING, detail=f"{nodes} node{'s' if nodes > 1 else ''}")
        return Standing(RunState.WAITING, detail="no pod runs yet")

    def act(self, handle: str, act: Act) -> None:
        """Suspend it, let it go on, or suspend it for good: a Job that is deleted tells nothing."""
        now = self.standing(handle)
        if now.state is RunState.LOST:
            raise RunnerUnavailable(now.detail, fix="submit it again")
        if now.state.ended:
            return
        if act is Act.CANCEL:
            gone = {"annotations": {_CANCELLED: "true"}}
            self._patch(handle, {"metadata": gone, "spec": {"suspend": True}})
        else:
            self._patch(handle, {"spec": {"suspend": act is Act.PAUSE}})

    def scale(self, handle: str, nodes: int) -> None:
        """So many pods at a time from now on; 0 suspends the Job."""
        if self._job(handle) is None:
            raise RunnerUnavailable(f"there is no Job {handle}", fix="submit it again")
        spec = {"suspend": True} if nodes == 0 else {"suspend": False, "parallelism": nodes}
        self._patch(handle, {"spec": spec})

    def ceiling(self, scaled_object: str, replicas: int | None) -> None:
        """Bound what KEDA may scale to; None gives back the bound that was there before.

        Args:
            scaled_object: Its name.
            replicas: At most so many; 0 keeps it at none.

        Raises:
            RunnerUnavailable: there is no such object, or it cannot be changed.
        """
        space = self._api.namespace
        path = f"/apis/keda.sh/v1alpha1/namespaces/{space}/scaledobjects/{scaled_object}"
        status, told = self._api.ask("GET", path)
        if status != 200:
            raise _refused(f"the ScaledObject {scaled_object}", status, told)
        notes: Mapping[str, str] = told["metadata"].get("annotations") or {}
        before = notes.get(_CEILING, str(told["spec"].get("maxReplicaCount", "")))
        change: dict[str, Any]
        if replicas is None:
            change = {
                "metadata": {"annotations": {_CEILING: None, _PAUSED: None}},
                "spec": {"maxReplicaCount": int(before) if before else None},
            }
        elif replicas == 0:
            change = {"metadata": {"annotations": {_CEILING: before, _PAUSED: "0"}}}
        else:
            change = {
                "metadata": {"annotations": {_CEILING: before, _PAUSED: None}},
                "spec": {"maxReplicaCount": replicas},
            }
        status, told = self._api.ask("PATCH", path, change)
        if status != 200:
            raise _refused(f"the ScaledObject {scaled_object}", status, told)

    def _job(self, handle: str) -> dict[str, Any] | None:
        status, told = self._api.ask("GET", f"{self._jobs}/{handle}")
        if status == 404:
            return None
        if status != 200:
            raise _refused(f"the Job {handle}", status, told)
        job: dict[str, Any] = told
        return job

    def _patch(self, handle: str, change: Mapping[str, Any]) -> None:
        status, told = self._api.ask("PATCH", f"{self._jobs}/{handle}", change)
        if status != 200:
            raise _refused(f"the Job {handle}", status, told)

    def _exit_status(self, handle: str) -> int | None:
        """Of the pod that failed, while it is kept."""
        path = f"/api/v1/namespaces/{self._api.namespace}/pods"
        status, told = self._api.ask("GET", f"{path}?labelSelector=job-name%3D{handle}")
        pods: Sequence[Any] = told.get("items", ()) if status == 200 else ()
        for pod in pods:
            for container in pod.get("status", {}).get("containerStatuses", ()):
                ended = container.get("state", {}).get("terminated")
                if ended and ended.get("exitCode"):
                    return int(ended["exitCode"])
        return None


def _manifest(task: Task, name: str) -> dict[str, Any]:
    options = task.options
    if "image" not in options:
        raise UsageError(
            f"{task.name}: Kubernetes needs an image to run it in",
            fix="name one: --option image=python:3.12",
        )
    asked = {
        kind: options[word]
        for word, kind in (("cpu", "cpu"), ("memory", "memory"), ("gpu", "nvidia.com/gpu"))
        if word in options
    }
    container: dict[str, Any] = {
        "name": "work",
        "image": options["image"],
        "command": list(task.argv),
        "env": [{"name": key, "value": value} for key, value in task.environment.items()],
        "resources": {"requests": asked, "limits": asked} if asked else {},
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
    if "service_account" in options:
        pod["serviceAccountName"] = options["service_account"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "negawatt"}},
        "spec": {
            "suspend": False,
            "parallelism": task.nodes,
            "backoffLimit": 0,  # a failure is negawatt's to see, and not to be tried again unseen
            "template": {"spec": pod},
        },
    }


def _refused(what: str, status: int, told: Any) -> RunnerUnavailable:
    message = told.get("message", "") if isinstance(told, dict) else ""
    fix = {
        401: "give a token that is valid (token=…, or log in again)",
        403: "ask for the rights to get, create and patch Jobs in that namespace",
        404: "check the name and the namespace",
    }.get(status, "try the same with kubectl")
    return RunnerUnavailable(f"{what}: the API server answers {status}: {message}", fix=fix)
