"""How long choosing times takes: many jobs over a year of five-minute slots, and all zones of a year.

The signal is the marginal rate of California in 2020 where `NEGAWATT_DATA` (by default `../shared`)
has it, and else a made-up year; the zones are the 123 of 2022, and else made-up ones. Jobs are
drawn with a fixed seed; making their records is not timed. Every time is the least of a few, as
this machine may be busy with other things. Figures go to `bench/results/grid_speed.json`.

    python bench/grid/speed.py
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Signal, Status, Topic
from negawatt.decisions.when import Job, plan_many, scan, scan_cheapest, schedule
from negawatt.signals.series import Series

Column = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "grid_speed.json"
START = datetime(2020, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
SLOTS, HOURS, ZONES = 105_120, 8_760, 123
JOBS = 10_000
TRIES = 3
BAR_MANY_S, BAR_SCAN_S = 2.0, 0.05


def shared() -> Path:
    """The folder of grid data, which need not be there."""
    given = Path(os.environ.get("NEGAWATT_DATA") or ROOT.parent / "shared")
    return next((at for at in (given / "data" / "grid", given / "grid") if at.is_dir()), given)


def columns(name: str, first: int, after: int | None) -> Column | None:
    """Columns of a file of the shared data; None where it is not there."""
    file = shared() / name
    if not file.exists():
        return None
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split(",")[first:after] for line in list(lines)[1:]]
    return np.array([[float(each or "nan") for each in row] for row in rows])


def year() -> tuple[Column, str]:
    """A year of five-minute slots, without gaps. [gCO2e/kWh]"""
    read = columns("sgip2020_caiso_pge_moer_5min.csv.gz", 1, 2)
    if read is not None:
        values = 1000 * read[:SLOTS, 0]
        there = ~np.isnan(values)
        places = np.arange(SLOTS)
        return np.interp(places, places[there], values[there]), "California, marginal, 2020"
    hours = np.arange(SLOTS) / 12
    noise = np.random.default_rng(1).standard_normal(SLOTS).cumsum() / 20
    return np.abs(300 + 120 * np.cos(2 * np.pi * hours / 24) + noise), "made up"


def zones() -> tuple[Column, str]:
    """[zones, hours of a year]. [gCO2e/kWh]"""
    read = columns("em2022_ci_lca_hourly_123zones.csv.gz", 1, None)
    if read is not None:
        return np.ascontiguousarray(read[:HOURS].T), "123 zones, 2022"
    return np.random.default_rng(2).uniform(10, 900, (ZONES, HOURS)), "made up"


def jobs(*, slack_h: tuple[float, float], whole: bool = False, **others: Any) -> list[Job]:
    """Jobs of ten minutes to a day, released over the year as far as their slack allows."""
    random = np.random.default_rng(0)
    found = []
    for number in range(JOBS):
        seconds = float(300 * random.integers(2, 289) if whole else random.uniform(600, 86_400))
        slack = 3600 * float(random.uniform(*slack_h))
        last = SLOTS * 300 - seconds - slack - 1
        release = START + timedelta(seconds=float(random.uniform(0, max(last, 1.0))))
        found.append(
            Job(
                name=f"job {number}",
                work_s=seconds,
                power_w=float(random.uniform(100, 1000)),
                release=release,
                deadline=release + timedelta(seconds=min(seconds + slack, seconds + slack + last)),
                **others,
            )
        )
    return found


def timed(work: Callable[[], object], tries: int = TRIES) -> dict[str, float]:
    """Least wall and CPU time. [s]"""
    walls, cpus = [], []
    for _ in range(tries):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall_s": round(min(walls), 4), "cpu_s": round(min(cpus), 4)}


def many(outlook: Series) -> dict[str, Any]:
    """10 000 jobs, without limits and with them."""
    week, all_year = (24.0, 168.0), (8700.0, 8700.0)
    cases = {
        "run through, a day to a week of slack": jobs(slack_h=week),
        "run through, the whole year to choose from": jobs(slack_h=all_year),
        "run through in whole slots, the whole year": jobs(slack_h=all_year, whole=True),
        "stop at no cost, a day to a week of slack": jobs(slack_h=week, interruptible=True),
        "stop at no cost, the whole year": jobs(slack_h=all_year, interruptible=True),
        "run through on reserved hardware, a day to a week": jobs(slack_h=week, idle_w=50.0),
    }
    told: dict[str, Any] = {}
    for name, each in cases.items():
        plans = plan_many(each, outlook)
        took = timed(partial(plan_many, each, outlook))
        told[name] = took | {"saving": round(plans.saving, 4), "bar_s": BAR_MANY_S}
        print(name, told[name])
    return told


def limited(outlook: Series) -> dict[str, Any]:
    """The same with three times, and 1.3 times, the power that they need on average."""
    told: dict[str, Any] = {}
    for kind, free in (("run through", False), ("stop at no cost", True)):
        each = jobs(slack_h=(24.0, 168.0), interruptible=free)
        mean_w = sum(job.power_w * job.work_s for job in each) / (SLOTS * 300)
        for times in (3.0, 1.3):
            name = f"{kind}, power {times:g} x the mean, 200 places"
            plans = plan_many(each, outlook, power_w=times * mean_w, slots=200)
            limits = {"power_w": times * mean_w, "slots": 200}
            took = timed(partial(plan_many, each, outlook, **limits), 1)
            told[name] = took | {"saving": round(plans.saving, 4), "refused": len(plans.refused)}
            print(name, told[name])
    return told


def scans() -> dict[str, Any]:
    """One job in every zone at every hour of a year."""
    values, source = zones()
    told: dict[str, Any] = {"source": source, "shape": list(values.shape)}
    for name, steps, slack in (("1 h, 24 h slack", 1, 24), ("6 h, a week", 6, 168)):
        told[name] = timed(partial(scan, values, steps, slack), 10)
        told[name]["bar_s"] = BAR_SCAN_S
        print(name, told[name])
    told["6 h in cheapest hours, 24 h slack"] = timed(partial(scan_cheapest, values, 6, 24))
    return told


def one_job(outlook: Series) -> dict[str, Any]:
    """A day's work with two days to a week of slack, by the kind of job."""
    day = 86_400.0
    kinds: dict[str, dict[str, Any]] = {
        "runs through": {},
        "stops at no cost": {"interruptible": True},
        "5 min to restart, 1 h at least": {
            "interruptible": True, "restart_s": 300.0, "min_run_s": 3600.0,
        },
        "1 to 4 nodes": {"interruptible": True, "scaling": (1.0, 1.9, 2.7, 3.4)},
    }  # fmt: skip
    told = {}
    for name, kind in kinds.items():
        job = Job(
            name=name, work_s=day, power_w=500.0, release=START, deadline=START + timedelta(days=7),
            **kind,
        )  # fmt: skip
        plan = schedule(job, outlook, explain=False)
        took = timed(partial(schedule, job, outlook, explain=False))
        told[name] = took | {"saving": round(plan.saving.value, 4)}
        print(name, told[name])
    return told


def measure() -> dict[str, Any]:
    """Every figure, as plain values."""
    values, source = year()
    outlook = Series(
        zone="year", topic=Topic.CARBON, unit=GRAMS_PER_KWH,
        basis=Basis(Signal.MARGINAL, Accounting.UNSTATED), source=source,
        status=Status.MEASURED, start=START, step=STEP, values=values,
    )  # fmt: skip
    return {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(),
                    "numpy": np.__version__, "load": round(os.getloadavg()[0], 2)},
        "signal": source,
        "jobs": JOBS,
        "many": many(outlook),
        "many_with_limits": limited(outlook),
        "scan": scans(),
        "one_job": one_job(outlook),
    }  # fmt: skip


if __name__ == "__main__":
    figures = measure()
    RESULTS.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
