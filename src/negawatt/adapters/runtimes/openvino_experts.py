"""Experts that run only when a token is sent to them.

A traced mixture gives every token to every expert and weighs what comes out, mostly by zero.
Here each expert becomes the branch of an `If` that asks whether any weight is above zero: one
token then costs the experts it was sent to, and no others are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from negawatt.adapters.runtimes.artifact import Place
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.core.errors import UnsupportedArchitecture

_PARTS = ("gate_proj", "up_proj", "down_proj")


def every_node(graph: ov.Model) -> Iterator[ov.Node]:
    """The operations of a graph and of the branches inside it."""
    for op in graph.get_ops():
        yield op
        if op.get_type_name() == "If":
            yield from every_node(op.get_function(0))


def on_demand(graph: ov.Model, places: Mapping[str, Place]) -> None:
    """Put each expert of a traced graph into a branch of its own, in place.

    Raises:
        UnsupportedArchitecture: an expert is not built as those that are known.
    """
    stems = {match[1] for name in places if (match := re.match(r"(.+\.experts\.\d+)\.", name))}
    nodes = {op.get_friendly_name(): op for op in graph.get_ops()} if stems else {}
    for stem in sorted(stems):
        _branch([nodes[places[f"{stem}.{part}"].node] for part in _PARTS], stem)
    if stems:
        graph.validate_nodes_and_infer_types()


def _branch(products: list[ov.Node], stem: str) -> None:
    gate, up, down = products
    states = gate.input_value(0)
    weighing = [port.get_node() for port in down.output(0).get_target_inputs()]
    if len(weighing) != 1 or weighing[0].get_type_name() != "Multiply":
        raise UnsupportedArchitecture(
            f"{stem} is read in a way this converter does not know",
            fix="use the runtime torch for this model",
        )
    mixed = weighing[0]
    own = 0 if mixed.input_value(0).get_node() == down else 1
    weights = mixed.input_value(1 - own)
    readers = list(mixed.output(0).get_target_inputs())

    ops = ov.opset13
    flat = ops.reshape(weights, ops.constant([-1], ov.Type.i64), special_zero=False)
    share = ops.reduce_max(flat, ops.constant(0, ov.Type.i64), keep_dims=False)
    wanted = ops.greater(share, ops.constant(0.0, weights.get_element_type()))
    inside = [
        ops.parameter(one.get_partial_shape(), one.get_element_type()) for one in (states, weights)
    ]
    for product in (gate, up):
        product.input(0).replace_source_output(inside[0].output(0))
    mixed.input(1 - own).replace_source_output(inside[1].output(0))
    runs = ops.result(mixed)
    like = ops.parameter(states.get_partial_shape(), states.get_element_type())
    zero = ops.constant(0.0, states.get_element_type())
    rests = ops.result(ops.broadcast(zero, ops.shape_of(like)))

    chosen = ops.if_op(wanted.output(0))
    chosen.set_friendly_name(f"negawatt/{stem}")
    chosen.set_then_body(ov.Model([runs], inside, "then"))
    chosen.set_else_body(ov.Model([rests], [like], "else"))
    chosen.set_input(states, inside[0], like)
    chosen.set_input(weights, inside[1], None)
    out = chosen.set_output(runs, rests)
    for reader in readers:
        reader.replace_source_output(out)
