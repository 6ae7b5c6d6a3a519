"""What every inference engine must do, whoever wrote its adapter.

The suite runs on everything registered under `negawatt.runtimes`. The models
are a tiny random decoder of each family, made on the spot, and stories260K,
a trained one, where it is at hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from negawatt.core import registry
from negawatt.core.caches import CACHES, Cache
from negawatt.core.errors import (
    BrokenWeights,
    NotAModel,
    OutputError,
    RuntimeUnavailable,
    UnsupportedArchitecture,
    UsageError,
)
from negawatt.core.levels import TABLES
from negawatt.core.protocols import RunOptions, Runtime, Session, Steps
from negawatt.core.records import Format, QuantisedWeight
from negawatt.models.architecture import blueprint
from negawatt.models.experts import apart

Floats = npt.NDArray[np.float32]

EXACT = RunOptions(threads=1, precision="exact")
STEPS: tuple[Steps, ...] = get_args(Steps)
VOCABULARY = 96
PROMPT = [1, 17, 5, 60, 33, 8, 91]

#: What one family needs beyond the common sizes. Sliding windows are shorter
#: than the texts below, so that they matter.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 6},
    "qwen2": {"tie_word_embeddings": True},  # has biases
    "qwen3": {"head_dim": 32},
    "gemma3_text": {
        "sliding_window": 6,
        "query_pre_attn_scalar": 16,
        "head_dim": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "smollm3": {"no_rope_layers": [1, 0], "tie_word_embeddings": True},
    "opt": {
        "ffn_dim": 128,
        "word_embed_proj_dim": 64,
        "num_key_value_heads": 4,
    },  # biases, learned positions
    "gpt_neox": {"rotary_pct": 0.25, "num_key_value_heads": 4},  # query, key and value in one
    "phi": {"partial_rotary_factor": 0.5, "head_dim": 16},  # a head with a bias
    "phi3": {"sliding_window": 6},  # query, key and value in one, gate and up too
    "qwen3_moe": {
        "head_dim": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
    },
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": True},
}


#: What an engine cannot compute more closely, in any precision it offers.
ROUNDED = {("llamacpp", "gemma3_text"): 1e-2}  # GELU is looked up in a table of half-floats


def save_tiny(family: str, folder: Path) -> Path:
    """A random decoder in bfloat16 whose logits are far apart enough to compare."""
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(family, **{**sizes, **FAMILIES[family]})
    generator = torch.Generator().manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = 0.15 * noise if weight.ndim > 1 else 1 + 0.3 * noise
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def plain(folder: Path) -> Any:
    """The model as the library itself runs it, in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return apart(model)


def layers_of(folder: Path) -> set[str]:
    """Names of the matrices that may be given a format."""
    config = json.loads((folder / "config.json").read_text())
    return {layer.name for layer in blueprint(config).layers}


def logits_of(model: Any, tokens: npt.NDArray[np.int64]) -> Floats:
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(tokens)).logits.numpy())


