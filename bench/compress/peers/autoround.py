"""AutoRound on a prepared model; runs in an environment of its own.

    python autoround.py MODEL CALIBRATION.npy OUT.safetensors --group 64 [--asym] [--iters 200]

Writes every linear layer of the blocks as the values its codes stand for, in float32.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
from auto_round import AutoRound
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Quantise, and say how long it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--iters", type=int, default=200)
    asked = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32)
    windows = torch.from_numpy(np.load(asked.calibration))
    data = DataLoader([{"input_ids": one} for one in windows], batch_size=8)
    start, before = time.perf_counter(), time.process_time()
    rounder = AutoRound(
        model,
        AutoTokenizer.from_pretrained(asked.model),
        bits=asked.bits,
        group_size=asked.group,
        sym=not asked.asym,
        iters=asked.iters,
        nsamples=len(windows),
        seqlen=windows.shape[1],
        dataset=data,
        device_map="cpu",
    )
    model, _ = rounder.quantize()
    spent = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - before,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    save_file(
        {
            f"{name}.weight": module.weight.detach().float().contiguous()
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and ".layers." in name
        },
        asked.out,
    )
    print(json.dumps(spent))  # the answer


if __name__ == "__main__":
    main()
