"""What is particular to OpenVINO; what it shares with others is in the contract suite."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.adapters.runtimes import openvino_probe
from negawatt.adapters.runtimes.openvino import OpenVinoRuntime
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_graph import config
from negawatt.core import registry
from negawatt.core.errors import OutputError, RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight

RUNTIME = OpenVinoRuntime()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino")
    sizes = {"vocab_size": 160, "hidden_size": 64, "intermediate_size": 128}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model("llama", **sizes, **heads, tie_word_embeddings=True)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder / "source")
    RUNTIME.convert(folder / "source", folder / "base")
    return folder / "base"


@pytest.fixture(scope="module")
def core() -> ov.Core:
    return ov.Core()


def random_weight(rows: int, cols: int, fmt: Format) -> QuantisedWeight:
    random = np.random.default_rng(rows + cols)
    groups = cols // (fmt.group or cols)
    zero = np.full((rows, groups), 2 ** (fmt.bits - 1), np.uint8)
    codes = random.integers(0, 2**fmt.bits, (rows, cols), dtype=np.uint8)
    return QuantisedWeight(fmt, codes, np.full((rows, groups), 0.01, np.float16), zero)


def executed(core: ov.Core, graph: Path) -> Iterator[tuple[str, str]]:
    """Each product and table look-up of the compiled graph, with the width of its weights."""
    compiled = core.compile_model(graph, "CPU", config(RunOptions()))
    for op in compiled.get_runtime_model().get_ops():
        kind = op.get_rt_info()["layerType"].astype(str)
        if kind == "FullyConnected":
            yield kind, op.input(1).get_element_type().to_string()
        if kind == "Gather" and len(op.inputs()) == 4:  # the fourth is the scale
            yield kind, op.input(0).get_element_type().to_string()


@pytest.mark.parametrize("fmt", RUNTIME.formats, ids=str)
def test_every_format_is_multiplied_at_its_own_width(
    core: ov.Core, base: Path, fmt: Format, tmp_path: Path
) -> None:
    shapes = {
        "model.layers.0.self_attn.q_proj": (64, 64),
        "model.layers.0.mlp.up_proj": (128, 64),
        "model.layers.0.mlp.down_proj": (64, 128),
        "lm_head": (160, 64),
    }
    weights = {
        name: random_weight(*shape, fmt)
        for name, shape in shapes.items()
        if fmt.bits < 16 and fmt.fits(shape[1])
    }
    RUNTIME.compress(base, weights, tmp_path / "variant")
    widths = [
        w
        for kind, w in executed(core, tmp_path / "variant" / "model.xml")
        if kind == "FullyConnected"
    ]
    narrow = [w for w in widths if w not in {"bf16", "f32", "f16"}]
    assert len(widths) == 8
    assert len(narrow) == len(weights)
    assert set(narrow) <= {f"{'i' if fmt.symmetric else 'u'}{fmt.bits}"}


def test_the_embedding_stays_compressed_too(core: ov.Core, base: Path, tmp_path: Path) -> None:
    weights = {
        "model.embed_tokens": random_weight(160, 64, Format(8)),
        "lm_head": random_weight(160, 64, Format(4, 32)),
    }
    RUNTIME.compress(base, weights, tmp_path / "variant")
    found = list(executed(core, tmp_path / "variant" / "model.xml"))
    assert ("Gather", "i8") in found
    assert ("FullyConnected", "i4") in found


def test_a_tied_matrix_is_stored_once(base: Path) -> None:
    values = 160 * 64 + 4 * 64 * 64 - 2 * 32 * 64 + 3 * 64 * 128  # embedding, attention, ffn
    assert 2 * values <= (base / "model.bin").stat().st_size < 2 * values + 8_000


def test_exact_asks_for_float32_all_the_way() -> None:
    exact, fast = config(RunOptions(2, "exact")), config(RunOptions(2, "fast"))
    assert exact["INFERENCE_PRECISION_HINT"] == exact["KV_CACHE_PRECISION"] == "f32"
    assert exact["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == 0
    assert exact["INFERENCE_NUM_THREADS"] == fast["INFERENCE_NUM_THREADS"] == 2
    assert "INFERENCE_PRECISION_HINT" not in fast


@pytest.mark.parametrize("fmt", ["bf16", "int8-row-sym", "int4-g32-asym"])
def test_a_kernel_is_as_many_products_and_nothing_more(fmt: str) -> None:
    kernel = RUNTIME.kernel(64, 128, Format.parse(fmt), copies=5, options=RunOptions())
    ops = kernel._compiled.get_runtime_model().get_ops()  # type: ignore[attr-defined]
    kinds = [op.get_rt_info()["layerType"].astype(str) for op in ops]
    assert kinds.count("FullyConnected") == 5
    # Besides them only constants, the ports, and one change of width at the input.
    assert set(kinds) <= {"FullyConnected", "Const", "Input", "Output", "Reorder"}
    assert kinds.count("Reorder") <= 1


def test_a_width_the_engine_lacks_is_refused(base: Path, tmp_path: Path) -> None:
    weight = random_weight(160, 64, Format(3))
    with pytest.raises(UsageError, match="int3-row-sym"):
        RUNTIME.compress(base, {"lm_head": weight}, tmp_path / "variant")


def test_a_full_disk_is_said_so_and_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(ov, "save_model", full)
    with pytest.raises(OutputError, match="bytes are free") as caught:
        RUNTIME.compress(base, {}, tmp_path / "variant")
    assert "space" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.startswith("negawatt.adapters.runtimes.openvino")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailable, match="needs openvino") as caught:
        registry.load(registry.RUNTIMES, "openvino")
    assert "negawatt[openvino]" in caught.value.fix


def test_nothing_reports_home() -> None:
    code = (
        "import sys, negawatt.adapters.runtimes.openvino_convert\n"
        "import openvino.tools.ovc.convert_impl as used\n"
        "assert not any(m.startswith('openvino_telemetry') for m in sys.modules)\n"
        "assert used.tm.__name__.endswith('telemetry_stub')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


AMX = "processor : 0\nflags : fpu amx_bf16 amx_tile amx_int8\n"


@pytest.mark.parametrize(
    ("flags", "threads", "risky"),
    [(AMX, 1, True), (AMX, 2, False), ("flags : fpu avx512_bf16\n", 1, False), ("", 1, False)],
)
def test_only_one_thread_on_amx_is_risky(
    tmp_path: Path, flags: str, threads: int, risky: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    options = RunOptions(threads=threads)
    assert openvino_probe.is_risky(options, tmp_path / "cpuinfo") is risky
    assert not openvino_probe.is_risky(options, tmp_path / "elsewhere")


def test_a_trial_that_dies_is_an_error_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess(args=[], returncode=-8)  # SIGFPE
    monkeypatch.setattr(openvino_probe.subprocess, "run", lambda *_args, **_more: killed)
    monkeypatch.setattr("negawatt.adapters.runtimes.openvino.is_risky", lambda _options: True)
    with pytest.raises(RuntimeUnavailable, match="status -8") as caught:
        RUNTIME.kernel(32, 32, Format(16), copies=1, options=RunOptions(1))
    assert "two threads" in caught.value.fix


def test_a_trial_is_made_once_and_only_for_wide_weights(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []
    monkeypatch.setattr("negawatt.adapters.runtimes.openvino.is_risky", lambda _options: True)
    monkeypatch.setattr(
        "negawatt.adapters.runtimes.openvino.attempt", lambda task, _options: tried.append(task)
    )
    runtime = OpenVinoRuntime()
    for _ in range(2):
        runtime.open(base, RunOptions(1)).close()
        runtime.kernel(32, 64, Format(8), copies=1, options=RunOptions(1))
    assert tried == [["session", str(base / "model.xml")]]


@pytest.mark.parametrize("kind", ["session", "kernel"])
def test_the_trial_itself_runs(base: Path, kind: str) -> None:
    session = ["session", str(base / "model.xml")]
    task = session if kind == "session" else ["kernel", "32", "64", "bf16"]
    openvino_probe.attempt(task, RunOptions(1, "exact"))
