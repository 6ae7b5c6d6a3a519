"""Policies tried on years of real signals, and published experiments done again.

Takes `data/grid` of the shared data (`NEGAWATT_DATA`, by default `../shared`). Figures go to
`bench/results/grid_backtest.json`, pages with pictures to `negawatt-out/bench-grid`; tables are
printed.

    python bench/grid/run.py [SECTION...]

Sections: awhile, project, nightly, limits, areas, tools, traces, signals, revised, places.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from negawatt.actions.backtest.lines import lines
from negawatt.actions.backtest.question import Question, ask, study
from negawatt.actions.backtest.studies import lets_wait_awhile, limits, nightly
from negawatt.actions.backtest.table import Reading, place, read, zones_of
from negawatt.decisions.backtests import Awhile, Backtest, Limits

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "negawatt-out" / "bench-grid"
RESULTS = ROOT / "bench" / "results" / "grid_backtest.json"
HOUR = timedelta(hours=1)
AREAS = ("CISO", "DE", "ERCO", "ISNE", "PJM", "SE")
#: Told in print: (zone, rule, shape) at an error of 5 %, and (hours, which) at a slack of a day. [%]
PUBLISHED_AWHILE = {
    ("DE", "next-workday", "contiguous"): 5.91,
    ("DE", "next-workday", "interruptible"): 7.93,
    ("DE", "semi-weekly", "contiguous"): 14.11,
    ("DE", "semi-weekly", "interruptible"): 18.11,
}
PUBLISHED_LIMITS = {
    (1, "deferral"): 15.5897,
    (6, "deferral"): 12.6326,
    (6, "interruption"): 0.8104,
}
PUBLISHED_MOVE_G = 352.4759
#: Of a 4 h job with 20 h of slack: the oracle, the published day-ahead forecast, the 28-day mean. [%]
PUBLISHED_AREAS = {
    "CISO": (33.82, 32.95, 32.66),
    "DE": (20.79, 18.97, 15.47),
    "ERCO": (13.24, 9.12, 7.54),
    "ISNE": (8.12, 7.17, 7.19),
    "PJM": (5.44, 4.67, 4.52),
    "SE": (8.08, 3.76, 4.11),
}


def grid() -> Path:
    """The folder of grid data."""
    given = Path(os.environ.get("NEGAWATT_DATA") or ROOT.parent / "shared")
    for folder in (given / "data" / "grid", given / "grid"):
        if folder.is_dir():
            return folder
    raise SystemExit(f"no grid data at {given}\n  Fix: name their folder in NEGAWATT_DATA")


def percent(value: float | None, digits: int = 2) -> float | None:
    """A share in percent, rounded for reading."""
    return None if value is None else round(100 * value, digits) + 0.0


def scores(found: Backtest) -> dict[str, dict[str, Any]]:
    """What every policy came to, in percent."""
    return {
        one.policy: {
            "saving": percent(one.saving.value),
            "low": percent(one.saving.low),
            "high": percent(one.saving.high),
            "kept": percent(one.kept, 1),
            "late": one.missed,
            **({"moved": percent(one.moved, 1)} if found.places else {}),
        }
        for one in found.scores
    }


def drawn(found: Backtest | Awhile | Limits, name: str) -> None:
    """Keep a page of pictures."""
    from negawatt.wiring.backtest import picture

    PAGES.mkdir(parents=True, exist_ok=True)
    picture(found, PAGES / f"{name}.html")


def awhile(folder: Path) -> dict[str, Any]:
    """Let's Wait Awhile in three countries, and what forecasts from the past leave of it."""
    table = read(folder / "lww2020_ci_30min.csv.gz")
    told: dict[str, Any] = {}
    for zone in zones_of(table):
        found = lets_wait_awhile(
            place(table, Reading(), zone=zone).actual, forecasts=("mean28", "own")
        )
        drawn(found, f"awhile-{zone}")
        told[zone] = [
            {
                "rule": row.rule,
                "shape": row.shape,
                "known": row.forecast,
                "error": row.error,
                "told in print": PUBLISHED_AWHILE.get((zone, row.rule, row.shape))
                if row.error == 0.05
                else None,
                "as published": percent(row.published, 3),
                "late jobs": round(row.late),
                "deadlines kept": percent(row.saving, 3),
                "low": percent(row.low),
                "high": percent(row.high),
            }
            for row in found.rows
        ]
        print(f"\n{zone}: Let's Wait Awhile, % saved")
        for line in told[zone]:
            print("  ", *(str(cell).ljust(14) for cell in line.values()))
    return told


