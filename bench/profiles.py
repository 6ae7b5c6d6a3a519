"""Fit the profiles that the package carries, and find how far a datasheet alone may be off.

Takes the published measurements that `bench/energy.py` takes. A profile per device with enough models goes to
`src/negawatt/data/devices/profiles/`: constants, how well they are told, bands from models left out, and
the hull of its windows. For a device that nobody measured, each device with measurements is left out in turn:
the shares of its datasheet that the others reach are its expectation, and the errors, every device counting
once, give the band. Figures go to `bench/results/unseen.json`, its ends to `unseen.toml` by hand.

    python bench/profiles.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from energy import DATA, DEVICES, SHARE, cases, hybrids_apart, rows_of
from negawatt.core.codec import encode
from negawatt.energy.devices import Datasheet, known_datasheets
from negawatt.energy.fitting import Fit, Windows, fit
from negawatt.energy.left_out import left_out, width
from negawatt.energy.priors import priors
from negawatt.energy.profiles import DeviceProfile, Origin, calibrated
from negawatt.energy.published import windows_in
from negawatt.energy.roofline import Constants

PROFILES = Path(__file__).parents[1] / "src" / "negawatt" / "data" / "devices" / "profiles"
RESULTS = Path(__file__).parent / "results" / "unseen.json"
ORIGINS = {
    "mlenergy_v3": ("vLLM of 2025", "ML.ENERGY leaderboard v3"),
    "mlenergy_v2": ("vLLM of 2024", "ML.ENERGY leaderboard v2"),
}
#: What is left out in turn: device in the measurements, its datasheet, sources.
APART = (
    ("H100", "H100-SXM5-80GB", ("mlenergy_v3", "mlenergy_v2")),
    ("B200", "B200-SXM-180GB", ("mlenergy_v3",)),
    ("A100-SXM4-40GB", "A100-SXM4-40GB", ("mlenergy_v2", "mlenergy_v1")),
    ("A100-SXM4-80GB", "A100-SXM4-80GB", ("inference_energy_2025",)),
    ("A40", "A40", ("mlenergy_v1",)),
    ("V100", "V100-SXM2-32GB", ("mlenergy_v1",)),
    ("RTX-3090", "RTX-3090", ("inference_energy_2025",)),
    ("RTX-6000-Ada", "RTX-6000-Ada", ("inference_energy_2025",)),
)


def profile_of(windows: Windows, sheet: Datasheet, source: str) -> DeviceProfile:
    """A device's profile with bands by kind of model."""
    errors = left_out(windows, sheet.usual)
    experts = np.asarray(windows.load.expert_layers) > 0
    dense, routed = errors.where(~experts).band(SHARE), errors.where(experts).band(SHARE)
    engine, name = ORIGINS[source]
    origin = Origin(
        engine=engine,
        boundary="GPU boards",
        batching="continuous",
        source=f"{name}, steady serving, {len(set(windows.groups))} models",
    )
    whole = errors.band(SHARE)
    if whole is None:
        raise SystemExit(f"{sheet.name} has too few models for a band")
    made = calibrated(fit(windows, sheet.usual), windows, sheet, dense or whole, origin)
    return replace(made, expert_band=routed or whole)


def shares(told: Fit, sheet: Datasheet) -> Mapping[str, float]:
    """Constants of a device as shares of its datasheet; logarithms."""
    whole = sheet.usual
    return {
        name: math.log(getattr(told.constants, name) / getattr(whole, name) * priors()[name].value)
        for name in Constants.names()
    }


def expected(sheet: Datasheet, others: list[Mapping[str, float]]) -> Constants:
    """What other devices lead one to expect of a datasheet."""
    found = {}
    for name in Constants.names():
        share = math.exp(float(np.mean([one[name] for one in others])))
        found[name] = share * getattr(sheet.usual, name) / priors()[name].value
    return Constants(**found)


def apart(told: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Errors of each device, predicted from its datasheet and what other devices reach."""
    totals, rows, sheets = hybrids_apart(), rows_of(), known_datasheets()
    found = []
    for device, sheet, sources in APART:
        others = [one for name, one in told.items() if name != device]
        chosen = [r for r in rows if r["device"] == device and r["source"] in sources]
        windows = windows_in(chosen, totals)
        device_ = expected(sheets[sheet], others)
        plain = Fit(device_, {}, (), {})
        joules = np.log(plain.joules(windows.load) / windows.joules)
        seconds = np.log(plain.seconds(windows.load) / windows.seconds)
        found.append(
            {
                "device": device,
                "windows": len(windows),
                "joules": joules.tolist(),
                "seconds": seconds.tolist(),
            }
        )
    return found


def main() -> None:
    """Fit, keep and print."""
    if not (DATA / "data" / "hardware").is_dir():
        print(f"nothing done: {DATA / 'data' / 'hardware'} is not there; name it by NEGAWATT_DATA")
        return
    PROFILES.mkdir(exist_ok=True)
    told = {}
    for case in cases():
        if case.models == "dense":
            continue
        windows = windows_in(case.rows, case.totals)
        profile = profile_of(windows, case.sheet, case.rows[0]["source"])
        file = PROFILES / f"{DEVICES[case.device].lower()}.json"
        file.write_text(json.dumps(encode(profile), indent=1) + "\n", encoding="utf-8")
        told[case.device] = shares(fit(windows, case.sheet.usual), case.sheet)
        print(f"{profile.name}: dense {profile.band}, with experts {profile.expert_band}")
    found = apart(told)
    groups = [one["device"] for one in found for _ in one["joules"]]
    ends, kept = {}, []
    for what in ("joules", "seconds"):
        errors = np.concatenate([one[what] for one in found])
        ends[what] = math.exp(width(errors, groups, SHARE))
    for one in found:
        joules, seconds = np.array(one["joules"]), np.array(one["seconds"])
        kept.append(
            {
                "device": one["device"],
                "windows": one["windows"],
                "joules_over_measured": math.exp(float(np.median(joules))),
                "joules_within_2": float(np.mean(np.abs(joules) < math.log(2))),
                "joules_within_band": float(np.mean(np.abs(joules) < math.log(ends["joules"]))),
                "seconds_over_measured": math.exp(float(np.median(seconds))),
                "seconds_within_2": float(np.mean(np.abs(seconds) < math.log(2))),
            }
        )
        print(kept[-1])
    print(f"90 % band over devices: joules x{ends['joules']:.2f}, seconds x{ends['seconds']:.2f}")
    RESULTS.write_text(
        json.dumps({"share": SHARE, "ends": ends, "devices": kept}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
