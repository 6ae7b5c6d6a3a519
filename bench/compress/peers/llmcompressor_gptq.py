"""GPTQ of llm-compressor: `llmcompressor_gptq.py MODEL CALIBRATION OUT --group 32 [--asym]`."""

from __future__ import annotations

import numpy as np
import protocol
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier


def main() -> None:
    """Quantise, and say what it took."""
    parser = protocol.arguments(__doc__)
    parser.add_argument("--asym", action="store_true")
    asked = parser.parse_args()
    model = protocol.load(asked.model)
    windows = protocol.windows_of(asked.calibration)
    data = Dataset.from_dict(
        {"input_ids": windows.tolist(), "attention_mask": np.ones_like(windows).tolist()}
    )
    args = QuantizationArgs(
        num_bits=asked.bits,
        type="int",
        symmetric=not asked.asym,
        strategy="group",
        group_size=asked.group,
    )
    recipe = GPTQModifier(
        config_groups={"all": QuantizationScheme(targets=["Linear"], weights=args)},
        ignore=["lm_head"],
    )
    with protocol.Spent() as spent:
        oneshot(
            model=model,
            tokenizer=protocol.tokenizer(asked.model),
            dataset=data,
            recipe=recipe,
            max_seq_length=windows.shape[1],
            num_calibration_samples=len(windows),
        )
    fmt = protocol.name_of(asked.bits, asked.group, symmetric=not asked.asym)
    plan = dict.fromkeys(protocol.linears(model), fmt)
    protocol.answer(asked.out, spent, plan, protocol.weights(model))


if __name__ == "__main__":
    main()
