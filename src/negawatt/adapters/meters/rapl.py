"""CPU package and memory counters of Linux powercap (RAPL, on Intel and AMD).

A counter is a file of microjoules that starts again from zero after
`max_energy_range_uj`. Zones are named `package-0`, `package-0-die-1`, `dram`, `core`,
`uncore` or `psys`; which of them exist differs from machine to machine.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from negawatt.adapters.meters.kernel_file import read_text
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules

ROOT = Path("/sys/class/powercap")

_J_PER_UJ = 1e-6
#: By how much a counter that is seen twice may seem to leave the order in which it was read.
_SAME_COUNTER_J = 0.1
#: Read at least once in the time that this power needs for half a turn of the counter. [W]
_WRAP_POWER_W = 2000.0
_MAX_POLL_S = 60.0

ReadText = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class _Zone:
    """One powercap folder and the name it carries."""

    folder: Path
    name: str


class RaplMeter:
    """One RAPL counter, unwrapped; where it wraps is not known without its range file."""

    def __init__(
        self, folder: Path, *, name: str, boundary: str, read: ReadText = read_text
    ) -> None:
        self._file = folder / "energy_uj"
        self._name, self._boundary, self._read = name, boundary, read
        self._range_uj = _range_uj(folder / "max_energy_range_uj", read)
        self._lock = threading.Lock()
        self._last_uj: int | None = None
        self._turns = 0

    @property
    def name(self) -> str:
        """`rapl:` and the zone's own name."""
        return self._name

    @property
    def boundary(self) -> str:
        """`package:0`, `package:0/die:1`, `dram:0` or `psys`."""
        return self._boundary

    @property
    def poll_every_s(self) -> float:
        """Longest time between two reads that cannot hide a whole turn of the counter. [s]"""
        if self._range_uj <= 0:
            return _MAX_POLL_S
        return min(_MAX_POLL_S, self._range_uj * _J_PER_UJ / (2 * _WRAP_POWER_W))

    def energy(self) -> Joules:
        """Energy since an unknown moment; never less than at the read before.

        Raises:
            MeterUnavailable: the file cannot be read, or ran backwards without a known range.
        """
        with self._lock:
            now_uj = _integer(self._file, self._read)
            if self._last_uj is not None and now_uj < self._last_uj:
                if self._range_uj <= self._last_uj:
                    raise MeterUnavailable(
                        f"{self._name} went from {self._last_uj} to {now_uj} µJ and does not say "
                        f"where it wraps",
                        fix="measure again; if it happens often, report the machine and its kernel",
                    )
                self._turns += 1
            self._last_uj = now_uj
            return Joules((now_uj + self._turns * self._range_uj) * _J_PER_UJ)


def _permission(path: Path) -> MeterUnavailable:
    rule = (
        'SUBSYSTEM=="powercap", ACTION=="add", '
        "RUN+=\"/bin/sh -c 'chgrp power /sys%p/energy_uj; chmod g+r /sys%p/energy_uj'\""
    )
    return MeterUnavailable(
        f"{path} is there, but this user may not read it (kernels keep it to root since 2020, "
        f"because energy can leak secrets to other users)",
        fix="until the next boot: sudo chmod a+r /sys/class/powercap/*/energy_uj\n"
        "  for good: sudo groupadd -f power && sudo usermod -aG power $USER, write the line\n"
        f"    {rule}\n"
        "  to /etc/udev/rules.d/70-powercap.rules, and restart",
    )


def _range_uj(path: Path, read: ReadText) -> int:
    """Where a counter wraps; 0 when that is not told. [µJ]"""
    try:
        read(path)
    except FileNotFoundError:
        return 0
    except OSError:
        pass  # said in words below
    return _integer(path, read)


def _integer(path: Path, read: ReadText) -> int:
    try:
        return int(read(path))
    except PermissionError as error:
        raise _permission(path) from error
    except (OSError, ValueError) as error:
        raise MeterUnavailable(
            f"{path} cannot be read as a number of microjoules ({error})",
            fix="see what `cat` prints for it; a driver that was unloaded comes back with "
            "`sudo modprobe intel_rapl_msr`",
        ) from error


