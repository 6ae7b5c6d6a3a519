"""The bench of a GPU refuses where there is none, and writes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def test_without_a_cuda_device_it_says_what_is_needed_and_writes_nothing(tmp_path: Path) -> None:
    results = REPOSITORY / "bench" / "results"
    before = sorted(results.iterdir())
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "bench" / "gpu" / "calibrate.py")],
        capture_output=True,
        text=True,
        check=False,
        env={"CUDA_VISIBLE_DEVICES": "", "NEGAWATT_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"},
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert "no CUDA device" in done.stderr
    assert "negawatt[nvml]" in done.stderr
    assert sorted(results.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_a_gpu_is_calibrated_within_eight_minutes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device")
    from negawatt.wiring.calibrate import calibrate

    found = calibrate("cuda:0", quick=True, flags={"paths.cache": tmp_path})
    assert all(row.joules.kind == "measured" for row in found.rows)
