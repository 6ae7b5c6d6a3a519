"""Derive the built-in typical hours from the hourly year of 123 zones, and try them on other years.

    python bench/grid/typical_hours.py [--write]

Takes `grid/em2022_ci_lca_hourly_123zones.csv.gz` below `NEGAWATT_DATA` (by default `../shared`).
For each zone, season and hour of the day (UTC): the mean, and an interval. Its ends are quantiles
of the hour and its two neighbours, stretched by how the zone's yearly means moved from 2020 to
2022. Printed is the share of hours that lie inside: in weeks that were left out, and in other
years. With `--write` the table is written into the package.
"""

from __future__ import annotations

import csv
import gzip
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.core.zones import zones

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("NEGAWATT_DATA") or ROOT.parent / "shared")
TABLE = ROOT / "src" / "negawatt" / "data" / "factors" / "typical_hours.csv"
TAIL = 0.04  # of each side; gives 90.6 % of left-out weeks before stretching
SEASONS = ("DJF", "MAM", "JJA", "SON")
HEAD = """\
# Typical hours of grid zones: by season (DJF: December to February, and so on) and hour of the day
# in UTC, the mean of 2022 and an interval meant to hold nine hours in ten, other years included.
# [gCO2e/kWh] Average, life cycle, consumption-based. A database derived from data of Electricity
# Maps (electricitymaps.com) by bench/grid/typical_hours.py, and like them under the Open Database
# License 1.0 (ODbL): opendatacommons.org/licenses/odbl/1-0
"""

Numbers = NDArray[np.float64]
Moments = NDArray[np.datetime64]
Whole = NDArray[Any]


def folder() -> Path:
    """Where the grid data are."""
    return next(f for f in (SHARED / "data" / "grid", SHARED / "grid") if f.is_dir())


def read_year(file: Path) -> tuple[list[str], Moments, Numbers]:
    """Zones, hours, and the value of each."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        names = next(rows)[1:]
        told = list(rows)
    times = np.array([row[0][:13] for row in told], dtype="datetime64[h]")
    return names, times, np.array([[float(cell or "nan") for cell in row[1:]] for row in told])


def season_of(times: Moments) -> Whole:
    """0 for December to February, ..., 3 for September to November."""
    months = times.astype("datetime64[M]").astype(int) % 12
    return ((months + 1) % 12) // 3


def hour_of(times: Moments) -> Whole:
    """Hour of the day."""
    return times.astype("datetime64[h]").astype(int) % 24


def derive(times: Moments, values: Numbers) -> Numbers:
    """Mean, low and high, [3, seasons, hours, zones]."""
    seasons, hours = season_of(times), hour_of(times)
    out = np.empty((3, 4, 24, values.shape[1]))
    for season in range(4):
        for hour in range(24):
            inside = seasons == season
            near = inside & np.isin(hours, [(hour + shift) % 24 for shift in (-1, 0, 1)])
            out[0, season, hour] = np.nanmean(values[inside & (hours == hour)], axis=0)
            out[1:, season, hour] = np.nanquantile(values[near], [TAIL, 1 - TAIL], axis=0)
    return out


def stretch(made: Numbers, names: list[str]) -> Numbers:
    """The intervals, wider by how yearly means moved."""
    known = [zones()[name] for name in names]
    wide = made.copy()
    wide[1] *= np.array([zone.year_low / zone.mean for zone in known])
    wide[2] *= np.array([zone.year_high / zone.mean for zone in known])
    return wide


def inside(made: Numbers, times: Moments, values: Numbers) -> Numbers:
    """Share of hours inside, by zone."""
    low, high = made[1:, season_of(times), hour_of(times)]
    share: Numbers = ((values >= low) & (values <= high)).mean(axis=0)
    return share


def try_left_out(times: Moments, values: Numbers) -> Numbers:
    """Share of hours inside intervals of the other weeks, by zone; every fourth week left out."""
    weeks = times.astype("datetime64[D]").astype(int) // 7
    shares = [
        inside(derive(times[weeks % 4 != left], values[weeks % 4 != left]),
               times[weeks % 4 == left], values[weeks % 4 == left])
        for left in range(4)
    ]  # fmt: skip
    mean: Numbers = np.mean(shares, axis=0)
    return mean


def other_years(made: Numbers, names: list[str]) -> None:
    """Print the shares in years that the table has not seen."""
    seen: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for file in ("em2021_2023_hourly_4zones.csv.gz", "em2023_hourly_5zones.csv.gz"):
        with gzip.open(folder() / file, "rt", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                key = row["zone"], row["time_utc"][:4]
                if row["zone"] in names and row["ci_lca"] and key[1] != "2022":
                    seen.setdefault(key, []).append((row["time_utc"][:13], float(row["ci_lca"])))
    shares = []
    for (zone, year), told in sorted(seen.items()):
        times = np.array([time for time, _ in told], dtype="datetime64[h]")
        values = np.array([[value] for _, value in told])
        place = names.index(zone)
        shares.append(float(inside(made[..., place : place + 1], times, values)[0]))
        print(f"  {zone} {year}: {shares[-1]:.1%}")
    print(f"  mean of these {len(shares)}: {np.mean(shares):.1%}")


def write(made: Numbers, names: list[str]) -> None:
    """The table, a row for each zone, season and column."""
    columns = [f"h{hour:02}" for hour in range(24)]
    lines = [HEAD + ",".join(["zone", "season", "what", *columns])]
    for place, name in enumerate(names):
        for season, label in enumerate(SEASONS):
            for what, values in zip(
                ("mean", "low", "high"), made[:, season, :, place], strict=True
            ):
                shown = [f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in values]
                lines.append(",".join([name, label, what, *shown]))
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Derive, try, and perhaps write."""
    names, times, values = read_year(folder() / "em2022_ci_lca_hourly_123zones.csv.gz")
    left = try_left_out(times, values)
    print(
        f"weeks left out, not stretched: {left.mean():.1%} of hours inside; least {left.min():.1%}"
    )
    made = stretch(derive(times, values), names)
    print("years not seen:")
    other_years(made, names)
    if "--write" in sys.argv[1:]:
        write(made, names)
        print(f"{TABLE.relative_to(ROOT)}: {TABLE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
