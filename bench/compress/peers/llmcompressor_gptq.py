"""GPTQ of llm-compressor on a prepared model; runs in an environment of its own.

    python llmcompressor_gptq.py MODEL CALIBRATION.npy OUT.safetensors --group 64 [--asym]

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
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier
from safetensors.torch import save_file
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
    asked = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32)
    windows = np.load(asked.calibration)
    data = Dataset.from_dict(
        {"input_ids": windows.tolist(), "attention_mask": np.ones_like(windows).tolist()}
    )
    weights = QuantizationArgs(
        num_bits=asked.bits,
        type="int",
        symmetric=not asked.asym,
        strategy="group",
        group_size=asked.group,
    )
    recipe = GPTQModifier(
        config_groups={"all": QuantizationScheme(targets=["Linear"], weights=weights)},
        ignore=["lm_head"],
    )
    start, before = time.perf_counter(), time.process_time()
    oneshot(
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(asked.model),
        dataset=data,
        recipe=recipe,
        max_seq_length=windows.shape[1],
        num_calibration_samples=len(windows),
    )
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
