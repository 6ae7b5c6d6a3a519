"""Which machine this is: the same for all its containers and processes, and nobody's secret."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from functools import cache
from pathlib import Path

#: Linux makes a new one at each start of the kernel. Unlike /etc/machine-id it is neither
#: copied with a container image nor different in each container of one machine, and two
#: windows that overlap in time lie within one start.
_BOOT = "proc/sys/kernel/random/boot_id"
_INSTALLED = ("etc/machine-id", "var/lib/dbus/machine-id")
_MULTICAST = 1 << 40  # set in a node number that Python made up


@cache
def machine_id(root: Path = Path("/")) -> str:
    """A name for the running machine, hashed: it cannot be turned back into the original.

    Two entries with the same id were written on one machine. With different
    ids they may still have been: the id begins anew when Linux starts anew.

    >>> machine_id() == machine_id()
    True
    """
    for name in (_BOOT, *_INSTALLED):
        try:
            text = (root / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text and text != "uninitialized":
            return _hashed(text)
    node = uuid.getnode()
    if not node & _MULTICAST:
        return _hashed(f"{node:012x}")
    return _hashed(f"{platform.node()}") if platform.node() else "unknown"


def process_id(root: Path = Path("/")) -> str:
    """A name for this process that no other has at the same time, in whatever container."""
    return _hashed(f"process {_link(root / 'proc/self/ns/pid')} {os.getpid()}")[:16]


def view_id(*, whole: bool, root: Path = Path("/")) -> str:
    """A name for the share of the machine that this process sees, which rests only once.

    Args:
        whole: It sees all of the machine; otherwise the share is told by the CPUs it may
            use and by its container.
        root: Where `proc` is found; another folder in tests.
    """
    if whole:
        return "whole"
    try:
        cpus = sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not tell
        cpus = []
    try:
        group = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        group = ""
    return _hashed(f"view {cpus} {_link(root / 'proc/self/ns/cgroup')} {group}")[:16]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _hashed(text: str) -> str:
    return hashlib.sha256(f"negawatt machine {text}".encode()).hexdigest()[:32]
