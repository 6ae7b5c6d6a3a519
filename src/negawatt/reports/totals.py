"""What the ledger adds up to, by kind and name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.ledger import Entry
from negawatt.ledger.footprint import GRAMS, operational_emissions, world_intensity
from negawatt.ledger.footprint.intensity_file import IntensityFile
from negawatt.ledger.overlap import Share, counted, period, shares, slim

#: Figures that are shown for every group, in this order, and the keys that hold them.
SHOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "energy": ("energy", "job_energy"),
        "cpu_seconds": ("cpu_seconds",),
        "wall_seconds": ("wall_seconds",),
        "emissions": ("carbon", "carbon_anywhere"),
    }
)
_ADD = frozenset({"J", "s", GRAMS})  # units in which two entries have a sum
_SOURCES_SHOWN = 3
_SLEW, _SLEW_S = 1e-3, 5.0  # how far a calendar that is kept in step drifts from a steady clock


@dataclass(frozen=True, slots=True)
class Sum:
    """A figure added over entries; `known` of them had it, and unknown is not zero."""

    estimate: Estimate
    known: int


@dataclass(frozen=True, slots=True)
class Total:
    """All entries of one kind and name.

    Args:
        first: When the earliest was written.
        last: When the latest was written.
        sums: Keys of `SHOWN` that at least one entry has.
        counted_once: Entries that measured what others of them measured too.
        refused: Entries with a figure below zero, which is in no sum.
    """

    kind: str
    name: str
    entries: int
    first: datetime
    last: datetime
    sums: Mapping[str, Sum]
    counted_once: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """What turns joules into grams, when the reader states it; as recorded otherwise.

    Args:
        intensity: One for all times. [gCO2e/kWh]
        pue: Facility over IT energy. [1]
        hours: Intensities by time, for each entry those of its own.
    """

    intensity: Estimate | None = None
    pue: Estimate | None = None
    hours: IntensityFile | None = None

    def emissions(self, figures: Mapping[str, Estimate], entry: Entry) -> Estimate | None:
        """The emissions of one entry: stated anew, as recorded, or for an unknown place.

        With intensities by time they are unknown where the time of the entry is, or where
        a part of it has no intensity.
        """
        energy = _first(figures, SHOWN["energy"])
        recorded = _first(figures, SHOWN["emissions"])
        stated = (self.intensity, self.pue, self.hours)
        if recorded is not None and all(one is None for one in stated):
            return recorded
        if energy is None or energy.unit != "J":
            return None
        if self.hours is None:
            return operational_emissions(energy, self.intensity or world_intensity(), self.pue)
        when = period(entry)
        if when is None or _is_before(entry.time, when):
            return None
        return self.hours.emissions(energy, *when, self.pue)


def _is_before(written: datetime, when: tuple[datetime, datetime]) -> bool:
    """True when an entry was written before it can have ended: a clock was set back meanwhile."""
    start, end = when
    slew = _SLEW_S + _SLEW * (end - start).total_seconds()
    return (end - written).total_seconds() > slew


@dataclass(slots=True)
class _Group:
    """What is kept of the entries of one sum."""

    entries: list[Entry] = field(default_factory=list)  # no more of each than is needed
    figures: list[dict[str, Estimate]] = field(default_factory=list)
    refused: int = 0

    def add(self, entry: Entry, grid: Grid) -> None:
        self.entries.append(slim(entry))
        self.figures.append(shown_figures(entry, grid))
        self.refused += below_zero(entry.body)

    def total(self, kind: str, name: str) -> Total:
        known = shares(self.entries)
        found: dict[str, list[Estimate]] = {}
        for entry, figures in zip(self.entries, self.figures, strict=True):
            share = known.get(entry.id)
            own = figures if share is None else _own(figures, entry.body, share)
            for key, estimate in own.items():
                found.setdefault(key, []).append(estimate)
        times = [entry.time for entry in self.entries]
        return Total(
            kind, name, len(times), min(times), max(times), _sums(found), len(known), self.refused
        )  # fmt: skip


def totals(entries: Iterable[Entry], grid: Grid | None = None) -> tuple[Total, ...]:
    """Add up entries by kind and name, the most energy first.

    What several entries of a sum measured is in it once. There is no sum over
    everything: one window may lie inside another, and the entries of each name
    are shown in full.
    """
    grid = grid or Grid()
    groups: dict[tuple[str, str], _Group] = {}
    for entry in entries:
        groups.setdefault((entry.kind, name_of(entry.body)), _Group()).add(entry, grid)
    made = [group.total(kind, name) for (kind, name), group in groups.items()]
    return tuple(sorted(made, key=lambda t: (-_energy(t), t.kind, t.name)))


def _own(
    figures: Mapping[str, Estimate], body: Mapping[str, Any], share: Share
) -> dict[str, Estimate]:
    """Figures of an entry less what others have counted; clocks are each process's own."""
    own, energy = dict(figures), figures.get("energy")
    if energy is None:
        return own
    left = own["energy"] = counted(energy, body, share)
    if "emissions" in figures:
        own["emissions"] = _in_step(figures["emissions"], energy, left)
    return own


