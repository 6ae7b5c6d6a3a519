"""Weight-only codes of torchao: `torchao_weights.py MODEL CALIBRATION OUT --bits 4|8 --group 32`."""

from __future__ import annotations

import protocol
import torch
from torchao.quantization import IntxWeightOnlyConfig, PerAxis, PerGroup, quantize_


def main() -> None:
    """Quantise, and say what it took."""
    asked = protocol.arguments(__doc__).parse_args()
    model = protocol.load(asked.model)
    wanted = protocol.linears(model)
    kind = {4: torch.int4, 8: torch.int8}[asked.bits]
    span = PerGroup(asked.group) if asked.group else PerAxis(0)
    with protocol.Spent() as spent:
        quantize_(
            model,
            IntxWeightOnlyConfig(weight_dtype=kind, granularity=span),
            filter_fn=lambda _, name: name in wanted,
        )
    values = {
        name: module.weight.dequantize().detach().float().numpy()
        for name, module in protocol.linears(model).items()
    }
    fmt = protocol.name_of(asked.bits, asked.group, symmetric=True)
    protocol.answer(asked.out, spent, dict.fromkeys(values, fmt), values)


if __name__ == "__main__":
    main()
