"""What llama.cpp's own quantiser makes of a model: its types, with an importance matrix.

The importance of a column is the mean square of what flows into it on the calibration
text, as llama.cpp's own tool gathers it; here it is gathered in PyTorch from the same
tokens that negawatt calibrates with, so that neither side has seen more text. As with
that tool, the head and the embedding have none.

    python llamacpp_types.py gather MODEL CALIBRATION.npy MATRIX.npz
    python llamacpp_types.py quantise BASE.gguf OUT.gguf TYPE MATRIX.npz THREADS

Each prints what it took as a line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from negawatt.actions.optimize import memory
from negawatt.adapters.runtimes import llamacpp_engine as engine
from negawatt.adapters.runtimes.llamacpp_engine import api
from negawatt.adapters.runtimes.llamacpp_gguf import Names
from negawatt.adapters.runtimes.llamacpp_header import configuration
from negawatt.models.load import load_reference

Floats = npt.NDArray[np.float32]

#: File types by the names people use for them.
TYPES = {
    "Q8_0": 7,
    "Q6_K": 18,
    "Q5_K_M": 17,
    "Q5_0": 8,
    "Q4_K_M": 15,
    "Q4_K_S": 14,
    "IQ4_XS": 30,
    "IQ4_NL": 25,
    "Q4_0": 2,
    "Q3_K_M": 12,
}


def importance(folder: Path, windows: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Mean square of every input of every linear layer but the head, by tensor name."""
    model = load_reference(folder)
    names = Names(configuration(folder), "lm_head")
    sums: dict[str, torch.Tensor] = {}
    seen: dict[str, int] = {}

    def watch(name: str) -> Any:
        def add(_: Any, given: tuple[torch.Tensor, ...]) -> None:
            rows = given[0].reshape(-1, given[0].shape[-1]).float()
            sums[name] = sums.get(name, torch.zeros(rows.shape[1])) + rows.square().sum(0)
            seen[name] = seen.get(name, 0) + len(rows)

        return add

    handles = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    ]
    with torch.inference_mode():
        for window in windows:
            model(input_ids=torch.from_numpy(window)[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return {
        names.of(f"{name}.weight"): (total / seen[name]).numpy() for name, total in sums.items()
    }


def quantise(
    source: Path, out: Path, kind: str, matrix: Mapping[str, Floats], threads: int
) -> None:
    """Write `source`, a 16-bit GGUF, as one of `TYPES`."""
    rows = (api().llama_model_imatrix_data * (len(matrix) + 1))()
    kept = []
    for row, (name, values) in zip(rows, matrix.items(), strict=False):
        data = np.ascontiguousarray(values, np.float32)
        kept.append((name.encode(), data))
        row.name = kept[-1][0]
        row.data = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        row.size = data.size
    wanted = api().llama_model_quantize_default_params()
    engine.filled(wanted, ftype=TYPES[kind], nthread=threads)
    wanted.imatrix = ctypes.cast(rows, type(wanted.imatrix))
    status = api().llama_model_quantize(
        str(source).encode(), str(out).encode(), ctypes.byref(wanted)
    )
    if status:
        raise RuntimeError(f"{kind}: {engine.complaint()}")


def main(what: str, *asked: str) -> None:
    """Do one of the two in this process, and say what it took."""
    wall, cpu = time.perf_counter(), sum(os.times()[:2])
    if what == "gather":
        model, windows, matrix = map(Path, asked)
        found: dict[str, Any] = dict(importance(model, np.load(windows)))
        np.savez(matrix, **found)
    else:
        base, out, kind, known, threads = asked
        with np.load(known) as file:
            given = {name: file[name] for name in file.files}
        quantise(Path(base), Path(out), kind, given, int(threads))
    spent = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": sum(os.times()[:2]) - cpu,
        "peak_bytes": memory.peak(),
    }
    sys.stdout.write(f"{json.dumps(spent)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
