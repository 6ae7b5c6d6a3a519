"""A file of values by the hour: carbon, prices, weather; also forecasts, for replays.

CSV, gzip where the name ends so. A column of times (`time_utc`, `time`, `datetime`, ...), and values
either in a column of their own name or in one column for each zone. A name such as
`average_life_cycle_gCO2e_per_kWh` says what an intensity is, as in files for footprints. With a
column `issued_at` the file holds forecasts, and what was known at a moment is what was issued until
then; without one it holds what happened, and of times that the clock has not reached, a forecast
that was made when the file was written.
"""

from __future__ import annotations

import csv
import gzip
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple, TextIO

from negawatt.adapters.grids.asked import Asked, choice, grams, number, span, unknown_zone
from negawatt.adapters.grids.file_clock import Clock
from negawatt.adapters.grids.web import Patience
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import (
    GRAMS_PER_KWH,
    Accounting,
    Basis,
    Flow,
    Reading,
    Signal,
    Status,
    Topic,
)

_TIMES = ("time_utc", "time", "datetime", "timestamp", "start", "from")
_ZONES = ("zone", "region", "location")
_ISSUED = ("issued_at", "generated_at")
_EMPTY = frozenset({"", "na", "nan", "null", "none"})
#: Names a column of values may bear, and its unit where none is given.
_VALUES: Mapping[Topic, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        Topic.CARBON: (("value", "ci", "carbon_intensity", "intensity", "ci_lca"), GRAMS_PER_KWH),
        Topic.PRICE: (("value", "price"), ""),
        Topic.LOAD: (("value", "load", "demand"), "MW"),
        Topic.TEMPERATURE: (("value", "temperature", "dry_bulb_c"), "degC"),
        Topic.HUMIDITY: (("value", "humidity"), "1"),
        Topic.IRRADIANCE: (("value", "irradiance", "ghi_wh_m2"), "W/m2"),
        Topic.WIND: (("value", "wind", "wind_ms"), "m/s"),
        Topic.SOLAR: (("value", "solar"), "1"),
    }
)
#: An intensity that says what it is: average_life_cycle_gCO2e_per_kWh, marginal_kgCO2_per_kWh.
_STATED = re.compile(
    r"(?P<signal>average|marginal)(?:_(?P<factors>direct|life_cycle))?"
    r"_(?P<unit>k?g)(?:co2e?)?_per_kwh",
    re.IGNORECASE,
)
_SIGNALS = MappingProxyType({"average": Signal.AVERAGE, "marginal": Signal.MARGINAL})
_COUNTED = MappingProxyType(
    {
        "unstated": Accounting.UNSTATED,
        "lifecycle": Accounting.LIFE_CYCLE,
        "direct": Accounting.DIRECT,
    }
)
_FLOWS = MappingProxyType(
    {
        "unstated": Flow.UNSTATED,
        "consumption": Flow.CONSUMPTION,
        "production": Flow.PRODUCTION,
    }
)


