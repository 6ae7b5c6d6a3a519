"""Calibrations in a ledger: what is written of one, and all of a device fitted together again.

An entry of the kind "calibrate" holds the rows that were measured, so that nothing but the ledger is needed
to fit them anew, with a later version or with rows of other days and machines beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from negawatt.actions.calibrate.fitted import Calibration
from negawatt.actions.calibrate.rows import Row
from negawatt.core.codec import decode, encode
from negawatt.core.errors import UsageError
from negawatt.energy.devices import Datasheet
from negawatt.energy.profiles import Origin

KIND = "calibrate"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows of all calibrations of a device with one engine.

    Args:
        rows: Measured ones.
        sheet: That the latest calibration started from.
        origin: Of the rows.
        entries: How many calibrations there were.
    """

    rows: tuple[Row, ...]
    sheet: Datasheet
    origin: Origin
    entries: int


def body_of(found: Calibration) -> dict[str, Any]:
    """What a ledger keeps of a calibration."""
    profile = found.profile
    return {
        "name": f"calibrate {profile.name}",
        "sheet": encode(profile.sheet),
        "origin": encode(profile.origin),
        "rows": [encode(row) for row in found.rows],
        "versions": dict(found.versions),
    }


def recorded(
    bodies: Iterable[Mapping[str, Any]], *, device: str = "", engine: str = ""
) -> Recorded:
    """Rows that a ledger's calibrations measured, oldest first.

    Args:
        bodies: Of entries of the kind "calibrate".
        device: Of this one alone; may be left empty where there is but one.
        engine: With this one alone; the same.

    Raises:
        UsageError: there is none, or several devices or engines would be mixed.
    """
    found = [
        (decode(Datasheet, body["sheet"]), decode(Origin, body["origin"]), body["rows"])
        for body in bodies
    ]
    if not found:
        raise UsageError(
            "the ledger holds no calibration", fix="run `negawatt calibrate`, which writes one"
        )
    found = [one for one in found if device in {"", one[0].name}] or _none("device", device, found)
    _one_of("devices", "--device", {sheet.name for sheet, _, _ in found})
    found = [one for one in found if engine in {"", one[1].engine}] or _none(
        "engine", engine, found
    )
    _one_of("engines", "--source", {origin.engine for _, origin, _ in found})
    _one_of("boundaries", "--source", {origin.boundary for _, origin, _ in found})
    rows = tuple(decode(Row, row) for _, _, some in found for row in some)
    return Recorded(rows, found[-1][0], found[-1][1], len(found))


def _none(what: str, wanted: str, found: list[tuple[Datasheet, Origin, Any]]) -> Any:
    there = {sheet.name if what == "device" else origin.engine for sheet, origin, _ in found}
    raise UsageError(
        f"the ledger holds no calibration of the {what} {wanted}",
        fix=f"name one of: {', '.join(sorted(there))}",
    )


def _one_of(what: str, option: str, names: set[str]) -> None:
    if len(names) > 1:
        raise UsageError(
            f"the ledger holds calibrations of several {what}",
            fix=f"choose with {option} one of: {', '.join(sorted(names))}",
        )
