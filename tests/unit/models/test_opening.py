"""A packed folder opens as other tools read it, and gradients go through it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_decoder import layers_of, random_decoder
from small_encoder import small_encoder

from negawatt.compress.export_huggingface import export, reload_check
from negawatt.compress.quantise import round_to_nearest
from negawatt.core.errors import BrokenWeights, UsageError
from negawatt.core.records import Format
from negawatt.models.opening import Opened, is_packed, open_model

TOKENS = np.arange(3, 19, dtype=np.int64)[None]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    model = random_decoder()
    model.to(torch.bfloat16).save_pretrained(folder / "base")
    weights = {
        layer.name: round_to_nearest(
            model.get_submodule(layer.name).weight.detach().float(), Format(4, 32, symmetric=False)
        )
        for layer in layers_of(model)
        if layer.kind == "linear"
    }
    return export(folder / "base", weights, folder / "packed", card={})


def test_codes_are_opened_as_transformers_computes_them(packed: Path) -> None:
    assert is_packed(packed)
    assert not is_packed(packed.parent / "base")
    with Opened(open_model(packed)) as session:
        found = session.forward(TOKENS)
        session.reset()
        first, second = session.forward(TOKENS[:, :9]), session.forward(TOKENS[:, 9:], keep=2)
    np.testing.assert_allclose(found, reload_check(packed, TOKENS), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[:, :9], first, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found[:, -2:], second, rtol=0, atol=1e-4)


def test_gradients_go_through_unpacked_weights(packed: Path) -> None:
    model = open_model(packed)
    vectors = model.get_input_embeddings()(torch.from_numpy(TOKENS)).detach().requires_grad_()
    model(inputs_embeds=vectors).logits[0, -1, 5].backward()
    assert vectors.grad is not None
    assert float(vectors.grad.abs().sum()) > 0


def test_sixteen_bits_are_near_thirty_two(packed: Path) -> None:
    for folder in (packed, packed.parent / "base"):
        wide, narrow = (open_model(folder, narrow=narrow) for narrow in (False, True))
        assert narrow.dtype == torch.bfloat16
        with Opened(wide) as one, Opened(narrow) as other:
            apart = np.abs(one.forward(TOKENS) - other.forward(TOKENS)).max()
        assert 0 < apart < 0.5


def test_a_folder_that_lacks_a_tensor_is_refused(packed: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = Path(shutil.copytree(packed, tmp_path / "broken"))
    tensors = load_file(place / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BrokenWeights, match=r"model\.norm"):
        open_model(place)


def test_an_encoder_reads_and_writes_nothing(tmp_path: Path) -> None:
    model = open_model(small_encoder(tmp_path / "model"))
    with Opened(model) as session:
        assert session.forward(np.array([[2, 40, 3]])).shape == (1, 3, 64)
        assert session.memory_bytes > 0
        with pytest.raises(UsageError, match="no text"):
            session.stream([1])
    with pytest.raises(UsageError, match="closed"):
        session.forward(TOKENS)