class _Row(NamedTuple):
    start: datetime
    issued: datetime | None
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a file is to be read.

    Args:
        column: Of the values; found by its name or the zone's when empty.
        unit: Of the values; a column `unit` is stronger, that of the topic weaker.
        step_minutes: Length of a step; found from the times when empty.
        timezone: Of times that name none, such as Europe/Berlin. An hour that clocks show
            twice is told by order; UTC where the column's name says so.
        label: Whether times name the "start" or the "end" of a step.
    """

    column: str = ""
    unit: str = ""
    step_minutes: str = ""
    timezone: str = ""
    label: str = "start"


class GridFile(Asked):
    """One file, read when it is first asked.

    Args:
        path: Where it is.
        topic: What about.
        signal: "average" or "marginal".
        factors: "lifecycle", "direct" or "unstated".
        flow: "consumption", "production" or "unstated".
        patience: Its clock tells now.
        meaning: The options of `Meaning`.

    Raises:
        UsageError: no file is named, or an option is none.
    """

    about: ClassVar[str] = "CSV of carbon, prices or weather; with a column issued_at, forecasts"
    topics: ClassVar[tuple[Topic, ...]] = tuple(_VALUES)
    keeps_forecasts: ClassVar[bool] = True
    local: ClassVar[bool] = True  # nothing need be kept of it

    def __init__(
        self,
        *,
        path: str = "",
        topic: str = "carbon",
        signal: str = "average",
        factors: str = "unstated",
        flow: str = "unstated",
        patience: Patience | None = None,
        **meaning: str,
    ) -> None:
        super().__init__(topic, patience)
        if not path:
            raise UsageError("no file is named", fix="write file:///FOLDER/GRID.csv")
        self._path = Path(path).expanduser()
        self.name = f"file:{self._path.name}"
        try:
            self._meaning = Meaning(**meaning)
        except TypeError as error:
            raise UsageError(
                f"{self.name}: {error}",
                fix="options are path, topic, signal, factors, flow, column, unit, step_minutes,"
                " timezone and label",
            ) from error
        choice("label", self._meaning.label, {"start": 0, "end": 1})
        basis = Basis(
            choice("signal", signal, _SIGNALS),
            choice("factors", factors, _COUNTED),
            choice("flow", flow, _FLOWS),
        )
        carbon = self.topic is Topic.CARBON
        self.basis = self._stated_basis(basis) if carbon else None
        self._read: dict[str, list[_Row]] = {}
        self._step: dict[str, timedelta] = {}

    def _stated_basis(self, asked: Basis) -> Basis:
        """What the name of the column says, where it says so; and then its unit is known too."""
        if self._meaning.column:
            return asked
        try:
            with self._opened() as lines:
                columns = next(csv.reader(lines), [])
        except (OSError, UnicodeDecodeError, csv.Error, EOFError):
            return asked  # told when it is read
        for column in columns:
            if stated := _STATED.fullmatch(column.strip()):
                counted = (stated["factors"] or "unstated").lower().replace("_", "")
                self._meaning = replace(
                    self._meaning, column=column, unit=f"{stated['unit'].lower()}/kWh"
                )
                return Basis(_SIGNALS[stated["signal"].lower()], _COUNTED[counted], asked.flow)
        return asked

    def _opened(self) -> TextIO:
        if self._path.suffix == ".gz":
            return gzip.open(self._path, "rt", encoding="utf-8-sig", newline="")
        return self._path.open(encoding="utf-8-sig", newline="")

    def past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        """What happened; a file may tell of times that the clock has not reached, as replays do."""
        first, last = span(start, end)
        return self._told(self._past, zone, first, last)

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        rows = self._rows(zone)
        if rows and rows[0].issued is not None:
            return
        first = bisect_left(rows, start - self._step[zone], key=lambda row: row.start)
        for row in rows[first:]:
            if row.start >= end:
                return
            yield self._reading(zone, row)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        rows = self._rows(zone)
        if rows and rows[0].issued is None and as_of is None:
            rows = self._to_come(zone, rows)
        if not rows or rows[0].issued is None:
            raise SignalUnavailable(
                f"{self.name} holds what happened and no forecasts",
                fix="a forecast from its history is used instead; or add a column issued_at",
            )
        then = as_of or self.now
        known = [
            row
            for row in rows
            if row.issued is not None and row.issued <= then
            and row.start + self._step[zone] > start and row.start < end
        ]  # fmt: skip
        newest = max((row.issued for row in known if row.issued is not None), default=None)
        return [self._reading(zone, row) for row in known if row.issued == newest]

    def _to_come(self, zone: str, rows: list[_Row]) -> list[_Row]:
        """Of times that are still to come a file tells a forecast, made when it was written."""
        written = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        made = min(self.now, written)
        return [
            row._replace(issued=made) for row in rows if row.start + self._step[zone] > self.now
        ]

    def _reading(self, zone: str, row: _Row) -> Reading:
        return Reading(
            zone, self.topic, row.start, self._step[zone], row.value, row.unit,
            Status.MEASURED if row.issued is None else Status.FORECAST, self.name, self.basis,
            row.issued,
        )  # fmt: skip

    def _rows(self, zone: str) -> list[_Row]:
        if zone not in self._read:
            try:
                with self._opened() as lines:
                    rows = list(self._parse(zone, csv.DictReader(lines)))
            except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
                raise SignalUnavailable(
                    f"{self.name} cannot be read: {error}",
                    fix="see that it is there, and text (or gzip, named .gz)",
                ) from error
            step = self._length(rows)
            shift = step if self._meaning.label == "end" else timedelta(0)
            self._read[zone] = self._once(row._replace(start=row.start - shift) for row in rows)
            self._step[zone] = step
        return self._read[zone]

    def _once(self, rows: Iterable[_Row]) -> list[_Row]:
        """In order; a time that is told twice must be told alike."""
        told: dict[tuple[datetime, datetime | None], _Row] = {}
        for row in rows:
            before = told.setdefault((row.start, row.issued), row)
            if before.value != row.value:
                raise self._bad(
                    f"tells {row.start:%Y-%m-%d %H:%M} UTC twice: {before.value:g} and {row.value:g}",
                    "leave one of them; if these are the clocks of a place, add timezone=",
                )
        return sorted(told.values(), key=lambda row: row.start)

    def _parse(self, zone: str, table: csv.DictReader[str]) -> Iterator[_Row]:
        columns = list(table.fieldnames or ())
        time = _found(columns, _TIMES)
        if time is None:
            raise self._bad(f"has no column of times ({', '.join(_TIMES)})", "name one so")
        by, issue = _found(columns, _ZONES), _found(columns, _ISSUED)
        value = self._value_column(zone, columns, by)
        clock = Clock(self.name, self._meaning.timezone or ("UTC" if "utc" in time else ""))
        zones = set()
        for row in table:
            if by is not None:
                zones.add(row[by])
                if row[by] != zone:
                    continue
            if (row[value] or "").strip().lower() in _EMPTY:
                clock.read(row[time])  # an empty hour is an hour too, for those that come twice
                continue
            amount, unit = self._amount(row[value], row.get("unit") or "")
            issued = Clock(self.name, "UTC").read(row[issue]) if issue else None
            yield _Row(clock.read(row[time]), issued, amount, unit)
        if by is not None and zone not in zones:
            raise unknown_zone(self.name, zone, zones)

    def _value_column(self, zone: str, columns: list[str], by: str | None) -> str:
        """Where the values are: in the column named, in the zone's own, or in one known by name."""
        wanted = self._meaning.column
        if wanted and wanted not in columns:
            raise self._bad(f"has no column {wanted}", f"it has: {', '.join(columns)}")
        if by is None and not wanted and zone in columns:
            return zone
        named = wanted or _found(columns, _VALUES[self.topic][0])
        if named is None:
            if by is None:
                raise unknown_zone(self.name, zone, [c for c in columns if c not in _TIMES])
            raise self._bad("has no column of values", f"add column=, one of {', '.join(columns)}")
        return named

    def _amount(self, text: str, unit: str) -> tuple[float, str]:
        """A value in the unit of its topic."""
        unit = unit or self._meaning.unit or _VALUES[self.topic][1]
        try:
            value = number(text)
        except ValueError as error:
            raise self._bad(f"has the value {text!r}", "leave empty what is not known") from error
        if self.topic is Topic.CARBON:
            return value * grams(unit, self.name), GRAMS_PER_KWH
        if not unit:
            raise self._bad("tells a price without its unit", "add unit=EUR/MWh, or your currency")
        return value, unit

    def _length(self, rows: list[_Row]) -> timedelta:
        given = self._meaning.step_minutes
        if given:
            return timedelta(minutes=number(given))
        times = sorted({row.start for row in rows})
        return min((b - a for a, b in pairwise(times)), default=timedelta(hours=1))

    def _bad(self, what: str, fix: str) -> UsageError:
        return UsageError(f"{self.name} {what}", fix=fix)


def _found(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """The first of the names that is a column, whatever its case."""
    lower = {column.strip().lower(): column for column in columns}
    return next((lower[name] for name in names if name in lower), None)
