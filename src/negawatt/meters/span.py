"""What a window saw: a value that adds, and that turns readings into estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.meters import band as bands
from negawatt.meters.band import Band
from negawatt.meters.boundary import contains, covers_cpu, kind_of, outermost
from negawatt.meters.facts import table
from negawatt.meters.integrate import Integral


class Scope(StrEnum):
    """Whose CPU time a window counts."""

    ALL = "this process and the children it waited for"
    CHILDREN = "the children this process waited for"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one meter counted over a window, or several windows added up."""

    meter: str
    boundary: str
    energy: Integral
    label: str = ""  # how it was come by, when not by reading a counter

    def __add__(self, other: Reading) -> Reading:
        return replace(self, energy=self.energy + other.energy)

    def estimate(self, *, wall_s: float, windows: int = 1) -> Estimate:
        """The reading with the meter's own error and its update period at both ends. [J]

        A reading with gaps in it is modelled: part of it was never seen.
        """
        facts, adapter = table("meters"), self.meter.partition(":")[0]
        error = facts.get(f"{adapter}_error", facts["other_error"]).high
        period = facts.get(f"{adapter}_period", facts["other_period"]).value
        ends = self.energy.value * min(1.0, windows * period / wall_s) if wall_s > 0 else 0.0
        return Estimate(
            value=self.energy.value,
            low=max(0.0, self.energy.low * (1 - error) - ends),
            high=self.energy.high * (1 + error) + ends,
            unit="J",
            kind=Kind.MEASURED if self.energy.gap_s == 0 else Kind.MODELLED,
            source=f"{self.meter} ({self.label})" if self.label else self.meter,
            boundary=self.boundary,
            period_s=wall_s,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """A closed window, or several of one name added up.

    Args:
        name: What was measured.
        wall_s: Time from start to end. [s]
        cpu_s: User and system CPU time of `scope`. [s]
        readings: One for each meter that could be read at both ends.
        unread: What could not be read, or only with doubt, and why.
        lost: Boundaries of the meters that could not be read.
        windows: How many windows were added up.
        band: Model for the CPU where no counter covers it; this machine's when None.
    """

    name: str
    wall_s: float
    cpu_s: float
    scope: Scope = Scope.ALL
    readings: tuple[Reading, ...] = ()
    unread: tuple[str, ...] = ()
    windows: int = 1
    band: Band | None = None
    lost: tuple[str, ...] = ()

    def __add__(self, other: Span) -> Span:
        """Two stretches as one; their readings add meter by meter."""
        mine = {reading.meter: reading for reading in self.readings}
        theirs = {reading.meter: reading for reading in other.readings}
        some = mine.keys() ^ theirs.keys()
        lost = tuple(f"{name} was read in only some of the windows" for name in some)
        boundaries = tuple((mine.get(name) or theirs[name]).boundary for name in some)
        return replace(
            self,
            wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s,
            readings=tuple(mine[name] + theirs[name] for name in mine if name in theirs),
            unread=tuple(dict.fromkeys(self.unread + other.unread + lost)),
            windows=self.windows + other.windows,
            lost=tuple(dict.fromkeys(self.lost + other.lost + boundaries)),
        )

    @property
    def wall_seconds(self) -> Estimate:
        """Time from start to end. [s]"""
        return Estimate.exact(
            self.wall_s, unit="s", source="operating system, monotonic clock", boundary="machine"
        )

    @property
    def cpu_seconds(self) -> Estimate:
        """User and system CPU time, all threads. [s]"""
        return Estimate.exact(
            self.cpu_s, unit="s", source="operating system, CPU accounting", boundary=self.scope
        )

    @property
    def energies(self) -> Mapping[str, Estimate]:
        """Measured energy of each boundary, those inside one another included. [J]"""
        return {
            reading.boundary: reading.estimate(wall_s=self.wall_s, windows=self.windows)
            for reading in self.readings
        }

    @property
    def modelled(self) -> Estimate:
        """What the band says for this much CPU and wall time, as if there were no counter. [J]"""
        return bands.energy_of(self.cpu_s, self.wall_s, band=self.band)

    @property
    def energy(self) -> Estimate:
        """Everything known: counters that add, and the band for a CPU that has none. [J]

        Measured when counters cover the CPU; as weak as its weakest part otherwise. Where a counter
        was lost and nothing stands in for it, the boundary says what the sum is without.
        """
        energies = self.energies
        without = self._without(energies) if self.lost else ()
        parts = [energies[boundary] for boundary in outermost(energies)]
        if not covers_cpu(energies):
            parts.insert(0, self.modelled)
        if len(parts) == 1 and not without:
            return parts[0]
        return Estimate(  # ends add, as in a sum of estimates, without those in between
            value=sum(part.value for part in parts),
            low=sum(part.low for part in parts),
            high=sum(part.high for part in parts),
            unit="J",
            kind=weakest([*(part.kind for part in parts), *(Kind.MODELLED for _ in without)]),
            source=" + ".join(dict.fromkeys(part.source for part in parts)),
            boundary=" + ".join(part.boundary for part in parts)
            + (f", without {', '.join(without)}" if without else ""),
            period_s=self.wall_s,
        )

    def _without(self, energies: Mapping[str, Estimate]) -> tuple[str, ...]:
        """Lost boundaries of which neither a part was read nor the band tells anything."""
        banded = not covers_cpu(energies)
        return tuple(
            lost
            for lost in outermost((*energies, *self.lost))
            if lost not in energies
            and not any(contains(lost, read) for read in energies)
            and not (banded and (covers_cpu((lost,)) or kind_of(lost) == "dram"))
        )

    @property
    def boundary(self) -> str:
        """What `energy` includes."""
        return self.energy.boundary

    def __str__(self) -> str:
        return f"{self.name}: {self.energy}, {self.cpu_s:.4g} CPU-s in {self.wall_s:.4g} s"

    def to_json(self) -> dict[str, Any]:
        """Plain values, estimates included."""
        return {
            "name": self.name,
            "wall_seconds": self.wall_seconds.to_json(),
            "cpu_seconds": self.cpu_seconds.to_json(),
            "energy": self.energy.to_json(),
            "energies": {key: value.to_json() for key, value in self.energies.items()},
            "unread": list(self.unread),
            "windows": self.windows,
        }


def marginal(rest: Span, busy: Span) -> Estimate:
    """What one CPU-second of some work added to the machine's counters. [J/s]

    Args:
        rest: A window in which the machine did nothing of note.
        busy: A window that held the work.

    Raises:
        UsageError: no counter covers the CPU in both, or the work took no CPU time.
    """
    if not (covers_cpu(rest.energies) and covers_cpu(busy.energies)):
        raise UsageError(
            "the cost of a CPU-second can be measured only where a counter covers the CPU",
            fix="see `negawatt doctor` for what is missing, or use joules_per_cpu_second()",
        )
    if busy.cpu_s <= 0 or rest.wall_s <= 0:
        raise UsageError(
            "the busy window holds no CPU time, or the window at rest no time at all",
            fix="make both windows a second or longer",
        )
    idle, work = rest.energy, busy.energy
    stretch = busy.wall_s / rest.wall_s  # the rest power over as long as the work took

    def per_second(joules: float) -> float:
        return max(0.0, joules) / busy.cpu_s

    return Estimate(
        value=per_second(work.value - idle.value * stretch),
        low=per_second(work.low - idle.high * stretch),
        high=per_second(work.high - idle.low * stretch),
        unit="J/s",
        kind=work.kind if work.kind.weakness >= idle.kind.weakness else idle.kind,
        source=work.source,
        boundary=f"{work.boundary}, above rest",
    )
