"""Which entries measured the same hardware at the same time, and what each adds to a sum.

A counter sees everything that runs on its chip. Two trackers on one machine,
or the ranks of one job, each write down the whole: added up, the chip would
count twice. They are recognised by machine, boundary and period. So is what
was modelled: the rest power of a machine is the same for all that run on it,
and the CPU time of a process is in every window that was open in it.

>>> from negawatt.ledger.entry import Entry
>>> from datetime import UTC, datetime
>>> end = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
>>> energy = {"value": 50.0, "boundary": "package:0"}
>>> body = {
...     "started_at": "2026-01-01T00:00:00+00:00",
...     "wall_seconds": {"value": 10.0},
...     "energy": energy,
...     "boundaries": {"package:0": energy},
... }
>>> ranks = [Entry(n, end, "measure", "a", "h", body, {}, "", f"{n}", "m") for n in (1, 2)]
>>> shares(ranks)
{'2': Share(counted=0.0, same_as=('1',))}
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.ledger.entry import Entry
from negawatt.meters.boundary import contains, covers_cpu, outermost

_UNKNOWN = frozenset({None, "", "unknown"})  # machines that cannot be told apart
_MODELLED = "modelled "  # stands before the boundaries of what no counter saw
_REST = f"{_MODELLED}rest:"
_ALL_RESTS = f"{_REST}whole"  # of the machine, see `negawatt.ledger.machine.view_id`
_READ = ("started_at", "wall_seconds", "energy", "boundaries", "modelled")  # of a body


@dataclass(frozen=True, slots=True)
class Share:
    """How an entry that others measured too enters a sum.

    Args:
        counted: The part of its energy that no earlier entry has counted, 0 to 1. What
            was measured for a part of the time is taken to have flowed evenly.
        same_as: Ids of the entries that measured the rest.
        parts: Boundary to the part of its reading that others have counted.
    """

    counted: float
    same_as: tuple[str, ...]
    parts: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, order=True)
class _Stretch:
    """One entry's reading of one boundary."""

    start: float  # seconds since 1970
    minus_end: float  # so that of two that begin together the longer comes first
    id: str
    boundary: str = field(compare=False)
    joules: float = field(compare=False)

    @property
    def end(self) -> float:
        return -self.minus_end


@dataclass(slots=True)
class _Tally:
    """What is known of one entry's energy."""

    total: float  # of the boundaries that counters saw, and of what was modelled for it alone
    twice: float = 0.0  # the part of it that others have counted
    same_as: dict[str, None] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)  # boundary -> counted by others


def slim(entry: Entry) -> Entry:
    """The entry with no more of its body than this module looks at."""
    return replace(entry, body={key: entry.body[key] for key in _READ if key in entry.body})


def period(entry: Entry) -> tuple[datetime, datetime] | None:
    """From when to when an entry measured; None when it does not tell."""
    wall = _number(entry.body.get("wall_seconds"))
    if wall is None or wall < 0:
        return None
    started = entry.body.get("started_at")
    try:
        start = datetime.fromisoformat(started) if isinstance(started, str) else None
    except ValueError:
        return None
    if start is None:  # it was written down when it ended
        return entry.time - timedelta(seconds=wall), entry.time
    if start.tzinfo is None:
        return None
    return start, start + timedelta(seconds=wall)


def shares(entries: Iterable[Entry]) -> dict[str, Share]:
    """The entries that measured what an earlier one measured too, by id.

    An entry that is not named here counts in full: so does one whose machine,
    period or boundaries are unknown, and what was modelled for the CPU time of
    a process of its own. An outer boundary (`wall`) counts before those inside
    it, and of two that overlap the one that began first.

    Args:
        entries: All that a sum is made of. The same entry given twice is one.
    """
    stretches: dict[str, dict[str, list[_Stretch]]] = {}
    tallies: dict[str, _Tally] = {}
    for entry in entries:
        when = period(entry)
        if entry.machine in _UNKNOWN or when is None or entry.id in tallies:
            continue
        tally = tallies[entry.id] = _Tally(0.0)
        start, end = (moment.timestamp() for moment in when)
        for boundary, joules in _readings(entry.body):
            one = _Stretch(start, -end, entry.id, boundary, joules)
            stretches.setdefault(str(entry.machine), {}).setdefault(boundary, []).append(one)
            tally.total += joules
        tally.total = max(tally.total, _number(entry.body.get("energy")) or 0.0)
    for on_machine in stretches.values():
        _tell(on_machine, tallies)
    return {
        entry_id: Share(
            max(0.0, 1 - tally.twice / tally.total) if tally.total > 0 else 0.0,
            tuple(tally.same_as),
            tally.parts,
        )
        for entry_id, tally in tallies.items()
        if tally.same_as
    }


