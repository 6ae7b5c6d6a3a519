"""Trials of rounded inputs with known distances and times."""

from __future__ import annotations

from negawatt.compress.mixed import Trial
from negawatt.core.estimate import Estimate, Kind


def told(value: float, off: float = 0.0, unit: str = "1") -> Estimate:
    ends = {"low": value - off, "high": value + off}
    return Estimate(value=value, **ends, unit=unit, kind=Kind.MEASURED, source="a test")


def trial(name: str, far: float, time: float, off: float = 0.0) -> Trial:
    return Trial(name, (), time, told(far, off), ratio=told(time))