def _in_step(grams: Estimate, energy: Estimate, left: Estimate) -> Estimate:
    """Emissions cut as their energy was, end by end."""
    value = grams.value * (left.value / energy.value if energy.value else 0.0)
    low = grams.low * (left.low / energy.low if energy.low else 0.0)
    high = grams.high * (left.high / energy.high if energy.high else 0.0)
    return replace(
        grams,
        low=min(low, value),
        value=value,
        high=max(high, value),
        kind=weakest((grams.kind, left.kind)),
    )


def name_of(body: Mapping[str, Any]) -> str:
    """What an entry is about, on one line: its `name`, or the model of an optimisation."""
    facts = body.get("facts")
    model = facts.get("model") if isinstance(facts, Mapping) else None
    return " ".join(str(body.get("name") or model or "unnamed").split())


def shown_figures(entry: Entry, grid: Grid) -> dict[str, Estimate]:
    """The figures of `SHOWN` that an entry holds, in units that add, none below zero."""
    figures = {key: e for key, e in _estimates(entry.body) if not _is_below_zero(e)}
    found = {key: _first(figures, names) for key, names in SHOWN.items()}
    found["emissions"] = grid.emissions(figures, entry)
    return {key: e for key, e in found.items() if e is not None and e.unit in _ADD}


def below_zero(body: Mapping[str, Any]) -> bool:
    """True when a figure that is shown is below zero: no energy and no time can be."""
    shown = {name for names in SHOWN.values() for name in names}
    return any(key in shown and _is_below_zero(estimate) for key, estimate in _estimates(body))


def _is_below_zero(estimate: Estimate) -> bool:
    return estimate.unit in _ADD and min(estimate.low, estimate.value) < 0


def _estimates(body: Mapping[str, Any]) -> Iterable[tuple[str, Estimate]]:
    """Every figure at the top level of a body; what is not one is passed over."""
    needed = {"value", "low", "high", "unit", "kind", "source"}
    for key, value in body.items():
        if isinstance(value, Mapping) and needed <= value.keys():
            try:
                yield key, _estimate(value)
            except (TypeError, ValueError):  # looks like a figure, but holds none
                continue


def _estimate(value: Mapping[str, Any]) -> Estimate:
    """What `codec.decode` would make of it, ten times as fast: a ledger holds very many."""
    words = [value["unit"], value["source"], value.get("boundary", "")]
    if not all(isinstance(word, str) for word in words):
        raise TypeError(words)
    return Estimate(
        value=value["value"],
        low=value["low"],
        high=value["high"],
        unit=words[0],
        kind=Kind(value["kind"]),
        source=words[1],
        boundary=words[2],
        period_s=value.get("period_s"),
    )


def _first(figures: Mapping[str, Estimate], names: Sequence[str]) -> Estimate | None:
    return next((figures[name] for name in names if name in figures), None)


def _sums(found: Mapping[str, list[Estimate]]) -> dict[str, Sum]:
    return {
        key: Sum(added(found[key]), len(found[key]))
        for key in SHOWN
        if key in found and len({estimate.unit for estimate in found[key]}) == 1
    }


def added(estimates: Sequence[Estimate]) -> Estimate:
    """The sum, ends added: right for errors that go together, and safe for others.

    Needs at least one estimate, and all of one unit.
    """
    return replace(
        estimates[0],
        value=math.fsum(e.value for e in estimates),
        low=math.fsum(e.low for e in estimates),
        high=math.fsum(e.high for e in estimates),
        kind=weakest(e.kind for e in estimates),
        source=_joined(e.source for e in estimates),
        boundary=_joined(e.boundary for e in estimates),
        period_s=None,
    )


def _joined(words: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(filter(None, words)))
    more = len(distinct) - _SOURCES_SHOWN
    return "; ".join(distinct[:_SOURCES_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _energy(total: Total) -> float:
    return total.sums["energy"].estimate.value if "energy" in total.sums else 0.0