def _zones(root: Path, read: ReadText) -> Iterator[_Zone]:
    """Every RAPL zone, packages before what they contain, registers before memory-mapped twins."""

    def order(folder: Path) -> tuple[bool, list[int]]:
        return folder.name.startswith("intel-rapl-mmio"), [
            int(n) for n in re.findall(r"\d+", folder.name)
        ]

    folders = {folder.name: folder for folder in root.glob("intel-rapl*:*")}
    for folder in list(folders.values()):  # kernels list sub-zones beside and inside their parent
        folders |= {inner.name: inner for inner in folder.glob("intel-rapl*:*")}
    for folder in sorted(folders.values(), key=order):
        try:
            yield _Zone(folder, read(folder / "name").strip())
        except OSError:
            continue  # a folder without a name is not a zone


def _without_mirrors(zones: list[_Zone], read: ReadText) -> list[_Zone]:
    """Packages with twins removed.

    The same name twice is one package seen through two drivers. Dies of one package whose
    counters agree are one socket counter that the kernel lists once a die (Threadripper, EPYC).
    """
    by_name = {zone.name: zone for zone in reversed(zones)}
    kept: list[_Zone] = []
    for zone in sorted(by_name.values(), key=zones.index):
        socket = _socket(zone)
        if not any(_socket(one) == socket and _is_mirror(zone, one, read) for one in kept):
            kept.append(zone)
    return kept


def _socket(zone: _Zone) -> str:
    return re.sub(r"-die-\d+$", "", zone.name)


def _is_mirror(die: _Zone, other: _Zone, read: ReadText) -> bool:
    """True when two dies show one counter: one reads between two reads of the other.

    How far apart they are says nothing: just after a start, separate counters are close too.
    """
    before, between, after = (
        _integer(zone.folder / "energy_uj", read) * _J_PER_UJ for zone in (other, die, other)
    )
    return before - _SAME_COUNTER_J <= between <= after + _SAME_COUNTER_J


def _package_boundary(name: str, *, alone: bool) -> str:
    match = re.fullmatch(r"package-(\d+)(?:-die-(\d+))?", name)
    if match is None:
        return name
    socket, die = match[1], match[2]
    return f"package:{socket}" if die is None or alone else f"package:{socket}/die:{die}"


def _meters(zones: list[_Zone], read: ReadText) -> list[RaplMeter]:
    packages = _without_mirrors([z for z in zones if z.name.startswith("package-")], read)
    sockets = [_socket(zone) for zone in packages]
    found = []
    for zone, socket in zip(packages, sockets, strict=True):
        boundary = _package_boundary(zone.name, alone=sockets.count(socket) == 1)
        found.append(RaplMeter(zone.folder, name=f"rapl:{zone.name}", boundary=boundary, read=read))
        place = boundary.removeprefix("package:")
        found += [
            RaplMeter(inner.folder, name=f"rapl:dram-{place}", boundary=f"dram:{place}", read=read)
            for inner in zones
            if inner.name == "dram"
            and inner.folder.name.startswith(f"{zone.folder.name}:")
            and (inner.folder / "energy_uj").exists()  # some list limits of memory and no counter
        ]
    if found:
        return found  # packages and memory; psys holds them both and would count them twice
    return [
        RaplMeter(zone.folder, name="rapl:psys", boundary="psys", read=read)
        for zone in zones
        if zone.name == "psys"
    ][:1]


def _absent(root: Path) -> MeterUnavailable:
    if sys.platform != "linux":
        return MeterUnavailable(
            "RAPL counters are read through Linux powercap, and this is not Linux",
            fix="run on Linux, or plug the machine into a metered socket and add its meter",
        )
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE):
        return MeterUnavailable(
            "this is a virtual machine, and its hypervisor hides the energy counters",
            fix="run on the host or on a bare-metal instance; here joules stay modelled",
        )
    if root.is_dir():
        return MeterUnavailable(
            f"{root} holds no RAPL zone: the driver is not loaded, or a container masks it",
            fix="sudo modprobe intel_rapl_msr; in Docker, add --security-opt systempaths=unconfined "
            "and -v /sys/class/powercap:/sys/class/powercap:ro",
        )
    return MeterUnavailable(
        f"{root} does not exist: this CPU or kernel has no powercap",
        fix="sudo modprobe intel_rapl_msr; Arm and older CPUs have no such counter",
    )


def discover(root: Path = ROOT, *, read: ReadText = read_text) -> list[RaplMeter]:
    """The counters that may be added: each package and its memory, or psys when there is neither.

    Raises:
        MeterUnavailable: there are none, or this user may not read them.
    """
    found = _meters(list(_zones(root, read)), read)
    if not found:
        raise _absent(root)
    for meter in found:
        meter.energy()  # a counter that cannot be read is unknown; say so now, not after the work
    return found
