"""Share a machine's reading among processes by the CPU time they used meanwhile.

Linux accounts for CPU time twice: for each process (`/proc/PID/stat`, in ticks of a hundredth of a
second), and for the machine (`/proc/stat`). What the machine was busy with beyond the processes
that are known is unattributed: other users, the kernel, processes that ended in between.

>>> before = read_cpu()
>>> total = sum(range(200_000))
>>> use = used(before, read_cpu())
>>> use.busy_s >= 0
True
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from negawatt.core.errors import MeterUnavailable
from negawatt.core.estimate import Estimate
from negawatt.meters.attribute.account import (
    Account,
    NotConserved,
    Rest,
    Use,
    fitting,
    not_negative,
)
from negawatt.meters.attribute.divide import divide

#: By how much two accounts of CPU time may differ: kernels without exact accounting charge the
#: machine whole ticks, and processes what their scheduler clock says. [1]
TOLERANCE = 0.05
_TICKS_OFF = 2  # user and system time are rounded down to a tick each
_REST_UNKNOWN = "power at rest is not known: it is in the shares, by the same key"
_FIX = "take both snapshots of the same machine, or look for a container that hides part of it"


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process; a number that is used again is another one.

    Args:
        pid: Its number.
        started: When it was started, in ticks since the machine was.
        name: What it calls itself.
    """

    pid: int
    started: int
    name: str

    @property
    def label(self) -> str:
        """`name:pid`."""
        return f"{self.name}:{self.pid}"