def counted(energy: Estimate, body: Mapping[str, Any], share: Share) -> Estimate:
    """The part of an entry's energy that no other entry has counted. [J]

    What others measured for a part of the time was spread by a guess, so what is
    left then is modelled at best.

    Args:
        energy: All of it, as the entry tells it.
        body: Of the entry.
        share: What `shares` told of it.

    >>> whole = Estimate.exact(50.0, unit="J", source="counter", boundary="package:0")
    >>> body = {"boundaries": {"package:0": whole.to_json()}}
    >>> counted(whole, body, Share(0.2, ("a",), {"package:0": 0.8})).value
    10.0
    """
    low, value, high = energy.low, energy.value * share.counted, energy.high
    for boundary, reading in _figures(body):
        part = share.parts.get(boundary, 0.0)
        if part and isinstance(reading, Mapping):
            known = _number(reading) or 0.0
            low -= part * _or(_number(reading.get("low")), known)
            high -= part * _or(_number(reading.get("high")), known)
    value = max(0.0, value)
    guessed = any(0 < part < 1 for part in share.parts.values())
    return replace(
        energy,
        low=min(max(0.0, low), value),
        value=value,
        high=max(high, value),
        kind=weakest((energy.kind, Kind.MODELLED)) if guessed else energy.kind,
    )


def _tell(on_machine: Mapping[str, list[_Stretch]], tallies: Mapping[str, _Tally]) -> None:
    """Note, for each reading on one machine, what others have counted of it."""
    for boundary, found in on_machine.items():
        readings = sorted(found)
        outer = [one for name, held in on_machine.items() if _holds(name, boundary) for one in held]
        covering = _InTime(sorted(outer))
        earlier = _InTime(readings)
        for number, reading in enumerate(readings):
            lap = [*covering.beside(reading), *earlier.beside(reading, before=number)]
            lap = [one for one in lap if one.id != reading.id]
            if lap:
                tally = tallies[reading.id]
                tally.same_as.update(dict.fromkeys(one.id for one in lap))
                part = tally.parts[boundary] = _covered(reading, sorted(lap))
                tally.twice += reading.joules * part


def _holds(outer: str, inner: str) -> bool:
    """True when what is counted as `inner` is counted in `outer` too."""
    if inner.startswith(_MODELLED):
        all_rests = outer == _ALL_RESTS != inner and inner.startswith(_REST)
        return all_rests or covers_cpu([outer])
    return contains(outer, inner)


class _InTime:
    """Stretches in order of their start, asked in the same order which of them overlap."""

    def __init__(self, ordered: list[_Stretch]) -> None:
        self._ordered = ordered
        self._begun = 0  # how many have begun when the reading that is asked for begins
        self._open: list[_Stretch] = []  # those of them that have not ended

    def beside(self, reading: _Stretch, *, before: int | None = None) -> Iterator[_Stretch]:
        """Those that overlap a reading, among the first `before` when given."""
        stop = len(self._ordered) if before is None else before
        begun = self._begun
        while begun < stop and self._ordered[begun].start <= reading.start:
            begun += 1
        self._open += self._ordered[self._begun : begun]
        self._begun = begun
        self._open = [one for one in self._open if one.end > reading.start]
        yield from self._open
        last = bisect_left(self._ordered, reading.end, key=_start, lo=begun, hi=stop)
        yield from islice(self._ordered, begun, last)


def _start(one: _Stretch) -> float:
    return one.start


def _covered(reading: _Stretch, lap: Iterable[_Stretch]) -> float:
    """The part of a reading's time that lies in others, which are in order of their start."""
    covered, until = 0.0, reading.start
    for one in lap:
        end = min(one.end, reading.end)
        covered += max(0.0, end - max(one.start, until))
        until = max(until, end)
    length = reading.end - reading.start
    return covered / length if length > 0 else 1.0


def _readings(body: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What may be added of an entry: boundaries with their energy. [J]"""
    for boundary, figure in _figures(body):
        joules = _number(figure)
        if joules is not None and joules >= 0:
            yield boundary, joules


def _figures(body: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What counters of the machine saw, none inside another, and the modelled parts."""
    energy, found = body.get("energy"), body.get("boundaries")
    if isinstance(found, Mapping):
        named = {str(key): value for key, value in found.items()}
    else:  # one counter, and no list of them
        boundary = energy.get("boundary") if isinstance(energy, Mapping) else None
        named = {str(boundary): energy}
    for boundary in outermost(named):
        yield boundary, named[boundary]
    modelled = body.get("modelled")
    if isinstance(modelled, Mapping):
        yield from ((f"{_MODELLED}{key}", value) for key, value in modelled.items())


def _number(value: object) -> float | None:
    """The value of a figure as it stands in a body; None when it holds none."""
    found = value.get("value") if isinstance(value, Mapping) else value
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    number = float(found) if is_number and isinstance(found, int | float) else math.nan
    return number if math.isfinite(number) else None


def _or(number: float | None, otherwise: float) -> float:
    return otherwise if number is None else number
