"""Made-up signals and jobs, for all tests of choosing times."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
from negawatt.decisions.when import Job
from negawatt.signals.series import Series

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def outlook_of(values: Sequence[float], step: timedelta = HOUR, **others: Any) -> Series:
    told: dict[str, Any] = {
        "zone": "DE",
        "topic": Topic.CARBON,
        "unit": GRAMS_PER_KWH,
        "basis": Basis(),
        "source": "file",
        "status": Status.MEASURED,
        "start": START,
        "step": step,
        "values": np.array(values, dtype=np.float64),
    }
    return Series(**(told | others))


def price_of(values: Sequence[float], unit: str = "EUR/MWh", step: timedelta = HOUR) -> Series:
    return outlook_of(values, step, topic=Topic.PRICE, unit=unit, basis=None)


def job_of(hours: float, until: float, *, since: float = 0.0, **others: Any) -> Job:
    told: dict[str, Any] = {
        "name": "train",
        "work_s": hours * 3600,
        "power_w": 1000.0,
        "release": START + since * HOUR,
        "deadline": START + until * HOUR,
    }
    return Job(**(told | others))


def day() -> Series:
    """24 hours, cleanest at noon."""
    return outlook_of([300 + 100 * np.cos(2 * np.pi * hour / 24) for hour in range(24)])
