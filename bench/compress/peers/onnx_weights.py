"""The 4-bit quantiser of ONNX Runtime: `onnx_weights.py MODEL CALIBRATION OUT --method rtn|hqq|k_quant`.

Each matrix is put into a graph of its own, a product with it; what the quantised graph makes of
the unit matrix is what its codes stand for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import protocol
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    HQQWeightOnlyQuantConfig,
    KQuantWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from safetensors import safe_open

_WIDE = 1 << 16  # a bfloat16 is the upper half of a float32


def settings(method: str, group: int) -> tuple[Any, bool]:
    """Of the quantiser, and whether its levels lie the same on both sides of zero."""
    if method == "rtn":
        return DefaultWeightOnlyQuantConfig(block_size=group, is_symmetric=True), True
    if method == "hqq":
        return HQQWeightOnlyQuantConfig(block_size=group, bits=4, axis=1), False
    return KQuantWeightOnlyQuantConfig(), False


def held(folder: Any) -> dict[str, Any]:
    """Every matrix of the blocks, float32 [rows, cols]."""
    found = {}
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # no mapping
            if ".layers." in name and name.endswith("_proj.weight"):
                found[name.removesuffix(".weight")] = file.get_tensor(name).float().numpy()
    return found


def decoded(weight: Any, algorithm: Any, group: int) -> Any:
    """What a matrix [rows, cols] becomes."""
    rows, cols = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [cols, cols])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [cols, rows])],
        [numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    quantiser = MatMulNBitsQuantizer(model, block_size=group, algo_config=algorithm)
    quantiser.process()
    found = quantiser.model.model
    kinds = {node.op_type for node in found.graph.node}
    if "MatMulNBits" not in kinds:
        raise RuntimeError(f"the product was left as {', '.join(sorted(kinds))}")
    session = ort.InferenceSession(
        onnx.ModelProto.SerializeToString(found), providers=["CPUExecutionProvider"]
    )
    (product,) = session.run(None, {"x": np.eye(cols, dtype=np.float32)})
    return product.T


def main() -> None:
    """Quantise, and say what it took."""
    parser = protocol.arguments(__doc__)
    parser.add_argument("--method", choices=("rtn", "hqq", "k_quant"), default="rtn")
    asked = parser.parse_args()
    algorithm, symmetric = settings(asked.method, asked.group)
    matrices = held(asked.model)
    with protocol.Spent() as spent:
        values = {
            name: decoded(weight, algorithm, asked.group) for name, weight in matrices.items()
        }
    fmt = protocol.name_of(4, asked.group, symmetric=symmetric)
    protocol.answer(asked.out, spent, dict.fromkeys(values, fmt), values)


if __name__ == "__main__":
    main()
