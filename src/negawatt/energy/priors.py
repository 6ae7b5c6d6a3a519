"""What may be expected of a device before a window tells: read from `data/devices/law.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """One expectation.

    Args:
        value: Expected, in `unit`.
        width: Standard deviation of its logarithm. [1]
        unit: Of the value; for some a share of what a datasheet tells.
        source: Why.
    """

    value: float
    width: float
    unit: str
    source: str


@cache
def priors() -> Mapping[str, Prior]:
    """By the name of the constant of the law.

    >>> priors()["bandwidth"].value
    0.83
    """
    text = (files("negawatt") / "data" / "devices" / "law.toml").read_text(encoding="utf-8")
    return {name: Prior(**entry) for name, entry in tomllib.loads(text).items()}
