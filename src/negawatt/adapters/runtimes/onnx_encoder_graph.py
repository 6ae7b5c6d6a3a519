"""Encoders as ONNX graphs: traced as a whole, without a cache."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from negawatt.adapters.runtimes.huggingface import quiet
from negawatt.adapters.runtimes.onnx_engine import onnx
from negawatt.adapters.runtimes.traced_step import Reading, shapes_alone

_OPSET = 17
_BATCH, _NEW = 2, 5  # example sizes, different, so that they are not taken for one another
_GIVEN, _MADE = ("tokens", "mask"), "ending"


def traced_encoder(model: Any) -> Any:
    """The graph of a model that reads a text as a whole, with its parameters among the inputs."""
    example = tuple(torch.ones(_BATCH, _NEW, dtype=torch.int64) for _ in _GIVEN)
    free = {name: {0: "batch", 1: "new"} for name in _GIVEN} | {_MADE: {0: "batch", 1: "read"}}
    with (
        TemporaryDirectory(prefix="negawatt-") as scratch,
        quiet(),
        shapes_alone(),
        torch.inference_mode(),
    ):
        path = Path(scratch) / "model.onnx"
        torch.onnx.export(
            Reading(model).eval(),
            example,
            str(path),
            export_params=False,
            input_names=list(_GIVEN),
            output_names=[_MADE],
            dynamic_axes=free,
            opset_version=_OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
        graph = onnx().load(path)
    _part(graph.graph)
    return graph


def _part(graph: Any) -> None:
    """Write products and their sums apart: a layer that reads one row a text is traced as `Gemm`."""
    make, nodes = onnx().helper.make_node, []
    for node in graph.node:
        told = {one.name: one for one in node.attribute}
        plain = all(told[key].f == 1.0 for key in ("alpha", "beta") if key in told)
        turned = "transB" in told and told["transB"].i == 1 and "transA" not in told
        if node.op_type != "Gemm" or not (plain and turned):
            nodes.append(node)
            continue
        given, weight, *bias = node.input
        out = node.output[0]
        product = f"{out}/product" if bias else out
        nodes.append(make("Transpose", [weight], [f"{out}/turned"], perm=[1, 0]))
        nodes.append(make("MatMul", [given, f"{out}/turned"], [product]))
        if bias:
            nodes.append(make("Add", [product, bias[0]], [out]))
    del graph.node[:]
    graph.node.extend(nodes)
