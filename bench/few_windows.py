"""How far a calibration goes with few windows: five and twelve, chosen to differ, the times of all others known.

Takes the published measurements that `bench/energy.py` takes. Windows are chosen one after the other, each the
farthest from those chosen in what moves and is computed per device and second; the fit to them alone foretells
the joules of all other windows. Beside it the same with windows drawn at random, twenty times. Figures go to
`bench/results/few_windows.json`.

    python bench/few_windows.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from energy import DATA, Case, cases, mean_error
from negawatt.energy.fitting import Windows, fit
from negawatt.energy.published import windows_in

RESULTS = Path(__file__).parent / "results" / "few_windows.json"
COUNTS = (5, 12)
DRAWS = 20

Floats = npt.NDArray[np.float64]


def spread(windows: Windows) -> Floats:
    """Where each window lies: logarithms of what it asks of a device in a second. [windows, 4]"""
    load, devices = windows.load, np.asarray(windows.load.devices)
    asked = (load.weight_bytes, load.context_bytes, load.operations)
    columns = [np.log(np.asarray(one) / (devices * windows.seconds)) for one in asked]
    table = np.stack([*columns, np.log(devices)], axis=1)
    return np.asarray((table - table.mean(0)) / (table.std(0) + 1e-9))


def diverse(windows: Windows, count: int) -> npt.NDArray[np.bool_]:
    """Windows as far apart as one can choose them one by one, from the middle on."""
    places = spread(windows)
    chosen = [int(np.argmin((places**2).sum(1)))]
    nearest = ((places - places[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((places - places[chosen[-1]]) ** 2).sum(1))
    return np.isin(np.arange(len(windows)), chosen)


def error(windows: Windows, chosen: npt.NDArray[np.bool_], case: Case) -> float:
    """Of the joules of all others, their times known. [1]"""
    told, others = fit(windows.where(chosen), case.sheet.usual), windows.where(~chosen)
    return mean_error(told.joules(others.load, others.kinds, others.seconds), others.joules)


def measure(case: Case) -> list[dict[str, Any]]:
    """The figures of one case."""
    windows, rng = windows_in(case.rows, case.totals), np.random.default_rng(0)
    found = []
    for count in COUNTS:
        drawn = []
        for _ in range(DRAWS):
            picked = rng.choice(len(windows), count, replace=False)
            drawn.append(error(windows, np.isin(np.arange(len(windows)), picked), case))
        found.append(
            {
                "device": case.device,
                "models": case.models,
                "windows": count,
                "of": len(windows),
                "error": error(windows, diverse(windows, count), case),
                "error_random_median": float(np.median(drawn)),
                "error_random_worst": max(drawn),
            }
        )
    return found


def main() -> None:
    """Measure, keep and print."""
    if not (DATA / "data" / "hardware").is_dir():
        print(f"nothing done: {DATA / 'data' / 'hardware'} is not there; name it by NEGAWATT_DATA")
        return
    found = [one for case in cases() for one in measure(case)]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("joules of all other windows, times known     windows   ours   random: median, worst")
    for one in found:
        print(
            f"{one['device']:15} {one['models']:23} {one['windows']:4} of {one['of']:3}"
            f" {one['error']:6.1%} {one['error_random_median']:12.1%} {one['error_random_worst']:7.1%}"
        )


if __name__ == "__main__":
    main()