def project(folder: Path) -> dict[str, Any]:
    """The jobs of Let's Wait Awhile by policies that know nothing of what comes."""
    told: dict[str, Any] = {}
    for zone in ("DE", "GB", "FR"):
        for rule in ("next-workday", "semi-weekly"):
            found = ask(
                Question(
                    file=f"{folder / 'lww2020_ci_30min.csv.gz'}:{zone}",
                    accounting="life cycle",
                    jobs=f"lets-wait-awhile {rule}",
                    policies=("contiguous", "interruptible", "threshold", "stop-and-go"),
                    forecasts=("mean28", "own"),
                )
            )
            told[f"{zone}, {rule}"] = scores(found)
            print(zone, rule, {n: s["saving"] for n, s in scores(found).items()})
    return told


def nights(folder: Path) -> dict[str, Any]:
    """Half an hour every night at one, in three countries."""
    table = read(folder / "lww2020_ci_30min.csv.gz")
    told: dict[str, Any] = {}
    for zone in zones_of(table):
        series = place(table, Reading(), zone=zone).actual
        for error in (0.0, 0.05):
            found = nightly(series, error=error)
            told[f"{zone}, {error:g}"] = {
                "windows_h": found.windows_h,
                "intensity": [round(value, 3) for value in found.intensity],
                "saving": [percent(value) for value in found.saving],
                "as published": [percent(value) for value in found.published],
            }
            print(f"{zone} ± {error:g}: 8 h either side save {percent(found.saving[-1])} %")
    return told


def bounds(folder: Path) -> dict[str, Any]:
    """Limits of shifting over 123 zones: lengths, slacks and continents."""
    table = read(folder / "em2022_ci_lca_hourly_123zones.csv.gz")
    world = [place(table, Reading(), zone=zone).actual for zone in zones_of(table)]
    told: dict[str, Any] = {"told in print": {"one move, g/kWh": PUBLISHED_MOVE_G}}
    for slack in (24, 168, 720, 8760):
        for hours in (1, 6, 12, 24, 48, 96, 168):
            began = time.perf_counter()
            known = ("mean28", "persistence") if slack == 24 and hours <= 24 else ()
            found = limits(world, hours * HOUR, slack * HOUR, known)
            if (hours, slack) == (6, 24):
                drawn(found, "limits-6h-24h")
            line = {
                "deferral": percent(found.deferral.published, 4),
                "interruption": percent(found.interruption.published, 4),
                "deferral, all grams": percent(found.deferral.pooled, 4),
                "deferral, zones alike": percent(found.deferral.zones, 4),
                "deferral, g/kWh": round(found.deferral.grams, 4),
                **{name: percent(each.published, 4) for name, each in found.foreseen.items()},
                "seconds": round(time.perf_counter() - began, 2),
            }
            for name in ("deferral", "interruption"):
                if slack == 24 and (hours, name) in PUBLISHED_LIMITS:
                    line[f"{name}, told in print"] = PUBLISHED_LIMITS[hours, name]
            told[f"{hours} h, slack {slack} h"] = line
            print(f"{hours:4} h, slack {slack:5} h", line)
    told["moves"] = {
        "lowest": found.lowest,
        "one move, g/kWh": round(found.one_move_g, 4),
        "any move, g/kWh": round(found.any_move_g, 4),
        "one move": percent(found.one_move, 4),
    }
    print(told["moves"])
    file = str(folder / "em2022_ci_lca_hourly_123zones.csv.gz")
    for group in ("Europe", "Asia", "Americas", "Oceania"):
        zones = f"{folder / 'placement' / 'em_zone_names.csv'}:{group}"
        asked = Question(file=file, zones=zones, duration="6h", slack="24h")
        some = asdict(study(asked, "limits"))
        told[f"{group}, 6 h, slack 24 h"] = {
            "zones": len(some["zones"]),
            "deferral": percent(some["deferral"]["published"], 4),
            "interruption": percent(some["interruption"]["published"], 4),
            "lowest": some["lowest"],
            "one move, g/kWh": round(some["one_move_g"], 4),
        }
        print(group, told[f"{group}, 6 h, slack 24 h"])
    return told


