"""The machine as this process sees it: its CPU, the share of it that may be used, its memory."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from negawatt.meters import cgroup
from negawatt.meters.facts import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What can be known without asking the hardware for power.

    Args:
        cpu: How the CPU names itself.
        features: Instruction sets, in the operating system's spelling.
        threads_present: Hardware threads the operating system shows.
        threads_usable: Those this process may run on, affinity and quota applied.
        memory_present: Main memory the operating system shows. [B]
        memory_usable: The same, or the container's limit where that is lower. [B]
        limits: Container limits as found.
        virtual: True when the CPU says that it runs under a hypervisor.
        system: Operating system and release.
        large_pages: Who gets pages of 2 MB from Linux: "always", "madvise" (who asks) or "never";
            empty where there are none.
    """

    cpu: Identity
    features: tuple[str, ...]
    threads_present: int
    threads_usable: float
    memory_present: int
    memory_usable: int
    limits: cgroup.Limits
    virtual: bool
    system: str
    large_pages: str = ""

    @property
    def share(self) -> str:
        """How this view relates to the hardware, in words."""
        if self.virtual:
            return "a virtual machine: part of a larger one that it cannot see"
        if self.limits.cpus is not None or self.threads_usable < self.threads_present:
            return "a container or a pinned process: part of a larger machine"
        return "a whole machine, as far as it can tell"


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first processor of /proc/cpuinfo, keys in lower case."""
    found: dict[str, str] = {}
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _board(root: Path) -> str:
    """The name of a single-board computer, from its device tree."""
    try:
        raw = (root / "proc/device-tree/model").read_bytes()
    except OSError:
        return ""
    return raw.rstrip(b"\0").decode(errors="replace")


def _name_elsewhere() -> str:
    """The CPU's name on systems without /proc/cpuinfo."""
    if platform.system() == "Darwin":
        import subprocess  # only where /proc is absent

        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip()
    return platform.processor()


def identity(root: Path = Path("/")) -> Identity:
    """Who the CPU says it is."""
    info = _cpuinfo(root)
    if not info:
        return Identity(name=_name_elsewhere())
    return Identity(
        name=info.get("model name") or _board(root) or info.get("hardware", ""),
        vendor=info.get("vendor_id") or info.get("cpu implementer", ""),
        family=_number(info.get("cpu family", "")),
        model=_number(info.get("model", "")),
        part=info.get("cpu part", ""),
    )


def _memory_bytes(root: Path) -> int:
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        import psutil  # only where /proc is absent

        return int(psutil.virtual_memory().total)
    kib = next(line.split()[1] for line in text.splitlines() if line.startswith("MemTotal:"))
    return int(kib) * 1024


def _large_pages(root: Path) -> str:
    """The setting in brackets, of those that the system could have."""
    try:
        text = (root / "sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return next((word[1:-1] for word in text.split() if word.startswith("[")), "")


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not tell
        return os.cpu_count() or 1


def read(root: Path = Path("/"), *, affinity: int | None = None) -> Machine:
    """Look at the machine.

    Args:
        root: Where `proc` and `sys` are found; another folder in tests.
        affinity: Threads this process may be scheduled on; asked of the system when None.
    """
    info, limits = _cpuinfo(root), cgroup.read(root)
    allowed = _affinity() if affinity is None else affinity
    features = tuple(sorted((info.get("flags") or info.get("features", "")).split()))
    memory = _memory_bytes(root)
    return Machine(
        cpu=identity(root),
        features=features,
        threads_present=max(os.cpu_count() or 1, allowed),
        threads_usable=min(float(allowed), limits.cpus or float(allowed)),
        memory_present=memory,
        memory_usable=min(memory, limits.memory_bytes or memory),
        limits=limits,
        virtual="hypervisor" in features,
        system=f"{platform.system()} {platform.release()}",
        large_pages=_large_pages(root),
    )


@cache
def here() -> Machine:
    """This machine, looked at once."""
    return read()
