"""Every figure of a report as one line: for spreadsheets, and for the appendix on paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from negawatt.core.estimate import Estimate
from negawatt.core.outcome import Outcome
from negawatt.reports.book import HEADS, Book
from negawatt.reports.compare import Comparison
from negawatt.reports.totals import Total

COLUMNS = ("name", "value", "low", "high", "unit", "kind", "boundary", "period", "source")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Line:
    """A figure and what it is called; the value is in the unit of the estimate."""

    name: str
    estimate: Estimate


def of_book(book: Book) -> tuple[Line, ...]:
    """The sums of a ledger, by name."""
    return tuple(
        Line(f"{total.name} ({total.kind}), {HEADS[key][0]} of {found.known} entries"
             f"{_once(total, key)}",
             found.estimate)
        for total in book.totals
        for key, found in total.sums.items()
    )  # fmt: skip


def _once(total: Total, key: str) -> str:
    """What a sum holds once, in words."""
    if not total.counted_once or key not in {"energy", "emissions"}:
        return ""
    return f", {total.counted_once} of them measured by others too and counted once"


def of_comparison(found: Comparison) -> tuple[Line, ...]:
    """Both sides of every figure, their difference and their ratio."""
    return tuple(
        Line(f"{change.name}, {what}", estimate)
        for change in found.changes
        for what, estimate in (
            ("before", change.before),
            ("after", change.after),
            ("after minus before", change.difference),
            ("after over before", change.ratio),
        )
        if estimate is not None
    )


def of_outcome(outcome: Outcome) -> tuple[Line, ...]:
    """Every figure of an optimisation, variant by variant."""
    lines = [line for point in outcome.points for line in _of(point, point.variant.name)]
    for side, parts in (("uniform int8", outcome.before), ("chosen", outcome.after)):
        lines += [Line(f"{side}, energy of {part.name}", part.energy) for part in parts]
    return (*lines, Line("energy of the optimisation itself", outcome.job_energy))


def _of(record: object, name: str) -> Iterator[Line]:
    """The estimates of a record and of the records in it, named by their fields."""
    for field in getattr(record, "__dataclass_fields__", ()):
        value = getattr(record, field)
        if isinstance(value, Estimate):
            yield Line(f"{name}, {field.replace('_', ' ')}", value)
        else:
            yield from _of(value, name)


def as_csv(lines: Iterable[Line]) -> str:
    """A header and one row a figure; numbers in full, `period` in seconds or empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        e = line.estimate
        period = "" if e.period_s is None else repr(e.period_s)
        numbers = [repr(float(n)) for n in (e.value, e.low, e.high)]
        texts = [_safe(text) for text in (line.name, e.unit, str(e.kind), e.boundary, e.source)]
        writer.writerow([texts[0], *numbers, *texts[1:4], period, texts[4]])
    return stream.getvalue()


def _safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
