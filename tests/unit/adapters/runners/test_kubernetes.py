from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_fake import TOKEN, Cluster

from negawatt.adapters.runners.kubernetes import KubernetesRunner
from negawatt.core.errors import RunnerUnavailable, UsageError
from negawatt.core.runners import Task


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def runner(cluster: Cluster, token: str = TOKEN) -> KubernetesRunner:
    return KubernetesRunner(cluster.address, "work", token)


def test_a_task_becomes_a_job_that_is_not_tried_again_unseen(cluster: Cluster) -> None:
    options = {"key": "My_Job.1", "image": "python:3.12", "cpu": "2", "gpu": "1"}
    task = Task("train", ("python", "t.py"), environment={"A": "b"}, nodes=3, options=options)
    assert runner(cluster).submit(task) == "my-job-1"
    spec = cluster.jobs["my-job-1"]["spec"]
    assert (spec["parallelism"], spec["backoffLimit"], spec["suspend"]) == (3, 0, False)
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["python", "t.py"]
    assert container["env"] == [{"name": "A", "value": "b"}]
    assert container["resources"]["limits"] == {"cpu": "2", "nvidia.com/gpu": "1"}


def test_without_an_image_there_is_nothing_to_run(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="image"):
        runner(cluster).submit(Task("train", ("x",)))


def test_the_ceiling_of_keda_is_lowered_and_given_back(cluster: Cluster) -> None:
    cluster.scaled["web"] = {"metadata": {"name": "web"}, "spec": {"maxReplicaCount": 20}}
    asked = runner(cluster)
    spec, notes = lambda: cluster.scaled["web"]["spec"], lambda: cluster.scaled["web"]["metadata"]
    asked.ceiling("web", 5)
    assert spec()["maxReplicaCount"] == 5
    asked.ceiling("web", 2)
    assert spec()["maxReplicaCount"] == 2
    asked.ceiling("web", 0)
    assert notes()["annotations"]["autoscaling.keda.sh/paused-replicas"] == "0"
    asked.ceiling("web", None)
    assert spec()["maxReplicaCount"] == 20
    assert notes()["annotations"] == {}


def test_a_ceiling_that_was_not_there_is_taken_away_again(cluster: Cluster) -> None:
    cluster.scaled["web"] = {"metadata": {"name": "web"}, "spec": {}}
    asked = runner(cluster)
    asked.ceiling("web", 5)
    asked.ceiling("web", None)
    assert cluster.scaled["web"]["spec"] == {}


def test_there_is_no_such_scaled_object(cluster: Cluster) -> None:
    with pytest.raises(RunnerUnavailable, match="404"):
        runner(cluster).ceiling("web", 1)


def test_a_wrong_token_is_said_to_be_one(cluster: Cluster) -> None:
    with pytest.raises(RunnerUnavailable, match="401") as found:
        runner(cluster, "wrong").submit(Task("a", ("x",), options={"image": "i"}))
    assert "token" in found.value.fix


def test_nobody_answers() -> None:
    with pytest.raises(RunnerUnavailable, match="does not answer"):
        KubernetesRunner("http://127.0.0.1:1").standing("x")


def config(cluster: Cluster, user: dict[str, Any]) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "work"}}
        ],
        "clusters": [{"name": "c", "cluster": {"server": cluster.address}}],
        "users": [{"name": "u", "user": user}],
    }


def test_a_kubeconfig_tells_where_and_who(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(config(cluster, {"token": TOKEN})), encoding="utf-8")
    made = KubernetesRunner(kubeconfig=str(path))
    assert made.submit(Task("a", ("x",), options={"image": "i", "key": "a"})) == "a"


def test_a_kubeconfig_in_yaml(cluster: Cluster, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    path, token = tmp_path / "config", tmp_path / "token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    path.write_text(yaml.safe_dump(config(cluster, {"tokenFile": str(token)})), encoding="utf-8")
    assert KubernetesRunner(kubeconfig=str(path)).submit(Task("a", ("x",), options={"image": "i"}))


@pytest.mark.parametrize(
    ("text", "what"),
    [('{"contexts": []}', "names no cluster"), (None, "no kubeconfig")],
)
def test_a_kubeconfig_that_tells_nothing(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(RunnerUnavailable, match=what):
        KubernetesRunner(kubeconfig=str(path)).standing("a")


def test_a_login_program_is_not_run(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "config"
    user = {"exec": {"command": "aws"}}
    path.write_text(json.dumps(config(cluster, user)), encoding="utf-8")
    with pytest.raises(RunnerUnavailable, match="neither a token nor"):
        KubernetesRunner(kubeconfig=str(path)).standing("a")
