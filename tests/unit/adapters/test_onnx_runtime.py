"""What is particular to ONNX Runtime; what it shares with others is in the contract suite."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight

if find_spec("onnxruntime") is None or find_spec("onnx") is None:
    pytest.skip("onnxruntime or onnx is not installed", allow_module_level=True)

import onnx
import onnxruntime

from negawatt.adapters.runtimes import onnx_engine
from negawatt.adapters.runtimes.onnx_graph import GRAPH, hollow, in_order, with_accuracy
from negawatt.adapters.runtimes.onnx_runtime import OnnxRuntime
from negawatt.adapters.runtimes.onnx_weights import FILE, FORMATS, coded, pairs

RUNTIME = OnnxRuntime()
SIZES = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SHAPES = {
    "model.layers.0.self_attn.q_proj": (64, 64),
    "model.layers.0.mlp.up_proj": (128, 64),
    "model.layers.0.mlp.down_proj": (64, 128),
    "lm_head": (160, 64),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    config = AutoConfig.for_model("llama", **SIZES, tie_word_embeddings=True)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder / "source")
    RUNTIME.convert(folder / "source", folder / "base")
    return folder / "base"


def some_codes(rows: int, cols: int, fmt: Format) -> QuantisedWeight:
    random = np.random.default_rng(rows + cols)
    groups = cols // (fmt.group or cols)
    middle = 2 ** (fmt.bits - 1)
    return QuantisedWeight(
        fmt,
        random.integers(0, 2**fmt.bits, (rows, cols), dtype=np.uint8),
        np.full((rows, groups), 0.01, np.float16),
        np.full((rows, groups), middle - (not fmt.symmetric), np.uint8),
    )


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_format_is_multiplied_as_codes(base: Path, fmt: Format, tmp_path: Path) -> None:
    """In the graph as the engine runs it, after everything it folds and fuses."""
    weights = {
        name: some_codes(*shape, fmt) for name, shape in SHAPES.items() if fmt.fits(shape[1])
    }
    RUNTIME.compress(base, weights, tmp_path / "variant")
    told = onnxruntime.SessionOptions()
    told.optimized_model_filepath = str(tmp_path / "run.onnx")
    told.log_severity_level = 3
    onnxruntime.InferenceSession(tmp_path / "variant" / GRAPH, told)
    nodes = {
        node.name: node
        for node in onnx.load(tmp_path / "run.onnx", load_external_data=False).graph.node
    }
    for name in weights:
        node = nodes[f"negawatt/{name}"]
        bits = {a.name: a.i for a in node.attribute}["bits"]
        assert (node.op_type, bits) == ("MatMulNBits", fmt.bits)


def test_served_fast_inputs_are_rounded_and_exactly_they_are_not(
    base: Path, tmp_path: Path
) -> None:
    weights = {name: some_codes(*shape, Format(4, 32)) for name, shape in SHAPES.items()}
    RUNTIME.compress(base, weights, tmp_path / "variant")
    for level in (1, 4):
        model = onnx.ModelProto.FromString(with_accuracy(tmp_path / "variant", level))
        found = {
            a.i
            for node in model.graph.node
            if node.op_type == "MatMulNBits"
            for a in node.attribute
            if a.name == "accuracy_level"
        }
        assert found == {level}
    tokens = np.arange(3, 11)[None]
    logits = []
    for precision in ("exact", "fast"):
        with RUNTIME.open(tmp_path / "variant", RunOptions(precision=precision)) as session:  # type: ignore[arg-type]
            logits.append(session.forward(tokens))
    off = np.abs(logits[0] - logits[1]).max() / np.abs(logits[0]).max()
    assert 1e-5 < off < 0.1


def test_weights_stay_sixteen_bits_wide_on_disk(base: Path) -> None:
    graph = onnx.load(base / GRAPH, load_external_data=False).graph
    matrices = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert {t.data_type for t in matrices} == {onnx.TensorProto.BFLOAT16}
    values = sum(int(np.prod(t.dims)) for t in matrices)
    assert 2 * values <= (base / FILE).stat().st_size < 2 * values + 64 * (len(matrices) + 1)
    assert (base / GRAPH).stat().st_size < 200_000


def test_what_is_replaced_is_not_kept(base: Path, tmp_path: Path) -> None:
    every = {**SHAPES, "model.embed_tokens": (160, 64)}
    weights = {name: some_codes(*shape, Format(8)) for name, shape in every.items()}
    RUNTIME.compress(base, weights, tmp_path / "once")
    RUNTIME.compress(tmp_path / "once", weights, tmp_path / "twice")
    names = [
        {t.name for t in onnx.load(folder / GRAPH, load_external_data=False).graph.initializer}
        for folder in (tmp_path / "once", tmp_path / "twice")
    ]
    assert names[0] == names[1]
    assert "model.model.embed_tokens.weight" not in names[0]
    sizes = [(tmp_path / one / FILE).stat().st_size for one in ("once", "twice")]
    assert sizes[0] == sizes[1]


def test_a_scale_for_a_row_is_written_for_each_block() -> None:
    weight = some_codes(4, 96, Format(8))
    found = coded(weight, "x")
    assert (found.block, found.codes.shape, found.scale.shape) == (32, (4, 3, 32), (4, 3))
    assert found.zero is None
    with pytest.raises(UsageError, match="x in int8-row-sym"):
        coded(some_codes(4, 40, Format(8)), "x")
    with pytest.raises(UsageError, match="x in nl4-g32"):
        coded(some_codes(4, 64, Format(4, 32, levels="nl")), "x")
    with pytest.raises(UsageError, match="int3"):
        coded(some_codes(4, 64, Format(3, 32)), "x")


def test_codes_in_pairs_begin_with_the_low_half() -> None:
    np.testing.assert_array_equal(pairs(np.array([[1, 2, 3]], np.uint8)), [[0x21, 0x03]])


def test_a_hollow_model_takes_no_memory_for_matrices() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES))
    hollow(model)
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert all(weight.untyped_storage().nbytes() == 4 for weight in weights)
    assert len({float(weight.detach()[0, 0]) for weight in weights}) == len(weights)


def test_nodes_are_put_in_an_order_that_can_be_run() -> None:
    make = onnx.helper.make_node
    nodes = [make("Add", ["b", "a"], ["c"]), make("Neg", ["a"], ["b"]), make("Abs", ["x"], ["a"])]
    assert [node.op_type for node in in_order(nodes, ["x"])] == ["Abs", "Neg", "Add"]


def test_an_engine_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_engine, "_PACKAGES", ("onnxruntime", "no-such-package"))
    with pytest.raises(RuntimeUnavailable, match=r"no-such-package(.|\n)*negawatt\[onnxruntime\]"):
        OnnxRuntime()


_PEAK = """
import sys
from pathlib import Path
import numpy as np
from negawatt.actions.optimize import memory
from negawatt.adapters.runtimes.onnx_runtime import OnnxRuntime
from negawatt.core.protocols import RunOptions
runtime, folder, lean = OnnxRuntime(), Path(sys.argv[1]), sys.argv[2] == "lean"
runtime.kernel(64, 64, runtime.formats[0], copies=1, options=RunOptions()).run(1)
memory.release()
memory.forget_peak()
before = memory.resident()
with runtime.open(folder, RunOptions(steps="read", lean=lean)) as session:
    session.forward(np.ones((1, 4), np.int64))
    print(memory.peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells the peak on Linux alone")
def test_a_lean_session_does_not_hold_wide_weights(tmp_path: Path) -> None:
    sizes = SIZES | {"vocab_size": 4096, "hidden_size": 768, "intermediate_size": 3072}
    config = AutoConfig.for_model("llama", **sizes, tie_word_embeddings=True)
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    size = 2 * sum(one.numel() for one in model.parameters())
    model.save_pretrained(tmp_path / "source")
    RUNTIME.convert(tmp_path / "source", tmp_path / "base")

    def added(how: str) -> float:
        words = [sys.executable, "-c", _PEAK, str(tmp_path / "base"), how]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100)
        return float(done.stdout) / size

    assert added("lean") < 3.5  # the file, one matrix of float32 and its transpose
    assert added("usual") > 4  # every one of them


def test_values_of_matrices_are_kept_from_the_exporter(base: Path) -> None:
    """It would copy them all to find out shapes that it knows."""
    from importlib import import_module

    from negawatt.adapters.runtimes.huggingface import load, stored_dtype
    from negawatt.adapters.runtimes.onnx_graph import traced
    from negawatt.adapters.runtimes.traced_step import shapes_alone

    inside, name = import_module("torch._C"), "_jit_pass_onnx_graph_shape_type_inference"
    known, given = getattr(inside, name), list[torch.Tensor]()

    def seen(graph: Any, params: dict[str, torch.Tensor], opset: int) -> None:
        given.extend(params.values())
        known(graph, params, opset)

    source = base.parent / "source"
    model = load(source, stored_dtype(source))
    hollow(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inside, name, seen)
        traced(model)
        assert getattr(inside, name) is seen  # put back
    assert given  # norms are told
    assert all(one.ndim < 2 for one in given)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(inside, name)
        with shapes_alone():  # an exporter without it is left alone
            assert not hasattr(inside, name)
