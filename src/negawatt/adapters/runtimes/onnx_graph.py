"""From a Hugging Face folder to an ONNX graph whose weights stay 16 bits wide in a file beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from negawatt.adapters.runtimes.artifact import Place, checked_fit
from negawatt.adapters.runtimes.huggingface import (
    is_encoder,
    is_matrix,
    load,
    matrices,
    quiet,
    stored_dtype,
)
from negawatt.adapters.runtimes.onnx_encoder_graph import traced_encoder
from negawatt.adapters.runtimes.onnx_engine import onnx
from negawatt.adapters.runtimes.onnx_inputs import Rounding
from negawatt.adapters.runtimes.onnx_weights import CONTRIB, FILE, Blob, copied, lookup, product
from negawatt.adapters.runtimes.traced_step import Step, cache_shape, shapes_alone
from negawatt.core.errors import UnsupportedArchitecture
from negawatt.core.records import InputGrid, QuantisedWeight

GRAPH = "model.onnx"
_OPSET = 17
_CONTRIB_VERSION = 1
_MATRIX = 2  # axes
_TINY = 1e-6  # small enough that tracing meets no infinite numbers
_ROWS = 8192  # of a matrix turned into another number format at a time
# Example sizes, all different, so that no two dimensions are taken for one another.
_BATCH, _PAST, _NEW, _KEEP = 2, 3, 5, 4
_OWN = "model."  # what the traced module puts before the names of the model's parameters


def build(folder: Path, out: Path) -> dict[str, Place]:
    """Write graph and weights into `out`; returns the place of every weight matrix.

    The model is traced with matrices of one number each, which take no memory; the real ones go from
    file to file, some rows at a time.

    Raises:
        NotAModel, BrokenWeights: the folder cannot be read.
        UnsupportedArchitecture: a matrix is read in an unknown way.
    """
    shapes = matrices(folder)
    model = load(folder, stored_dtype(folder))
    kept = {name: param.data for name, param in model.named_parameters()}
    hollow(model)
    graph = traced_encoder(model) if is_encoder(folder) else traced(model)
    graph.opset_import.append(onnx().helper.make_opsetid(CONTRIB, _CONTRIB_VERSION))
    last = model.get_output_embeddings()  # an encoder may have none
    head = next((name for name, module in model.named_modules() if module is last), "")
    with (out / FILE).open("wb") as file:
        places = _fill(graph.graph, kept, model, Blob(file), head)
    missing = set(shapes) - set(places)
    if missing and not is_encoder(folder):  # which may have matrices that nothing reads
        raise UnsupportedArchitecture(
            f"{min(missing)} is read in a way this converter does not know",
            fix="use the runtime openvino or torch for this model",
        )
    onnx().save(graph, out / GRAPH)
    return places


def hollow(model: Any) -> None:
    """Put matrices that take no memory in the place of the real ones, and float32 elsewhere.

    Each has a number of its own: the exporter takes parameters that are equal for one.
    """
    number = 0
    for module in model.modules():
        matrix = is_matrix(module)
        for name, param in module.named_parameters(recurse=False):
            if matrix and name == "weight":
                number += 1
                param.data = torch.full((1,), number * _TINY).expand(param.shape)
            elif param.is_floating_point():
                param.data = param.data.float()
        for _, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                buffer.data = buffer.data.float()


def traced(model: Any) -> Any:
    """The graph of one step, with every parameter and buffer among its inputs."""
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
    cache = [f"{part}.{i}" for i in range(blocks) for part in ("key", "value")]
    given = ["tokens", "mask", "positions", "keep", *(f"past.{one}" for one in cache)]
    made = ["logits", *(f"present.{one}" for one in cache)]
    free = {
        "tokens": {0: "batch", 1: "new"},
        "mask": {0: "batch", 1: "total"},
        "positions": {0: "batch", 1: "new"},
        "keep": {0: "kept"},
        "logits": {0: "batch", 1: "kept"},
    }
    free |= {f"past.{one}": {0: "batch", 2: "past"} for one in cache}
    free |= {f"present.{one}": {0: "batch", 2: "total"} for one in cache}
    with (
        TemporaryDirectory(prefix="negawatt-") as scratch,
        quiet(),
        shapes_alone(),
        torch.inference_mode(),
    ):
        path = Path(scratch) / GRAPH
        torch.onnx.export(
            Step(model).eval(),
            example,
            str(path),
            export_params=False,
            input_names=given,
            output_names=made,
            dynamic_axes=free,
            opset_version=_OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
        graph = onnx().load(path)
    _unfold(graph.graph)
    return graph


def _unfold(graph: Any) -> None:
    """Put product and sum in the place of a `Gemm`, which layers of two axes with a bias become."""
    make, nodes = onnx().helper.make_node, list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "Gemm":
            graph.node.append(node)
            continue
        given, weight, bias = node.input
        turned, product = f"{node.name}/turned", f"{node.name}/product"
        graph.node.extend(
            [
                make("Transpose", [weight], [turned], perm=[1, 0]),
                make("MatMul", [given, turned], [product]),
                make("Add", [product, bias], list(node.output)),
            ]
        )


def _fill(
    graph: Any, kept: Mapping[str, torch.Tensor], model: Any, blob: Blob, head: str
) -> dict[str, Place]:
    """Give every parameter its values, and find where each matrix is read."""
    small = {f"{_OWN}{n}": t for n, t in (*model.named_parameters(), *model.named_buffers())}
    places: dict[str, Place] = {}
    nodes, tensors = list(graph.node), list(graph.initializer)
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for one in [one for one in graph.input if one.name.startswith(_OWN)]:
        path = one.name.removeprefix(_OWN)
        graph.input.remove(one)
        layer = path.removesuffix(".weight")
        if path not in kept or kept[path].ndim != _MATRIX:
            values = small[one.name].detach().numpy()
            tensors.append(onnx().numpy_helper.from_array(values, one.name))
            continue
        stored = kept[path]
        tensors.append(_wide(one.name, stored, blob))
        for reader in readers[one.name]:
            tied = reader.op_type == "Transpose" and layer in places
            name = head if tied else layer
            nodes.append(_widened(reader, one.name, name, readers))
            rows, cols = (int(size) for size in stored.shape)
            places[name] = Place(f"negawatt/{name}", 1, rows, cols)
    _set(graph, nodes, tensors)
    return places


def _widened(reader: Any, source: str, name: str, readers: Mapping[str, list[Any]]) -> Any:
    """Have a reader of a matrix read it 16 bits wide; returns the node that widens."""
    make, single = onnx().helper.make_node, onnx().TensorProto.FLOAT
    if reader.op_type == "Gather":  # look up first: rows are few
        narrow, out = f"{name}/narrow", reader.output[0]
        reader.name, reader.output[0] = f"negawatt/{name}", narrow
        widen = make("Cast", [narrow], [f"{name}/rows"], name=f"{name}/widen", to=single)
        for user in readers[out]:
            user.input[list(user.input).index(out)] = f"{name}/rows"
        return widen
    if reader.op_type == "Transpose":
        users = readers[reader.output[0]]
        if [node.op_type for node in users] == ["MatMul"]:
            users[0].name = f"negawatt/{name}"
            reader.input[list(reader.input).index(source)] = f"{name}/wide"
            return make("Cast", [source], [f"{name}/wide"], name=f"{name}/widen", to=single)
    raise UnsupportedArchitecture(
        f"{name} is read by {reader.op_type} in a way this converter does not know",
        fix="use a decoder whose matrices are linear layers and one embedding",
    )


def _wide(name: str, stored: torch.Tensor, blob: Blob) -> Any:
    """A matrix at 16 bits; from float32 it goes to float16, which keeps three more bits."""
    brain = stored.dtype == torch.bfloat16
    kind = onnx().TensorProto.BFLOAT16 if brain else onnx().TensorProto.FLOAT16
    dtype = torch.bfloat16 if brain else torch.float16

    def parts() -> Iterator[Any]:
        for at in range(0, len(stored), _ROWS):
            yield stored[at : at + _ROWS].to(dtype).contiguous().view(torch.uint8).numpy()

    return blob.add(name, kind, stored.shape, parts())


def in_order(nodes: Sequence[Any], known: Iterable[str]) -> list[Any]:
    """Nodes in an order in which nothing is read before it is made.

    Args:
        nodes: In any order; without circles.
        known: Names that need no making.
    """
    made = {*known, ""}
    waiting: dict[str, list[int]] = {}
    lacking = []
    for i, node in enumerate(nodes):
        needs = {name for name in node.input if name not in made}
        lacking.append(len(needs))
        for name in needs:
            waiting.setdefault(name, []).append(i)
    ready = deque(i for i, count in enumerate(lacking) if not count)
    found = []
    while ready:
        node = nodes[ready.popleft()]
        found.append(node)
        for name in node.output:
            for i in waiting.pop(name, ()):
                lacking[i] -= 1
                if not lacking[i]:
                    ready.append(i)
    return found


def rewrite(
    base: Path,
    layers: Mapping[str, Place],
    weights: Mapping[str, QuantisedWeight],
    out: Path,
    inputs: Mapping[str, InputGrid] | None = None,
) -> dict[str, Place]:
    """Write the graph in `base` anew with the layers in `weights` as codes; returns the places.

    What enters the layers in `inputs` is rounded to 8 bits.

    Raises:
        UsageError: a layer is unknown, or its codes do not fit it or the engine.
    """
    model = onnx().load(base / GRAPH, load_external_data=False)
    graph = model.graph
    places, nodes = dict(layers), list(graph.node)
    named = {node.name: node for node in nodes if node.name}
    maker = {name: node for node in nodes for name in node.output}
    tensors = {one.name: one for one in graph.initializer}
    gone: set[int] = set()  # of nodes, by identity
    fresh: set[str] = set()  # tensors whose bytes are in the new file already
    with (out / FILE).open("wb") as file:
        blob = Blob(file)
        rounding = Rounding(inputs or {}, blob)
        for name, place, weight in checked_fit(layers, weights):
            places[name] = place.stored_as(weight.format)
            old = named[f"negawatt/{name}"]
            if old.op_type == "Gather":
                end = maker[f"{name}/rows"].output[0]
                made = lookup(weight, name, (old.input[1], end), blob)
                gone.add(id(maker[end]))
            elif rounding.takes(name):
                made = rounding.product(weight, name, (old.input[0], old.output[0]))
            else:
                made = product(weight, name, (old.input[0], old.output[0]), blob)
            gone.add(id(old))
            new = {one.name: one for one in made if hasattr(one, "data_type")}
            tensors |= new
            fresh |= new.keys()
            nodes += [one for one in made if hasattr(one, "op_type")]
        nodes = _needed([one for one in nodes if id(one) not in gone], graph)
        read = {name for node in nodes for name in node.input}
        left = [one for name, one in tensors.items() if name in read]
        stays = onnx().TensorProto.EXTERNAL
        kept = [
            copied(one, base / FILE, blob)
            if one.data_location == stays and one.name not in fresh
            else one
            for one in left
        ]
    _set(graph, nodes, kept)
    onnx().save(model, out / GRAPH)
    return places


def _needed(nodes: Sequence[Any], graph: Any) -> list[Any]:
    """Nodes that something of the result depends on."""
    maker = {name: node for node in nodes for name in node.output}
    found: dict[int, Any] = {}
    todo = [one.name for one in graph.output]
    while todo:
        node = maker.get(todo.pop())
        if node is not None and id(node) not in found:
            found[id(node)] = node
            todo += node.input
    return list(found.values())


def _set(graph: Any, nodes: Sequence[Any], tensors: Sequence[Any]) -> None:
    """Make these the nodes and tensors of the graph."""
    known = [one.name for one in (*graph.input, *tensors)]
    ordered = [
        onnx().NodeProto.FromString(one.SerializeToString()) for one in in_order(nodes, known)
    ]
    moved = [onnx().TensorProto.FromString(one.SerializeToString()) for one in tensors]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(ordered)
    graph.initializer.extend(moved)


def with_accuracy(folder: Path, level: int) -> bytes:
    """The graph in `folder`, its products of codes computed at an accuracy level."""
    model = onnx().load(folder / GRAPH, load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = level
    return bytes(model.SerializeToString())
