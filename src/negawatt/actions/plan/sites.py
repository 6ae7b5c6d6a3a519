"""Places that differ in more than their grid, from a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negawatt.core.errors import UsageError
from negawatt.core.factors import table
from negawatt.decisions.where import Data
from negawatt.ledger.footprint.water import stated_water

_EXAMPLE = """\
# Where a job may run; the first is where its data lie.
latency_most_ms = 60       # left out: any

[sites.berlin]
zone = "DE"
pue = 1.4
latency_ms = 5             # to those who wait for the answer

[sites.lulea]
zone = "SE-SE1"
pue = 1.1
latency_ms = 30
speed = 0.8                # work done per second, beside the device that --duration is told for
energy = 0.9               # IT energy of the same work, beside it
wue = 0.1                  # water on site [L/kWh]

[data]                     # moved there when it does not run at home, and back
gigabytes_in = 200
gigabytes_out = 5
bandwidth_mbit = 1000
"""
_NUMBERS = ("pue", "speed", "energy", "latency_ms", "embodied_g_per_h", "wue", "water_offsite")
_SITE = frozenset({"zone", *_NUMBERS})
_DATA = frozenset({"gigabytes_in", "gigabytes_out", "bandwidth_mbit"})


@dataclass(frozen=True, slots=True)
class Spot:
    """A place before anything is known of its grid.

    Args:
        name: For people.
        zone: Of its grid.
        options: What else is said of it, as `decisions.where.Place` takes it.
    """

    name: str
    zone: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spots:
    """Where a job may run, what has to be moved there, and how far away it may be. [ms]"""

    spots: tuple[Spot, ...]
    data: Data | None = None
    latency_most_ms: float | None = None


def of_zones(zones: tuple[str, ...]) -> Spots:
    """Places that differ in their grid alone.

    Raises:
        UsageError: none is named.
    """
    if not zones:
        raise UsageError(
            "no zone is named", fix="give --zone DE, or set grid.zone (`negawatt settings`)"
        )
    return Spots(tuple(Spot(zone, zone, {}) for zone in dict.fromkeys(zones)))


def example() -> str:
    """A file to begin with."""
    return _EXAMPLE


def read(file: Path) -> Spots:
    """What a file says of places.

    Raises:
        UsageError: it cannot be read, or something in it is missing, unknown or absurd; the
            message names it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "sites.toml"
    ...     _ = path.write_text(example())
    ...     found = read(path)
    >>> [spot.zone for spot in found.spots], found.latency_most_ms
    (['DE', 'SE-SE1'], 60)
    """
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{file.name} is no TOML: {error}") from error
    _known(told, frozenset({"sites", "data", "latency_most_ms"}), file.name)
    sites = told.get("sites")
    if not isinstance(sites, dict) or not sites:
        raise _bad(f"{file.name} has no sites")
    spots = tuple(_spot(name, fields) for name, fields in sites.items())
    most = told.get("latency_most_ms")
    if most is not None:
        _number("latency_most_ms", most, file.name)
    return Spots(spots, _data(told["data"]) if "data" in told else None, most)


def _spot(name: str, fields: Any) -> Spot:
    where = f"sites.{name}"
    _known(fields, _SITE, where)
    zone = fields.get("zone")
    if not isinstance(zone, str) or not zone:
        raise _bad(f"{where} has no zone")
    options = {key: fields[key] for key in _NUMBERS if key in fields}
    for key, value in options.items():
        _number(key, value, where)
    if "wue" in options:
        options["wue"] = stated_water(options["wue"])
    if "water_offsite" in options:
        options["offsite"] = stated_water(options.pop("water_offsite"))
    return Spot(name, zone, options)


def _data(fields: Any) -> Data:
    _known(fields, _DATA, "data")
    for key, value in fields.items():
        _number(key, value, "data")
    mbit = fields.get("bandwidth_mbit")
    return Data(
        bytes_in=1e9 * fields.get("gigabytes_in", 0),
        bytes_out=1e9 * fields.get("gigabytes_out", 0),
        network=table("site_energy")["network"].estimate(),
        bandwidth=None if mbit is None else mbit * 1e6 / 8,
    )


def _known(fields: Any, known: frozenset[str], where: str) -> None:
    if not isinstance(fields, dict):
        raise _bad(f"{where} is no table")
    for name in fields:
        if name not in known:
            raise UsageError(
                f"{where} has a field called {name}", fix=f"name one of {', '.join(sorted(known))}"
            )


def _number(key: str, value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{key} of {where} is {value!r}", fix="give a number")


def _bad(what: str) -> UsageError:
    return UsageError(what, fix="see `negawatt plan --example`")
