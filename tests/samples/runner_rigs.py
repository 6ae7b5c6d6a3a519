"""Runners, each with a way to make what it runs end: at a moment the test chooses."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
from kubernetes_fake import TOKEN, Cluster

from negawatt.core import registry
from negawatt.core.runners import RunState, Task

PATIENCE_S = 20.0


class Rig(Protocol):
    """A runner beside what stands behind it."""

    def runner(self) -> Any:
        """A new one, which knows nothing but the place."""

    def task(self, name: str, **options: Any) -> Task:
        """Something that runs until `end` ends it."""

    def end(self, handle: str, status: int) -> None:
        """Let a task that runs end by itself."""

    def close(self) -> None:
        """Leave nothing behind."""


def until(ready: Callable[[], bool], what: str = "") -> None:
    """Wait for something, not for long."""
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.002)


def reaches(runner: Any, handle: str, state: RunState) -> None:
    until(lambda: runner.standing(handle).state is state, f"{runner.standing(handle)}, not {state}")


#: Waits for a file, and exits with the number in it.
WAITER = """
i=0
while [ $i -lt 2000 ]; do
  if [ -s "$1" ]; then exit $(cat "$1"); fi
  sleep 0.01
  i=$((i+1))
done
exit 99
"""


class ProcessRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[str] = []

    def runner(self) -> Any:
        return registry.build(registry.RUNNERS, "process", self.folder / "tasks")

    def task(self, name: str, **options: Any) -> Task:
        argv = ("sh", "-c", WAITER, "waiter", str(self.folder / f"{name}.end"))
        return Task(name, argv, options={"key": name, **options.pop("options", {})}, **options)

    def end(self, handle: str, status: int) -> None:
        partial = self.folder / "partial"
        partial.write_text(str(status), encoding="ascii")
        partial.replace(self.folder / f"{Path(handle).name}.end")

    def close(self) -> None:
        for place in (self.folder / "tasks").glob("*"):
            runner = self.runner()
            if not runner.standing(str(place)).state.ended:
                for _ in range(2):
                    runner.act(str(place), "cancel")


class FakeSlurmRig:
    """The commands of Slurm, over a file."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        script = Path(__file__).with_name("slurm_fake.py").read_text(encoding="utf-8")
        for command in ("sbatch", "scontrol", "squeue", "scancel", "sacct"):
            path = self.bin / command
            path.write_text(f"#!{sys.executable} -IS\n{script}", encoding="utf-8")
            path.chmod(0o755)
        self.jobs = self.bin / "jobs.json"
        self.jobs.write_text("{}", encoding="utf-8")

    def runner(self) -> Any:
        return registry.build(registry.RUNNERS, "slurm", commands=str(self.bin))

    def task(self, name: str, **options: Any) -> Task:
        given = {"key": f"nw-{name}", **options.pop("options", {})}
        return Task(name, ("work", name), options=given, **options)

    def end(self, handle: str, status: int) -> None:
        jobs = json.loads(self.jobs.read_text(encoding="utf-8"))
        state = "FAILED" if status else "COMPLETED"
        jobs[handle].update(JobState=state, ExitCode=f"{status}:0")
        self.jobs.write_text(json.dumps(jobs), encoding="utf-8")

    def close(self) -> None:
        """Nothing runs."""


