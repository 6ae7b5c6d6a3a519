"""Inputs of 8 bits: the nodes that have ONNX Runtime multiply codes with codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from negawatt.adapters.runtimes.onnx_engine import onnx
from negawatt.adapters.runtimes.onnx_weights import CONTRIB, Blob
from negawatt.core.records import InputGrid, QuantisedWeight


class Rounding:
    """Puts a rounding step before products of layers, one for all that read one value alike.

    Args:
        inputs: Grids by layer name.
        blob: Where the bytes of the weights go.
    """

    def __init__(self, inputs: Mapping[str, InputGrid], blob: Blob) -> None:
        self._inputs, self._blob = inputs, blob
        self._made: dict[
            tuple[str, InputGrid], str
        ] = {}  # -> what the names of the step begin with

    def takes(self, name: str) -> bool:
        """True for a layer whose inputs are rounded."""
        return name in self._inputs

    def product(self, weight: QuantisedWeight, name: str, ends: tuple[str, str]) -> list[Any]:
        """A product of codes with codes, after the tensors and nodes that it reads."""
        kinds, rows = onnx().TensorProto, np.asarray(weight.codes).shape[0]
        grid = self._inputs[name]
        key = ends[0], grid
        made = [] if key in self._made else self._step(grid, name, ends[0])
        step = self._made.setdefault(key, name)
        codes = (np.asarray(weight.codes, np.uint8) ^ np.uint8(128)).T  # signed, [cols, rows]
        scale = np.asarray(weight.scale, np.float32)
        tensors = [
            self._blob.add(f"{name}/codes", kinds.INT8, codes.shape, [codes]),
            self._blob.add(f"{name}/scale", kinds.FLOAT, (rows,), [scale]),
        ]
        read = [f"{step}/rounded", f"{name}/codes", f"{step}/step", f"{name}/scale", f"{step}/null"]
        node = onnx().helper.make_node(
            "MatMulIntegerToFloat", read, [ends[1]], name=f"negawatt/{name}", domain=CONTRIB
        )
        return [*made, *tensors, node]

    def _step(self, grid: InputGrid, name: str, source: str) -> list[Any]:
        """Division by the factors and rounding to codes."""
        make, values = onnx().helper.make_node, onnx().numpy_helper.from_array
        tensors = [
            values(np.array(grid.scale, np.float32), f"{name}/step"),
            values(np.array(grid.zero, np.uint8), f"{name}/null"),
        ]
        nodes = []
        if grid.factor:
            shares = (1.0 / np.asarray(grid.factor)).astype(np.float32)
            tensors.append(values(shares, f"{name}/shares"))
            nodes.append(make("Mul", [source, f"{name}/shares"], [f"{name}/even"]))
            source = f"{name}/even"
        read = [source, f"{name}/step", f"{name}/null"]
        nodes.append(make("QuantizeLinear", read, [f"{name}/rounded"]))
        return [*tensors, *nodes]
