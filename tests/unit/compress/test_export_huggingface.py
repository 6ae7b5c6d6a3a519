"""An exported folder holds, for a stranger's loader, the very weights that were chosen."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from negawatt.compress import export_huggingface_layout as layout
from negawatt.compress.export_huggingface import export, notes, reload_check
from negawatt.compress.export_huggingface_files import ShardWriter, SourceWeights
from negawatt.compress.export_huggingface_layout import lay_out, library
from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core import registry
from negawatt.core.errors import (
    BrokenWeights,
    ModelError,
    NotAModel,
    OutputError,
    RuntimeUnavailable,
    UnsupportedArchitecture,
    UsageError,
)
from negawatt.core.records import Format, QuantisedWeight

DATA = Path(os.environ.get("NEGAWATT_DATA", Path(__file__).parents[4] / "shared"))
STORIES = DATA / "models" / "stories260K"

# In float32 the loader rebuilds the same products of code and scale, so only
# the order of additions may differ.
EXACT = {"rtol": 0.0, "atol": 1e-5}

CARD = {"name": "Tiny, smaller", "source": "a random Llama", "Perplexity": "12 | 13"}
TOKENS = np.arange(3, 19, dtype=np.int64)[None]

ATTENTION = "model.layers.0.self_attn"
MIXED = {
    f"{ATTENTION}.q_proj": "int8-row-sym",
    f"{ATTENTION}.k_proj": "int4-g32-sym",
    f"{ATTENTION}.v_proj": "int4-g64-asym",
    f"{ATTENTION}.o_proj": "int4-g128-sym",
    "model.layers.0.mlp.gate_proj": "int4-g32-asym",
    "model.layers.0.mlp.down_proj": "int4-row-sym",
    "model.layers.1.mlp.up_proj": "int4-g128-asym",
    "model.layers.1.mlp.down_proj": "int4-row-asym",
    "model.layers.1.self_attn.q_proj": "int5-g64-sym",
}


def tiny(folder: Path, *, tied: bool) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=128,
        intermediate_size=172,  # rows that fill no whole words at 4 bits
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        initializer_range=0.2,  # logits well away from zero
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "LICENSE").write_text("Do good.")
    (folder / "optimizer.bin").write_bytes(b"no business of anyone")
    return folder


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tied"), tied=True)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("untied"), tied=False)


def quantise(model: Path, plan: Mapping[str, str]) -> dict[str, QuantisedWeight]:
    tensors = load_file(model / "model.safetensors")
    shared = tensors["model.embed_tokens.weight"]
    return {
        name: round_to_nearest(tensors.get(f"{name}.weight", shared), Format.parse(fmt))
        for name, fmt in plan.items()
    }


def searched_logits(
    model: Path, weights: Mapping[str, QuantisedWeight], *, dense: Mapping[str, torch.dtype]
) -> np.ndarray:
    """Logits of the source with the dequantised weights put in, `dense` ones rounded to a type."""
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    head = reference.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    with torch.inference_mode():
        for name, weight in weights.items():
            value = dequantise(weight)
            parameter = reference.get_parameter(f"{name}.weight")
            parameter.copy_(value.to(dense.get(name, torch.float32)))
        return reference(torch.tensor(TOKENS)).logits.numpy()


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_mixed_formats_reload_to_the_searched_logits(untied: Path, tmp_path: Path) -> None:
    weights = quantise(untied, MIXED)

    out = export(untied, weights, tmp_path / "out", card=CARD)

    expected = searched_logits(untied, weights, dense={})
    base = searched_logits(untied, {}, dense={})
    logits = reload_check(out, TOKENS)
    assert logits.dtype == np.float32
    assert logits.shape == (1, TOKENS.shape[1], 96)
    np.testing.assert_allclose(logits, expected, **EXACT)
    lean = reload_check(out, TOKENS, lean=True)  # weights rounded to 16 bits, nothing else
    assert lean.dtype == np.float32
    rounded = np.abs(reload_check(out, TOKENS, precision="fast") - expected).max()
    assert 0 < np.abs(lean - expected).max() < rounded
    # The comparison can fail: quantising has moved the logits a thousandfold further.
    assert np.abs(expected - base).max() > 1e-2


def test_in_the_folders_own_type_logits_stay_within_its_rounding(
    untied: Path, tmp_path: Path
) -> None:
    weights = quantise(untied, MIXED)
    out = export(untied, weights, tmp_path / "out", card=CARD)

    fast = reload_check(out, TOKENS, precision="fast")

    expected = searched_logits(untied, weights, dense={})
    cosine = (fast * expected).sum() / np.linalg.norm(fast) / np.linalg.norm(expected)
    assert cosine > 0.999


@pytest.mark.parametrize(
    "plan",
    [
        {"lm_head": "int4-g32-sym"},
        {"lm_head": "int4-g64-asym"},
        {"model.embed_tokens": "int4-g32-asym"},
        {"model.embed_tokens": "int8-row-sym", "lm_head": "int4-g32-sym"},
        {},
    ],
    ids=["head", "head-asym", "embedding", "both", "neither"],
)
@pytest.mark.parametrize("shared", [True, False], ids=["tied", "untied"])
def test_embedding_and_head_part_ways_when_they_differ(
    tied: Path, untied: Path, tmp_path: Path, plan: dict[str, str], shared: bool
) -> None:
    model = tied if shared else untied
    weights = quantise(model, plan)

    out = export(model, weights, tmp_path / "out", card=CARD)

    expected = searched_logits(model, weights, dense={"model.embed_tokens": torch.bfloat16})
    np.testing.assert_allclose(reload_check(out, TOKENS), expected, **EXACT)
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"] == (shared and not plan)
    said = " ".join(notes(out))
    assert ("shared one matrix" in said) == (shared and bool(plan))
    assert ("model.embed_tokens was chosen as" in said) == ("model.embed_tokens" in plan)


def test_the_embedding_departure_is_told_in_card_and_notes(tied: Path, tmp_path: Path) -> None:
    weights = quantise(tied, {"model.embed_tokens": "int8-row-sym"})

    out = export(tied, weights, tmp_path / "out", card=CARD)

    (note,) = [line for line in notes(out) if line.startswith("model.embed_tokens")]
    assert "int8-row-sym" in note
    assert "stored dense" in note
    assert note in (out / "README.md").read_text()
    record = json.loads((out / "negawatt.json").read_text())
    assert record["layers"]["model.embed_tokens"] == {"chosen": "int8-row-sym", "stored": "bf16"}
    assert "quantization_config" not in json.loads((out / "config.json").read_text())


def test_config_names_every_linear_layer_once(untied: Path, tmp_path: Path) -> None:
    out = export(untied, quantise(untied, MIXED), tmp_path / "out", card=CARD)

    config = json.loads((out / "config.json").read_text())["quantization_config"]
    targets = [t for group in config["config_groups"].values() for t in group["targets"]]
    meta = LlamaForCausalLM(LlamaConfig.from_pretrained(untied))
    linear = [n for n, m in meta.named_modules() if isinstance(m, torch.nn.Linear)]
    assert sorted(targets) == sorted(MIXED)
    assert sorted(targets + config["ignore"]) == sorted(linear)
    assert (config["quant_method"], config["format"]) == ("compressed-tensors", "pack-quantized")


def test_packed_layers_are_as_small_as_their_bits(untied: Path, tmp_path: Path) -> None:
    out = export(untied, quantise(untied, MIXED), tmp_path / "out", card=CARD)

    with safe_open(out / "model.safetensors", framework="pt") as file:
        int8 = file.get_tensor(f"{ATTENTION}.q_proj.weight_packed")
        int4 = file.get_tensor(f"{ATTENTION}.o_proj.weight_packed")
        norm = file.get_tensor("model.norm.weight")
        names = set(file.keys())
    assert (int8.nbytes, int4.nbytes) == (128 * 128, 128 * 128 // 2)
    assert norm.dtype == torch.bfloat16
    assert not names & {f"{name}.weight" for name in MIXED}


def test_for_vllm_zero_points_are_packed_as_the_library_unpacks_them(
    untied: Path, tmp_path: Path
) -> None:
    plan = {name: fmt for name, fmt in MIXED.items() if "asym" in fmt}
    plan["model.layers.1.mlp.gate_proj"] = "int8-row-asym"
    weights = quantise(untied, plan)

    out = export(untied, weights, tmp_path / "out", card=CARD, reader="vllm")

    tensors = load_file(out / "model.safetensors")
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    packed = library("compressors").BaseCompressor.get_value_from_registry("pack-quantized")
    scheme = library("quantization").QuantizationScheme
    for group in config["config_groups"].values():
        for name in group["targets"]:
            state = {
                key.rsplit(".", 1)[1]: value
                for key, value in tensors.items()
                if key.startswith(f"{name}.")
            }
            unpacked = packed.decompress(state, scheme(**group))["weight"]
            expected = dequantise(weights[name]).half()
            torch.testing.assert_close(unpacked, expected, rtol=0, atol=0)
    assert set(weights) == {n for g in config["config_groups"].values() for n in g["targets"]}
    assert any("written for vLLM" in note for note in notes(out))


def test_what_transformers_cannot_load_is_refused_not_guessed(untied: Path, tmp_path: Path) -> None:
    weights = quantise(untied, {f"{ATTENTION}.q_proj": "int4-g32-asym"})
    out = export(untied, weights, tmp_path / "out", card=CARD, reader="vllm")

    with pytest.raises(BrokenWeights, match="does not load"):
        reload_check(out, TOKENS)


def test_eight_bit_zero_points_are_stored_dense_for_transformers(
    untied: Path, tmp_path: Path
) -> None:
    name = f"{ATTENTION}.q_proj"
    weights = quantise(untied, {name: "int8-g64-asym"})

    out = export(untied, weights, tmp_path / "out", card=CARD)

    expected = searched_logits(untied, weights, dense={name: torch.bfloat16})
    np.testing.assert_allclose(reload_check(out, TOKENS), expected, **EXACT)
    assert any(line.startswith(f"{name} was chosen") for line in notes(out))


def test_a_folder_with_a_missing_tensor_is_refused(untied: Path, tmp_path: Path) -> None:
    out = export(untied, quantise(untied, MIXED), tmp_path / "out", card=CARD)
    tensors = load_file(out / "model.safetensors")
    del tensors["model.layers.1.self_attn.o_proj.weight"]
    from safetensors.torch import save_file

    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(BrokenWeights, match="in part"):
        reload_check(out, TOKENS)


def test_joined_layers_of_unlike_formats_are_named_for_vllm(untied: Path, tmp_path: Path) -> None:
    same = {f"{ATTENTION}.{part}": "int4-g32-sym" for part in ("q_proj", "k_proj", "v_proj")}

    ragged = export(untied, quantise(untied, MIXED), tmp_path / "ragged", card=CARD)
    even = export(untied, quantise(untied, same), tmp_path / "even", card=CARD)

    assert any("joins q_proj, k_proj, v_proj" in note for note in notes(ragged))
    assert notes(even) == ()


def test_the_source_is_only_read_and_its_company_comes_along(tied: Path, tmp_path: Path) -> None:
    before = digest(tied)

    out = export(tied, quantise(tied, {"lm_head": "int4-g32-sym"}), tmp_path / "out", card=CARD)

    assert digest(tied) == before
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in out.iterdir())
    assert {path.name for path in out.iterdir()} == {
        "LICENSE", "README.md", "config.json", "generation_config.json", "model.safetensors",
        "negawatt.json", "tokenizer_config.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("model.layers.0.self_attn.q_prj", "did you mean model.layers.0.self_attn.q_proj"),
        ("model.layers.9.self_attn.q_proj", "is no layer"),
        ("model.norm", "is no linear layer"),
    ],
)
def test_a_name_the_model_has_not_is_refused_before_anything_is_written(
    untied: Path, tmp_path: Path, name: str, fact: str
) -> None:
    weight = next(iter(quantise(untied, {f"{ATTENTION}.q_proj": "int8-row-sym"}).values()))

    with pytest.raises(UsageError, match=fact):
        export(untied, {name: weight}, tmp_path / "out", card=CARD)
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_shape_are_refused_and_leave_nothing(
    untied: Path, tmp_path: Path
) -> None:
    weight = round_to_nearest(torch.randn(128, 64), Format(4, 32))

    with pytest.raises(UsageError, match=r"\[128, 128\].*\[128, 64\]"):
        export(untied, {f"{ATTENTION}.q_proj": weight}, tmp_path / "out", card=CARD)
    assert list(tmp_path.iterdir()) == []


def test_lazy_weights_are_read_once(untied: Path, tmp_path: Path) -> None:
    class Lazy(Mapping[str, QuantisedWeight]):
        def __init__(self, ready: dict[str, QuantisedWeight]) -> None:
            self.ready, self.reads = ready, []

        def __getitem__(self, name: str) -> QuantisedWeight:
            self.reads.append(name)
            return self.ready[name]

        def __contains__(self, name: object) -> bool:
            return name in self.ready

        def __iter__(self) -> Iterator[str]:
            return iter(self.ready)

        def __len__(self) -> int:
            return len(self.ready)

    lazy = Lazy(quantise(untied, MIXED))
    export(untied, lazy, tmp_path / "out", card=CARD)

    assert sorted(lazy.reads) == sorted(MIXED)


def test_read_only_arrays_are_taken_without_a_word(untied: Path, tmp_path: Path) -> None:
    name = f"{ATTENTION}.q_proj"
    weight = quantise(untied, {name: "int4-g32-asym"})[name]
    for array in (weight.codes, weight.scale, weight.zero):
        array.setflags(write=False)

    export(untied, {name: weight}, tmp_path / "out", card=CARD)  # warnings are errors here


def test_an_earlier_export_is_replaced_and_a_strangers_folder_is_not(
    untied: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(untied, quantise(untied, MIXED), out, card=CARD)
    export(untied, {}, out, card={**CARD, "name": "Second"})
    assert "# Second" in (out / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    (out / "negawatt.json").unlink()
    kept = digest(out)
    with pytest.raises(OutputError, match="already holds"):
        export(untied, {}, out, card=CARD)
    assert digest(out) == kept


def test_a_place_that_cannot_be_written_is_an_output_error(untied: Path, tmp_path: Path) -> None:
    wall = tmp_path / "wall"
    wall.write_text("a file")

    with pytest.raises(OutputError, match="cannot be written"):
        export(untied, {}, wall / "out", card=CARD)
    with pytest.raises(OutputError, match="is a file"):
        export(untied, {}, wall, card=CARD)


def test_a_full_disk_leaves_nothing_behind(untied: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))  # [B], less than the weights
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            export(untied, {}, tmp_path / "out", card=CARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_named(untied: Path, tmp_path: Path) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(untied, tmp_path / name))

    with pytest.raises(NotAModel, match=r"no config\.json"):
        export(tmp_path, {}, tmp_path / "out", card=CARD)

    weightless = broken("weightless")
    (weightless / "model.safetensors").unlink()
    with pytest.raises(NotAModel, match="no safetensors"):
        export(weightless, {}, tmp_path / "out", card=CARD)

    cut = broken("cut")
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(BrokenWeights, match="cannot be read"):
        export(cut, {}, tmp_path / "out", card=CARD)

    foreign = broken("foreign")
    (foreign / "config.json").write_text('{"model_type": "abacus"}')
    with pytest.raises(UnsupportedArchitecture, match="abacus"):
        export(foreign, {}, tmp_path / "out", card=CARD)

    again = export(untied, quantise(untied, MIXED), tmp_path / "once", card=CARD)
    with pytest.raises(ModelError, match="quantised already"):
        export(again, {}, tmp_path / "twice", card=CARD)
    assert not (tmp_path / "out").exists()


def test_the_card_says_where_it_is_from_and_under_which_licence(
    untied: Path, tmp_path: Path
) -> None:
    silent = export(untied, {}, tmp_path / "silent", card=CARD)
    text = (silent / "README.md").read_text()
    assert "# Tiny, smaller" in text
    assert "**Made from:** a random Llama" in text
    assert "| Perplexity | 12 \\| 13 |" in text
    assert "not stated by the source" in text

    told = Path(shutil.copytree(untied, tmp_path / "told"))
    (told / "README.md").write_text("---\nlicense: mit\n---\n# Source\n")
    text = (export(told, {}, tmp_path / "mit", card=CARD) / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: transformers\n")
    assert "\nlicense: mit\n" in text
    assert "**Licence:** mit" in text


def test_long_matrices_are_packed_in_parts_that_join(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = round_to_nearest(torch.randn(100, 64), Format(4, 32, symmetric=False))
    how = {"kind": "linear", "dense": torch.bfloat16, "reader": "vllm"}
    whole = lay_out(weight, **how).tensors
    monkeypatch.setattr(layout, "_PACKED_ROWS", 7)

    parts = lay_out(weight, **how).tensors

    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[key], whole[key]) for key in whole)


def test_many_shards_hold_what_one_file_would(untied: Path, tmp_path: Path) -> None:
    source = SourceWeights(untied)
    writer = ShardWriter(tmp_path, source.size)
    writer._limit = 60_000  # [B], some twenty shards of the little model
    for name in source:
        writer.add(name, source.read(name))
    writer.finish()

    again = SourceWeights(tmp_path)
    files = list(tmp_path.glob("model-*-of-*.safetensors"))
    assert len(files) > 3
    assert max(path.stat().st_size for path in files) < 60_000 + 4096  # header
    assert set(again) == set(source)
    for name in source:
        assert torch.equal(again.read(name), source.read(name))


@given(
    bits=st.integers(2, 7),
    group=st.sampled_from([0, 32, 64]),
    rows=st.integers(1, 40),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_folding_zero_points_away_changes_no_value(
    bits: int, group: int, rows: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, 64, generator=generator) + 0.5
    weight = round_to_nearest(matrix, Format(bits, group, symmetric=False))

    layer = lay_out(weight, kind="linear", dense=torch.bfloat16, reader="transformers")

    unpack = library("compressors.pack_quantized.helpers").unpack_from_int32
    tensors = layer.tensors
    codes = unpack(tensors["weight_packed"], layer.stored.bits, tensors["weight_shape"])
    scale = tensors["weight_scale"].float()
    value = (codes.reshape(rows, scale.shape[1], -1) * scale[..., None]).reshape(rows, 64)
    assert layer.stored == Format(bits + 1, group)
    assert torch.equal(value, dequantise(weight))


def test_uneven_levels_are_packed_as_bytes_of_the_same_value() -> None:
    matrix = torch.randn(6, 64, generator=torch.Generator().manual_seed(1))
    weight = round_to_nearest(matrix, Format(4, 32, levels="nl"))
    layer = lay_out(weight, kind="linear", dense=torch.bfloat16, reader="vllm")
    unpack = library("compressors.pack_quantized.helpers").unpack_from_int32
    codes = unpack(layer.tensors["weight_packed"], 8, layer.tensors["weight_shape"])
    value = codes.reshape(6, 2, 32) * layer.tensors["weight_scale"].float()[..., None]
    assert (layer.chosen.name, layer.stored.name) == ("nl4-g32", "int8-g32-sym")
    assert torch.equal(value.reshape(6, 64), dequantise(weight))


def test_uneven_levels_are_told_in_the_notes(untied: Path, tmp_path: Path) -> None:
    fmt = Format(4, 32, levels="nl")
    weights = quantise(untied, {"model.layers.0.mlp.up_proj": fmt.name})
    out = export(untied, weights, tmp_path / "out", card=CARD)
    expected = searched_logits(untied, weights, dense={})
    np.testing.assert_allclose(reload_check(out, TOKENS), expected, **EXACT)
    notes = json.loads((out / "negawatt.json").read_text())["notes"]
    assert any("nl4-g32 are stored as int8-g32-sym" in note for note in notes)


def test_nested_scales_are_kept_one_by_one_and_minima_dense(untied: Path, tmp_path: Path) -> None:
    plan = {
        "model.layers.0.mlp.up_proj": "int6-g16x2-sym",
        "model.layers.0.mlp.gate_proj": "int4-g32x2-asym",
    }
    weights = quantise(untied, plan)
    out = export(untied, weights, tmp_path / "out", card=CARD)
    expected = searched_logits(
        untied, weights, dense={"model.layers.0.mlp.gate_proj": torch.bfloat16}
    )
    np.testing.assert_allclose(reload_check(out, TOKENS), expected, **EXACT)
    notes = json.loads((out / "negawatt.json").read_text())["notes"]
    assert any("stored as int6-g16-sym: the same values at" in note for note in notes)
    assert any("keep no minimum of a group" in note for note in notes)


def test_without_the_packing_library_the_fix_is_named(
    untied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "compressed_tensors.version", None)

    with pytest.raises(RuntimeUnavailable, match=r"pip install 'negawatt\[optimize\]'"):
        export(untied, {}, tmp_path / "out", card=CARD)


@pytest.mark.skipif(not STORIES.is_dir(), reason=f"no {STORIES}: set NEGAWATT_DATA")
def test_a_pretrained_model_reloads_to_the_searched_logits(tmp_path: Path) -> None:
    plan = {"lm_head": "int8-row-sym", "model.embed_tokens": "int8-row-sym"}
    for block in range(5):
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            plan[f"model.layers.{block}.self_attn.{part}"] = "int4-g32-asym"
        plan[f"model.layers.{block}.mlp.down_proj"] = "int8-row-sym"  # 172 columns: rows only
    weights = quantise(STORIES, plan)

    out = export(STORIES, weights, tmp_path / "out", card={"name": "Stories"})

    expected = searched_logits(STORIES, weights, dense={})
    logits = reload_check(out, TOKENS)
    # These logits reach 20; float32 sums of 172 terms differ by some 1e-5 of that.
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)
    assert (logits.argmax(-1) == expected.argmax(-1)).all()
    assert (out / "tokenizer.json").is_file()


@pytest.mark.skipif(not STORIES.is_dir(), reason=f"no {STORIES}: set NEGAWATT_DATA")
def test_the_how_to_page_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"lm_head": "int8-row-sym", "model.layers.0.self_attn.q_proj": "int4-g32-asym"}
    weights = quantise(STORIES, plan)
    export(STORIES, weights, tmp_path / "huggingface", card={})
    engine = registry.load(registry.RUNTIMES, "openvino")()
    engine.convert(STORIES, tmp_path / "base")
    engine.compress(tmp_path / "base", weights, tmp_path / "openvino")
    (tmp_path / "source").symlink_to(STORIES)
    page = Path(__file__).parents[3] / "docs/how-to/load-the-result-elsewhere.md"
    monkeypatch.chdir(tmp_path)

    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(compile(block, str(page), "exec"), {"weights": weights})  # noqa: S102

    told = capsys.readouterr().out
    assert "- vLLM joins q_proj, k_proj, v_proj" in told
    assert "Once upon a time, there was" in told
    assert notes(tmp_path / "for-vllm")[-1].startswith("vLLM joins")
    # One engine, two ways in: the first of the session's tokens is the bare graph's arg-max.
    session_tokens, graph_token = told.splitlines()[-2:]
    assert json.loads(session_tokens)[0] == int(graph_token.strip("[]"))