def areas(folder: Path) -> dict[str, Any]:
    """A 4 h job with 20 h of slack every hour of half a year, by a real day-ahead forecast."""
    told = {}
    for zone in AREAS:
        found = ask(
            Question(
                file=str(folder / "dacf2021h2_dayahead_forecast.csv.gz"),
                zone=zone,
                accounting="direct",
                forecast_column="ci_forecast_dayahead",
                slack="20h",
                policies=("contiguous", "interruptible", "threshold", "stop-and-go"),
                noise="5%",
                seeds=5,
            )
        )
        drawn(found, f"areas-{zone}")
        oracle, recorded, mean = PUBLISHED_AREAS[zone]
        told[zone] = {
            "told in print": {
                "oracle": oracle,
                "day-ahead forecast": recorded,
                "28-day mean": mean,
            },
            **scores(found),
        }
        line = {name: one["saving"] for name, one in scores(found).items() if "contig" in name}
        print(zone, line)
    return told


def tools(folder: Path) -> dict[str, Any]:
    """How ways of choosing err that are in use: the lowest slot, and the worst hour as a rival."""
    told: dict[str, Any] = {}
    file = folder / "em2022_ci_lca_hourly_123zones.csv.gz"
    for zone in ("DE", "US-CAL-CISO", "FR", "GB"):
        for hours in (2, 4, 8, 12):
            found = ask(
                Question(
                    file=f"{file}:{zone}",
                    duration=f"{hours}h",
                    slack="24h",
                    policies=("contiguous", "lowest-slot"),
                    forecasts=("mean28", "oracle"),
                )
            )
            line = {
                name: scores(found)[name]["saving"]
                for name in ("contiguous, mean28", "lowest-slot, mean28", "lowest-slot, oracle",
                             "contiguous, oracle")
            }  # fmt: skip
            line["best hour of the day against the worst"] = against_worst(file, zone, hours)
            told[f"{zone}, {hours} h"] = line
            print(zone, hours, line)
    return told


