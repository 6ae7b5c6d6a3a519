"""Which machine this is: the same for all its containers and processes, and nobody's secret."""

from __future__ import annotations

import hashlib
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


def _hashed(text: str) -> str:
    return hashlib.sha256(f"negawatt machine {text}".encode()).hexdigest()[:32]
