"""One `negawatt calibrate`: measure or read windows, fit them, keep the profile."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from negawatt.actions.calibrate.fitted import Calibration, beside, factor_of, fitted
from negawatt.actions.calibrate.keep import keep, slug
from negawatt.actions.calibrate.plan import Plan, designed
from negawatt.actions.calibrate.recorded import Recorded
from negawatt.actions.calibrate.rows import Row, windows_of
from negawatt.actions.calibrate.run import STEADY, Bench, counted, measured
from negawatt.actions.calibrate.sheet import matching, measured_sheet, named
from negawatt.actions.calibrate.table import read_table
from negawatt.actions.journal import Journal
from negawatt.core.codec import encode
from negawatt.energy.devices import Datasheet, known_datasheets
from negawatt.energy.profiles import Origin

#: Power of the whole CPU where a band tells it. [W]
Full = Callable[[], float]

_UNCOUNTED = (
    "No counter covers this CPU: times and CPU-seconds are measured, joules are modelled from them by "
    "the meter's band. Joules of a step's parts (weights, operations) cannot be told apart that way."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is calibrated.

    Args:
        name: Of the device, for its profile; for a GPU that of its datasheet is taken if known.
        cache: Where windows and profiles are kept.
        quick: Fewer and shorter windows.
        sheet: Name of the datasheet to start from; found by the device's name when empty.
        versions: Of what decides the figures.
    """

    name: str
    cache: Path
    quick: bool = False
    sheet: str = ""
    versions: Mapping[str, str]


def calibrate(question: Question, bench: Bench, full_w: Full) -> Calibration:
    """Measure this machine's device, or go on where that was stopped.

    Args:
        question: What is asked.
        bench: Engine, device and instruments.
        full_w: Power of the CPU when all of it works, as the band has it. [W]

    Raises:
        MeterUnavailable: a GPU has no counter.
        UsageError: no such datasheet, or the device is too small.
    """
    rig = bench.rig
    if question.sheet:
        named(question.sheet, known_datasheets())  # refused before anything is measured
    plan = designed(
        accelerator=rig.accelerator is not None,
        memory_bytes=rig.memory_bytes,
        dtypes=rig.dtypes,
        quick=question.quick,
    )
    journal = _journal(question, plan, bench)
    rows = measured(plan, bench, journal.journal)
    found = from_rows(rows, question, bench, full_w)
    kept = keep(found, question.cache)
    shutil.rmtree(journal.folder, ignore_errors=True)  # the next calibration measures anew
    return kept


def from_rows(rows: tuple[Row, ...], question: Question, bench: Bench, full_w: Full) -> Calibration:
    """What measured rows tell; nothing is kept."""
    rig, by_counter = bench.rig, counted(rows)
    sheet = _sheet(rows, question, bench, full_w)
    origin = Origin(
        engine=rig.engine,
        boundary=rows[0].joules.boundary,
        batching="static",
        source="windows measured on this machine, joules "
        + ("by its counter" if by_counter else "modelled by the band of its CPU"),
    )
    found = fitted(
        windows_of(rows), sheet, origin, meter_factor=factor_of(rows), versions=question.versions
    )
    speeds, cheapness = beside(rows)
    first = filter(None, ["" if by_counter else _UNCOUNTED, *_unsteady(rows), rig.remark])
    notes = (*first, *found.notes)
    return replace(found, rows=rows, speeds=speeds, cheapness=cheapness, notes=notes)


def _unsteady(rows: tuple[Row, ...]) -> list[str]:
    names = [row.task.name for row in rows if row.spread > STEADY]
    if not names:
        return []
    note = (
        f"{len(names)} windows differed by more than {STEADY:.0%} however often they were repeated "
        f"({'; '.join(names)}): something else was at work. Stop it and calibrate again."
    )
    return [note]


def from_table(
    file: Path, sheet: str, cache: Path, *, device: str = "", source: str = ""
) -> Calibration:
    """The same from a table of measured runs.

    Args:
        file: CSV; see `table`.
        sheet: Name of the datasheet to start from.
        cache: Where the profile is kept.
        device: Rows of this one alone.
        source: Rows of this one alone.

    Raises:
        UsageError: the table or the name of the sheet cannot be used.
    """
    start = named(sheet, known_datasheets())
    told = read_table(file, device=device, source=source)
    found = fitted(told.windows, start, told.origin)
    if told.left_out:
        note = f"{told.left_out} rows of {file.name} lack something that the fit needs and were left out."
        found = replace(found, notes=(note, *found.notes))
    return keep(found, cache)


def from_records(found: Recorded, sheet: str, cache: Path) -> Calibration:
    """The same from rows that a ledger holds.

    Args:
        found: Of one device with one engine.
        sheet: Name of the datasheet to start from; that of the latest calibration when empty.
        cache: Where the profile is kept.

    Raises:
        UsageError: no such datasheet.
    """
    start = named(sheet, known_datasheets()) if sheet else found.sheet
    count = f"{found.entries} calibration{'s' if found.entries > 1 else ''} of a ledger"
    origin = replace(found.origin, source=f"{count}; {found.origin.source}")
    told = fitted(windows_of(found.rows), start, origin, meter_factor=factor_of(found.rows))
    speeds, cheapness = beside(found.rows)
    told = replace(told, rows=found.rows, speeds=speeds, cheapness=cheapness)
    return keep(told, cache)


@dataclass(frozen=True, slots=True)
class _Kept:
    journal: Journal
    folder: Path


def _journal(question: Question, plan: Plan, bench: Bench) -> _Kept:
    """Where finished windows are kept; others count for nothing once anything that matters changes."""
    meters = [meter.name for meter in bench.instruments.meters]
    told = [encode(plan), question.name, bench.rig.engine, dict(question.versions), meters]
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    folder = question.cache / f"calibrating-{slug(f'{question.name} {bench.rig.engine}')}"
    return _Kept(Journal(folder, key), folder)


def _sheet(rows: tuple[Row, ...], question: Question, bench: Bench, full_w: Full) -> Datasheet:
    rig = bench.rig
    known = known_datasheets()
    found: Datasheet | None = None
    if question.sheet:
        found = named(question.sheet, known)
    elif rig.accelerator is not None:
        found = matching(rig.device, rig.memory_bytes, known.values())
    if found is None:
        return measured_sheet(
            question.name,
            rows,
            memory_bytes=rig.memory_bytes,
            full_w=None if counted(rows) else full_w(),
        )
    rest = next(row.power for row in rows if row.task.what == "rest")
    return replace(found, idle_w=rest) if rest < found.power_w else found
