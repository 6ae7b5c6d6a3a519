"""The effective-bits plan of ModelOpt: `modelopt_plan.py MODEL CALIBRATION OUT --mean-bits 5`.

It has nothing that a CPU runs, so the plan alone is taken: which layers have 4 and which 8 bits.
"""

from __future__ import annotations

import copy
from typing import Any

import modelopt.torch.quantization as mtq
import protocol
import torch

_SCORED = 16  # windows that its gradients are taken on


def formats(group: int) -> list[Any]:
    """Its weight-only formats, with blocks as the engine has them."""
    narrow = copy.deepcopy(mtq.INT4_BLOCKWISE_WEIGHT_ONLY_CFG)
    for entry in narrow["quant_cfg"]:
        cfg = entry.get("cfg")
        if isinstance(cfg, dict) and "block_sizes" in cfg:
            cfg["block_sizes"] = {-1: group}
    return [narrow, mtq.INT8_WEIGHT_ONLY_CFG]


def whole(model: Any, mean_bits: float) -> float:
    """Effective bits with the head counted at 16, as it does, for so many in the blocks."""
    blocks = sum(one.weight.numel() for one in protocol.linears(model).values())
    head = model.get_output_embeddings().weight.numel()
    return float((mean_bits * blocks + 16 * head) / (blocks + head))


def main() -> None:
    """Plan, and say what it took."""
    parser = protocol.arguments(__doc__)
    parser.add_argument("--mean-bits", type=float, default=5.0)
    asked = parser.parse_args()
    model = protocol.load(asked.model)
    windows = torch.from_numpy(protocol.windows_of(asked.calibration))
    data = [{"input_ids": one, "labels": one} for one in windows.split(2)]
    with protocol.Spent() as spent:
        model, _ = mtq.auto_quantize(
            model,
            constraints={"effective_bits": whole(model, asked.mean_bits)},
            quantization_formats=formats(asked.group),
            data_loader=data,
            forward_step=lambda net, batch: net(**batch, use_cache=False),
            loss_func=lambda found, _: found.loss,
            disabled_layers=["*lm_head*"],
            num_calib_steps=len(data),
            num_score_steps=min(_SCORED // 2, len(data)),
        )
    plan = {}
    for name, module in protocol.linears(model).items():
        quantiser = module.weight_quantizer
        bits = int(quantiser.num_bits) if quantiser.is_enabled else 16
        span = asked.group if bits == 4 else 0
        plan[name] = "bf16" if bits == 16 else protocol.name_of(bits, span, symmetric=True)
    protocol.answer(asked.out, spent, plan)


if __name__ == "__main__":
    main()
