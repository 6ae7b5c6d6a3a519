"""From a Hugging Face folder to an OpenVINO graph that keeps its own cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from negawatt.adapters.runtimes.artifact import Place
from negawatt.adapters.runtimes.huggingface import (
    embedding_scale,
    is_encoder,
    load,
    quiet,
    stored_dtype,
)
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_experts import on_demand
from negawatt.adapters.runtimes.traced_step import Reading, Step, cache_shape
from negawatt.core.errors import UnsupportedArchitecture

_PATCH = "_openvino_module_extension_patch_orig_forward"
_WEIGHT = "._openvino_orig_weight"  # how the 16-bit patch names the real weights
# Example sizes, all different, so that no two dimensions are taken for one another.
_BATCH, _PAST, _NEW, _KEEP = 2, 3, 5, 4


def build(folder: Path) -> tuple[ov.Model, dict[str, Place]]:
    """Convert the model in `folder`; weights stay 16 bits wide and mapped from its files.

    Returns:
        The stateful graph and the place of every weight matrix by `Layer.name`.
        Inputs: `tokens` int64 [batch, new], `mask` int64 [batch, past + new],
        `positions` int64 [batch, new], `keep` int64 [kept], `beam_idx` int32 [batch].
        Output: `logits` float32 [batch, kept, vocabulary].
        An encoder keeps no cache. Inputs: `tokens` and `mask` int64 [batch, new]. Output:
        `ending` float32 [batch, new, width], hidden states or logits, or [batch, 1, labels].
    """
    stored = stored_dtype(folder)
    # float32 sources go to float16: of the two 16-bit forms it keeps three more bits.
    model = load(folder, torch.float16 if stored == torch.float32 else stored)
    if is_encoder(folder):
        graph = _trace_encoder(model)
        return graph, _places(graph, model)
    graph = _trace(model)
    places = _places(graph, model)
    _name_ports(graph, *cache_shape(model))
    _reorder_by_beam(graph)
    _keep_cache_inside(graph)
    on_demand(graph, places)
    return graph, places


def _trace(model: Any) -> ov.Model:
    heads, width = cache_shape(model)
    blocks = model.config.get_text_config().num_hidden_layers
    positions = torch.arange(_PAST, _PAST + _NEW).expand(_BATCH, _NEW)
    example = (
        torch.ones(_BATCH, _NEW, dtype=torch.int64),
        torch.ones(_BATCH, _PAST + _NEW, dtype=torch.int64),
        positions.contiguous(),
        torch.arange(_NEW - _KEEP, _NEW),
        *(torch.zeros(_BATCH, heads, _PAST, width) for _ in range(2 * blocks)),
    )
    with quiet(), torch.inference_mode():
        _plain_embedding(model.get_input_embeddings())
        return _traced(model, Step(model), example)


def _trace_encoder(model: Any) -> ov.Model:
    """The graph of a model that reads a text as a whole."""
    example = tuple(torch.ones(_BATCH, _NEW, dtype=torch.int64) for _ in range(2))
    with quiet(), torch.inference_mode():
        graph = _traced(model, Reading(model), example)
    for port, name in zip(graph.inputs, ("tokens", "mask"), strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    graph.outputs[0].get_tensor().set_names({"ending"})
    graph.reshape({name: ov.PartialShape([-1, -1]) for name in ("tokens", "mask")})
    return graph


def _traced(model: Any, step: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> ov.Model:
    from openvino.frontend.pytorch import patch_model
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # Emits the 16-bit weights as constants and traces everything else in float32,
    # so a float32 copy of the weights never exists.
    traceable: Callable[[Any], None] = vars(patch_model)["__make_16bit_traceable"]
    traceable(model)
    try:
        # Checking would trace a second time and hold a copy of the weights.
        decoder = TorchScriptPythonDecoder(
            step, example_input=example, trace_kwargs={"check_trace": False}
        )
        return ov.convert_model(decoder, example_input=example)
    finally:
        patch_model.unpatch_model(model, _PATCH)


def _plain_embedding(embedding: Any) -> None:
    """Turn a scaled embedding into a plain one followed by a product.

    The 16-bit patch knows the plain class alone.
    """
    scale = embedding_scale(embedding)
    embedding.__class__ = torch.nn.Embedding
    if scale != 1.0:
        embedding.register_forward_hook(lambda _module, _given, rows: rows * scale)


def _places(graph: ov.Model, model: Any) -> dict[str, Place]:
    """Find the operation that reads each weight matrix, and give it a lasting name."""
    names = {id(module): name for name, module in model.named_modules()}
    head = names.get(id(model.get_output_embeddings()))
    places = {}
    for constant in graph.get_ops():
        found = constant.get_friendly_name()
        if constant.get_type_name() != "Constant" or not found.endswith(_WEIGHT):
            continue
        path = found.removeprefix("self.model.").removesuffix(_WEIGHT)
        for port in _readers(constant):
            node = port.get_node()
            kind = node.get_type_name()
            tied = kind == "MatMul" and path == names[id(model.get_input_embeddings())]
            name = head if tied and head is not None else path
            if kind not in {"MatMul", "Gather"} or name in places:
                raise UnsupportedArchitecture(
                    f"{path} is read by {kind} in a way this converter does not know",
                    fix="use a decoder whose matrices are linear layers and one embedding",
                )
            node.set_friendly_name(f"negawatt/{name}")
            rows, cols = constant.get_output_shape(0)
            places[name] = Place(node.get_friendly_name(), port.get_index(), rows, cols)
    return places


def _readers(constant: Any) -> list[Any]:
    """The inputs a constant reaches, looking through type conversions."""
    found = []
    for port in constant.output(0).get_target_inputs():
        if port.get_node().get_type_name() == "Convert":
            found += _readers(port.get_node())
        else:
            found.append(port)
    return found


def _name_ports(graph: ov.Model, heads: int, width: int) -> None:
    """Name inputs and outputs and open every dimension that may change."""
    fixed = ("tokens", "mask", "positions", "keep")
    blocks = (len(graph.inputs) - len(fixed)) // 2
    cache = [f"{part}.{i}" for i in range(blocks) for part in ("key", "value")]
    shapes = {}
    for port, name in zip(graph.inputs, (*fixed, *(f"past.{c}" for c in cache)), strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        free = [-1] * len(port.get_partial_shape())
        shapes[name] = ov.PartialShape([-1, heads, -1, width] if "past." in name else free)
    for port, name in zip(graph.outputs, ("logits", *(f"present.{c}" for c in cache)), strict=True):
        port.get_tensor().set_names({name})
    graph.reshape(shapes)


def _reorder_by_beam(graph: ov.Model) -> None:
    """Read every past through a gather by `beam_idx`.

    Sessions pass 0, 1, 2, …; the gather is what the CPU engine looks for when it
    fuses attention with its own cache, which then grows in place.
    """
    ops = ov.opset13
    beam = ops.parameter([-1], ov.Type.i32, name="beam_idx")
    beam.output(0).get_tensor().set_names({"beam_idx"})
    axis = ops.constant(0, ov.Type.i64)
    for port in graph.inputs:
        if port.get_any_name().startswith("past."):
            readers = port.get_target_inputs()
            gathered = ops.gather(port.get_node(), beam, axis)
            for reader in readers:
                reader.replace_source_output(gathered.output(0))
    graph.add_parameters([beam])
    graph.validate_nodes_and_infer_types()


def _keep_cache_inside(graph: ov.Model) -> None:
    """Turn pasts and presents into states that start empty at the batch size of the call."""
    from openvino._offline_transformations import apply_make_stateful_transformation

    pairs = {}
    for port in graph.outputs:
        name = port.get_any_name()
        if name.startswith("present."):
            pairs["past." + name.removeprefix("present.")] = name
    apply_make_stateful_transformation(graph, pairs)
    ops = ov.opset13
    shape = ops.shape_of(graph.input("tokens").get_node(), output_type="i64")
    batch = ops.gather(shape, ops.constant([0], ov.Type.i64), ops.constant(0, ov.Type.i64))
    for op in graph.get_ops():
        if op.get_type_name() == "ReadValue":
            _, heads, _, width = op.get_output_partial_shape(0)
            rest = ops.constant([heads.get_length(), 0, width.get_length()], ov.Type.i64)
            zero = ops.constant(0.0, op.get_output_element_type(0))
            op.set_arguments([ops.broadcast(zero, ops.concat([batch, rest], axis=0))])
    graph.validate_nodes_and_infer_types()
