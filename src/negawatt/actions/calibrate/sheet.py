"""Which datasheet a calibration starts from: the maker's, or what the windows themselves reach."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from negawatt.actions.calibrate.plan import USUAL_DTYPE
from negawatt.actions.calibrate.rows import Row
from negawatt.core.errors import UsageError
from negawatt.energy.devices import Datasheet

_SAID = frozenset(
    {"nvidia", "amd", "tesla", "geforce", "instinct", "graphics", "gpu", "generation"}
)
_CLOSE = 0.2  # share by which the memory told and the memory found may differ


def matching(name: str, memory_bytes: float, known: Iterable[Datasheet]) -> Datasheet | None:
    """The datasheet of a device under the name that its driver gives; None when unsure.

    Every word of one name that says something must be in the other, apart from how the board is
    mounted and how much it holds; the memory found decides the rest.

    >>> from negawatt.energy.devices import known_datasheets
    >>> found = matching("NVIDIA H100 80GB HBM3", 85e9, known_datasheets().values())
    >>> found.name if found else ""
    'H100-SXM5-80GB'
    >>> matching("NVIDIA H10", 85e9, known_datasheets().values()) is None
    True
    """
    words = _words(name)
    found = [
        (len(words & _words(sheet.name)), -_off(sheet, memory_bytes), _socketed(sheet), sheet.name)
        for sheet in known
        if _head(sheet.name) <= words
        and words - _words(sheet.name) <= _MOUNTS
        and _off(sheet, memory_bytes) <= _CLOSE
    ]
    if not found:
        return None
    best = max(found)[-1]
    return next(sheet for sheet in known if sheet.name == best)


_MOUNTS = frozenset(
    {"pcie", "sxm", "sxm2", "sxm4", "sxm5", "hbm2", "hbm2e", "hbm3", "hbm3e", "nvl"}
)


def measured_sheet(
    name: str, rows: Sequence[Row], *, memory_bytes: float, full_w: float | None = None
) -> Datasheet:
    """What copy and product reach, in place of a datasheet that nobody has.

    Args:
        name: Of the device.
        rows: Of rest, the copy and the product in 16 bits among others.
        memory_bytes: That the device holds. [B]
        full_w: Power of the whole device, where a band tells it; else the greatest of the rows. [W]
    """
    by_what = {row.task.what: row for row in rows if row.task.dtype == USUAL_DTYPE}
    power = full_w or max(row.power for row in rows)
    idle = by_what["rest"].power
    return Datasheet(
        name=name,
        bandwidth=by_what["copy"].bytes_per_s,
        rate=by_what["product"].operations_per_s,
        power_w=power,
        idle_w=idle if idle < power else None,
        memory_bytes=memory_bytes,
        source="copy and matrix product measured on this machine; no datasheet",
    )


def named(name: str, known: Mapping[str, Datasheet]) -> Datasheet:
    """The datasheet of that name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name not in known:
        raise UsageError(
            f"{name!r} is no datasheet that comes with negawatt",
            fix=f"give one of: {', '.join(sorted(known))}",
        )
    return known[name]


def _words(name: str) -> set[str]:
    """Letters and digits in lower case, without makers and families; memory sizes left out."""
    plain = re.split(r"[^a-z0-9]+", name.lower())
    return {word for word in plain if word and word not in _SAID and not re.match(r"\d+gb$", word)}


def _head(name: str) -> set[str]:
    """Words of a datasheet's name without how the board is mounted."""
    return _words(name) - _MOUNTS


def _off(sheet: Datasheet, memory_bytes: float) -> float:
    return abs(memory_bytes / sheet.memory_bytes - 1)


def _socketed(sheet: Datasheet) -> bool:
    return "sxm" in sheet.name.lower()  # boards in a slot say so, others do not
