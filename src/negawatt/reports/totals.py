"""What the ledger adds up to, by kind and name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from negawatt.core.codec import decode
from negawatt.core.estimate import Estimate, weakest
from negawatt.ledger import Entry
from negawatt.ledger.footprint import GRAMS, operational_emissions, world_intensity

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


@dataclass(frozen=True, slots=True)
class Sum:
    """A figure added over entries; `known` of them had it, and unknown is not zero."""

    estimate: Estimate
    known: int


@dataclass(frozen=True, slots=True)
class Total:
    """All entries of one kind and name."""

    kind: str
    name: str
    entries: int
    first: datetime
    last: datetime
    sums: Mapping[str, Sum]  # keys of `SHOWN` that at least one entry has


@dataclass(frozen=True, slots=True)
class Grid:
    """What turns joules into grams, when the reader states it; as recorded otherwise."""

    intensity: Estimate | None = None
    pue: Estimate | None = None

    def emissions(self, figures: Mapping[str, Estimate]) -> Estimate | None:
        """The emissions of one entry: stated anew, as recorded, or for an unknown place."""
        energy = _first(figures, SHOWN["energy"])
        recorded = _first(figures, SHOWN["emissions"])
        if recorded is not None and self.intensity is None and self.pue is None:
            return recorded
        if energy is None or energy.unit != "J":
            return None
        return operational_emissions(energy, self.intensity or world_intensity(), self.pue)


@dataclass(slots=True)
class _Group:
    first: datetime
    last: datetime
    entries: int = 0
    found: dict[str, list[Estimate]] = field(default_factory=dict)


def totals(entries: Iterable[Entry], grid: Grid | None = None) -> tuple[Total, ...]:
    """Add up entries by kind and name, the most energy first.

    There is no sum over everything: one window may lie inside another, and
    then a grand total would count its joules twice.
    """
    grid = grid or Grid()
    groups: dict[tuple[str, str], _Group] = {}
    for entry in entries:
        group = groups.setdefault((entry.kind, name_of(entry.body)), _Group(entry.time, entry.time))
        group.last = entry.time
        group.entries += 1
        for key, estimate in shown_figures(entry.body, grid).items():
            group.found.setdefault(key, []).append(estimate)
    made = [
        Total(kind, name, group.entries, group.first, group.last, _sums(group.found))
        for (kind, name), group in groups.items()
    ]
    return tuple(sorted(made, key=lambda t: (-_energy(t), t.kind, t.name)))


def name_of(body: Mapping[str, Any]) -> str:
    """What an entry is about, on one line: its `name`, or the model of an optimisation."""
    facts = body.get("facts")
    model = facts.get("model") if isinstance(facts, Mapping) else None
    return " ".join(str(body.get("name") or model or "unnamed").split())


def shown_figures(body: Mapping[str, Any], grid: Grid) -> dict[str, Estimate]:
    """The figures of `SHOWN` that an entry holds, in units that add."""
    figures = dict(_estimates(body))
    found = {key: _first(figures, names) for key, names in SHOWN.items()}
    found["emissions"] = grid.emissions(figures)
    return {key: e for key, e in found.items() if e is not None and e.unit in _ADD}


def _estimates(body: Mapping[str, Any]) -> Iterable[tuple[str, Estimate]]:
    """Every figure at the top level of a body; what is not one is passed over."""
    needed = {"value", "low", "high", "unit", "kind", "source"}
    for key, value in body.items():
        if isinstance(value, Mapping) and needed <= value.keys():
            try:
                yield key, decode(Estimate, value)
            except (TypeError, ValueError):  # looks like a figure, but holds none
                continue


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
