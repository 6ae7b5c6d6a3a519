"""Put quantised weights into a graph, in the shapes the CPU engine multiplies directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.adapters.runtimes.artifact import Place, checked_fit
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_experts import every_node
from negawatt.core.errors import UsageError
from negawatt.core.records import Format, QuantisedWeight

_Bytes = npt.NDArray[np.uint8]
_KINDS = {
    (4, True): ov.Type.i4,
    (4, False): ov.Type.u4,
    (8, True): ov.Type.i8,
    (8, False): ov.Type.u8,
}


def replace_weights(
    graph: ov.Model,
    places: Mapping[str, Place],
    weights: Mapping[str, QuantisedWeight],
    joint: Sequence[Sequence[str]] = (),
) -> dict[str, Place]:
    """Replace the weights named in `weights`, and return `places` with the new formats.

    Each value of `weights` is read once and let go.

    Raises:
        UsageError: a name is no layer of the graph, codes do not fit its shape,
            or layers named together cannot be multiplied as one.
    """
    nodes = {op.get_friendly_name(): op for op in every_node(graph)}
    after = dict(places)
    together = {name: tuple(names) for names in joint for name in names}
    waiting: dict[str, QuantisedWeight] = {}
    for name, place, weight in checked_fit(places, weights):
        after[name] = place.stored_as(weight.format)
        if name not in together:
            port = nodes[place.node].input(place.port)
            port.replace_source_output(decompression(weight, name).output(0))
            continue
        waiting[name] = weight
        names = together[name]
        if all(other in waiting for other in names):
            products = [nodes[places[other].node] for other in names]
            _multiply_as_one(products, [waiting.pop(other) for other in names], name)
    if waiting:
        raise UsageError(
            f"{', '.join(sorted(waiting))} cannot be multiplied with layers that have no new "
            "weights",
            fix="name only layers of this plan together",
        )
    graph.validate_nodes_and_infer_types()
    return after


def _multiply_as_one(
    products: Sequence[ov.Node], weights: Sequence[QuantisedWeight], name: str
) -> None:
    """Put one product and a split in the place of several products of the same input."""
    source = products[0].input_value(0)
    same = all(
        product.input_value(0).get_node().get_friendly_name()
        == source.get_node().get_friendly_name()
        and product.input_value(0).get_index() == source.get_index()
        for product in products
    )
    if not same or len({weight.format for weight in weights}) > 1:
        raise UsageError(
            f"the layers to be multiplied with {name} read other inputs or have other formats",
            fix="name only layers of one input and one format together",
        )
    whole = QuantisedWeight(
        weights[0].format,
        *(
            np.concatenate([np.asarray(getattr(weight, part)) for weight in weights])
            for part in ("codes", "scale", "zero")
        ),
    )
    ops = ov.opset13
    product = ops.matmul(source, decompression(whole, name), transpose_a=False, transpose_b=True)
    heights = [int(np.asarray(weight.codes).shape[0]) for weight in weights]
    split = ops.variadic_split(product, -1, heights)
    for i, old in enumerate(products):
        old.output(0).replace(split.output(i))


def decompression(weight: QuantisedWeight, name: str) -> ov.Node:
    """The graph from codes to float32 weights that the engine fuses into its products.

    Signed codes for symmetric formats, codes and zero points for the others,
    then one scale a group: the engine keeps the codes and never runs this.

    Raises:
        UsageError: the engine has no integers of that width.
    """
    ops = ov.opset13
    fmt = weight.format
    if fmt.levels or (fmt.bits, fmt.symmetric) not in _KINDS:
        raise UsageError(
            f"OpenVINO does not multiply {name} in {fmt}", fix="choose among the formats it offers"
        )
    codes = np.ascontiguousarray(weight.codes, dtype=np.uint8)
    rows, cols = codes.shape
    shape = [rows, cols // fmt.group, fmt.group] if fmt.group else [rows, cols]
    ends = [*shape[:-1], 1]
    node = ops.convert(_integers(codes, shape, fmt, name), "f16")
    if not fmt.symmetric:
        zero = np.ascontiguousarray(weight.zero, dtype=np.uint8)
        node = ops.subtract(node, ops.convert(_integers(zero, ends, fmt, f"{name}/zero"), "f16"))
    scale = np.ascontiguousarray(weight.scale, dtype=np.float16).reshape(ends)
    node = ops.multiply(node, _constant(ov.Tensor(scale), f"{name}/scale"))
    if fmt.group:
        node = ops.reshape(node, ops.constant([rows, cols], ov.Type.i64), special_zero=False)
    return ops.convert(node, "f32")


def _integers(values: _Bytes, shape: list[int], fmt: Format, name: str) -> ov.Node:
    """A constant of `fmt.bits`-wide integers, signed when the format is symmetric."""
    if fmt.symmetric:
        values = values ^ np.uint8(1 << (fmt.bits - 1))  # code - 2**(bits-1), two's complement
    kind = _KINDS[fmt.bits, fmt.symmetric]
    if fmt.bits == 4:
        flat = values.reshape(-1) & np.uint8(15)
        if flat.size % 2:
            flat = np.append(flat, np.uint8(0))
        values = flat[0::2] | (flat[1::2] << np.uint8(4))  # the first of a pair in the low half
    return _constant(ov.Tensor(_as_type(values, kind, shape), shape, kind), name)


def _as_type(values: _Bytes, kind: ov.Type, shape: list[int]) -> Any:
    flat = values.view(np.int8) if kind == ov.Type.i8 else values
    return flat if kind in {ov.Type.u4, ov.Type.i4} else flat.reshape(shape)


def _constant(tensor: ov.Tensor, name: str) -> ov.Node:
    node = ov.op.Constant(tensor, shared_memory=False)
    node.set_friendly_name(f"negawatt/{name}/codes")
    return node
