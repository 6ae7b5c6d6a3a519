from __future__ import annotations

import errno
import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from negawatt.core.errors import (
    BrokenWeights,
    NotAModel,
    OutputError,
    TokenizerMissing,
    UnsupportedArchitecture,
)
from negawatt.models import source
from negawatt.models.architecture import SUPPORTED
from negawatt.models.load import load_reference, load_tokenizer
from negawatt.models.source import ModelSource, prepare

from .conftest import SIZES, MakeModel, logits_of, put_on_grid

TOKENS = [[5, 90, 17, 300, 42, 42, 8, 211, 64, 3]]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def weights(prepared: ModelSource) -> dict[str, torch.Tensor]:
    return load_file(prepared.folder / "model.safetensors")


def rewrite(folder: Path, change: Any) -> None:
    held = load_file(folder / "model.safetensors")
    change(held)
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_prepared_folder_holds_the_same_model_in_bfloat16(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model()
    before = contents(folder)
    prepared = prepare(str(folder), tmp_path / "work")
    assert contents(folder) == before
    original = load_file(folder / "model.safetensors")
    written = weights(prepared)
    assert written.keys() == original.keys()
    for name, value in original.items():
        assert torch.equal(written[name], value.bfloat16()), name
    assert prepared.digest == before["model.safetensors"]
    assert prepared.architecture == "LlamaForCausalLM"
    assert prepared.bf16_bytes == 2 * sum(value.numel() for value in original.values())
    assert prepared.notes == ()
    assert load_tokenizer(prepared.folder)("the fox")["input_ids"]
    config = json.loads((prepared.folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_leaving_the_grid_changes_nothing_a_model_computes(
    architecture: str, make_model: MakeModel, tmp_path: Path
) -> None:
    kind, wide = SUPPORTED[architecture], {"hidden_size": 128, "num_attention_heads": 2}
    extra: dict[str, Any] = {
        "llama": {"attention_bias": True, "mlp_bias": True},
        "qwen3": {"attention_bias": True},
        "gemma3_text": {"sliding_window": 4},
        # Heads share the width, and one has to be wider than a block for its order to matter.
        "opt": wide | {"word_embed_proj_dim": 128},
        "gpt_neox": wide,
        "phi": wide | {"num_key_value_heads": 2, "qk_layernorm": True},
        "olmoe": wide | {"num_key_value_heads": 2, "head_dim": 64},
    }.get(kind, {})
    folder = make_model(kind, change=put_on_grid, tie_word_embeddings=kind != "mistral", **extra)
    stay = prepare(str(folder), tmp_path / "stay", off_grid=False)
    move = prepare(str(folder), tmp_path / "move", seed=3)
    assert not stay.off_grid
    assert move.off_grid
    assert {finding.block for finding in move.grid} == {32}
    first, second = (load_reference(m.folder, torch.float32) for m in (stay, move))
    expected = logits_of(first, TOKENS)
    assert torch.allclose(expected, logits_of(second, TOKENS), atol=2e-5 * expected.abs().max())
    moved = [n for n, w in weights(move).items() if not torch.equal(w, weights(stay)[n])]
    assert len(moved) >= len(move.layers) - 2
    assert source.grid.from_values(move.layers, source.open_folder(move.folder)[0]) == ()
    assert "reordered" in " ".join(move.notes)
    assert "Still on a grid" in " ".join(stay.notes)
    assert "Still on a grid" not in " ".join(move.notes)


def test_matrices_that_reordering_cannot_free_are_named(
    make_model: MakeModel, tmp_path: Path
) -> None:
    # Value channels move within their head only, and here a head is one block wide.
    folder = make_model(change=put_on_grid, head_dim=32)
    notes = prepare(str(folder), tmp_path / "work").notes
    assert notes[-1].startswith("Still on a grid: 2 matrices in blocks of 32 with 16 levels")


def test_shards_half_precision_and_pickles_give_the_same_model(
    make_model: MakeModel, tmp_path: Path
) -> None:
    plain = make_model(name="plain", dtype=torch.bfloat16)
    shards = make_model(name="shards", dtype=torch.bfloat16, shard="100KB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    pickled = tmp_path / "pickled"
    shutil.copytree(plain, pickled)
    torch.save(load_file(plain / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    found = [prepare(str(f), tmp_path / f"work-{f.name}") for f in (plain, shards, pickled)]
    expected = weights(found[0])
    for other in found[1:]:
        assert all(torch.equal(value, expected[name]) for name, value in weights(other).items())
    assert len({other.digest for other in found}) == 3
    half = make_model(name="half", dtype=torch.float16)
    rounded = weights(prepare(str(half), tmp_path / "work-half"))
    stored = load_file(half / "model.safetensors")
    assert all(torch.equal(value, stored[name].bfloat16()) for name, value in rounded.items())


def test_a_pickle_that_would_run_code_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "trap sprung",)

    folder = make_model()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BrokenWeights, match="safely"):
        prepare(str(folder), tmp_path / "work")
    assert not (tmp_path / "trap sprung").exists()


def test_a_second_call_returns_at_once_and_writes_nothing(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(change=put_on_grid)
    first = prepare(str(folder), tmp_path / "work")
    monkeypatch.setattr(source, "_make", lambda *_: pytest.fail("it was made again"))
    assert prepare(str(folder), tmp_path / "work") == first


def test_another_seed_or_a_changed_source_is_prepared_anew(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model(change=put_on_grid)
    first = prepare(str(folder), tmp_path / "work")
    held = weights(first)
    other = prepare(str(folder), tmp_path / "work", seed=1)
    assert not torch.equal(
        weights(other)["model.embed_tokens.weight"], held["model.embed_tokens.weight"]
    )
    rewrite(folder, lambda w: w["model.norm.weight"].add_(1))
    assert prepare(str(folder), tmp_path / "work", seed=1).digest != other.digest


@pytest.mark.parametrize("damage", ["marker", "weights"])
def test_a_damaged_folder_is_made_again(damage: str, make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    prepared = prepare(str(folder), tmp_path / "work")
    expected = contents(prepared.folder)
    file = prepared.folder / {"marker": source.MARKER, "weights": "model.safetensors"}[damage]
    file.write_bytes(file.read_bytes()[:-100])
    assert prepare(str(folder), tmp_path / "work") == prepared
    assert contents(prepared.folder) == expected


def test_an_interrupted_run_leaves_nothing_that_looks_whole(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model()

    def stop(what: str, share: float) -> None:
        if what == "converting weights" and share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(str(folder), tmp_path / "work", progress=stop)
    assert list((tmp_path / "work").iterdir()) == []
    (tmp_path / "work" / "model.partial").mkdir()  # as kill -9 would leave it
    (tmp_path / "work" / "model.partial" / "model.safetensors").write_bytes(b"half")
    prepared = prepare(str(folder), tmp_path / "work")
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["model"]
    assert len(weights(prepared)) == len(load_file(folder / "model.safetensors"))


def test_truncated_weights_are_named(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(BrokenWeights, match=r"truncated: model\.norm\.weight|truncated: lm_head"):
        prepare(str(folder), tmp_path / "work")
    file.write_bytes(file.read_bytes()[:5])
    with pytest.raises(BrokenWeights, match="no whole safetensors"):
        prepare(str(folder), tmp_path / "work")
    assert not (tmp_path / "work" / "model").exists()


def test_a_header_that_is_no_json_is_named(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    file = folder / "model.safetensors"
    file.write_bytes((16).to_bytes(8, "little") + b"x" * 64)
    with pytest.raises(BrokenWeights, match="unreadable header"):
        prepare(str(folder), tmp_path / "work")


def test_a_missing_tensor_is_named(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    rewrite(folder, lambda w: w.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(
        BrokenWeights, match=r"1 of .* missing, first model\.layers\.1\.mlp\.up_proj"
    ):
        prepare(str(folder), tmp_path / "work")


def test_a_missing_shard_is_named(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model(shard="100KB")
    lost = sorted(folder.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(BrokenWeights, match=lost.name):
        prepare(str(folder), tmp_path / "work")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_named(
    value: float, make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model()
    rewrite(folder, lambda w: w["model.layers.0.mlp.down_proj.weight"][3].fill_(value))
    with pytest.raises(BrokenWeights, match=r"model\.layers\.0\.mlp\.down_proj\.weight"):
        prepare(str(folder), tmp_path / "work")
    assert not (tmp_path / "work" / "model").exists()


def test_weights_of_another_size_are_named(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))
    with pytest.raises(BrokenWeights, match=r"gate_proj\.weight is \[96, 64\].*\[128, 64\]"):
        prepare(str(folder), tmp_path / "work")


def test_weights_that_would_be_lost_are_named(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model(attention_bias=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_bias": False}))
    with pytest.raises(BrokenWeights, match=r"all but 8 tensors, first .*k_proj\.bias"):
        prepare(str(folder), tmp_path / "work")


def test_a_head_stored_beside_its_embedding_must_be_the_same(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model(tie_word_embeddings=True)
    rewrite(folder, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].clone()}))
    assert "lm_head.weight" not in weights(prepare(str(folder), tmp_path / "work"))
    rewrite(folder, lambda w: w["lm_head.weight"].add_(1))
    with pytest.raises(BrokenWeights, match="ties the head"):
        prepare(str(folder), tmp_path / "work")


def test_positions_that_old_files_keep_are_left_out(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(folder, lambda w: w.update({name: torch.ones(32)}))
    assert name not in weights(prepare(str(folder), tmp_path / "work"))


def test_integer_weights_are_refused(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    name = "model.layers.0.mlp.up_proj.weight"
    rewrite(folder, lambda w: w.update({name: w[name].to(torch.int8)}))
    with pytest.raises(BrokenWeights, match="stored as I8"):
        prepare(str(folder), tmp_path / "work")


def test_a_missing_tokenizer_is_said(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TokenizerMissing, match="no tokenizer"):
        prepare(str(folder), tmp_path / "work")


def test_a_broken_tokenizer_is_said(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(TokenizerMissing, match="cannot be read"):
        prepare(str(folder), tmp_path / "work")


def test_a_tokenizer_of_another_model_is_said(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model(vocab_size=300)
    with pytest.raises(TokenizerMissing, match="up to number 319, the embedding has 300 rows"):
        prepare(str(folder), tmp_path / "work")


def test_folders_that_hold_no_model_say_what_they_lack(
    make_model: MakeModel, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NotAModel, match=r"no config\.json"):
        prepare(str(empty), tmp_path / "work")
    (empty / "config.json").write_text("not json")
    with pytest.raises(NotAModel, match="no JSON"):
        prepare(str(empty), tmp_path / "work")
    (empty / "config.json").write_text("[1]")
    with pytest.raises(NotAModel, match="no configuration"):
        prepare(str(empty), tmp_path / "work")
    (empty / "config.json").write_text(json.dumps({"model_type": "llama", **SIZES}))
    with pytest.raises(NotAModel, match=r"no model\.safetensors"):
        prepare(str(empty), tmp_path / "work")
    (empty / "config.json").write_text(json.dumps({"architectures": ["BloomForCausalLM"]}))
    with pytest.raises(UnsupportedArchitecture, match="BloomForCausalLM"):
        prepare(str(empty), tmp_path / "work")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EACCES, "cannot be written"), (errno.EROFS, "cannot be")],
)
def test_a_disk_that_refuses_is_an_output_error(
    number: int, words: str, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model()

    def refuse(*_: Any) -> None:
        raise OSError(number, "the system's words")

    monkeypatch.setattr(source, "write_bfloat16", refuse)
    with pytest.raises(OutputError, match=words):
        prepare(str(folder), tmp_path / "work")
    assert not (tmp_path / "work" / "model").exists()


def test_a_source_file_that_may_not_be_read_is_not_blamed_on_the_output(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model()

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / "tokenizer.json"))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(NotAModel, match=r"tokenizer\.json cannot be read"):
        prepare(str(folder), tmp_path / "work")


def test_too_little_space_is_said_before_anything_is_written(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model()
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OutputError, match="the model needs"):
        prepare(str(folder), tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_an_output_place_that_is_a_file_is_an_output_error(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model()
    (tmp_path / "work").write_text("in the way")
    with pytest.raises(OutputError):
        prepare(str(folder), tmp_path / "work")


def test_progress_grows_to_the_end(make_model: MakeModel, tmp_path: Path) -> None:
    seen: list[float] = []
    prepare(str(make_model()), tmp_path / "work", progress=lambda _what, share: seen.append(share))
    assert seen[-1] == 1.0
    assert sorted(seen) == seen


MEASURE = """
import resource, sys
from pathlib import Path
from negawatt.models.source import prepare
prepare(sys.argv[1], Path(sys.argv[2]) / "small")  # everything is imported now
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
large = prepare(sys.argv[3], Path(sys.argv[2]) / "large")
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024 / large.bf16_bytes)
"""


@pytest.mark.slow
def test_a_model_passes_through_in_less_memory_than_it_has(
    make_model: MakeModel, tmp_path: Path
) -> None:
    small = make_model(name="few")
    large = make_model(
        name="many", vocab_size=32_000, hidden_size=1_024, intermediate_size=3_072,
        num_hidden_layers=6, change=put_on_grid,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(tmp_path / "work"), str(large)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.75  # of the bfloat16 weights; the source is twice their size
