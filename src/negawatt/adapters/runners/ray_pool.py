"""What stands in a Ray cluster for one task: a pool of copies of its command, as many as are asked.

A copy that is taken away gets SIGTERM, and SIGKILL some seconds later: it writes its checkpoint, or
gives its work back, meanwhile. A copy that ends with 0 says that there is no work left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

_GRACE_S = 10.0
_ANSWER_S = 5.0


class Copy:
    """One process, on whichever node Ray found room."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        self._process = subprocess.Popen(
            list(argv),
            env={**os.environ, **environment},
            cwd=folder or None,
            start_new_session=True,
        )

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """End it and everything it started; its exit status."""
        self._tell(signal.SIGTERM)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._tell(signal.SIGKILL)
        return self._process.wait()

    def _tell(self, number: int) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class Pool:
    """The copies of one task.

    Args:
        argv: The command.
        environment: Added to that of Ray's workers.
        folder: Where it runs.
        cpus: What each copy takes of its node.
        gpus: The same.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        cpus: float,
        gpus: float,
    ) -> None:
        import ray

        self._ray: Any = ray
        self._argv, self._environment, self._folder = list(argv), dict(environment), folder
        self._made: Any = ray.remote(Copy).options(num_cpus=cpus, num_gpus=gpus)
        self._copies: list[Any] = []
        self._serial = 0
        self._ended: int | None = None
        self._cancelled = False
        self._wanted = 0

    def scale(self, nodes: int) -> None:
        """Start copies or take some away, until there are so many."""
        self._look()
        if self._ended is not None or self._cancelled:
            return
        self._wanted = nodes or self._wanted
        while len(self._copies) < nodes:
            numbers = {"NEGAWATT_COPY": str(self._serial)}
            self._serial += 1
            self._copies.append(
                self._made.remote(self._argv, {**self._environment, **numbers}, self._folder)
            )
        gone, self._copies = self._copies[nodes:], self._copies[:nodes]
        self._take_away(gone)

    def pause(self) -> None:
        """Take all copies away, and remember how many there were."""
        self.scale(0)

    def resume(self) -> None:
        """Start as many copies as there were."""
        self.scale(self._wanted)

    def cancel(self) -> None:
        """Take all copies away for good."""
        self._look()
        if self._ended is None:
            self._cancelled = True
            gone, self._copies = self._copies, []
            self._take_away(gone)

    def told(self) -> dict[str, Any]:
        """How many copies there are, how many run already, and how it ended."""
        running = self._look()
        return {
            "nodes": len(self._copies),
            "running": running,
            "ended": self._ended,
            "cancelled": self._cancelled,
        }

    def _look(self) -> int:
        """How many copies answer and have not ended; notes how they ended."""
        if not self._copies or self._ended is not None:
            return 0
        asked = [copy.status.remote() for copy in self._copies]
        ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S)
        statuses = [self._ray.get(one) for one in ready]
        failed = [status for status in statuses if status not in {None, 0}]
        if failed or (len(statuses) == len(asked) and all(one == 0 for one in statuses)):
            self._ended = abs(failed[0]) if failed else 0
            gone, self._copies = self._copies, []
            self._take_away(gone)
            return 0
        return sum(status is None for status in statuses)

    def _take_away(self, copies: Sequence[Any]) -> None:
        asked = [copy.stop.remote() for copy in copies]
        if asked:
            self._ray.wait(asked, num_returns=len(asked), timeout=_GRACE_S + _ANSWER_S)
        for copy in copies:
            self._ray.kill(copy)