class RealSlurmRig:
    """Slurm itself, on this machine alone: munged, slurmctld and slurmd of a folder."""

    CONF = """
ClusterName=rig
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname=localhost CPUs=1 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES OverSubscribe=FORCE:8 MaxTime=INFINITE State=UP
"""

    def __init__(self, folder: Path) -> None:
        needed = ("munged", "slurmctld", "slurmd", "sbatch")
        lacking = [name for name in needed if _which(name) is None]
        if lacking or os.geteuid() != 0:
            pytest.skip(f"no Slurm here ({', '.join(lacking) or 'not root'}): apt install slurmctld "
                        "slurmd slurm-client munge")  # fmt: skip
        # the path of a socket may not be long
        self.folder = Path(tempfile.mkdtemp(prefix="nw-slurm-"))
        self._before = os.environ.get("SLURM_CONF")
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        text = self.CONF.format(folder=self.folder, ports=(free_port(), free_port()))
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        names = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid",
                 "log-file": "munged.log", "seed-file": "munge.seed"}  # fmt: skip
        self._started: list[subprocess.Popen[bytes]] = []
        self._start("munged", "--foreground", "--force",
                    *[f"--{name}={self.folder / file}" for name, file in names.items()])  # fmt: skip
        until((self.folder / "munge.sock").exists, "munged does not come up")
        self._start("slurmctld", "-D", "-i")
        self._start("slurmd", "-D", "-N", "localhost")
        until(self._idle, "the node does not come up")

    def _start(self, *words: str) -> None:
        quiet = subprocess.DEVNULL
        self._started.append(subprocess.Popen(words, stdout=quiet, stderr=quiet))

    def _idle(self) -> bool:
        done = subprocess.run(
            [_which("sinfo") or "", "-h", "-o", "%t"], capture_output=True, text=True, check=False
        )
        time.sleep(0.1)
        return done.stdout.strip() in {"idle", "mix"}

    def runner(self) -> Any:
        return registry.build(registry.RUNNERS, "slurm")

    def task(self, name: str, **options: Any) -> Task:
        argv = ("sh", "-c", WAITER, "waiter", str(self.folder / "end"))
        output = str(self.folder / "out")
        given = {"key": f"nw-{name}", "output": output, **options.pop("options", {})}
        return Task(name, argv, options=given, **options)

    def end(self, handle: str, status: int) -> None:
        (self.folder / "partial").write_text(str(status), encoding="ascii")
        (self.folder / "partial").replace(self.folder / "end")

    def close(self) -> None:
        for state in ("RUNNING", "SUSPENDED"):
            words = [_which("scancel") or "", f"--state={state}"]
            subprocess.run(words, check=False, capture_output=True)
        time.sleep(0.3)
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = self._before
        shutil.rmtree(self.folder, ignore_errors=True)


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class FakeKubernetesRig:
    """Jobs of an API server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster()

    def runner(self) -> Any:
        place = {"server": self.cluster.address, "namespace": "work", "token": TOKEN}
        return registry.build(registry.RUNNERS, "kubernetes", **place)

    def task(self, name: str, **options: Any) -> Task:
        given = {"key": f"nw-{name}", "image": "busybox", **options.pop("options", {})}
        return Task(name, ("work", name), options=given, **options)

    def end(self, handle: str, status: int) -> None:
        self.cluster.end(handle, status)

    def close(self) -> None:
        self.cluster.close()


class RayRig:
    """Ray itself: a cluster of this machine, kept for all tests because it takes seconds to start."""

    _cluster: ClassVar[Any] = None
    _numbers: ClassVar[Iterator[int]] = count()

    def __init__(self, folder: Path) -> None:
        ray: Any = pytest.importorskip("ray", reason="pip install 'negawatt[ray]'")
        if RayRig._cluster is None:
            os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
            ray.init(
                num_cpus=4, num_gpus=0, namespace="rig", include_dashboard=False,
                log_to_driver=False, configure_logging=False,
                object_store_memory=80_000_000, _node_ip_address="127.0.0.1",
            )  # fmt: skip
            RayRig._cluster = ray
            atexit.register(ray.shutdown)
        self.folder = folder
        self._number = next(RayRig._numbers)

    def runner(self) -> Any:
        return registry.build(registry.RUNNERS, "ray", namespace="rig")

    def task(self, name: str, **options: Any) -> Task:
        argv = ("sh", "-c", WAITER, "waiter", str(self.folder / "end"))
        given = {"key": f"{name}-{self._number}", **options.pop("options", {})}
        return Task(name, argv, options=given, **options)

    def end(self, handle: str, status: int) -> None:
        (self.folder / "partial").write_text(str(status), encoding="ascii")
        (self.folder / "partial").replace(self.folder / "end")

    def close(self) -> None:
        ray = RayRig._cluster
        for named in ray.util.list_named_actors():
            pool = ray.get_actor(named)
            ray.get(pool.cancel.remote())
            ray.kill(pool)
