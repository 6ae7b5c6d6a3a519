"""What every transform must do: the same function, written down in a way that rounds better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_decoder import VOCABULARY, layers_of, random_decoder
from torch import Tensor

from negawatt.compress.transforms import Transform, known, named
from negawatt.core.errors import UnsupportedArchitecture, UsageError
from negawatt.core.records import Format

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
FMT = Format(4, 32)

anyone = pytest.mark.parametrize("method", [named(name) for name in known()], ids=list(known()))


def windows(count: int = 6, length: int = 24) -> NDArray[np.int64]:
    return np.random.default_rng(3).integers(3, VOCABULARY, (count, length))


def answers(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.from_numpy(windows())).logits
    return logits


def changed(model: Any, method: Transform) -> str:
    return method.apply(model, layers_of(model), windows(), FMT, lambda done, total: None)


@anyone
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_the_model_computes_what_it_computed(method: Transform, family: str, *, tied: bool) -> None:
    model = random_decoder(family, tie_word_embeddings=tied)
    before, weights = answers(model), {k: v.clone() for k, v in model.state_dict().items()}
    told = changed(model, method)
    torch.testing.assert_close(answers(model), before, rtol=1e-3, atol=2e-3)
    assert told
    assert any(not torch.equal(value, weights[k]) for k, value in model.state_dict().items())
    same = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert same == (tied and not method.unties)
    assert model.config.tie_word_embeddings == same


@anyone
def test_gemma_is_kept_or_refused_by_name(method: Transform) -> None:
    model = random_decoder("gemma3_text")
    before = answers(model)
    if method.name == "rotate":  # norms stand behind its layers
        with pytest.raises(UnsupportedArchitecture, match="norm"):
            changed(model, method)
    else:
        changed(model, method)
    torch.testing.assert_close(answers(model), before, rtol=1e-3, atol=2e-3)


@anyone
def test_the_same_model_gives_the_same_weights(method: Transform) -> None:
    first, again = random_decoder(), random_decoder()
    changed(first, method)
    changed(again, method)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@anyone
def test_progress_ends_where_the_work_ends(method: Transform) -> None:
    told: list[tuple[int, int]] = []
    model = random_decoder()
    method.apply(model, layers_of(model), windows(), FMT, lambda a, b: told.append((a, b)))
    assert told[-1][0] == told[-1][1] > 0
    assert named(method.name).name == method.name


def test_an_unknown_transform_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no-such") as caught:
        named("no-such")
    assert "awq" in str(caught.value.fix)
