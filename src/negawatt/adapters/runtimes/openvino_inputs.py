"""Inputs of 8 bits: the quantising step that has OpenVINO multiply codes with codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from negawatt.adapters.runtimes.artifact import Place
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.core.records import InputGrid, QuantisedWeight

_LEVELS = 256


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
