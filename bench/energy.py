"""How well joules of models that no window was measured for are foretold, beside two usual ways.

Takes published measurements of language models on GPUs (`NEGAWATT_DATA`, by default `../shared`, with
`data/hardware` in it), leaves out each model in turn with all of its versions, fits the constants of the
device on the others, and predicts the joules of a token before running: times are not known. A band for
90 % is made of the errors on the other models, each of which was left out too.

- `TDP x time`: every device at its greatest power for the time that was measured;
- `EcoLogits`: that method's formula for GPUs, at the batch that was run and its own number of GPUs.

Figures go to `bench/results/energy.json`; without the data nothing is written, and that is said.

    python bench/energy.py
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.core.factors import table
from negawatt.energy.devices import Datasheet, datasheets_in
from negawatt.energy.fitting import Windows
from negawatt.energy.left_out import covered, left_out
from negawatt.energy.published import Totals, totals_in, windows_in

RESULTS = Path(__file__).parent / "results" / "energy.json"
DATA = Path(os.environ.get("NEGAWATT_DATA", Path(__file__).parents[2] / "shared"))
DEVICES = {"H100": "H100-SXM5-80GB", "B200": "B200-SXM-180GB", "A100-SXM4-40GB": "A100-SXM4-40GB"}
SOURCES = {"H100": "mlenergy_v3", "B200": "mlenergy_v3", "A100-SXM4-40GB": "mlenergy_v2"}
LEAST = 3  # models of a kind, below which a band of the others says nothing
SHARE = 0.9  # of left-out points that the band is to hold

Floats = npt.NDArray[np.float64]
Row = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """Measurements of some models on one device."""

    device: str
    models: str  # which
    rows: Sequence[Row]
    totals: Mapping[str, Totals]
    sheet: Datasheet


def coverage(errors: Floats, windows: Windows) -> tuple[float, float]:
    """Share of errors in bands of the other models of their kind, and the middle factor. [1], [1]"""
    experts = np.asarray(windows.load.expert_layers) > 0
    groups = np.array(windows.groups)
    inside, factors = 0.0, []
    for kind in (experts, ~experts):
        if len(set(groups[kind])) >= LEAST:
            share, factor = covered(errors[kind], groups[kind].tolist(), SHARE)
            inside += share * kind.sum()
            factors += [factor] * int(kind.sum())
    return inside / len(factors), float(np.median(factors))


def ecologits(row: Row, totals: Totals) -> float:
    """Joules of a token by the method's regression, all its GPUs together."""
    known = {name: factor.value for name, factor in table("ecologits").items()}
    batch, billions = float(row["avg_batch"] or row["max_batch"]), totals.active / 1e9
    one = known["energy_alpha"] * math.exp(known["energy_beta"] * batch) * billions
    needed = known["memory_overhead"] * totals.parameters / 1e9 * known["bits"] / 8
    gpus = 2 ** math.ceil(math.log2(math.ceil(needed / known["gpu_memory"])))
    return float(gpus * (one + known["energy_gamma"]) * 3600.0)


def mean_error(predicted: Sequence[float] | Floats, measured: Floats) -> float:
    """Mean absolute relative error. [1]"""
    return float(np.mean(np.abs(np.asarray(predicted) / measured - 1)))


def measure(case: Case) -> dict[str, Any]:
    """The figures of one case."""
    windows = windows_in(case.rows, case.totals)
    errors = left_out(windows, case.sheet.usual).joules
    share, factor = coverage(errors, windows)
    sequences, devices = np.asarray(windows.load.sequences), np.asarray(windows.load.devices)
    token = windows.joules / sequences
    whole = [case.sheet.power_w * n * t for n, t in zip(devices, windows.seconds, strict=True)]
    usable = [row for row in case.rows if len(windows_in([row], case.totals))]
    by_model: dict[str, float] = {}
    for group in sorted(set(windows.groups)):
        here = np.array(windows.groups) == group
        by_model[group] = float(np.mean(np.abs(np.exp(errors[here]) - 1)))
    return {
        "device": case.device,
        "models": case.models,
        "windows": len(windows),
        "left_out_models": len(by_model),
        "error": float(np.mean(np.abs(np.exp(errors) - 1))),
        "error_by_model": by_model,
        "band_share_stated": SHARE,
        "band_share_found": share,
        "band_factor": factor,
        "error_tdp_x_time": mean_error(whole, windows.joules),
        "error_ecologits": mean_error(
            [ecologits(row, case.totals[row["model"]]) for row in usable], token
        ),
    }


def cases() -> list[Case]:
    """Every device, with dense models alone and with all."""
    rows, plain = rows_of(), hybrids_apart()
    sheets = datasheets_in(DATA / "data" / "hardware" / "devices.csv")
    chosen: dict[str, Callable[[Totals], bool]] = {
        "dense": lambda totals: totals.experts == 1,
        "dense and with experts": lambda totals: True,
    }
    return [
        Case(
            device,
            models,
            [r for r in rows if r["device"] == device and r["source"] == SOURCES[device]],
            {name: totals for name, totals in plain.items() if keep(totals)},
            sheets[sheet],
        )
        for device, sheet in DEVICES.items()
        for models, keep in chosen.items()
    ]


def rows_of() -> list[dict[str, str]]:
    """All measurements."""
    return _rows(DATA / "data" / "hardware" / "measured_energy.csv")


def hybrids_apart() -> dict[str, Totals]:
    """Sizes of models, without hybrids, whose states the table does not tell."""
    told = _rows(DATA / "data" / "hardware" / "models.csv")
    hybrids = {row["model"] for row in told if "hybrid" in row["note"]}
    return {name: totals for name, totals in totals_in(told).items() if name not in hybrids}


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def main() -> None:
    """Measure, keep and print."""
    if not (DATA / "data" / "hardware").is_dir():
        print(f"nothing done: {DATA / 'data' / 'hardware'} is not there; name it by NEGAWATT_DATA")
        return
    found = [measure(case) for case in cases()]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("joules of a token, models left out          ours   90 % band: holds, factor", end="")
    print("   TDP x time   EcoLogits")
    for one in found:
        other = one["error_ecologits"]
        print(
            f"{one['device']:15} {one['models']:23} {one['windows']:4}"
            f" {one['error']:7.1%} {one['band_share_found']:15.1%} {one['band_factor']:8.2f}"
            f" {one['error_tdp_x_time']:12.0%}"
            f"{other:11.0%}"
        )


if __name__ == "__main__":
    main()
