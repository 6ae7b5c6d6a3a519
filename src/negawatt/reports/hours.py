"""Hours of a grid on the terminal: a bar for each, the band, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from rich.text import Text

from negawatt.reports.figures import UNKNOWN, plain
from negawatt.reports.screen import fitting, put, ruled, speaks_unicode, title

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.signals.series import Column, Series

_ROWS = 24  # at most; longer times are told in longer steps
_WIDTH = 40  # of the longest bar


class Told(NamedTuple):
    """What is shown.

    Args:
        series: The values.
        origin: Where they come from: the rung of an outlook, or "observed".
        remarks: What failed, what is old, what was filled from where.
        now: When it was told.
    """

    series: Series
    origin: str
    remarks: Sequence[str]
    now: datetime


class Listed(Protocol):
    """A provider as it is listed."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def about(self) -> str: ...  # noqa: D102
    @property
    def topics(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def missing(self) -> Sequence[str]: ...  # noqa: D102


def as_mapping(told: Told) -> dict[str, Any]:
    """The hours as plain JSON values; null where nothing is known."""
    series = told.series
    issued = series.issued_at
    return {
        "zone": series.zone,
        "topic": str(series.topic),
        "unit": series.unit,
        "basis": None if series.basis is None else str(series.basis),
        "source": series.source,
        "origin": told.origin,
        "status": str(series.status),
        "issued_at": None if issued is None else issued.isoformat(),
        "age_s": None if issued is None else max(0.0, (told.now - issued).total_seconds()),
        "start": series.start.isoformat(),
        "step_s": series.step_s,
        "values": _nullable(series.values),
        "low": None if series.low is None else _nullable(series.low),
        "high": None if series.high is None else _nullable(series.high),
        "remarks": list(told.remarks),
    }


def _nullable(column: Column) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 3) for value in column]


def show(told: Told, console: Console) -> None:
    """The hours for people."""
    series, console = told.series, fitting(console)
    put(title(f"{series.topic} of {series.zone}, {series.unit}"), console)
    basis = f" ({series.basis})" if series.basis else ""
    age = "" if series.issued_at is None else f", issued {_ago(told.now - series.issued_at)} ago"
    put(Text(f"{told.origin}: {series.source}{basis}{age}"), console)
    put(Text(), console)
    if not np.isnan(series.values).all():
        for line in _lines(series, full="█" if speaks_unicode(console) else "#"):
            put(line, console)
        put(Text(), console)
    put(Text(_summary(series), style="green"), console)
    for remark in told.remarks:
        put(Text(f"- {remark}", style="dim"), console)


def _lines(series: Series, *, full: str) -> Iterator[Text]:
    """One line for each step, or for several together where there are many."""
    together = -(-len(series) // _ROWS)
    values = _means(series.values, together)
    low = None if series.low is None else _means(series.low, together)
    high = None if series.high is None else _means(series.high, together)
    known = values[~np.isnan(values)]
    top = max([0.0, *known.tolist()])
    least = known.min() if len(known) else None
    day = ""
    for place, value in enumerate(values.tolist()):
        at = series.start + place * together * series.step
        date = f"{at:%a %d %b}"
        stamp = f"{'' if date == day else date:10} {at:%H:%M}"
        day = date
        if np.isnan(value):
            yield Text(f"{stamp} {UNKNOWN:>8}")
            continue
        bar = full * max(0, round(_WIDTH * value / top)) if top > 0 else ""
        band = "" if low is None or high is None else f"{plain(low[place])} to {plain(high[place])}"
        style = "green" if value == least else ""
        yield Text.assemble(f"{stamp} {plain(value):>8} ", (f"{bar:{_WIDTH}}", style), f" {band}")


def _means(column: Column, together: int) -> Column:
    """Means of several steps each; of the known ones where some are not."""
    padded = np.full(-(-len(column) // together) * together, np.nan)
    padded[: len(column)] = column
    rows = padded.reshape(-1, together)
    count = (~np.isnan(rows)).sum(axis=1)
    total = np.nansum(rows, axis=1)
    means: Column = np.full(len(count), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _summary(series: Series) -> str:
    known = np.flatnonzero(~np.isnan(series.values))
    if not len(known):
        return "nothing is known of this time"
    values = series.values[known]
    best = series.start + int(known[values.argmin()]) * series.step
    return (
        f"mean {plain(float(values.mean()))}, lowest {plain(float(values.min()))} at"
        f" {best:%a %H:%M} UTC, highest {plain(float(values.max()))}; times are UTC"
    )


def _ago(length: timedelta) -> str:
    minutes = max(0.0, length.total_seconds() / 60)
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def show_providers(found: Sequence[Listed], console: Console) -> None:
    """Who can be asked, and what they lack."""
    console = fitting(console)
    table = ruled(console)
    for head in ("address", "tells", "of", "to set"):
        table.add_column(head, no_wrap=head == "address")
    for one in found:
        table.add_row(
            f"{one.name}://", ", ".join(one.topics), one.about, ", ".join(one.missing) or UNKNOWN
        )
    put(table, console)
    put(
        Text(
            "Name them in NEGAWATT_GRID or grid.providers, the preferred first. Typical hours of"
            " 123 zones are built in, and need no provider.",
            style="dim",
        ),
        console,
    )
