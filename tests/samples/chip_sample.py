"""A model and designs for tests of accelerators."""

from __future__ import annotations

from typing import Any

from negawatt.energy.chips.design import Design, Space

#: Llama 3.1 8B, as its configuration has it.
EIGHT_B: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
    "vocab_size": 128256,
}  # fmt: skip

#: A small one, for what has to be fast.
SMALL: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 1536,
    "vocab_size": 32000,
}  # fmt: skip

ENCODER: dict[str, Any] = {
    "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6,
    "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522,
}  # fmt: skip

#: A few hundred designs.
FEW = Space(
    sides=((64, 64), (128, 128)), arrays=(4, 16), local_mb=(0.25,), shared_mb=(8.0, 64.0),
    memories=("hbm2e", "lpddr5"), groups=(1, 2), nodes=(7, 5), chiplets=(1, 2),
)  # fmt: skip


def design(**changes: Any) -> Design:
    """A plain one, with some of it changed."""
    usual: dict[str, Any] = {
        "rows": 128, "cols": 128, "arrays": 8, "dataflow": "weight", "precision": "bf16",
        "local_mb": 1.0, "shared_mb": 64.0, "memory": "hbm2e", "stacks": 4,
        "bandwidth": 1.64e12, "capacity": 64e9, "frequency": 1.5e9, "voltage": 1.0, "node_nm": 7,
        "chiplets": 1,
    }  # fmt: skip
    return Design(**{**usual, **changes})
