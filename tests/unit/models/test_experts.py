"""Experts apart compute what the library's stack of them does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from negawatt.models.experts import Experts, apart

from .conftest import random_model

TOKENS = torch.tensor([[5, 90, 17, 300, 42, 42, 8, 211, 64, 3]])


@pytest.fixture(params=["qwen3_moe", "olmoe"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS, use_cache=False).logits
    return found


@pytest.mark.parametrize("train", [False, True])
def test_the_mixture_stays_the_same(family: str, *, train: bool) -> None:
    model = random_model(family)
    expected = logits(model)
    parted = apart(model).train(train)
    torch.testing.assert_close(logits(parted), expected, atol=1e-5, rtol=1e-5)


def test_an_expert_sees_the_tokens_that_were_sent_to_it() -> None:
    model = apart(random_model("olmoe"))
    seen: dict[str, int] = {}
    for name, module in model.named_modules():
        if name.endswith("up_proj"):
            module.register_forward_hook(
                lambda _, given, __, name=name: seen.update({name: len(given[0])})
            )
    logits(model)
    for block in range(2):
        counts = [n for name, n in seen.items() if name.startswith(f"model.layers.{block}.")]
        assert sum(counts) == TOKENS.numel() * 2  # each is sent to two
        assert max(counts) < TOKENS.numel()


def test_no_memory_is_taken_for_it() -> None:
    model = random_model("olmoe")
    before = model.model.layers[0].mlp.experts.gate_up_proj.data_ptr()
    experts = apart(model).model.layers[0].mlp.experts  # type: ignore[union-attr]
    assert isinstance(experts, Experts)
    assert experts[0].gate_proj.weight.data_ptr() == before
