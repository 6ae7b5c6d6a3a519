"""Weight compression of NNCF: `nncf_weights.py MODEL CALIBRATION OUT --group 32 [--ratio 0.8]`.

A ratio below one leaves the layers that its measure of sensitivity names at 8 bits. Scale
estimation and AWQ are on, as in its examples for accuracy.
"""

from __future__ import annotations

from typing import Any

import nncf
import protocol
import torch
from nncf.torch.function_hook.hook_storage import decode_hook_name
from nncf.torch.function_hook.wrapper import get_hook_storage


def compressed(model: Any, windows: Any, asked: Any) -> Any:
    """The model with codes in the place of weights."""
    ids = [torch.from_numpy(one)[None] for one in windows]
    return nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT4_SYM,
        ratio=asked.ratio,
        group_size=asked.group,
        backup_mode=nncf.BackupMode.INT8_SYM,
        awq=False,
        scale_estimation=True,
        dataset=nncf.Dataset([{"input_ids": one, "use_cache": False} for one in ids]),
        subset_size=len(ids),
    )


def main() -> None:
    """Quantise, and say what it took."""
    parser = protocol.arguments(__doc__)
    parser.add_argument("--ratio", type=float, default=1.0, help="share of 4 bits")
    asked = parser.parse_args()
    model = protocol.load(asked.model)
    shapes = {name: one.weight.shape for name, one in protocol.linears(model).items()}
    with protocol.Spent() as spent:
        model = compressed(model, protocol.windows_of(asked.calibration), asked)
    held = dict(model.named_parameters()) | dict(model.named_buffers())
    values, plan = {}, {}
    for hook, unpack in get_hook_storage(model).named_hooks():
        _, place, _ = decode_hook_name(hook)
        name = place.removesuffix(".weight")
        if name not in shapes:
            continue
        codes = held[place]
        values[name] = unpack(codes).detach().float().reshape(shapes[name]).numpy()
        wide = type(unpack).__name__.startswith("INT8")
        span = 0 if wide else asked.group
        plan[name] = protocol.name_of(8 if wide else 4, span, symmetric=True)
    protocol.answer(asked.out, spent, plan, values)


if __name__ == "__main__":
    main()
