"""Inputs of 8 bits: the quantising step that has OpenVINO multiply codes with codes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from negawatt.adapters.runtimes.artifact import Place
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.core.records import Format, InputGrid, QuantisedWeight

#: What has the engine take codes for numbers and multiply in floating point.
AS_NUMBERS = {"LP_TRANSFORMS_MODE": "NO"}

_LEVELS = 256
_TRIAL = 32  # inputs, all as large as they can be


def round_inputs(
    graph: ov.Model,
    places: Mapping[str, Place],
    weights: Mapping[str, QuantisedWeight],
    inputs: Mapping[str, InputGrid],
) -> None:
    """Round what enters the layers in `inputs`, in a graph whose weights are codes already.

    Layers that read one value on one grid share the step. The weights are written with their
    scales in float32 and without a change of type behind them: the engine looks for that form
    when it makes integer products.
    """
    nodes = {op.get_friendly_name(): op for op in graph.get_ops()}
    made: dict[tuple[str, int, int], Any] = {}
    for name, grid in inputs.items():
        product = nodes[places[name].node]
        source = product.input_value(0)
        key = source.get_node().get_friendly_name(), source.get_index(), hash(grid)
        if key not in made:
            made[key] = _step(source, grid)
        product.input(0).replace_source_output(made[key].output(0))
        product.input(1).replace_source_output(_codes(weights[name], name).output(0))
    graph.validate_nodes_and_infer_types()


def _step(source: Any, grid: InputGrid) -> Any:
    """Division by the factors, then a cut to the range and to 256 levels.

    Factors within the cutting operation itself would be one operation fewer, but the engine
    takes them along the first axis alone.
    """
    ops = ov.opset13
    if grid.factor:
        shares = (1.0 / np.asarray(grid.factor)).astype(np.float32)
        source = ops.multiply(source, ops.constant(shares[None, None])).output(0)
    ends = [ops.constant(np.array([end], np.float32)) for end in (grid.low, grid.high)]
    return ops.fake_quantize(source, *ends, *ends, _LEVELS)


def _codes(weight: QuantisedWeight, name: str) -> Any:
    """Signed codes of a row-wise symmetric format, times their scales."""
    ops = ov.opset13
    codes = (np.asarray(weight.codes, np.uint8) ^ np.uint8(128)).view(np.int8)
    stored = ov.op.Constant(ov.Tensor(np.ascontiguousarray(codes)), shared_memory=False)
    stored.set_friendly_name(f"negawatt/{name}/codes")
    scale = np.asarray(weight.scale, np.float32)
    return ops.multiply(ops.convert(stored, "f32"), ops.constant(scale))


def rounds_inputs(graph: ov.Model) -> bool:
    """True when codes are multiplied with codes somewhere."""
    return any(op.get_type_name() == "FakeQuantize" for op in graph.get_ops())


@cache
def adds_up() -> bool:
    """Whether products of codes with codes come out right on this processor.

    Those of x86 that have no instructions for it (VNNI, AMX) add up two products in 16 bits,
    and where both are large the sum is cut off: OpenVINO 2026.4 was seen to make 3 of 413 so.
    """
    ops = ov.opset13
    given = ops.parameter([1, 1, _TRIAL], ov.Type.f32, name="trial")
    codes = np.full((8, _TRIAL), 255, np.uint8)
    ends = np.ones((8, 1), np.float16), np.full((8, 1), 128, np.uint8)
    weight = _codes(QuantisedWeight(Format(8), codes, *ends), "trial")
    largest = float(_LEVELS - 1)
    step = _step(given.output(0), InputGrid(0.0, largest))
    graph = ov.Model(
        [ops.result(ops.matmul(step, weight, transpose_a=False, transpose_b=True))],
        [given],
        "trial",
    )
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1})
    found = compiled(np.full((1, 1, _TRIAL), largest, np.float32))[0]
    return bool(np.allclose(found, _TRIAL * largest * 127, rtol=0.02))
