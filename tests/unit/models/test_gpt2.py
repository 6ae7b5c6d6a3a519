"""GPT-2 becomes an OPT that computes the same, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.models.gpt2 import NOTE, as_opt
from negawatt.models.load import load_reference
from negawatt.models.outline import outline
from negawatt.models.quiet import quiet
from negawatt.models.source import prepare

from .conftest import MakeModel, logits_of, put_on_grid

TOKENS = [[5, 90, 17, 300, 42, 42, 8, 211, 64, 3]]
SIZES: dict[str, Any] = {
    "n_embd": 128,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "hidden_size": 128,
    "head_dim": 64,
}


def plain(folder: Path) -> torch.Tensor:
    """What the library computes with the source itself, its weights rounded to bfloat16."""
    from transformers import GPT2LMHeadModel

    with quiet():
        model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.bfloat16).float().eval()
    return logits_of(model, TOKENS)


@pytest.mark.parametrize("off_grid", [False, True])
@pytest.mark.parametrize("tied", [True, False])
def test_it_computes_what_gpt2_does(
    make_model: MakeModel, tmp_path: Path, *, off_grid: bool, tied: bool
) -> None:
    change = put_on_grid if off_grid else lambda _model: None
    folder = make_model("gpt2", change=change, tie_word_embeddings=tied, **SIZES)
    found = prepare(str(folder), tmp_path / "work", off_grid=off_grid)
    assert found.off_grid == off_grid
    assert found.architecture == "OPTForCausalLM"
    assert found.notes[0] == NOTE
    expected = plain(folder)
    torch.testing.assert_close(
        logits_of(load_reference(found.folder, torch.float32), TOKENS),
        expected,
        atol=3e-5 * float(expected.abs().max()),
        rtol=0,
    )
    assert outline(str(folder)).layers == found.layers


def test_files_of_old_hold_the_same_model(make_model: MakeModel, tmp_path: Path) -> None:
    """Published files leave out the stem of the names, and keep the causal mask."""
    folder = make_model("gpt2", **SIZES)
    expected = plain(folder)
    held = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): value for name, value in held.items()}
    old["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    found = prepare(str(folder), tmp_path / "work")
    logits = logits_of(load_reference(found.folder, torch.float32), TOKENS)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_a_missing_tensor_is_named_as_the_file_names_it(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model("gpt2", **SIZES)
    held = load_file(folder / "model.safetensors")
    del held["transformer.h.1.attn.c_attn.weight"]
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BrokenWeights, match=r"transformer\.h\.1\.attn\.c_attn\.weight"):
        prepare(str(folder), tmp_path / "work")


def test_what_opt_cannot_compute_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model("gpt2", **SIZES)
    told = json.loads((folder / "config.json").read_text())
    told["scale_attn_by_inverse_layer_idx"] = True
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(UnsupportedArchitecture, match="scale_attn_by_inverse_layer_idx = True"):
        prepare(str(folder), tmp_path / "work")


def test_a_bare_configuration_is_that_of_the_small_model() -> None:
    found = as_opt({"model_type": "gpt2"})
    assert (found["hidden_size"], found["ffn_dim"], found["vocab_size"]) == (768, 3072, 50257)
