"""The energy a ledger's entries of one kind and name add up to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from negawatt.core.errors import StaleSignal, UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger import open_ledger
from negawatt.ledger.footprint import GRAMS_PER_KWH, Intensity, kilowatt_hours
from negawatt.ledger.footprint.intensity_file import IntensityFile
from negawatt.ledger.since import parse_since
from negawatt.reports import book
from negawatt.reports.totals import Grid, Total


@dataclass(frozen=True, slots=True)
class Booked:
    """An energy whose footprint is asked for.

    Args:
        energy: Of the IT equipment. [J]
        title: What it is of.
        wall: How long it took; None where that is not known. [s]
        grid: What it met hour by hour; None without intensities by time.
        notes: What a reader has to know to use the energy.
    """

    energy: Estimate
    title: str
    wall: Estimate | None = None
    grid: Intensity | None = None
    notes: tuple[str, ...] = ()


def booked(
    place: Path | str,
    kind: str | None,
    name: str | None,
    since: str | None,
    hours: IntensityFile | None = None,
) -> Booked:
    """Energy and wall time of the chosen entries, and what they are called.

    The ledger is verified first. Entries of different names are not added,
    because one window may lie inside another.

    Args:
        place: Of the ledger.
        kind: Only entries of this kind.
        name: Only entries of this name.
        since: Only entries since a date, a time or an age.
        hours: Intensities by time; every entry must have met some all the while.

    Raises:
        UsageError: no entry with an energy was chosen, or entries of several names, or
            `hours` lacks some of their time.
        StaleSignal: `hours` ends before the last of them.
        LedgerError: the ledger cannot be read, or does not verify.
    """
    moment = parse_since(since, datetime.now(UTC)) if since else None
    with open_ledger(place, readonly=True) as ledger:
        read = book.read_book(ledger, book.Choice(kind, name, moment), Grid(hours=hours))
    known = [total for total in read.totals if "energy" in total.sums]
    if not known:
        raise UsageError(
            f"{read.place} holds no energy of {read.choice}",
            fix="choose other entries, or give the energy: --energy 12kWh",
        )
    if len(known) > 1:
        names = ", ".join(f"{total.name} ({total.kind})" for total in known)
        raise UsageError(
            f"entries of {len(known)} names have no sum, because windows may lie in one another",
            fix=f"choose one with --name, or --kind as well: {names}",
        )
    (total,) = known
    wall = total.sums.get("wall_seconds")
    # windows that lie side by side have no common length: the reader states the hours
    whole = wall is not None and wall.known == total.entries and not total.counted_once
    return Booked(
        total.sums["energy"].estimate,
        f"Footprint of {total.name}, {total.entries} entries of {read.name}",
        wall.estimate if wall and whole else None,
        None if hours is None else _met(total, hours),
        read.notes,
    )


def _met(total: Total, hours: IntensityFile) -> Intensity:
    """The mean intensity that the energy of a sum met, weighted by that energy."""
    energy, found = total.sums["energy"], total.sums.get("emissions")
    lacking = energy.known - (found.known if found else 0)
    if lacking or found is None:
        raise _uncovered(total, hours, lacking)
    used = kilowatt_hours(energy.estimate)
    grams = found.estimate
    if not used.value:
        raise UsageError(
            "the chosen entries drew no energy, which meets no intensity",
            fix="choose other entries",
        )
    value = grams.value / used.value
    mean = replace(
        grams,
        value=value,
        low=min(value, grams.low / used.low if used.low else value),
        high=max(value, grams.high / used.high),
        unit=GRAMS_PER_KWH,
        source=f"{hours}, weighted by energy",
        boundary=f"energy-weighted, {hours.basis}",
    )
    return Intensity(mean, hours.basis, f"{hours.path.name}, hour by hour")


def _uncovered(total: Total, hours: IntensityFile, lacking: int) -> UsageError | StaleSignal:
    """Why there is no figure: a sum over a part of the energy would be taken for the whole."""
    fact = (
        f"{lacking} of {total.entries} entries have no intensity for some or all of their time:"
        f" {hours}"
    )
    if total.last > hours.end:
        return StaleSignal(
            f"{fact}; the last entry is of {total.last:%Y-%m-%d %H:%M} UTC",
            fix="get a file that reaches as far, choose earlier entries, or state one --intensity",
        )
    return UsageError(
        fact,
        fix="complete the file, choose other entries with --since or --name, or use"
        " `negawatt report --intensity-file`, which sums the entries it covers and tells the rest",
    )
