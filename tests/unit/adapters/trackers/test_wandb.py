"""Weights & Biases without a network, read back from the file it syncs from later.

The run is in a process of its own, because the library starts a service and hooks into the exit.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb", reason="wandb is not installed: pip install 'negawatt[wandb]'")

SAMPLES = Path(__file__).parents[3] / "samples"

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[2])
import negawatt, wandb
from spent import World
world = World()
if sys.argv[3] == "theirs":
    run = wandb.init(mode="offline", dir=sys.argv[1])
    tracker = negawatt.tracker("wandb")
else:
    tracker = negawatt.tracker("wandb", mode="offline", dir=sys.argv[1])
for joules in (10.0, 20.0):
    world.spend("epoch", joules, tracker.record)
tracker.close()
tracker.close()
if sys.argv[3] == "theirs":
    run.log({"loss": 0.5})
    run.finish()
print("finished:", wandb.run is None)
"""


def frames(log: bytes) -> Iterator[bytes]:
    """The records of a `.wandb` file: LevelDB's log format after seven bytes of its own.

    Blocks of 32 KiB; a piece is checksum (4), length (2), type (1) and data, and its type says
    whether it is a whole record (1) or its first, a middle or its last piece (2, 3, 4).
    """
    place, record, block = 7, b"", 2**15
    while place + 7 <= len(log):
        left = block - place % block
        if left < 7:  # too little for a header: padding
            place += left
            continue
        length, kind = struct.unpack_from("<HB", log, place + 4)
        if kind == 0:
            return
        record += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def kept(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """History rows and summary of the one run below a folder."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.rglob("*.wandb")
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for data in frames(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = record.history.item
        if items:
            rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
        for item in record.summary.update:
            summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return rows, summary


def ran(folder: Path, whose: str) -> str:
    environment = {**os.environ, "WANDB_SILENT": "true", "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(SAMPLES), whose],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_of_our_own_keeps_every_window(tmp_path: Path) -> None:
    assert "finished: True" in ran(tmp_path, "ours")
    rows, summary = kept(tmp_path)
    key = "negawatt/epoch/energy"
    assert [row[f"{key}_J"] for row in rows] == pytest.approx([30.0, 60.0])
    assert [row["negawatt/epoch/step"] for row in rows] == [0, 1]
    assert all(row[f"{key}_low_J"] < row[f"{key}_J"] < row[f"{key}_high_J"] for row in rows)
    assert [row[f"{key}_kind"] for row in rows] == [0, 0]
    assert summary[f"{key}_kind_text"] == "measured"
    assert "hand:package:0" in summary[f"{key}_source_text"]


def test_the_current_run_is_used_and_left_open(tmp_path: Path) -> None:
    ran(tmp_path, "theirs")
    rows, _ = kept(tmp_path)
    assert [row["negawatt/epoch/energy_J"] for row in rows[:2]] == pytest.approx([30.0, 60.0])
    assert rows[-1]["loss"] == 0.5
