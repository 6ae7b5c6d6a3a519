"""Share a machine's reading among containers: CPU time of Linux control groups, version 2.

A group's account holds everything that ever ran in it, so processes that ended in between are in it
too, which the accounts of single processes lose.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Estimate
from negawatt.meters.attribute.account import Account, Rest, Use, fitting, not_negative
from negawatt.meters.attribute.divide import divide
from negawatt.meters.attribute.processes import TOLERANCE, CpuUse

_S_PER_US = 1e-6
_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")  # the second where version 1 is mounted too


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """One control group now.

    Args:
        cpu_s: CPU time of everything that ever ran in it, groups inside included. [s]
        pids: Processes that are in it now, those of groups inside not included.
    """

    cpu_s: float
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupUse:
    """CPU time of one container between two snapshots.

    Args:
        cpu_s: Of everything in it. [s]
        members: Labels of the processes in it that are known one by one.

    Raises:
        UsageError: the time is negative or not a number.
    """

    cpu_s: float
    members: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        not_negative("CPU time of a container", self.cpu_s)


def read_groups(groups: Iterable[str], *, root: Path = Path("/")) -> dict[str, GroupSnapshot]:
    """Read CPU time so far of control groups.

    Args:
        groups: Paths below the mount: "system.slice/docker-1f2e.scope"; "" is all of it.
        root: Where `sys` is found; another folder in tests.

    Raises:
        MeterUnavailable: a group is not there, or is one of version 1.
    """
    return {group: _read_group(group, root) for group in groups}


def _read_group(group: str, root: Path) -> GroupSnapshot:
    folders = [root / mount / group.strip("/") for mount in _MOUNTS]
    folder = next((f for f in folders if (f / "cpu.stat").is_file()), folders[0])
    try:
        stat = dict(line.split(maxsplit=1) for line in _lines(folder / "cpu.stat"))
        pids = tuple(int(line) for line in _lines(folder / "cgroup.procs"))
        return GroupSnapshot(int(stat["usage_usec"]) * _S_PER_US, pids)
    except (OSError, KeyError, ValueError) as error:
        raise MeterUnavailable(
            f"CPU time of control group {group!r} cannot be read: {error}",
            fix="name a group of version 2 as the first column of `systemd-cgls` shows it",
        ) from error


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines()


def by_container(
    device: Estimate,
    use: CpuUse,
    groups: Mapping[str, GroupUse],
    *,
    rest: Rest | None,
    tolerance: float = TOLERANCE,
) -> Account:
    """Share a reading among containers.

    What the machine was busy with outside them is unattributed.

    Args:
        device: What was read. [J]
        use: CPU time of the machine over the same time, and of the members.
        groups: CPU time of each container; none inside another.
        rest: What the device would have drawn anyway; None when that is not known (see
            `by_cpu_time`).
        tolerance: By how much two accounts of CPU time may differ. [1]

    Raises:
        UsageError: a container is inside another, so that its time would count twice.
        NotConserved: containers used more than the machine, or members more than their container.

    >>> reading = Estimate.exact(50.0, unit="J", source="rapl:package-0", boundary="package:0")
    >>> still = Rest(Estimate.exact(10.0, unit="J", source="rapl:package-0"))
    >>> use = CpuUse(4.0, 6.0, {"train:9": 2.5}, tick_s=0.0)
    >>> groups = {"job": GroupUse(3.0, ("train:9",)), "web": GroupUse(0.5)}
    >>> account = by_container(reading, use, groups, rest=still)
    >>> account.parts["job"].value, account.unattributed.value
    (30.0, 5.0)
    """
    _apart(groups)
    # usage_usec is exact, so it is the machine and the processes that may be off by ticks
    flags = sum((_members(name, group, use, tolerance) for name, group in groups.items()), ())
    machine = CpuUse(
        use.busy_s,
        use.idle_s,
        {name: group.cpu_s for name, group in groups.items()},
        tick_s=use.tick_s,
    )
    summed = math.fsum(machine.processes.values())
    flags += fitting(
        summed,
        use.busy_s,
        slack=use.slack_s(len(groups), tolerance=tolerance),
        what="CPU time of containers, of the machine",
        fix="read machine and containers at the same moments",
    )
    if rest is None:
        flags += ("power at rest is not known: it is in the shares, by the same key",)
    shares = Use(machine.processes, unattributed=max(0.0, use.busy_s - summed), blur=use.blur_s)
    return divide(device, shares, rule="CPU time of control groups", rest=rest, flags=flags)


def by_member(
    account: Account,
    name: str,
    use: CpuUse,
    group: GroupUse,
    *,
    tolerance: float = TOLERANCE,
) -> Account:
    """Share what one container bears among the processes in it.

    What the container used beyond the processes that are known (those that ended, groups inside)
    is unattributed.

    Args:
        account: Of the containers.
        name: Which of them.
        use: CPU time of its members, over the same time. [s]
        group: CPU time of the container. [s]
        tolerance: By how much two accounts of CPU time may differ. [1]

    Raises:
        UsageError: the account has no such container.
        NotConserved: the members used more than their container.
    """
    if name not in account.parts:
        raise UsageError(
            f"the account has no container {name!r}", fix=f"name one of {', '.join(account.parts)}"
        )
    flags = _members(name, group, use, tolerance)
    members = {label: use.processes.get(label, 0.0) for label in group.members}
    left = max(0.0, group.cpu_s - math.fsum(members.values()))
    shares = Use(members, unattributed=left, blur=use.blur_s)
    return divide(account.parts[name], shares, rule="CPU time in the container", flags=flags)


def _members(name: str, group: GroupUse, use: CpuUse, tolerance: float) -> tuple[str, ...]:
    known = [use.processes.get(label, 0.0) for label in group.members]
    return fitting(
        math.fsum(known),
        group.cpu_s,
        slack=use.blur_s * len(known) + tolerance * group.cpu_s,
        what=f"CPU time of the processes in {name}, of {name}",
        fix="read container and processes at the same moments; a process may have moved into it",
    )


def _apart(groups: Iterable[str]) -> None:
    """Refuse a container inside another one."""
    paths = {PurePosixPath("/", group.strip("/")): group for group in groups}
    for path, group in paths.items():
        for outer in path.parents:
            if outer in paths and outer != path:
                raise UsageError(
                    f"control group {group!r} is inside {paths[outer]!r} and would count twice",
                    fix="give the outer one, or those inside it, and not both",
                )
