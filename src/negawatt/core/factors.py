"""Published values, read from `data/`: none is written into code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from negawatt.core.estimate import Estimate, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One published value with all that is needed to cite it."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    year: int
    licence: str
    note: str = ""

    def estimate(self) -> Estimate:
        """The factor as an assumed estimate."""
        return Estimate(
            value=self.value,
            low=self.low,
            high=self.high,
            unit=self.unit,
            kind=Kind.ASSUMED,
            source=f"{self.source} ({self.year})",
        )


@cache
def table(name: str) -> dict[str, Factor]:
    """Every factor of `data/factors/<name>.toml`, by key.

    A file holds one TOML table per factor with value, low, high, unit,
    source, year and licence; a missing field is a `KeyError` naming it.
    """
    text = (files("negawatt") / "data" / "factors" / f"{name}.toml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = tomllib.loads(text)
    return {key: Factor(name=key, **entry) for key, entry in entries.items()}
