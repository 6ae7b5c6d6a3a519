"""`negawatt place`: read what there is and what is asked, choose who reads and who writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from negawatt.actions.design import read_anatomy
from negawatt.core.errors import UsageError
from negawatt.decisions.placement import (
    Fleet,
    Link,
    Machine,
    Model,
    RequestClass,
    Site,
)
from negawatt.energy.catalogue import Catalogue
from negawatt.ledger.footprint.intensity import of_zone

_YEAR_S = 365.25 * 86400.0
_EXAMPLE = "see `negawatt place --example`"
_FIELDS: dict[str, frozenset[str]] = {
    "sites": frozenset({"zone", "intensity", "pue"}),
    "machines": frozenset({"device", "count", "site", "embodied_kg", "lifetime_years", "idle_w"}),
    "models": frozenset({"config", "precision"}),
    "classes": frozenset({"model", "rate", "prompt", "written", "first_s", "token_s"}),
}
_NEEDED: dict[str, frozenset[str]] = {
    "sites": frozenset(),
    "machines": frozenset({"device", "count", "site"}),
    "models": frozenset({"config"}),
    "classes": frozenset({"model", "rate", "prompt", "written"}),
}
_TEXTS = frozenset({"zone", "device", "site", "config", "precision", "model"})


def example() -> str:
    """A file that can be placed, once its model is there.

    >>> "[machines.old]" in example()
    True
    """
    file = files("negawatt") / "data" / "placement" / "example.toml"
    return file.read_text(encoding="utf-8")


def read_fleet(file: Path, known: Catalogue) -> Fleet:
    """What a file says there is, and is asked.

    Models that are named by a relative path are looked for beside the file.

    Args:
        file: TOML, as `example` shows it.
        known: Devices by name.

    Raises:
        UsageError: it cannot be read, or something in it is missing, unknown or absurd; the
            message names it.
        ModelError: a model has no configuration of a known family.
    """
    told = _parsed(file)
    for name in told:
        if name not in {*_FIELDS, "link", "servers"}:
            raise UsageError(f"{file.name} has a part called {name}", fix=_EXAMPLE)
    sites = {name: _site(name, fields) for name, fields in _entries(told, "sites", file)}
    machines = tuple(
        _machine(name, fields, sites, known) for name, fields in _entries(told, "machines", file)
    )
    models = tuple(
        _model(name, fields, file.parent) for name, fields in _entries(told, "models", file)
    )
    classes = tuple(
        RequestClass(name=name, **fields) for name, fields in _entries(told, "classes", file)
    )
    link = Link(**_known_only(told.get("link", {}), {"bandwidth", "joules_per_byte"}, "link"))
    servers = _known_only(told.get("servers", {}), {"busy"}, "servers")
    return Fleet(machines=machines, models=models, classes=classes, link=link, **servers)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", fix=_EXAMPLE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name} is no TOML: {error}", fix=_EXAMPLE) from error


def _entries(told: Mapping[str, Any], part: str, file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Named tables of a part, with no field missing, unknown or of the wrong type."""
    entries = told.get(part)
    if not isinstance(entries, dict) or not entries:
        raise UsageError(f"{file.name} has no {part}", fix=_EXAMPLE)
    found = []
    for name, fields in entries.items():
        where = f"{part}.{name}"
        if not isinstance(fields, dict):
            raise UsageError(f"{where} in {file.name} is no table", fix=_EXAMPLE)
        missing = sorted(_NEEDED[part] - set(fields))
        if missing:
            raise UsageError(f"{where} lacks {', '.join(missing)}", fix=_EXAMPLE)
        found.append((name, _known_only(fields, _FIELDS[part], where)))
    return found


def _known_only(fields: Any, known: frozenset[str] | set[str], where: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise UsageError(f"{where} is no table", fix=_EXAMPLE)
    for field, value in fields.items():
        if field not in known:
            raise UsageError(
                f"{where} has a field called {field}", fix=f"name one of {', '.join(sorted(known))}"
            )
        kind: Any = str if field in _TEXTS else (int, float)
        if not isinstance(value, kind) or isinstance(value, bool):
            word = "text" if field in _TEXTS else "a number"
            raise UsageError(f"{field} of {where} is {value!r}", fix=f"give {word}")
    return dict(fields)


def _site(name: str, fields: Mapping[str, Any]) -> Site:
    if ("zone" in fields) == ("intensity" in fields):
        raise UsageError(
            f"sites.{name} needs a zone or an intensity",
            fix='write zone = "DE", or intensity = 380 in gCO2e per kWh',
        )
    grams = fields["intensity"] if "intensity" in fields else of_zone(fields["zone"]).estimate.value
    return Site(name=name, intensity=grams, pue=fields.get("pue", 1.0))


def _machine(
    name: str, fields: Mapping[str, Any], sites: Mapping[str, Site], known: Catalogue
) -> Machine:
    if fields["site"] not in sites:
        raise UsageError(
            f"machines.{name} stands at {fields['site']}, which is no site",
            fix=f"name one of {', '.join(sites)}",
        )
    if not isinstance(fields["count"], int):
        raise UsageError(
            f"count of machines.{name} is {fields['count']!r}", fix="give a whole number"
        )
    return Machine(
        name=name,
        profile=known.find(fields["device"]),
        count=fields["count"],
        site=sites[fields["site"]],
        idle_w=fields.get("idle_w"),
        embodied_kg=fields.get("embodied_kg"),
        lifetime_s=fields.get("lifetime_years", 5) * _YEAR_S,
    )


def _model(name: str, fields: Mapping[str, Any], folder: Path) -> Model:
    beside = folder / fields["config"]
    place = str(beside) if beside.exists() else fields["config"]
    return Model(name=name, anatomy=read_anatomy(place), precision=fields.get("precision", "bf16"))
