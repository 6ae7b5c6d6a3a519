"""AutoRound: `autoround.py MODEL CALIBRATION OUT --group 32 [--asym] [--iters 200]`.

With `--mean-bits 5` the mixed bits of its AutoScheme, the plan alone.
"""

from __future__ import annotations

import json
from typing import Any

import protocol
import torch
from auto_round import AutoRound, AutoScheme
from auto_round.schemes import QuantizationScheme
from torch.utils.data import DataLoader

_SCORED = 16  # texts that AutoScheme takes its gradients on
_SLACK = 8  # tokens by which a window may come out shorter when it is cut anew


def mixed(asked: Any, windows: torch.Tensor) -> dict[str, Any]:
    """4 or 8 bits a layer; it takes its text from a file only, and cuts it into tokens again."""
    words, length = protocol.tokenizer(asked.model), windows.shape[1] - _SLACK
    file = asked.out.with_suffix(".text.json")
    text = [{"text": words.decode(one)} for one in windows]
    file.write_text(json.dumps(text), encoding="utf-8")
    scheme = AutoScheme(
        avg_bits=asked.mean_bits,
        options=[
            QuantizationScheme(bits=bits, group_size=asked.group, sym=True, data_type="int")
            for bits in (4, 8)
        ],
        ignore_scale_zp_bits=True,
        nsamples=min(_SCORED, len(windows)),
        seqlen=length,
        device_map="cpu",
        enable_torch_compile=False,
    )
    return {"scheme": scheme, "dataset": str(file), "seqlen": length}


def main() -> None:
    """Quantise, and say what it took."""
    parser = protocol.arguments(__doc__)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--iters", type=int, default=200)
    parser.add_argument("--mean-bits", type=float, help="let AutoScheme choose 4 or 8 bits a layer")
    asked = parser.parse_args()
    model = protocol.load(asked.model)
    windows = torch.from_numpy(protocol.windows_of(asked.calibration))
    data = DataLoader([{"input_ids": one} for one in windows], batch_size=8)
    scheme: dict[str, Any] = {"bits": asked.bits, "dataset": data, "seqlen": windows.shape[1]}
    if asked.mean_bits:
        scheme = mixed(asked, windows)
    with protocol.Spent() as spent:
        rounder = AutoRound(
            model,
            protocol.tokenizer(asked.model),
            **scheme,
            group_size=asked.group,
            sym=not asked.asym,
            iters=0 if asked.mean_bits else asked.iters,
            nsamples=len(windows),
            device_map="cpu",
            enable_torch_compile=False,  # it pays on accelerators
        )
        model, layers = rounder.quantize()
    plan = {
        name: protocol.name_of(
            int(layers[name]["bits"]),
            int(layers[name]["group_size"]),
            symmetric=bool(layers[name]["sym"]),
        )
        for name in protocol.linears(model)
    }
    values = None if asked.mean_bits else protocol.weights(model)
    protocol.answer(asked.out, spent, plan, values)


if __name__ == "__main__":
    main()
