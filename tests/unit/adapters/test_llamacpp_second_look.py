"""Logits near the top come from the wide rows, all others from the narrow head."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight

if find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python is not installed", allow_module_level=True)

import gguf
from gguf import GGMLQuantizationType as Kind

from negawatt.adapters.runtimes import llamacpp_second_look as second
from negawatt.adapters.runtimes.llamacpp import LlamaCppRuntime
from negawatt.adapters.runtimes.llamacpp_session import LlamaSession

RUNTIME = LlamaCppRuntime()
WORDS, WIDTH = 640, 64
EMBEDDING, HEAD = "model.embed_tokens", "lm_head"
WIDE, NARROW = Format(8, 32), Format(4, 32, levels="nl")
TOKENS = np.random.default_rng(1).integers(0, WORDS, (2, 9))


class Model:
    """A random decoder, and forms of it."""

    def __init__(self, folder: Path, *, tied: bool) -> None:
        config = AutoConfig.for_model(
            "llama",
            vocab_size=WORDS,
            hidden_size=WIDTH,
            intermediate_size=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=tied,
            initializer_range=0.3,  # so that some tokens are likelier than others
        )
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        model.to(torch.bfloat16).save_pretrained(folder / "source")
        RUNTIME.convert(folder / "source", folder / "base")
        self._folder = folder
        self._weights = {
            EMBEDDING: model.model.embed_tokens.weight,
            HEAD: model.lm_head.weight,
        }

    def codes(self, layer: str, fmt: Format) -> QuantisedWeight:
        return round_to_nearest(self._weights[layer].detach(), fmt)

    def opened(self, embedding: Format, head: Format) -> LlamaSession:
        place = self._folder / f"{embedding}-{head}"
        if not place.exists():
            weights = {EMBEDDING: self.codes(EMBEDDING, embedding), HEAD: self.codes(HEAD, head)}
            RUNTIME.compress(self._folder / "base", weights, place)
        session = RUNTIME.open(place, RunOptions())
        assert isinstance(session, LlamaSession)
        return session


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tmp_path_factory.mktemp("second-look"), tied=True)


def test_leaders_are_the_wide_rows_and_the_rest_the_narrow_head(model: Model) -> None:
    with model.opened(WIDE, NARROW) as session:
        found = session.forward(TOKENS)
        session.look = None
        session.reset()
        narrow = session.forward(TOKENS)
    with model.opened(WIDE, WIDE) as session:
        wide = session.forward(TOKENS)
    near = narrow > narrow.max(-1, keepdims=True) - second.REACH
    assert 0.005 < near.mean() < 0.5
    np.testing.assert_array_equal(found[~near], narrow[~near])
    off, was = found[near] - wide[near], narrow[near] - wide[near]
    # The engine rounds what it multiplies to 8 bits, and the second look does not.
    assert np.abs(off).max() < 0.1 < np.abs(was).max()
    assert np.square(off).mean() < 0.02 * np.square(was).mean()


def test_the_last_position_alone_is_what_it_is_among_all(model: Model) -> None:
    with model.opened(WIDE, NARROW) as session:
        every = session.forward(TOKENS)
        session.reset()
        last = session.forward(TOKENS, keep=1)
        session.reset()
        session.forward(TOKENS[:, :-1], keep=1)
        step = session.forward(TOKENS[:, -1:])
        session.reset()
        three = session.forward(TOKENS, keep=3)
    assert every.shape[1] == TOKENS.shape[1]
    for one in (last, step, three[:, -1:]):
        np.testing.assert_allclose(one, every[:, -1:], atol=0.15)
    np.testing.assert_allclose(three, every[:, -3:], atol=0.15)


@pytest.mark.parametrize("formats", [(WIDE, WIDE), (NARROW, NARROW), (NARROW, Format(5, 32))])
def test_nothing_is_looked_at_again_where_nothing_is_wider(
    model: Model, formats: tuple[Format, Format]
) -> None:
    with model.opened(*formats) as session:
        assert session.look is None


def test_a_head_of_its_own_is_no_narrow_copy_of_the_embedding(tmp_path: Path) -> None:
    with Model(tmp_path, tied=False).opened(WIDE, NARROW) as session:
        assert session.look is None


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.BF16])
def test_rows_are_read_as_the_engine_stores_them(
    model: Model, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = model.codes(EMBEDDING, WIDE)
    values = dequantise(codes).numpy()
    stored = gguf.quantize(values, kind)
    (tmp_path / "rows").write_bytes(b"head" + stored.tobytes())
    monkeypatch.setattr(second, "_place_of", lambda *_: (kind, 4))
    look = second.SecondLook(tmp_path / "rows", values.shape, 2.0)
    state = np.random.default_rng(0).normal(size=WIDTH).astype(np.float32)
    said = np.linspace(0, 20, WORDS, dtype=np.float32)[None]
    found = said.copy()
    look.mend(found, state[None])
    near = said[0] > 18
    wanted = gguf.dequantize(stored, kind) @ state
    np.testing.assert_allclose(found[0, near], wanted[near], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found[0, ~near], said[0, ~near])


def test_where_all_are_alike_only_so_many_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = gguf.quantize(np.ones((3000, 32), np.float32), Kind.Q8_0)
    (tmp_path / "rows").write_bytes(rows.tobytes())
    monkeypatch.setattr(second, "_place_of", lambda *_: (Kind.Q8_0, 0))
    look = second.SecondLook(tmp_path / "rows", (3000, 32), 6.0)
    said = np.linspace(0, 1, 3000, dtype=np.float32)[None]
    look.mend(said, np.full((1, 32), 10, np.float32))
    assert int((said > 1).sum()) == second.MOST
    assert (said[0, -second.MOST :] > 1).all()