@dataclass(frozen=True, slots=True)
class CpuSnapshot:
    """CPU time so far, of the machine and of processes.

    Args:
        busy_s: Of all CPUs, since the machine was started. [s]
        idle_s: Of all CPUs, waiting for disks included. [s]
        processes: User and system time of each, its children not included. [s]
        tick_s: How finely time is told. [s]
    """

    busy_s: float
    idle_s: float
    processes: Mapping[Process, float]
    tick_s: float


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU time between two snapshots.

    Args:
        busy_s: Of the machine. [s]
        idle_s: Of the machine. [s]
        processes: Of each process that is still there, by label. [s]
        ended: Labels of those that are gone; what they used since is in `busy_s` alone.
        tick_s: How finely time is told. [s]

    Raises:
        UsageError: a time is negative or not a number.
    """

    busy_s: float
    idle_s: float
    processes: Mapping[str, float]
    ended: tuple[str, ...] = ()
    tick_s: float = 0.01

    def __post_init__(self) -> None:
        not_negative("CPU time", self.busy_s, self.idle_s, self.tick_s, *self.processes.values())

    @property
    def blur_s(self) -> float:
        """By how much one process may be off. [s]"""
        return _TICKS_OFF * self.tick_s

    def slack_s(self, parts: int, *, tolerance: float = TOLERANCE) -> float:
        """By how much the sum of so many parts and the machine may differ. [s]"""
        return self.blur_s * (parts + 1) + tolerance * self.busy_s


def used(before: CpuSnapshot, after: CpuSnapshot) -> CpuUse:
    """What was used between two snapshots.

    A process that was started in between counts in full; one that ended is named in `ended`.

    Raises:
        NotConserved: a counter ran backwards by more than a tick: the machine was restarted, or
            the snapshots are in the wrong order.

    >>> shell, job = Process(7, 100, "sh"), Process(9, 900, "job")
    >>> use = used(
    ...     CpuSnapshot(10, 90, {shell: 1.0}, 0.01),
    ...     CpuSnapshot(14, 96, {shell: 1.5, job: 3.0}, 0.01),
    ... )
    >>> dict(use.processes), use.busy_s, use.idle_s
    ({'sh:7': 0.5, 'job:9': 3.0}, 4, 6)
    """

    def since(then: float, now: float, what: str) -> float:
        if now < then - _TICKS_OFF * after.tick_s:
            raise NotConserved(
                f"{what} went from {then:.6g} s to {now:.6g} s",
                fix="take the snapshots in their order, and again after a restart",
            )
        return max(0.0, now - then)

    return CpuUse(
        busy_s=since(before.busy_s, after.busy_s, "CPU time of the machine"),
        idle_s=max(0.0, after.idle_s - before.idle_s),  # the kernel says that it may fall
        processes={
            process.label: since(before.processes.get(process, 0.0), now, process.label)
            for process, now in after.processes.items()
        },
        ended=tuple(p.label for p in before.processes if p not in after.processes),
        tick_s=after.tick_s,
    )


def by_cpu_time(
    device: Estimate, use: CpuUse, *, rest: Rest | None, tolerance: float = TOLERANCE
) -> Account:
    """Share a reading of the CPU or the machine among processes.

    Args:
        device: What was read between the snapshots. [J]
        use: Who used the CPUs meanwhile.
        rest: What the device would have drawn anyway, and who bears it. None says that this is not
            known; it is then in the shares, and the account's flags say so.
        tolerance: By how much processes may exceed the machine, whose clock is coarser. [1]

    Raises:
        NotConserved: the processes used more than the machine, or rest is more than the reading.

    >>> reading = Estimate.exact(50.0, unit="J", source="rapl:package-0", boundary="package:0")
    >>> still = Rest(Estimate.exact(10.0, unit="J", source="rapl:package-0"))
    >>> use = CpuUse(4.0, 6.0, {"train:9": 3.0, "shell:7": 0.5}, tick_s=0.0)
    >>> account = by_cpu_time(reading, use, rest=still)
    >>> account.parts["train:9"].value, account.unattributed.value, account.idle.value
    (30.0, 5.0, 10.0)
    """
    summed = math.fsum(use.processes.values())
    flags = fitting(
        summed,
        use.busy_s,
        slack=use.slack_s(len(use.processes), tolerance=tolerance),
        what="CPU time of processes, of the machine",
        fix=_FIX,
    )
    if use.ended:
        flags += (f"ended meanwhile, and unattributed since: {', '.join(use.ended)}",)
    if rest is None:
        flags += (_REST_UNKNOWN,)
    shares = Use(
        use.processes, unattributed=max(0.0, use.busy_s - summed), blur=_blur(use.blur_s, summed)
    )
    return divide(device, shares, rule="CPU time", rest=rest, flags=flags)


def _blur(blur_s: float, summed: float) -> float:
    return blur_s if summed > 0 else 0.0


def read_cpu(pids: Iterable[int] | None = None, *, root: Path = Path("/")) -> CpuSnapshot:
    """Read CPU time so far.

    Args:
        pids: Which processes; every one that can be seen when None. One that is not there is left
            out.
        root: Where `proc` is found; another folder in tests.

    Raises:
        MeterUnavailable: there is no Linux `/proc` that tells it.
    """
    tick_s = _tick_s()
    try:
        first = (root / "proc/stat").read_text(encoding="ascii").splitlines()[0].split()
        # user nice system idle iowait irq softirq steal; guests are in user, steal is others' time
        user, nice, system, idle, waiting, irq, soft = (int(word) for word in first[1:8])
    except (OSError, ValueError, IndexError) as error:
        raise MeterUnavailable(
            f"CPU time of the machine cannot be read: {error}",
            fix="processes are told apart on Linux; elsewhere use a window in each process",
        ) from error
    return CpuSnapshot(
        busy_s=(user + nice + system + irq + soft) * tick_s,
        idle_s=(idle + waiting) * tick_s,
        processes=dict(_processes(root, pids, tick_s)),
        tick_s=tick_s,
    )


def _tick_s() -> float:
    try:
        return 1.0 / os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, ValueError):  # not on Windows; there is no /proc either
        return 0.01


def _processes(
    root: Path, pids: Iterable[int] | None, tick_s: float
) -> Iterator[tuple[Process, float]]:
    folder = root / "proc"
    listed = (int(p.name) for p in folder.iterdir() if p.name.isdigit()) if pids is None else pids
    for pid in listed:
        try:
            text = (folder / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended, or is hidden from us
            continue
        name, _, fields = text.partition("(")[2].rpartition(")")  # a name may hold brackets
        words = fields.split()
        # fields 14, 15 and 22 of proc_pid_stat(5); the third is the first after the name
        cpu_s = (int(words[11]) + int(words[12])) * tick_s
        yield Process(pid, int(words[19]), name), cpu_s
