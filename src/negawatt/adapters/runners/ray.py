"""Ray as the elastic engine: copies of a command, more of them in clean hours and fewer in others.

A task is a detached actor with a name, which outlives whoever asked for it. Pausing takes all copies
away and frees what they held; going on starts them again. So a copy must be able to begin where
another ended: from a checkpoint, or with the next piece of a common queue.
"""

from __future__ import annotations

from typing import Any

from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, RunState, Standing, Task

_PATIENCE_S = 60.0


class RayRunner:
    """Runs tasks in a Ray cluster, where negawatt must be installed too.

    Options of a task: `key` (the actor's name; a second task of the same key is the first one),
    `cpus` and `gpus` (what each copy takes, 1 and 0).

    Args:
        address: Of the cluster: `auto` for one that this machine belongs to, `ray://HOST:PORT`, or
            `local` for one of this process alone.
        namespace: Where actors have their names.
    """

    name = "ray"
    can = ("pause", "scale")

    def __init__(self, address: str = "auto", namespace: str = "negawatt") -> None:
        import ray

        self._ray: Any = ray
        self._address, self._namespace = address, namespace

    def _join(self) -> None:
        if self._ray.is_initialized():
            return
        try:
            self._ray.init(
                address=self._address,
                namespace=self._namespace,
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise RunnerUnavailable(
                f"no Ray cluster at {self._address}: {error}",
                fix="start one (ray start --head), or name it: --runner ray?address=ray://HOST:10001",
            ) from error

    def _pool(self, handle: str) -> Any:
        self._join()
        try:
            return self._ray.get_actor(handle, namespace=self._namespace)
        except ValueError:
            return None

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference, timeout=_PATIENCE_S)
        except self._ray.exceptions.RayError as error:
            raise RunnerUnavailable(
                f"Ray does not answer: {type(error).__name__}", fix="see `ray status`"
            ) from error

    def submit(self, task: Task) -> str:
        """Make its pool and the first copies, unless one of its key is there."""
        from negawatt.adapters.runners.ray_pool import Pool

        if task.begin is not None:
            raise RunnerUnavailable(
                f"{task.name}: Ray starts a task at once", fix="let `negawatt run` wait for you"
            )
        self._join()
        key = task.options.get("key", task.name)
        known = self._pool(key)
        pool = known or self._ray.remote(Pool).options(
            name=key,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
        ).remote(
            list(task.argv),
            dict(task.environment),
            str(task.folder or ""),
            float(task.options.get("cpus", 1)),
            float(task.options.get("gpus", 0)),
        )
        if known is None:
            self._get(pool.scale.remote(task.nodes))
        return key

    def standing(self, handle: str) -> Standing:
        """Ask the pool."""
        pool = self._pool(handle)
        if pool is None:
            return Standing(RunState.LOST, detail=f"Ray knows no pool {handle}")
        told = self._get(pool.told.remote())
        if told["cancelled"]:
            return Standing(RunState.CANCELLED, detail="all copies were taken away")
        if told["ended"] is not None:
            state = RunState.FAILED if told["ended"] else RunState.DONE
            return Standing(state, int(told["ended"]))
        nodes = told["nodes"]
        shown = f"{nodes} node{'s' if nodes != 1 else ''}"
        if not nodes:
            return Standing(RunState.PAUSED, detail=shown)
        return Standing(RunState.RUNNING if told["running"] else RunState.WAITING, detail=shown)

    def act(self, handle: str, act: Act) -> None:
        """Take all copies away, start as many again, or take them away for good."""
        pool, now = self._pool(handle), self.standing(handle)
        if pool is None:
            raise RunnerUnavailable(now.detail, fix="submit it again")
        if now.state.ended:
            return
        if act is Act.CANCEL:
            self._get(pool.cancel.remote())
        elif act is Act.PAUSE:
            self._get(pool.pause.remote())
        elif now.state is RunState.PAUSED:
            self._get(pool.resume.remote())

    def scale(self, handle: str, nodes: int) -> None:
        """So many copies from now on; 0 pauses the task."""
        pool = self._pool(handle)
        if pool is None:
            raise RunnerUnavailable(f"Ray knows no pool {handle}", fix="submit it again")
        self._get((pool.pause if nodes == 0 else pool.scale).remote(*([nodes] if nodes else [])))
