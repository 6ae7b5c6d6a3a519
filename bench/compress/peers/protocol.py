"""What every peer script is asked and answers; runs in the environment of the peer.

    python SCRIPT.py MODEL CALIBRATION.npy OUT.safetensors [options of the script]

MODEL is a prepared folder, off the grid its weights may once have been rounded to. A script
writes every linear layer of the blocks as the values that its codes stand for, in float32, and
prints one line of JSON: what it took, and the format of every layer. A script that only plans
writes no values.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

_KIB = 1024  # bytes in the unit that the system tells memory in


def arguments(text: str | None) -> argparse.ArgumentParser:
    """The arguments that all scripts share."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group", type=int, default=32)
    return parser


def name_of(bits: int, group: int, *, symmetric: bool) -> str:
    """A format as negawatt spells it."""
    span = f"g{group}" if group else "row"
    return f"int{bits}-{span}-{'sym' if symmetric else 'asym'}"


def windows_of(file: Path) -> Any:
    """Calibration text, int64 [windows, tokens]."""
    return np.load(file)


def load(folder: Path) -> Any:
    """The model in float32, and nothing of it shared between processes."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def tokenizer(folder: Path) -> Any:
    """Its tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def linears(model: Any) -> dict[str, Any]:
    """Linear layers of the blocks by their names, head and embedding left out."""
    import torch

    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layers." in name
    }


def peak() -> int:
    """The most memory that this process has held. [B]

    What `getrusage` says begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        fields = dict(line.partition(":")[::2] for line in lines)
        return _KIB * int(fields["VmHWM"].split()[0])
    return _KIB * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Spent:
    """Time between two moments, children included, and the most memory so far."""

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.perf_counter(), sum(os.times()[:4])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.told = {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": sum(os.times()[:4]) - self._cpu,
            "peak_bytes": peak(),
        }


def answer(
    out: Path, spent: Spent, plan: dict[str, str], values: dict[str, Any] | None = None
) -> None:
    """Write the values, [rows, cols] in float32 by layer name, and print the answer."""
    if values is not None:
        from safetensors.numpy import save_file

        named = {f"{name}.weight": np.ascontiguousarray(one) for name, one in values.items()}
        save_file(named, out)
    # on a line of its own: a tool's progress bar may have left the last one open
    print("\n" + json.dumps({**spent.told, "plan": plan}))
    sys.stdout.flush()


def weights(model: Any) -> dict[str, Any]:
    """What the linear layers hold by now, float32 [rows, cols]."""
    return {name: one.weight.detach().float().numpy() for name, one in linears(model).items()}
