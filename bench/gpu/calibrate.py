"""The windows of a calibration on an NVIDIA GPU, measured by its own energy counter.

Runs the designed set with PyTorch on a CUDA device (under 8 minutes on a board of 80 GB), fits the
constants of the energy model, leaves out each model in turn, and writes every window to
`bench/results/gpu-<device>.json` with the machine, the driver and all versions. Where there is no
CUDA device, or nothing counts its joules, nothing is written and what is needed is said.

    python bench/gpu/calibrate.py [--device cuda:0] [--quick]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from negawatt import wiring
from negawatt.actions.calibrate.keep import slug
from negawatt.core.codec import encode
from negawatt.core.errors import NegawattError
from negawatt.wiring.calibrate import calibrate

RESULTS = Path(__file__).parents[1] / "results"
NEEDED = """\
  What is needed here: an NVIDIA GPU with its driver, and in this environment
    - PyTorch built for CUDA     pip install torch --index-url, as pytorch.org tells for the driver
    - the meter of its boards    pip install 'negawatt[nvml]'
  Nothing was installed, measured or written."""


def driver() -> dict[str, str]:
    """What NVML says of driver and CUDA."""
    nvml: Any = importlib.import_module("pynvml")
    nvml.nvmlInit()
    cuda = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    return {
        "driver": str(nvml.nvmlSystemGetDriverVersion()),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
    }


def tell(stage: str, share: float) -> None:
    """One line a window, on standard error."""
    if stage:
        print(f"{share:4.0%} {stage}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write and print; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    asked = parser.parse_args()
    if not asked.device.startswith("cuda"):
        print(f"refused: {asked.device} is no GPU; `negawatt calibrate` does CPUs", file=sys.stderr)
        return 2
    os.environ["HF_HUB_OFFLINE"] = "1"  # every model is made up here
    start = time.monotonic()
    try:
        found = calibrate(asked.device, quick=asked.quick, progress=tell)
    except NegawattError as error:
        print(f"refused: {error.what}\n  Fix: {error.fix}\n{NEEDED}", file=sys.stderr)
        return error.exit_status
    told = {
        "machine": {**wiring.machine(), **driver()},
        "minutes": round((time.monotonic() - start) / 60, 2),
        "error": found.error,
        "time_error": found.time_error,
        "calibration": encode(found),
    }
    file = RESULTS / f"gpu-{slug(found.profile.name)}.json"
    file.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for row in found.rows:
        print(
            f"{row.task.name:44} {row.seconds:11.4g} s {row.joules.value:11.4g} J {row.power:7.1f} W"
        )
    print(
        f"{found.profile.name}: models left out, joules off by {found.error:.1%}, time by "
        f"{found.time_error:.1%}; {told['minutes']} minutes; {file}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
