"""Weather and the air that servers may take in: how a site's file tells its cooling."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from negawatt.actions.site.tables import Column, Steps, column
from negawatt.core.errors import UsageError
from negawatt.core.factors import table
from negawatt.decisions.site.account import ByWeather
from negawatt.decisions.site.cooling import Envelope, Plant, cool

_PARTS = ("overhead", "fans", "pumps", "carnot", "evaporation", "concentration")
_LESS_IS_MORE = frozenset({"carnot", "concentration"})  # the higher, the less a plant takes


def read_cooling(
    told: dict[str, Any] | None, steps: Steps, folder: Path, offset_h: float | None
) -> ByWeather | None:
    """The cooling of a site by weather, at its plant's best values and at their ends.

    Args:
        told: The part of the site's file; None where there is none.
        steps: When.
        folder: Where a weather file is looked for.
        offset_h: Of local standard time from UTC, where the part does not tell it. [h]

    Raises:
        UsageError: there is no such class of air, or no weather of that time.
    """
    if told is None:
        return None
    dry, humidity = _weather(told, steps, folder, offset_h)
    envelope = _envelope(told["class"])
    known = table("site_energy")
    ways = {name: told[name] for name in ("outside_air", "evaporative", "tower") if name in told}
    plants = {}
    for end, other in (("value", "value"), ("low", "high"), ("high", "low")):
        parts = {
            name: getattr(known[name], other if name in _LESS_IS_MORE else end) for name in _PARTS
        }
        plants[end] = Plant(**parts, **ways)
    return ByWeather(
        usual=cool(dry, humidity, envelope, plants["value"]),
        low=cool(dry, humidity, envelope, plants["low"]),
        high=cool(dry, humidity, envelope, plants["high"]),
        always=cool(dry, humidity, envelope, plants["value"], free=False),
        envelope=envelope.name,
    )


def _weather(
    told: dict[str, Any], steps: Steps, folder: Path, offset_h: float | None
) -> tuple[Column, Column]:
    """Dry bulb and relative humidity. [degC], [1]"""
    if "weather" in told:
        path = folder / told["weather"]
        offset = told.get("utc_offset_h", offset_h)
        only = {key: str(value) for key, value in told.get("only", {}).items()}
        dry, percent = (
            column(path, name, steps, offset_h=offset, only=only)
            for name in ("dry_bulb_c", "rel_hum_pct")
        )
        return dry, np.minimum(percent / 100, 1.0)
    if "dry_bulb_c" not in told or "humidity" not in told:
        raise UsageError(
            "cooling tells no weather", fix="give dry_bulb_c and humidity, or a weather file"
        )
    return tuple(np.full(steps.count, float(told[n])) for n in ("dry_bulb_c", "humidity"))  # type: ignore[return-value]


def _envelope(name: str) -> Envelope:
    path = files("negawatt") / "data" / "site" / "envelopes.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    known = {row["class"]: row for row in csv.DictReader(line for line in lines if line[:1] != "#")}
    if name not in known:
        raise UsageError(
            f"there is no class of air called {name}", fix=f"name one of {', '.join(known)}"
        )
    row = known[name]
    return Envelope(
        name=f"ASHRAE {name}", dry_high=float(row["dry_high"]), dew_low=float(row["dew_low"]),
        dew_high=float(row["dew_high"]),
    )  # fmt: skip
