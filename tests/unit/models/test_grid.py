from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.records import Layer
from negawatt.models.grid import find_grid, from_types

FORMS = ["symmetric", "full", "offset"]


def quantised(bits: int, block: int, form: str, seed: int = 0, cols: int = 512) -> np.ndarray:
    """Normal weights of [8, cols], rounded by hand to a grid."""
    values = np.random.default_rng(seed).normal(size=(8, cols // block, block))
    half = 2 ** (bits - 1)
    peak = np.abs(values).max(axis=-1, keepdims=True)
    low = values.min(axis=-1, keepdims=True)
    if form == "symmetric":
        step = peak / (half - 1)
        found = np.rint(values / step) * step
    elif form == "full":
        step = peak / half
        found = np.rint(values / step) * step
    else:
        step = np.ptp(values, axis=-1, keepdims=True) / (2 * half - 1)
        found = np.rint((values - low) / step) * step + low
    return found.reshape(8, cols).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bits", "block"), [(4, 32), (4, 64), (4, 128), (8, 32), (8, 64)])
def test_a_grid_is_found_with_its_block_and_levels(bits: int, block: int, form: str) -> None:
    assert find_grid(quantised(bits, block, form)) == (block, 2**bits)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [4, 8])
def test_one_scale_for_a_row_is_told_from_blocks(bits: int, form: str) -> None:
    assert find_grid(quantised(bits, 512, form)) == (0, 2**bits)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [4, 8])
def test_a_grid_shows_through_bfloat16(bits: int, form: str) -> None:
    rounded = torch.from_numpy(quantised(bits, 32, form)).bfloat16().float().numpy()
    assert find_grid(rounded) == (32, 2**bits)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tail=st.sampled_from([1, 2, 4, 100]),
    zeros=st.sampled_from([0.0, 0.5, 0.9]),
    half=st.booleans(),
)
def test_weights_that_were_never_quantised_lie_on_no_grid(
    seed: int, tail: int, zeros: float, *, half: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(tail, (8, 512))  # 1 has outliers thousands of times the median
    values[rng.random(values.shape) < zeros] = 0.0
    weights = torch.from_numpy(values.astype(np.float32))
    if half:
        weights = weights.bfloat16().float()
    assert find_grid(weights.numpy()) is None


def test_a_codebook_of_uneven_levels_is_found_by_counting() -> None:
    rng = np.random.default_rng(0)
    book = np.sort(rng.normal(size=16))
    scale = np.repeat(rng.uniform(1, 2, (8, 8)), 64, axis=1)
    assert find_grid((book[rng.integers(0, 16, (8, 512))] * scale).astype(np.float32)) == (64, 16)


def test_rows_of_zeros_are_no_evidence() -> None:
    assert find_grid(np.zeros((8, 256), np.float32)) is None


def test_file_types_are_grouped_and_floats_left_out() -> None:
    layers = [Layer(name, "linear", 64, 64, 0) for name in "abcde"]
    types = dict(
        zip(
            [f"{n}.weight" for n in "abcde"], ["Q4_K", "Q6_K", "Q4_K", "F16", "IQ4_NL"], strict=True
        )
    )
    found = from_types(layers, types)
    assert [(f.layers, f.levels) for f in found] == [
        (("e",), 16), (("a", "c"), 16), (("b",), 64),
    ]  # fmt: skip
    assert "GGUF type Q4_K" in str(found[1])
