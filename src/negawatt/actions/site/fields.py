"""The fields of a site's file, checked by name and kind before anything is made of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from negawatt.core.errors import UsageError

EXAMPLE = "see `negawatt site --example`"

_NUMBER, _TEXT, _FLAG, _TIME, _TABLE = (int, float), str, bool, datetime, dict
_WORDS: Mapping[Any, str] = MappingProxyType(
    {
        _NUMBER: "a number",
        _TEXT: "text",
        _FLAG: "true or false",
        _TIME: "a time with its zone, such as 2026-06-01T00:00:00Z",
        _TABLE: "a table",
    }
)
_FIELDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "site": {
            "name": _TEXT, "zone": _TEXT, "intensity": _NUMBER, "intensity_file": _TEXT,
            "start": _TIME, "hours": _NUMBER, "step_min": _NUMBER, "load_kw": _NUMBER,
            "load_file": _TEXT, "load_column": _TEXT, "latitude": _NUMBER, "longitude": _NUMBER,
            "pue": _NUMBER, "import_kw": _NUMBER, "export_kw": _NUMBER, "avoided": _NUMBER,
            "utc_offset_h": _NUMBER,
        },
        "solar": {
            "kwp": _NUMBER, "file": _TEXT, "column": _TEXT, "clearness": _NUMBER,
            "performance": _NUMBER, "irradiance": _TEXT, "only": _TABLE,
        },
        "battery": {
            "kwh": _NUMBER, "kw": _NUMBER, "round_trip": _NUMBER, "loss_per_h": _NUMBER,
            "min_soc": _NUMBER, "initial_soc": _NUMBER, "final_soc": _NUMBER,
            "wear_g_per_kwh": _NUMBER,
        },
        "job": {
            "hours": _NUMBER, "kw": _NUMBER, "release": _TIME, "deadline": _TIME,
            "interruptible": _FLAG,
        },
        "cooling": {
            "class": _TEXT, "weather": _TEXT, "only": _TABLE, "utc_offset_h": _NUMBER,
            "dry_bulb_c": _NUMBER, "humidity": _NUMBER, "outside_air": _FLAG,
            "evaporative": _FLAG, "tower": _FLAG,
        },
        "water": {"wue": _NUMBER, "offsite": _NUMBER, "stress": _NUMBER},
        "size": {
            "max_kwp": _NUMBER, "max_kwh": _NUMBER, "aim": _TEXT, "solar_price": _NUMBER,
            "battery_price": _NUMBER, "rate_per_h": _NUMBER,
        },
        "price": {"per_mwh": _NUMBER, "file": _TEXT, "column": _TEXT, "weight": _NUMBER},
    }
)  # fmt: skip
_NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "site": (),
        "solar": ("kwp",),
        "battery": ("kwh", "kw"),
        "job": ("hours", "kw", "release", "deadline"),
        "cooling": ("class",),
    }
)


def fields_of(file: Path) -> dict[str, dict[str, Any]]:
    """The parts of a site's file; jobs by their names under `jobs`.

    Raises:
        UsageError: it cannot be read, or a part or field is unknown, missing or of the wrong kind.
    """
    told = _parsed(file)
    for name in told:
        if name not in {*_FIELDS, "jobs"} - {"job"}:
            known = ", ".join(sorted({*_FIELDS, "jobs"} - {"job"}))
            raise UsageError(f"{file.name} has a part called {name}", fix=f"name one of {known}")
    if "site" not in told:
        raise UsageError(f"{file.name} has no site", fix=EXAMPLE)
    found = {name: _checked(name, told[name], name) for name in told if name != "jobs"}
    jobs = told.get("jobs", {})
    if not isinstance(jobs, dict):
        raise UsageError(f"jobs in {file.name} is no table of jobs", fix=EXAMPLE)
    found["jobs"] = {name: _checked("job", job, f"jobs.{name}") for name, job in jobs.items()}
    return found


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", fix=EXAMPLE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name} is no TOML: {error}", fix=EXAMPLE) from error


def _checked(part: str, given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{where} is no table", fix=EXAMPLE)
    known = _FIELDS[part]
    for field, value in given.items():
        if field not in known:
            raise UsageError(
                f"{where} has a field called {field}", fix=f"name one of {', '.join(known)}"
            )
        kind = known[field]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"{field} of {where} is {value!r}", fix=f"give {_WORDS[kind]}")
    missing = [field for field in _NEEDED.get(part, ()) if field not in given]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}", fix=EXAMPLE)
    return dict(given)
