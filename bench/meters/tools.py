"""The tools compared: how each is imported, opened, closed and asked, with the settings it has.

Nothing is imported here but the standard library; a tool is imported when its `load` is called,
so that the cost of that can be timed. No tool is told anything about the machine or the place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from peers import PEERS

#: Read in the place of a counter: the kernel works it out anew at each read, as it does a counter.
COUNTER = Path("/proc/self/stat")
#: Read in the place of a sensor: a file that holds one number.
SENSOR = Path("/proc/sys/kernel/random/entropy_avail")


class Tool(Protocol):
    """One tool, used as its own first page shows."""

    def load(self) -> None:
        """Import what a user imports to measure something."""

    def first(self) -> None:
        """From nothing made to the figure of one empty window."""

    def again(self) -> Callable[[], object]:
        """One more empty window with its figure, everything being warm."""

    def sampling(self, period_s: float) -> AbstractContextManager[None]:
        """Open a window that looks at the machine every so often."""

    def window(self) -> AbstractContextManager[dict[str, Any]]:
        """One window; what it reports is in the dictionary when it is closed."""


def _cpu_ticks(text: str) -> str:
    """User CPU time in the text of /proc/PID/stat: like a counter, it only grows."""
    return text.rpartition(")")[2].split()[11]


def stand_in_counter(folder: Path) -> Any:
    """The package's own reader of RAPL counters, with a file of /proc in the place of one.

    Many machines have no counter. What a window costs where there is one can be timed all the same:
    the file is opened and read, the text parsed, a turn of the counter looked for, a heartbeat kept
    for it. The figure of such a window means nothing and is thrown away.

    Args:
        folder: An empty one, which becomes the counter's.
    """
    from negawatt.adapters.meters.kernel_file import read_text
    from negawatt.adapters.meters.rapl import RaplMeter

    (folder / "max_energy_range_uj").write_text(f"{2**63}\n", encoding="ascii")
    (folder / "energy_uj").symlink_to(COUNTER)

    def read(path: Path) -> str:
        text = read_text(path)
        return _cpu_ticks(text) if path.name == "energy_uj" else text

    return RaplMeter(folder, name="rapl:package-0", boundary="package:0", read=read)


def stand_in_gauge(folder: Path) -> Any:
    """The package's own reader of sensors that know power alone, with another file of /proc.

    Args:
        folder: An empty one, in which the sensor's is made.
    """
    from negawatt.adapters.meters import hwmon

    chip = folder / "hwmon0"
    chip.mkdir()
    (chip / "name").write_text("bench\n", encoding="ascii")
    (chip / "power1_input").symlink_to(SENSOR)
    (gauge,) = hwmon.discover(folder)
    return gauge


class Negawatt:
    """This package."""

    def load(self) -> None:
        """Import it."""
        from negawatt import measure

        self.measure = measure

    def first(self) -> None:
        """One window, everything being found for it."""
        with self.measure("first") as window:
            pass
        _ = window.energy

    def plain(self) -> Callable[[], object]:
        """One more window as this machine allows it."""
        measure = self.measure

        def run() -> object:
            with measure("again") as window:
                pass
            return window.energy

        return run

    def again(self) -> Callable[[], object]:
        """The same where there is a counter: what `measure` does, with the stand-in found."""
        from negawatt.meters import Instruments, Window

        self._folder = tempfile.TemporaryDirectory()
        meter = stand_in_counter(Path(self._folder.name))
        tools = Instruments(meters=(meter,))

        def run() -> object:
            with Window("again", instruments=tools) as window:
                pass
            return window.energy

        return run

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """A window around a sensor that is sampled."""
        from negawatt.meters.integrate import Integrated

        with tempfile.TemporaryDirectory() as folder:
            meter = Integrated(stand_in_gauge(Path(folder)))
            meter.poll_every_s = period_s
            with self.measure("sampled", meters=(meter,)) as window:
                yield
            _ = window.energy

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """One window."""
        report: dict[str, Any] = {}
        with self.measure("window") as window:
            yield report
        energy = window.energy
        report.update(
            joules=energy.value,
            low=energy.low,
            high=energy.high,
            seconds=window.wall_seconds.value,
            kind=str(energy.kind),
            source=energy.source,
            boundary=energy.boundary,
        )


TOOLS: dict[str, Callable[[], Tool]] = {"negawatt": Negawatt, **PEERS}