def against_worst(file: Path, zone: str, hours: int) -> float | None:
    """What a tool claims that sets the best window of a day beside the worst one. [%]"""
    from negawatt.decisions.when.windows import window_sums

    values = place(read(file), Reading(), zone=zone).actual.values
    sums = window_sums(values, hours)
    days = sums[: len(sums) // 24 * 24].reshape(-1, 24)
    return percent(1.0 - float(days.min(axis=1).sum() / days.max(axis=1).sum()))


def traces(folder: Path) -> dict[str, Any]:
    """Jobs of three clusters (GAIA), on the signals of three zones."""
    told: dict[str, Any] = {}
    for trace in ("pai", "azure", "mustang-trace-2015"):
        for zone in ("DE", "US-CAL-CISO", "ZA"):
            for slack in ("24h", "2x"):
                found = ask(
                    Question(
                        file=f"{folder / 'em2022_ci_lca_hourly_123zones.csv.gz'}:{zone}",
                        jobs=str(folder / "workload" / f"gaia_{trace}-first20k.csv.gz"),
                        jobs_unit="h",
                        jobs_begin="2022-03-01",
                        slack=slack,
                        power_w=10.0,  # of each processor: shares do not depend on it
                        forecasts=("mean28", "own"),
                    )
                )
                told[f"{trace}, {zone}, slack {slack}"] = {
                    "jobs": found.jobs,
                    "left out": found.left_out,
                    **scores(found),
                }
                print(trace, zone, slack, {n: s["saving"] for n, s in scores(found).items()})
    return told


def signals(folder: Path) -> dict[str, Any]:
    """Hours chosen by the average and scored by the marginal, and the other way; California 2020."""
    average = f"{folder / 'dacf2020_2021_hourly_mix_ci.csv.gz'}:CISO"
    marginal = str(folder / "sgip2020_caiso_pge_moer_5min.csv.gz")
    span: dict[str, Any] = {"start": "2020-01-01", "end": "2021-01-01"}
    told = {}
    for hours in (1, 4, 8):
        for name, asked in {
            "scored by average": Question(
                file=average, chosen_by=marginal, chosen_unit="kg", **span, **job(hours)
            ),
            "scored by marginal": Question(
                file=marginal, unit="kg", signal="marginal", chosen_by=average, **span, **job(hours)
            ),
        }.items():
            found = ask(asked)
            told[f"{hours} h, {name}"] = scores(found)
            print(hours, name, {n: s["saving"] for n, s in scores(found).items()})
    return told


def job(hours: int) -> dict[str, Any]:
    """A job every hour, chosen by full knowledge of the other signal."""
    return {
        "duration": f"{hours}h",
        "slack": "24h",
        "policies": ("contiguous", "interruptible"),
        "forecasts": ("perfect", "mean28"),
    }


def revised(folder: Path) -> dict[str, Any]:
    """Real forecasts made anew every few minutes, three hours ahead: marginal, California."""
    files = {
        "2020, steps of 5 min": "sgip2020_caiso_pge_moer_5min.csv.gz",
        "June 2021, steps of 15 min": "sgip2021-06_caiso_pge_moer_rolling_forecast.csv.gz",
    }
    told = {}
    for name, file in files.items():
        for duration, slack in (("30m", "90m"), ("1h", "90m"), ("1h", "11h")):
            found = ask(
                Question(
                    file=str(folder / file),
                    unit="kg",
                    signal="marginal",
                    revision_step="5m",
                    jobs="every 1h",
                    duration=duration,
                    slack=slack,
                    policies=("contiguous", "interruptible", "threshold"),
                    forecasts=("revised", "persistence", "mean28"),
                    replan=True,
                )
            )
            told[f"{name}: {duration}, slack {slack}"] = scores(found)
            print(name, duration, slack, {n: s["saving"] for n, s in scores(found).items()})
    return told


def measured_joules(folder: Path) -> tuple[float, float]:
    """Joules of one reply when asked to be brief, and by the smaller model, each over the first.

    Measured by their publishers on one GPU: Llama 2 of 13 billion weights, of 7 billion, and the
    same prompts with a directive to be brief.
    """
    head, body = lines(folder / "workload" / "sprout_llama2_request_energy.csv.gz")
    model, directive, energy = (head.index(n) for n in ("model", "directive", "energy_mwh"))
    sums: dict[tuple[str, str], float] = {}
    for row in body:
        key = (row[model], row[directive])
        sums[key] = sums.get(key, 0.0) + float(row[energy])
    large, small = sorted({name for name, _ in sums}, key=lambda name: -sums[name, "0"])
    return sums[large, "1"] / sums[large, "0"], sums[small, "0"] / sums[large, "0"]


def places(folder: Path) -> dict[str, Any]:
    """Efficiency, time, place and variant, each with its part; joules as they were measured."""
    file = folder / "em2022_ci_lca_hourly_123zones.csv.gz"
    brief, smaller = measured_joules(folder)
    told: dict[str, Any] = {
        "brief over full replies": round(brief, 4),
        "7b over 13b": round(smaller, 4),
    }
    homes = {"DE": ("FR", "GB"), "PL": ("DE", "SE-SE1"), "US-MIDA-PJM": ("US-NY-NYIS",)}
    for home, others in homes.items():
        found = ask(
            Question(
                file=f"{file}:{home}",
                places=others,
                policies=("contiguous",),
                forecasts=("mean28",),
                efficiency=brief,
                variant=smaller,
            )
        )
        drawn(found, f"places-{home}")
        told[f"{home}, or {' and '.join(others)}"] = {
            policy: {part: percent(value) for part, value in found.parts[policy].items()}
            | {"together": percent(found.whole[policy])}
            for policy in found.parts
        }
        print(home, others, told[f"{home}, or {' and '.join(others)}"])
    return told


SECTIONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "awhile": awhile,
    "project": project,
    "nightly": nights,
    "limits": bounds,
    "areas": areas,
    "tools": tools,
    "traces": traces,
    "signals": signals,
    "revised": revised,
    "places": places,
}


def main(wanted: Sequence[str]) -> None:
    """Do the sections asked for, all when none is, and keep the figures of the others."""
    folder = grid()
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in wanted or SECTIONS:
        print(f"\n== {name}")
        began = time.perf_counter()
        kept[name] = SECTIONS[name](folder)
        print(f"{time.perf_counter() - began:.1f} s")
        RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
