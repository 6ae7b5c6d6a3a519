"""How good forecasts from history alone are at choosing hours, beside a published day-ahead forecast.

Takes the second half of 2021 in six areas (`NEGAWATT_DATA`, by default `../shared`, with `data/grid` in it). A job
of 4 hours may begin at once or up to 20 hours later, and may be handed in at any hour: 4392 hours of each area, the
last of them a day before the data end. It runs in the 4 hours in a row whose foreseen mean is lowest, the first of
equals; its saving is that of all its runs together against running all of them at once, and the share kept is that of
the saving which a perfect forecast would reach. What is known at each hour is the past up to it: since January 2020
in five areas, since July 2021 in DE. Where nothing can be said yet, the job runs at once.

Figures go to `bench/results/grid_forecast.json`; without the data nothing is written, and that is said.

    python bench/grid/forecast.py
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Flow, Signal, Status, Topic
from negawatt.signals.forecast import HourMean, LastWeek, Level, Persistence, Ridge, replay
from negawatt.signals.forecast.base import Way
from negawatt.signals.series import Series

RESULTS = Path(__file__).parents[1] / "results" / "grid_forecast.json"
GIVEN = Path(os.environ.get("NEGAWATT_DATA", Path(__file__).parents[3] / "shared"))
GRID = next((f for f in (GIVEN / "data" / "grid", GIVEN / "grid") if f.is_dir()), GIVEN / "grid")
HOUR = timedelta(hours=1)
JOB, WINDOW = 4, 24  # [h]
WAYS: tuple[Way, ...] = (Persistence(), LastWeek(), HourMean(), Ridge())

Floats = npt.NDArray[np.float64]


def table(name: str) -> dict[str, list[dict[str, str]]]:
    """The rows of a file, by area."""
    found: dict[str, list[dict[str, str]]] = {}
    with gzip.open(GRID / name, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["region"], []).append(row)
    return found


def series(area: str, rows: Sequence[dict[str, str]], column: str) -> Series:
    """One column of one area."""
    return Series(
        zone=area,
        topic=Topic.CARBON,
        unit=GRAMS_PER_KWH,
        basis=Basis(Signal.AVERAGE, Accounting.DIRECT, Flow.PRODUCTION),
        source="dacf",
        status=Status.MEASURED,
        start=datetime.fromisoformat(rows[0]["time_utc"]).astimezone(UTC),
        step=HOUR,
        values=np.array([float(row[column] or "nan") for row in rows]),
    )


def areas() -> dict[str, tuple[Series, Series]]:
    """Of each area: all that was measured, and what was published for the half-year."""
    half, past = (
        table(f"dacf{name}.csv.gz")
        for name in ("2021h2_dayahead_forecast", "2020_2021_hourly_mix_ci")
    )
    return {
        area: (
            series(area, past[area], "ci_direct")
            if area in past
            else series(area, rows, "ci_actual"),
            series(area, rows, "ci_forecast_dayahead"),
        )
        for area, rows in half.items()
    }


def windows(values: Floats) -> Floats:
    """Sums of the job's hours, for each hour that it may begin at. [..., begins]"""
    total = np.cumsum(np.concatenate([np.zeros((len(values), 1)), values], axis=1), axis=1)
    return total[:, JOB:] - total[:, :-JOB]


def saving(came: Floats, said: Floats) -> float:
    """Of all runs together, against running at once. [1]"""
    cost = windows(came)
    chosen = np.argmin(windows(said), axis=1)
    return float(1 - cost[np.arange(len(cost)), chosen].sum() / cost[:, 0].sum())


def forecasts(
    way: Way, history: Series, moments: Sequence[datetime]
) -> tuple[Floats, Floats, Floats]:
    """Values, low and high of every moment; the day's level, and no interval, where a way is silent."""
    length = WINDOW * HOUR
    said = replay(way, history, moments, length)
    silent = np.array([one is None for one in said])
    # a way that needs more days is preceded by those that need fewer, as `best` would choose
    for instead in (HourMean(), Level()):
        if silent.any():
            again = replay(
                instead, history, [m for m, s in zip(moments, silent, strict=True) if s], length
            )
            for place, one in zip(np.flatnonzero(silent).tolist(), again, strict=True):
                said[place] = one
            silent = np.array([one is None for one in said])
    unknown = np.full(WINDOW, np.nan)
    columns = [
        [
            unknown if one is None or getattr(one, name) is None else getattr(one, name)
            for one in said
        ]
        for name in ("values", "low", "high")
    ]
    return np.array(columns[0]), np.array(columns[1]), np.array(columns[2])


def measure(area: str, history: Series, published: Series) -> dict[str, Any]:
    """All figures of one area."""
    count = len(published) - WINDOW
    moments = [published.start + place * HOUR for place in range(count)]
    first = history.place(published.start)
    hours = np.arange(count)[:, None] + np.arange(WINDOW)
    came = history.values[first + hours]
    oracle = saving(came, came)
    found: dict[str, Any] = {"area": area, "jobs": count, "oracle_saving": oracle, "methods": {}}
    given = published.values[hours]
    found["methods"]["published day-ahead"] = figures(came, given, oracle)
    for way in WAYS:
        begun = time.process_time()
        values, low, high = forecasts(way, history, moments)
        seconds = time.process_time() - begun
        one = figures(came, np.nan_to_num(values), oracle, known=np.isfinite(values).all(axis=1))
        told = np.isfinite(low)
        inside = (came >= low) & (came <= high)
        one |= {
            "coverage": float(inside[told].mean()),
            "interval_width": float((high - low)[told].mean() / came.mean()),
            "seconds": round(seconds, 2),
        }
        found["methods"][way.name] = one
    return found


def figures(
    came: Floats, said: Floats, oracle: float, known: npt.NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Saving over all hours; errors over those at which something was said."""
    saved = saving(came, said)
    some = np.ones(len(came), dtype=bool) if known is None else known
    error = np.abs(came - said)[some]
    return {
        "saving": saved,
        "share_of_oracle": saved / oracle,
        "mae_g_per_kwh": float(error.mean()),
        "mape": float((error / came[some]).mean()),
    }


def one_call(history: Series) -> dict[str, float]:
    """Seconds of one forecast from the whole history, the least of five. [s]"""
    found = {}
    for hours in (24, 168):
        taken = []
        for _ in range(5):
            begun = time.process_time()
            Ridge().foresee(history, history.end, history.end + hours * HOUR)
            taken.append(time.process_time() - begun)
        found[f"ridge_{hours}h_s"] = round(min(taken), 3)
    return found


def main() -> None:
    """Measure, keep and print."""
    if not GRID.is_dir():
        print(f"nothing done: no data/grid at {GIVEN}; name its folder by NEGAWATT_DATA")
        return
    known = areas()
    found = [measure(area, history, published) for area, (history, published) in known.items()]
    speed = {"history_hours": len(known["CISO"][0]), **one_call(known["CISO"][0])}
    RESULTS.write_text(
        json.dumps({"areas": found, "one_forecast": speed}, indent=1) + "\n", encoding="utf-8"
    )
    for one in found:
        print(f"{one['area']:5} oracle {one['oracle_saving']:.2%}")
        for name, each in one["methods"].items():
            print(
                f"      {name:20} {each['saving']:7.2%} {each['share_of_oracle']:7.1%}"
                f" {each['mae_g_per_kwh']:6.1f} g {each['mape']:6.1%} {each.get('coverage', np.nan):6.1%}"
                f" {each.get('seconds', np.nan):5.1f} s"
            )
    print(speed)


if __name__ == "__main__":
    main()
