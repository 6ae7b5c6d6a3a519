"""What is particular to OpenVINO; what it shares with others is in the contract suite."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from mapped_memory import resident
from small_encoder import small_encoder
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.adapters.runtimes import openvino_graph, openvino_probe, openvino_session
from negawatt.adapters.runtimes.openvino import OpenVinoRuntime
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_graph import CompiledGraph, Single, config
from negawatt.adapters.runtimes.openvino_kernel import width_inside
from negawatt.adapters.runtimes.openvino_session import OpenVinoSession
from negawatt.core import registry
from negawatt.core.codec import encode
from negawatt.core.errors import OutputError, RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight
from negawatt.core.serving import Serving
from negawatt.models.encoder import prepare_encoder

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
    """Each product and table look-up of the compiled graph, with the width of its weights.

    On two threads: some processors do not survive 16 bits on one.
    """
    compiled = core.compile_model(graph, "CPU", config(RunOptions(threads=2)))
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
    # With AMX the engine makes one operation of the 16-bit products of q, k and v.
    assert len(widths) == 8 or (fmt.bits == 16 and len(widths) >= 5)
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
    kernel: Any = RUNTIME.kernel(64, 128, Format.parse(fmt), copies=5, options=RunOptions())
    kernel.run(1)
    ops = kernel._compiled.get_runtime_model().get_ops()
    kinds = [op.get_rt_info()["layerType"].astype(str) for op in ops]
    assert kinds.count("FullyConnected") == 5
    # Besides them only constants, the ports, and one change of width at the input.
    assert set(kinds) <= {"FullyConnected", "Const", "Input", "Output", "Reorder"}
    assert kinds.count("Reorder") <= 1


def test_a_kernel_passes_on_what_its_options_multiply_in() -> None:
    class Narrow:  # a processor that multiplies in 16 bits where it is left to choose
        def get_property(self, *_asked: str) -> ov.Type:
            return ov.Type.bf16

    kinds: list[RunOptions] = [RunOptions(), Single(), RunOptions(precision="exact")]
    assert [width_inside(Narrow(), one) for one in kinds] == ["bf16", "f32", "f32"]


def test_a_kernel_is_compiled_for_the_rows_it_gets_and_for_no_others() -> None:
    kernel: Any = RUNTIME.kernel(64, 128, Format(8), copies=2, options=RunOptions())
    compiled = []
    for rows_in in (1, 1, 16, 1):
        kernel.run(rows_in)
        compiled.append(kernel._compiled)
        assert list(compiled[-1].input(0).get_shape()) == [1, rows_in, 128]
        assert list(compiled[-1].output(1).get_shape()) == [1, rows_in, 64]
    assert compiled[0] is compiled[1]


TOKENS = np.random.default_rng(5).integers(0, 160, (2, 12))


def opened(base: Path, steps: Literal["any", "read", "write"]) -> OpenVinoSession:
    session = RUNTIME.open(base, RunOptions(1, "exact", steps))
    assert isinstance(session, OpenVinoSession)
    return session


def test_a_session_for_both_compiles_the_second_graph_when_a_single_token_comes(
    base: Path,
) -> None:
    with opened(base, "any") as session:
        session.forward(TOKENS[:, :4])
        assert session._fixed is None
        session.forward(TOKENS[:, 4:5])
        first = session._fixed
        assert first is not None
        assert first.batch == 2
        session.forward(TOKENS[:, 5:8])
        session.forward(TOKENS[:, 8:9])
        session.reset()
        session.forward(TOKENS[:, :1])
        assert session._fixed is first  # of the same batch, so it is kept
        session.reset()
        session.forward(TOKENS[:1, :1])
        assert session._fixed is not first
        assert session._fixed is not None
        assert session._fixed.batch == 1
    assert session._fixed is session._free is session._holder is None


def test_a_session_for_one_of_them_never_compiles_the_other(base: Path) -> None:
    for steps in ("read", "write"):
        with opened(base, steps) as session:
            for new in (3, 1, 2):
                session.forward(TOKENS[:, :new])
            assert (session._free is None, session._fixed is None) == (
                (False, True) if steps == "read" else (True, False)
            )


def cached(graph: CompiledGraph) -> int:
    """Tokens in the cache of a compiled graph."""
    states = graph._request.query_state()
    lengths = {state.state.shape[2] for state in states}
    assert len(lengths) == 1
    return int(lengths.pop())


def test_only_one_graph_holds_a_cache(base: Path) -> None:
    with opened(base, "any") as session:
        session.forward(TOKENS[:, :4])
        free = session._free
        assert free is not None
        assert cached(free) == 4
        session.forward(TOKENS[:, 4:5])
        assert session._fixed is not None
        assert (cached(session._fixed), cached(free)) == (5, 0)
        session.forward(TOKENS[:, 5:7])
        assert (cached(session._fixed), cached(free)) == (0, 7)


def test_a_second_graph_that_does_not_compile_is_told_with_the_way_around_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"tokens": ov.PartialShape([7, 7, 7])}
    monkeypatch.setattr(openvino_graph, "_one_position", lambda _batch: wrong)
    with opened(base, "any") as session:
        before = session.forward(TOKENS[:, :4])
        with pytest.raises(RuntimeUnavailable, match="cannot load") as caught:
            session.forward(TOKENS[:, 4:5])
        assert 'steps="read"' in caught.value.fix
        session.reset()
        np.testing.assert_array_equal(session.forward(TOKENS[:, :4]), before)
    with pytest.raises(RuntimeUnavailable):
        opened(base, "write")


def test_the_file_is_let_go_of_while_each_graph_packs_its_weights(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[Path] = []

    def watch(file: Path) -> AbstractContextManager[None]:
        watched.append(file)
        return nullcontext()

    monkeypatch.setattr(openvino_graph, "released_during", watch)
    with opened(base, "any") as session:
        assert watched == []
        for expected, new in enumerate([3, 1], start=1):
            for _ in range(2):
                session.forward(TOKENS[:, :new])
            # the graph of fixed sizes packs when it is compiled, or else when it first runs
            assert watched == [base / "model.bin"] * (2 * expected - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
@pytest.mark.parametrize("steps", ["read", "write"])
def test_packed_weights_are_not_in_memory_as_pages_of_the_file_too(
    base: Path, steps: Literal["read", "write"], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(openvino_graph, "released_during", lambda _file: nullcontext())
        with opened(base, steps) as session:
            expected = session.forward(TOKENS)
            held = resident(base / "model.bin")
    with opened(base, steps) as session:
        np.testing.assert_array_equal(session.forward(TOKENS), expected)
        assert resident(base / "model.bin") < held
        session.reset()
        np.testing.assert_array_equal(session.forward(TOKENS), expected)


def test_a_width_the_engine_lacks_is_refused(base: Path, tmp_path: Path) -> None:
    weight = random_weight(160, 64, Format(3))
    with pytest.raises(UsageError, match="int3-row-sym"):
        RUNTIME.compress(base, {"lm_head": weight}, tmp_path / "variant")


def test_uneven_levels_are_refused_though_their_codes_have_four_bits(
    base: Path, tmp_path: Path
) -> None:
    weight = random_weight(160, 64, Format(4, 32, levels="nl"))
    with pytest.raises(UsageError, match="nl4-g32"):
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
    monkeypatch.setattr(OpenVinoRuntime, "_dies", False)
    with pytest.raises(RuntimeUnavailable, match="status -8") as caught:  # in 32 bits too
        OpenVinoRuntime().kernel(32, 32, Format(16), copies=1, options=RunOptions(1))
    assert "two threads" in caught.value.fix


def test_what_dies_of_16_bit_products_is_multiplied_in_32_bits(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[RunOptions] = []

    def attempt(_task: list[str], options: RunOptions) -> None:
        tried.append(options)
        if not isinstance(options, Single):
            raise RuntimeUnavailable("status -8", fix="use two threads")

    monkeypatch.setattr("negawatt.adapters.runtimes.openvino.is_risky", lambda _options: True)
    monkeypatch.setattr("negawatt.adapters.runtimes.openvino.attempt", attempt)
    monkeypatch.setattr(OpenVinoRuntime, "_dies", False)
    with OpenVinoRuntime().open(base, RunOptions(1)) as careful, opened(base, "any") as exact:
        np.testing.assert_allclose(careful.forward(TOKENS), exact.forward(TOKENS), atol=1e-2)
    assert [type(one) for one in tried] == [RunOptions, Single]
    assert config(tried[1])["INFERENCE_PRECISION_HINT"] == "f32"
    OpenVinoRuntime().open(base, RunOptions(1)).close()  # once is enough, whatever the model
    assert "in 32 bits" in OpenVinoRuntime().otherwise(base, RunOptions(1))
    assert len(tried) == 2
    monkeypatch.setattr("negawatt.adapters.runtimes.openvino.is_risky", lambda _options: False)
    assert OpenVinoRuntime().otherwise(base, RunOptions(2)) == ""


def test_a_trial_is_made_once_and_only_for_wide_weights(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []
    monkeypatch.setattr(
        "negawatt.adapters.runtimes.openvino.is_risky", lambda options: options.threads == 2
    )
    monkeypatch.setattr(
        "negawatt.adapters.runtimes.openvino.attempt", lambda task, _options: tried.append(task)
    )
    monkeypatch.setattr(OpenVinoRuntime, "_dies", False)
    runtime, options = OpenVinoRuntime(), RunOptions(2)  # as if two threads were the risk
    for _ in range(2):
        runtime.open(base, options).close()
        runtime.kernel(32, 64, Format(8), copies=1, options=options)
        runtime.open(base, RunOptions(2, "exact")).close()
    assert tried == [["session", str(base / "model.xml")]]
    runtime.open(base, RunOptions(2, steps="write")).close()  # another graph is another risk
    assert len(tried) == 2


@pytest.mark.parametrize("kind", ["session", "kernel"])
def test_the_trial_itself_runs(base: Path, kind: str) -> None:
    session = ["session", str(base / "model.xml")]
    task = session if kind == "session" else ["kernel", "32", "64", "bf16"]
    openvino_probe.attempt(task, RunOptions(1, "exact"))


def test_the_trial_of_an_encoder_reads_and_writes_nothing(tmp_path: Path) -> None:
    """On processors with AMX every encoder at 16 bits on one thread is tried first."""
    model = small_encoder(tmp_path / "given")
    source = prepare_encoder(str(model), model, tmp_path)
    RUNTIME.convert(source.folder, tmp_path / "base")
    openvino_probe.attempt(
        ["session", str(tmp_path / "base/model.xml")], RunOptions(1, "exact", "read")
    )


def test_the_trial_writes_in_the_graph_that_writes(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class Noted(CompiledGraph):
        def __init__(self, core: Any, path: Path, options: RunOptions, batch: int = 0) -> None:
            made.append(batch)
            super().__init__(core, path, options, batch)

    monkeypatch.setattr(openvino_session, "CompiledGraph", Noted)
    task = ["session", str(base / "model.xml")]
    options = RunOptions(1, "exact")  # what some processors do not survive is not for this process
    openvino_probe.main(json.dumps([task, encode(options), False]))
    assert made == [0, 1]


def test_the_cache_is_as_wide_as_asked(core: ov.Core, base: Path) -> None:
    for cache, widths in {"16": ("bf16", "bf16"), "8/4": ("u8", "u4"), "4": ("u4", "u4")}.items():
        options = RunOptions(2, cache=cache)  # type: ignore[arg-type]
        model = core.compile_model(base / "model.xml", "CPU", config(options))
        kept = [
            model.get_property(f"{part}_CACHE_PRECISION").to_string() for part in ("KEY", "VALUE")
        ]
        assert tuple(kept) == widths


def test_a_cache_that_cannot_be_moved_stays_in_one_graph(base: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 160, (1, 9))
    for cache, graphs in {"8": 2, "4": 1}.items():
        options = RunOptions(cache=cache)  # type: ignore[arg-type]
        with RUNTIME.open(base, options) as session:
            session.forward(tokens)
            session.forward(tokens[:, :1])
            session.forward(tokens[:, :3])
            assert sum(one is not None for one in (session._free, session._fixed)) == graphs  # type: ignore[attr-defined]


def test_an_artifact_is_served_with_the_cache_it_is_meant_for(base: Path, tmp_path: Path) -> None:
    RUNTIME.compress(base, {}, tmp_path / "meant")
    Serving("4", "a test").write(tmp_path / "meant")
    for options, expected in {
        RunOptions(): "4",
        RunOptions(cache="16"): "16",
        RunOptions(precision="exact"): "own",
    }.items():
        with RUNTIME.open(tmp_path / "meant", options) as session:
            assert session._options.cache == expected  # type: ignore[attr-defined]
