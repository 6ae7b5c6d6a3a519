from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from negawatt.models.architecture import SUPPORTED, blueprint
from negawatt.models.load import load_reference
from negawatt.models.permute import Shuffle

from .conftest import SIZES, SMALL, logits_of


@given(
    kv=st.integers(1, 3), share=st.integers(1, 3), width=st.integers(1, 16), seed=st.integers(0, 99)
)
def test_every_order_is_a_permutation_and_heads_keep_their_place(
    kv: int, share: int, width: int, seed: int
) -> None:
    shuffle = Shuffle(24, 40, kv * share, kv, width, seed)
    value, residual = shuffle.orders("model.layers.0.self_attn.v_proj.weight")
    again, mixed = shuffle.orders("model.layers.0.self_attn.o_proj.weight")
    assert value is not None
    assert mixed is not None
    assert np.array_equal(residual, again)
    assert np.array_equal(np.sort(value), np.arange(kv * width))
    assert np.array_equal(np.sort(mixed), np.arange(kv * share * width))
    for head in range(kv * share):  # query head h reads the channels of key-value head h // share
        theirs = value[head // share * width :][:width] % width
        assert np.array_equal(mixed[head * width :][:width] - head * width, theirs)


def test_blocks_have_their_own_orders_and_share_the_residual_one() -> None:
    shuffle = Shuffle.of(SIZES, seed=0)
    first, second = (f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 1))
    inner, residual = zip(shuffle.orders(first), shuffle.orders(second), strict=True)
    assert not np.array_equal(*inner)
    assert np.array_equal(*residual)
    assert np.array_equal(shuffle.orders("model.norm.weight")[0], residual[0])
    assert not np.array_equal(residual[0], Shuffle.of(SIZES, seed=1).orders(first)[1])


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_every_parameter_of_every_family_has_a_rule(architecture: str) -> None:
    config = SIZES | {"architectures": [architecture], "attention_bias": True, "mlp_bias": True}
    config |= SMALL.get(SUPPORTED[architecture], {})
    plan = blueprint(config)
    for name, shape in plan.shapes.items():
        orders = Shuffle.of(plan.config, seed=0).orders(name)
        for order, length in zip(orders, shape, strict=False):
            assert order is None or len(order) == length, name


def test_an_unknown_parameter_is_never_passed_over() -> None:
    with pytest.raises(KeyError):
        Shuffle.of(SIZES, seed=0).orders("model.layers.0.mlp.router.weight")


def test_a_trained_model_computes_the_same_after_shuffling(shared: Path) -> None:
    model = load_reference(shared / "models" / "stories260K", torch.float32)
    tokens = np.random.default_rng(0).integers(3, 512, (1, 200))
    before = logits_of(model, tokens)
    shuffle = Shuffle.of(model.config.to_dict(), seed=5)
    for name, value in model.named_parameters():
        rows, cols = shuffle.orders(name)
        moved = value.data if rows is None else value.data[torch.from_numpy(rows)]
        value.data = moved if cols is None else moved[:, torch.from_numpy(cols)]
    after = logits_of(model, tokens)
    assert torch.allclose(before, after, atol=2e-4)
    assert torch.equal(before.argmax(-1), after.argmax(-1))
