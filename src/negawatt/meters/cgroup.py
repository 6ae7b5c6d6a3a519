"""What a container may use: CPU and memory limits of Linux control groups, v1 and v2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_NO_LIMIT = 1 << 60  # v1 writes a number near 2**63 when there is no limit [B]


@dataclass(frozen=True, slots=True)
class Limits:
    """None means that no limit is set, not that it is zero."""

    cpus: float | None = None  # CPU-seconds per second
    memory_bytes: int | None = None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _levels(mount: Path, group: str) -> Iterator[Path]:
    """The folder of a group and of every group above it, up to the mount itself."""
    path = PurePosixPath(group.lstrip("/"))
    for level in (path, *path.parents):
        yield mount / level


def _cpu_v2(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")  # "<quota µs>|max <period µs>"
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    return None


def _cpu_v1(folder: Path) -> float | None:
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:  # -1 means no limit
        return int(quota[0]) / int(period[0])
    return None


def _memory(folder: Path, name: str) -> int | None:
    words = _words(folder / name)
    if words and words[0].isdigit() and int(words[0]) < _NO_LIMIT:
        return int(words[0])
    return None


def _groups(root: Path) -> dict[str, str]:
    """Controller name to group path; version 2 has the empty name."""
    found: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                found[controller] = parts[2]
    return found


def read(root: Path = Path("/")) -> Limits:
    """The tightest limits on this process's group and the groups above it.

    Args:
        root: Where `proc` and `sys` are found; another folder in tests.
    """
    groups, base = _groups(root), root / "sys/fs/cgroup"
    unified = list(_levels(base, groups.get("", "/")))
    cpu_v1 = _levels(base / "cpu", groups.get("cpu", "/"))
    memory_v1 = _levels(base / "memory", groups.get("memory", "/"))
    cpus = [*map(_cpu_v2, unified), *map(_cpu_v1, cpu_v1)]
    memory = [_memory(folder, "memory.max") for folder in unified]
    memory += [_memory(folder, "memory.limit_in_bytes") for folder in memory_v1]
    return Limits(
        cpus=min((limit for limit in cpus if limit is not None), default=None),
        memory_bytes=min((limit for limit in memory if limit is not None), default=None),
    )