def some_tokens(batch: int, new: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(3).integers(3, VOCABULARY, (batch, new))


def quantised(weight: Floats, fmt: Format) -> QuantisedWeight:
    """Round to nearest; good enough to compare one implementation with another."""
    rows, cols = weight.shape
    grouped = weight.reshape(rows, -1, fmt.group or cols)
    if fmt.levels:
        table = np.array(TABLES[fmt.levels], np.float32)
        scale = (np.maximum(np.abs(grouped).max(-1), 1e-4) / table[0]).astype(np.float16)
        off = np.abs(grouped[..., None] / scale[..., None, None] - table)
        codes = off.argmin(-1).astype(np.uint8).reshape(rows, cols)
        return QuantisedWeight(fmt, codes, scale, np.zeros(scale.shape, np.uint8))
    top, middle = 2**fmt.bits - 1, 2 ** (fmt.bits - 1)
    if fmt.symmetric:
        scale = np.abs(grouped).max(-1) / (middle - 1)
        low = -middle * scale
    else:
        low = np.minimum(grouped.min(-1), 0)
        scale = (np.maximum(grouped.max(-1), 0) - low) / top
    half = np.maximum(scale, 1e-4).astype(np.float16)
    zero = np.full(half.shape, middle) if fmt.symmetric else np.rint(-low / half).clip(0, top)
    codes = np.rint(grouped / half[..., None].astype(np.float32)) + zero[..., None]
    return QuantisedWeight(
        fmt,
        codes.clip(0, top).astype(np.uint8).reshape(rows, cols),
        half,
        zero.astype(np.uint8),
    )


def decoded(weight: QuantisedWeight) -> Floats:
    rows, cols = weight.codes.shape
    named = weight.format.levels
    levels = np.array(TABLES[named])[weight.codes] if named else weight.codes
    grouped = levels.reshape(rows, weight.scale.shape[1], -1).astype(np.float32)
    scale = weight.scale.astype(np.float32)[..., None]
    return np.asarray(((grouped - weight.zero[..., None]) * scale).reshape(rows, cols))


def in_pieces(session: Session, tokens: npt.NDArray[np.int64], cuts: list[int]) -> Floats:
    """Logits of every position, of tokens handed over in parts that end at `cuts`."""
    pieces = [session.forward(part) for part in np.split(tokens, cuts, axis=1)]
    return np.concatenate(pieces, axis=1)


def fingerprint(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


class OnceEach(Mapping[str, QuantisedWeight]):
    """A lazy mapping that makes a value when it is read, and refuses to make it twice."""

    def __init__(self, makers: Mapping[str, Callable[[], QuantisedWeight]]) -> None:
        self._makers = dict(makers)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> QuantisedWeight:
        maker = self._makers[name]
        assert name not in self.read, f"{name} was read twice"
        self.read.append(name)
        return maker()

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@pytest.fixture(scope="module", params=registry.names(registry.RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each engine whose library is installed."""
    try:
        made: Runtime = registry.load(registry.RUNTIMES, request.param)()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    return made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied random Llama."""
    return save_tiny("llama", tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="module")
def base(runtime: Runtime, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama, converted."""
    out = tmp_path_factory.mktemp(runtime.name) / "base"
    runtime.convert(tiny, out)
    return out


@pytest.fixture
def session(runtime: Runtime, base: Path) -> Iterator[Session]:
    with runtime.open(base, EXACT) as opened:
        yield opened


@pytest.fixture(scope="module")
def reference(tiny: Path) -> Any:
    return plain(tiny)


def test_it_says_who_it_is_and_offers_16_bits_first(runtime: Runtime) -> None:
    assert isinstance(runtime, Runtime)
    assert runtime.name in registry.names(registry.RUNTIMES)
    assert runtime.version
    assert runtime.formats[0] == Format(16)
    assert len(set(runtime.formats)) == len(runtime.formats)
    assert runtime.joins in {True, False}


def test_exact_logits_are_those_of_the_reference(session: Session, reference: Any) -> None:
    tokens = some_tokens(1, 12)
    logits = session.forward(tokens)
    assert logits.dtype == np.float32
    assert logits.shape == (1, 12, VOCABULARY)
    np.testing.assert_allclose(logits, logits_of(reference, tokens), atol=1e-4)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "llama"])
def test_every_family_computes_the_same(runtime: Runtime, family: str, tmp_path: Path) -> None:
    source = save_tiny(family, tmp_path / "source")
    try:
        runtime.convert(source, tmp_path / "converted")
    except UnsupportedArchitecture as error:  # said, instead of computed wrongly
        pytest.skip(str(error))
    tokens = some_tokens(2, 12)
    with runtime.open(tmp_path / "converted", EXACT) as opened:
        logits = in_pieces(opened, tokens, [7, 8, 9])
    near = ROUNDED.get((runtime.name, family), 2e-4)
    model = plain(source)
    np.testing.assert_allclose(logits, logits_of(model, tokens), atol=near)

    # Every matrix as codes, those of single experts and parts of fused ones included.
    fmt = next((one for one in runtime.formats if one.bits == 8), Format(8))
    codes = {}
    for name, module in model.named_modules():
        if name in layers_of(source):
            codes[name] = quantised(module.weight.detach().numpy(), fmt)
            module.weight = torch.nn.Parameter(torch.from_numpy(decoded(codes[name])))
    runtime.compress(tmp_path / "converted", codes, tmp_path / "variant")
    with runtime.open(tmp_path / "variant", EXACT) as opened:
        logits = in_pieces(opened, tokens, [7])
    np.testing.assert_allclose(logits, logits_of(model, tokens), atol=5 * near)


@pytest.mark.parametrize("steps", STEPS)
def test_fast_logits_point_the_same_way(
    runtime: Runtime, base: Path, reference: Any, steps: Steps
) -> None:
    tokens = some_tokens(1, 12)
    with runtime.open(base, RunOptions(threads=1, precision="fast", steps=steps)) as opened:
        fast = in_pieces(opened, tokens, [6, 7, 8]).reshape(-1)
    exact = logits_of(reference, tokens).reshape(-1)
    assert fast @ exact / np.linalg.norm(fast) / np.linalg.norm(exact) > 0.995


def test_little_memory_changes_no_answer(runtime: Runtime, base: Path) -> None:
    tokens = some_tokens(1, 12)
    said = []
    for lean in (False, True):
        with runtime.open(base, RunOptions(threads=1, steps="read", lean=lean)) as opened:
            said.append(opened.forward(tokens))
    np.testing.assert_allclose(said[1], said[0], atol=1e-4)


def test_more_threads_change_nothing(runtime: Runtime, base: Path, session: Session) -> None:
    tokens = some_tokens(1, 12)
    with runtime.open(base, RunOptions(threads=2, precision="exact")) as other:
        np.testing.assert_allclose(other.forward(tokens), session.forward(tokens), atol=1e-4)


def test_continuing_the_cache_is_reading_at_once(session: Session) -> None:
    tokens = some_tokens(1, 14)
    whole = session.forward(tokens)
    session.reset()
    np.testing.assert_allclose(in_pieces(session, tokens, [5, 6, 7]), whole, atol=1e-4)


def test_a_batch_is_its_sequences_side_by_side(session: Session) -> None:
    tokens = some_tokens(2, 9)
    both = np.concatenate([session.forward(tokens[:, :6]), session.forward(tokens[:, 6:])], axis=1)
    for row in range(2):
        session.reset()
        np.testing.assert_allclose(session.forward(tokens[row : row + 1])[0], both[row], atol=1e-4)


def test_the_batch_changes_only_after_a_reset(session: Session) -> None:
    session.forward(some_tokens(2, 3))
    with pytest.raises(UsageError, match="reset"):
        session.forward(some_tokens(1, 3))
    session.reset()
    assert session.forward(some_tokens(1, 3)).shape[0] == 1


@pytest.mark.parametrize("keep", [1, 3, 99])
def test_keep_gives_the_last_logits_alone(session: Session, keep: int) -> None:
    tokens = some_tokens(2, 8)
    whole = session.forward(tokens)
    session.reset()
    np.testing.assert_allclose(session.forward(tokens, keep=keep), whole[:, -keep:], atol=1e-4)


def test_keep_does_not_shorten_the_cache(session: Session) -> None:
    tokens = some_tokens(1, 8)
    whole = session.forward(tokens)
    session.reset()
    session.forward(tokens[:, :7], keep=1)
    np.testing.assert_allclose(session.forward(tokens[:, 7:])[0, -1], whole[0, -1], atol=1e-4)


def test_results_stay_when_the_session_moves_on(session: Session) -> None:
    first = session.forward(some_tokens(1, 4))
    before = first.copy()
    session.forward(some_tokens(1, 4))
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize(
    ("tokens", "keep"),
    [(np.zeros((1, 0), np.int64), None), (np.ones(3, np.int64), None), (some_tokens(1, 3), 0)],
    ids=["no tokens", "no batch axis", "nothing kept"],
)
def test_senseless_input_is_refused(session: Session, tokens: Any, keep: int | None) -> None:
    with pytest.raises(UsageError):
        session.forward(tokens, keep=keep)


def test_reset_forgets(session: Session) -> None:
    tokens = some_tokens(1, 5)
    fresh = session.forward(tokens)
    session.forward(some_tokens(1, 9))
    session.reset()
    np.testing.assert_allclose(session.forward(tokens), fresh, atol=1e-5)


def test_stream_is_greedy_decoding(session: Session, reference: Any) -> None:
    expected = list(PROMPT)
    for _ in range(10):
        expected.append(int(logits_of(reference, np.array([expected]))[0, -1].argmax()))
    assert list(session.stream(PROMPT, max_new=10)) == expected[len(PROMPT) :]


def test_stream_counts_and_stops(session: Session) -> None:
    whole = list(session.stream(PROMPT, max_new=10))
    assert len(whole) == 10
    assert list(session.stream(PROMPT, max_new=0)) == []
    stop = whole[4]
    assert list(session.stream(PROMPT, max_new=10, stop=[stop])) == whole[: whole.index(stop)]


def test_closing_a_stream_cancels_the_work(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    forward = session.forward

    def counted(tokens: Any, *, keep: int | None = None) -> Any:
        steps.append(tokens.shape[1])
        return forward(tokens, keep=keep)

    monkeypatch.setattr(session, "forward", counted)
    stream = session.stream(PROMPT, max_new=50)
    assert steps == []  # nothing is done before the first token is asked for
    taken = [next(stream), next(stream)]
    stream.close()  # type: ignore[attr-defined]  # every session hands out a generator
    assert steps == [len(PROMPT), 1]
    assert list(session.stream(PROMPT, max_new=2)) == taken  # and the session can be used again


def test_an_empty_prompt_is_refused(session: Session) -> None:
    with pytest.raises(UsageError, match="prompt"):
        session.stream([], max_new=3)


def test_closing_twice_is_harmless_and_using_it_then_is_not(runtime: Runtime, base: Path) -> None:
    with runtime.open(base, EXACT) as opened:
        opened.forward(some_tokens(1, 2))
    opened.close()
    for use in (opened.reset, lambda: opened.forward(some_tokens(1, 2))):
        with pytest.raises(UsageError, match="closed"):
            use()


@pytest.fixture(params=STEPS)
def made_for(
    runtime: Runtime, base: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Steps, Session]]:
    """A session for each kind of steps."""
    with runtime.open(base, replace(EXACT, steps=request.param)) as opened:
        yield request.param, opened


def test_whatever_a_session_is_made_for_it_takes_every_input(
    made_for: tuple[Steps, Session], reference: Any
) -> None:
    """Reading and writing in turns, from an empty cache and from a full one, by 2 and by 1."""
    _, session = made_for
    for batch, cuts in ((2, [5, 6, 7, 10]), (2, [1, 2, 9]), (1, [11, 12]), (2, [13])):
        session.reset()
        tokens = some_tokens(batch, 14)
        expected = logits_of(reference, tokens)
        np.testing.assert_allclose(in_pieces(session, tokens, cuts), expected, atol=1e-4)


@pytest.mark.parametrize("keep", [1, 3, 99])
def test_whatever_a_session_is_made_for_it_keeps_what_is_asked_for(
    made_for: tuple[Steps, Session], reference: Any, keep: int
) -> None:
    tokens = some_tokens(2, 8)
    expected = logits_of(reference, tokens)
    logits = made_for[1].forward(tokens[:, :7], keep=keep)
    np.testing.assert_allclose(logits, expected[:, :7][:, -keep:], atol=1e-4)
    last = made_for[1].forward(tokens[:, 7:], keep=keep)
    np.testing.assert_allclose(last, expected[:, 7:], atol=1e-4)


def test_whatever_a_session_is_made_for_it_writes_the_same(
    made_for: tuple[Steps, Session], runtime: Runtime, base: Path
) -> None:
    steps, session = made_for
    with runtime.open(base, EXACT) as other:
        assert other.memory_bytes == session.memory_bytes
        expected = list(other.stream(PROMPT, max_new=12))
    for _ in range(2):
        assert list(session.stream(PROMPT, max_new=12)) == expected, steps


@pytest.fixture(scope="module")
def broad(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model whose heads are whole blocks of 32, and its converted form."""
    folder = tmp_path_factory.mktemp(f"{runtime.name}-broad")
    source = save_tiny("qwen3", folder / "source")
    runtime.convert(source, folder / "base")
    return source, folder / "base"


@pytest.mark.parametrize("cache", CACHES)
def test_a_cache_is_kept_as_asked_or_refused(
    runtime: Runtime, broad: tuple[Path, Path], cache: Cache
) -> None:
    """Reading and writing in turns; narrow numbers move the logits, and not far."""
    source, base = broad
    options = RunOptions(threads=1, cache=cache)
    if cache not in {"own", *runtime.caches}:
        with pytest.raises(UsageError, match="cache"):
            runtime.open(base, options)
        return
    tokens = some_tokens(2, 24)
    with runtime.open(base, options) as opened:
        for cuts in ([12, 13, 14, 20], [1, 2, 3]):
            opened.reset()
            found = in_pieces(opened, tokens, cuts)
        streamed = list(opened.stream(PROMPT, max_new=4))
    exact = logits_of(plain(source), tokens)
    cosine = (found * exact).sum(-1) / np.linalg.norm(found, axis=-1)
    cosine /= np.linalg.norm(exact, axis=-1)
    assert np.median(cosine) > (0.9 if "4" in cache else 0.99)
    assert len(streamed) == 4


def test_narrower_caches_hold_fewer_bytes(runtime: Runtime) -> None:
    sizes = [one.token_bytes(layers=2, heads=4, width=64) for one in runtime.caches.values()]
    widths = [one.keys + one.values for one in runtime.caches.values()]
    order = sorted(range(len(sizes)), key=lambda i: widths[i])
    assert [sizes[i] for i in order] == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


def test_two_sessions_do_not_share_a_cache(runtime: Runtime, base: Path) -> None:
    tokens = some_tokens(1, 6)
    with runtime.open(base, EXACT) as one, runtime.open(base, EXACT) as two:
        alone = one.forward(tokens)
        one.reset()
        one.forward(tokens[:, :3])
        two.forward(tokens[:, 3:])
        np.testing.assert_allclose(one.forward(tokens[:, 3:]), alone[:, 3:], atol=1e-4)


PLANS = {
    "int8": (Format(8), Format(8)),
    "int8-asym": (Format(8, symmetric=False), Format(8)),
    "int4-groups": (Format(4, 32, symmetric=False), Format(8)),
    "int4-sym": (Format(4, 64), Format(8)),
    "int4-rows": (Format(4), Format(4)),
    "embedding-alone": (Format(16), Format(8)),
    "int8-groups": (Format(8, 32), Format(8, 32)),
    "int5-groups": (Format(5, 32), Format(8, 32)),
    "int4-groups-sym": (Format(4, 32), Format(5, 32)),
    "uneven": (Format(4, 32, levels="nl"), Format(4, 32, levels="nl")),
}


@pytest.mark.parametrize("plan", PLANS)
def test_compressed_is_the_model_with_decoded_weights(
    runtime: Runtime, base: Path, tiny: Path, plan: str, tmp_path: Path
) -> None:
    """Head and embedding share their weights in the source and part company here."""
    fmt, embedding = PLANS[plan]
    model = plain(tiny)
    source = {
        name: module.weight.detach().numpy().copy()
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding))
    }
    chosen = {name: embedding if "embed" in name else fmt for name in source}
    chosen = {name: f for name, f in chosen.items() if f.bits < 16 and f in _offered(runtime, f)}
    if not chosen:
        pytest.skip(f"{runtime.name} does not offer {fmt} or {embedding}")
    codes = {name: quantised(source[name], f) for name, f in chosen.items()}
    for name, module in model.named_modules():
        if name in codes:
            module.weight = torch.nn.Parameter(torch.from_numpy(decoded(codes[name])))

    before = fingerprint(base)
    lazy = OnceEach({name: (lambda name=name: codes[name]) for name in codes})
    runtime.compress(base, lazy, tmp_path / "variant")
    assert sorted(lazy.read) == sorted(codes)
    assert fingerprint(base) == before

    tokens = some_tokens(2, 12)
    with runtime.open(tmp_path / "variant", EXACT) as opened:
        np.testing.assert_allclose(opened.forward(tokens), logits_of(model, tokens), atol=5e-4)


def _offered(runtime: Runtime, fmt: Format) -> tuple[Format, ...]:
    """Formats to hand to `compress`; the torch reference decodes any, and offers none."""
    return (fmt,) if runtime.name == "torch" else tuple(runtime.formats)


def test_fewer_bits_are_fewer_bytes(
    runtime: Runtime, base: Path, reference: Any, tmp_path: Path
) -> None:
    fmt = next((fmt for fmt in runtime.formats if fmt.bits == 8), None)
    if fmt is None:
        pytest.skip(f"{runtime.name} does not execute 8-bit weights")
    weights = {
        name: quantised(module.weight.detach().numpy(), fmt)
        for name, module in reference.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    runtime.compress(base, weights, tmp_path / "variant")
    with runtime.open(base, EXACT) as wide, runtime.open(tmp_path / "variant", EXACT) as narrow:
        values = sum(w.codes.size for w in weights.values())
        saved = wide.memory_bytes - narrow.memory_bytes
        assert 0.8 * values < saved <= values  # one byte a weight, less the scales


def test_an_unknown_layer_is_refused_and_nothing_is_left(
    runtime: Runtime, base: Path, tmp_path: Path
) -> None:
    weight = quantised(np.ones((64, 64), np.float32), Format(8))
    with pytest.raises(UsageError, match=r"model\.layers\.9\.nothing"):
        runtime.compress(base, {"model.layers.9.nothing": weight}, tmp_path / "variant")
    assert list(tmp_path.iterdir()) == []


def test_codes_of_another_shape_are_refused(runtime: Runtime, base: Path, tmp_path: Path) -> None:
    weight = quantised(np.ones((32, 64), np.float32), Format(8))
    with pytest.raises(UsageError, match="q_proj"):
        runtime.compress(base, {"model.layers.0.self_attn.q_proj": weight}, tmp_path / "variant")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_nothing(runtime: Runtime, base: Path, tmp_path: Path) -> None:
    def broken() -> QuantisedWeight:
        raise BrokenWeights("the disk lost a sector", fix="restore the file")

    lazy = OnceEach({"model.layers.0.mlp.up_proj": broken})
    with pytest.raises(BrokenWeights, match="sector"):
        runtime.compress(base, lazy, tmp_path / "variant")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_not_written_into(runtime: Runtime, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        runtime.convert(tiny, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["diary.txt"]


def test_no_model_is_said_so(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(NotAModel):
        runtime.convert(tmp_path / "source", tmp_path / "out")
    with pytest.raises(NotAModel):
        runtime.open(tmp_path / "source", EXACT)
    assert not (tmp_path / "out").exists()


def test_broken_weights_are_said_so(runtime: Runtime, tiny: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in tiny.iterdir():
        content = file.read_bytes()
        half = content[: len(content) // 2] if file.suffix == ".safetensors" else content
        (source / file.name).write_bytes(half)
    with pytest.raises(BrokenWeights):
        runtime.convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_half_written_artifact_is_refused(runtime: Runtime, tiny: Path, tmp_path: Path) -> None:
    runtime.convert(tiny, tmp_path / "whole")
    largest = max((tmp_path / "whole").iterdir(), key=lambda p: p.stat().st_size)
    manifest = next((tmp_path / "whole").glob("negawatt-*.json"))

    cut = tmp_path / "cut"
    cut.mkdir()
    for file in (tmp_path / "whole").iterdir():
        content = file.read_bytes()
        (cut / file.name).write_bytes(content[:-1] if file == largest else content)
    with pytest.raises(BrokenWeights, match=largest.name):
        runtime.open(cut, EXACT)
    with pytest.raises(BrokenWeights, match=largest.name):
        runtime.compress(cut, {}, tmp_path / "variant")

    (cut / manifest.name).unlink()
    with pytest.raises(NotAModel, match="not finished"):
        runtime.open(cut, EXACT)


def test_the_manifest_names_every_layer(runtime: Runtime, base: Path, reference: Any) -> None:
    manifest = json.loads(next(base.glob("negawatt-*.json")).read_text())
    expected = {
        name: list(module.weight.shape)
        for name, module in reference.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding))
    }
    found = {name: [p["rows"], p["cols"]] for name, p in manifest["layers"].items()}
    assert found == expected


@pytest.mark.parametrize("rows_in", [1, 16])
def test_kernels_run_in_every_format(runtime: Runtime, rows_in: int) -> None:
    for fmt in runtime.formats:
        kernel = runtime.kernel(48, 256, fmt, copies=3, options=RunOptions(threads=1))
        kernel.run(rows_in)
        kernel.run(rows_in)
        assert kernel.copies == 3


def test_a_kernel_that_cannot_be_is_refused(runtime: Runtime) -> None:
    odd = next((f for f in runtime.formats if f.group), Format(4, 32))
    for fmt, cols, copies in ((odd, 33, 1), (Format(16), 32, 0), (Format(3), 32, 1)):
        with pytest.raises(UsageError):
            runtime.kernel(8, cols, fmt, copies=copies, options=RunOptions())


@pytest.fixture(scope="module")
def stories(shared: Path) -> Path:
    """A trained decoder of 260 thousand parameters, with its published continuation."""
    folder = shared / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip(f"no trained model at {folder}")
    return folder


def test_a_trained_model_tells_its_published_story(
    runtime: Runtime, stories: Path, tmp_path: Path
) -> None:
    runtime.convert(stories, tmp_path / "base")
    with runtime.open(tmp_path / "base", EXACT) as opened:
        tokens = list(opened.stream([1], max_new=256))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(stories)
    text = tokenizer.decode(tokens).strip()
    published = (stories / "greedy_256.txt").read_text().strip()
    assert text == published.removeprefix("<s>").strip()
