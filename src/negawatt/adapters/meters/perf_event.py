"""CPU package and memory counters through Linux perf events: a second way to RAPL.

Used only where powercap cannot be read. The kernel keeps these counts in 64 bits, from the moment
a counter is opened, so they neither wrap nor begin with anything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import struct
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from negawatt.adapters.meters.checked import Rising, number
from negawatt.core import registry
from negawatt.core.errors import MeterUnavailable, NegawattError
from negawatt.core.quantities import Joules

ROOT = Path("/sys/bus/event_source/devices/power")
CPUS = Path("/sys/devices/system/cpu")

_SYSCALL = {"x86_64": 298, "AMD64": 298}  # RAPL is of these processors alone
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_ATTRIBUTES = struct.Struct("=IIQ48x")  # type, size and config of perf_event_attr, version 0

#: Opens an event of a type and configuration on one CPU and returns its file descriptor.
Open = Callable[[int, int, int], int]
#: Reads the eight bytes of a count.
Read = Callable[[int], bytes]


def open_event(kind: int, config: int, cpu: int) -> int:
    """Open a counter for everything that runs on `cpu`.

    Raises:
        OSError: the kernel refuses.
    """
    attributes = ctypes.create_string_buffer(
        _ATTRIBUTES.pack(kind, _ATTRIBUTES.size, config), _ATTRIBUTES.size
    )
    library = ctypes.CDLL(None, use_errno=True)
    call = ctypes.c_long(_SYSCALL[platform.machine()])
    everyone, no_group = ctypes.c_long(-1), ctypes.c_long(-1)
    fd: int = library.syscall(
        call, attributes, everyone, ctypes.c_long(cpu), no_group, ctypes.c_ulong(_CLOSE_ON_EXEC)
    )
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def _read(fd: int) -> bytes:
    return os.read(fd, 8)


class PerfMeter:
    """One RAPL domain as a perf event; its file is closed with it."""

    def __init__(
        self, name: str, boundary: str, fd: int, joules_per_count: float, read: Read = _read
    ) -> None:
        self.name, self.boundary = name, boundary
        self._fd, self._scale, self._read = fd, joules_per_count, read
        self._rising = Rising(name, cause="the kernel began to count anew")
        weakref.finalize(self, os.close, fd)

    def energy(self) -> Joules:
        """Energy since this meter was made.

        Raises:
            MeterUnavailable: the event stopped, as when its CPU is taken out.
        """
        try:
            text = self._read(self._fd)
        except OSError as error:
            raise self._stopped(str(error)) from error
        if len(text) != 8:
            raise self._stopped("the kernel has nothing to read")
        return self._rising.take(int.from_bytes(text, "little") * self._scale)

    def _stopped(self, why: str) -> MeterUnavailable:
        return MeterUnavailable(
            f"{self.name} has stopped: {why}",
            fix="measure again; a CPU that was taken offline takes its package's counter along",
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MeterUnavailable(
            f"{path} cannot be read ({error})",
            fix="see what `perf list power` shows; `sudo modprobe rapl` loads the driver",
        ) from error


def _mask(text: str) -> Iterator[int]:
    """The CPUs of a mask: one for each package or die.

    >>> list(_mask("0,64-65"))
    [0, 64, 65]
    """
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _places(root: Path, cpus: Path) -> dict[int, str]:
    """Each CPU that a counter is opened on, and its package, with its die where there are more."""
    dies = {}
    for cpu in _mask(_text(root / "cpumask")):
        topology = cpus / f"cpu{cpu}" / "topology"
        die = _text(topology / "die_id") if (topology / "die_id").exists() else "0"
        dies[cpu] = (_text(topology / "physical_package_id"), die)
    packages = [package for package, _ in dies.values()]
    return {
        cpu: package if packages.count(package) == 1 else f"{package}/die:{die}"
        for cpu, (package, die) in dies.items()
    }


def _forbidden(error: OSError) -> MeterUnavailable:
    if error.errno not in (errno.EACCES, errno.EPERM):
        return MeterUnavailable(
            f"the kernel opens no power event: {error.strerror}",
            fix="see what `perf stat -a -e power/energy-pkg/ sleep 1` says",
        )
    return MeterUnavailable(
        "the kernel counts energy in perf events, but not for this user",
        fix="until the next boot: sudo sysctl kernel.perf_event_paranoid=0\n"
        "  for good: write kernel.perf_event_paranoid = 0 to /etc/sysctl.d/70-perf.conf",
    )


def _open_all(root: Path, cpus: Path, opener: Open, read: Read) -> Iterator[PerfMeter]:
    kind, places = int(_text(root / "type")), _places(root, cpus)
    events = [("energy-pkg", "package"), ("energy-ram", "dram")]
    if not (root / "events" / "energy-pkg").exists():
        events = [("energy-psys", "psys")]  # psys holds both, and would count them twice
    for event, domain in events:
        file = root / "events" / event
        if not file.exists():
            continue
        config = re.search(r"event=(0x[0-9a-f]+|\d+)", _text(file))
        scale = number(_text(file.with_name(f"{event}.scale")), str(file))
        unit = _text(file.with_name(f"{event}.unit"))
        if config is None or unit != "Joules":
            raise MeterUnavailable(
                f"{file} counts {unit or 'nothing'} in a way that is not known here",
                fix="report the machine and its kernel",
            )
        for cpu, place in places.items():
            boundary = "psys" if domain == "psys" else f"{domain}:{place}"
            try:
                fd = opener(kind, int(config[1], 0), cpu)
            except OSError as error:
                raise _forbidden(error) from error
            yield PerfMeter(f"perf_event:{boundary.replace(':', '-')}", boundary, fd, scale, read)
            if domain == "psys":
                return


def _powercap() -> Sequence[object]:
    found: Sequence[object] = registry.load(registry.METERS, "rapl")()
    return found


def discover(
    root: Path = ROOT,
    *,
    cpus: Path = CPUS,
    powercap: Callable[[], Sequence[object]] = _powercap,
    opener: Open = open_event,
    read: Read = _read,
) -> list[PerfMeter]:
    """Each package and its memory, or psys; none where powercap already tells them.

    Raises:
        MeterUnavailable: the kernel counts, but not for this user.
    """
    if not (root / "events").is_dir() or platform.machine() not in _SYSCALL:
        return []
    try:
        if powercap():
            return []
    except NegawattError:
        pass  # what stands in its way is told by its own adapter
    found = list(_open_all(root, cpus, opener, read))
    for meter in found:
        meter.energy()
    return found
