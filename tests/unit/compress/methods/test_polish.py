"""Polishing: never worse on the inputs it is given, and usually better."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.compress.methods.polish import polished
from negawatt.compress.methods.second_order import SecondOrder
from negawatt.compress.quantise import dequantise, fit_grid
from negawatt.core.records import Format

FORMATS = [
    Format(bits, group, symmetric=symmetric)
    for bits in (2, 3, 4, 5, 6)
    for group in (0, 32)
    for symmetric in (True, False)
]


def some(rows: int, cols: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and the sum of outer products of correlated inputs."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, cols, generator=random)
    inputs = torch.randn(3 * cols, cols, generator=random) @ (
        torch.eye(cols) + 0.4 * torch.randn(cols, cols, generator=random)
    )
    return weight, inputs.T @ inputs


def rounded(weight: torch.Tensor, fmt: Format) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scale, zero = fit_grid(weight, fmt)
    grouped = weight.reshape(*scale.shape, -1)
    codes = (grouped / scale[..., None]).round().add(zero[..., None]).clamp(0, 2**fmt.bits - 1)
    return codes.reshape(weight.shape), scale, zero


def error(
    weight: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    hessian: torch.Tensor,
) -> float:
    damped = hessian + 0.03 * hessian.diagonal().mean() * torch.eye(len(hessian))
    grouped = (codes.reshape(*scale.shape, -1) - zero[..., None]) * scale[..., None]
    off = (grouped.reshape(weight.shape) - weight).double()
    return float(((off @ damped.double()) * off).sum())


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_rounding_gets_better(fmt: Format) -> None:
    weight, hessian = some(24, 96, 1)
    codes, scale, zero = rounded(weight, fmt)
    better, fitted = polished(weight, (codes, scale, zero), fmt, hessian)
    before = error(weight, codes, scale, zero, hessian)
    assert error(weight, better, fitted, zero, hessian) < 0.9 * before
    assert better.min() >= 0
    assert better.max() < 2**fmt.bits
    torch.testing.assert_close(better, better.round())
    torch.testing.assert_close(fitted, fitted.half().float())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(FORMATS))
def test_what_was_compensated_does_not_get_worse(seed: int, fmt: Format) -> None:
    weight, hessian = some(8, 64, seed)
    scale, zero = fit_grid(weight, fmt)
    codes, _, _ = rounded(weight, fmt)
    better, fitted = polished(weight, (codes, scale, zero), fmt, hessian)
    again, refitted = polished(weight, (better, fitted, zero), fmt, hessian)
    first = error(weight, better, fitted, zero, hessian)
    assert error(weight, again, refitted, zero, hessian) <= first * (1 + 1e-5)


def test_rows_do_not_depend_on_each_other() -> None:
    weight, hessian = some(300, 64, 3)
    fmt = Format(4, 32)
    whole = SecondOrder(hessian).quantise(weight, fmt)
    part = SecondOrder(hessian).quantise(weight[100:140], fmt)
    torch.testing.assert_close(dequantise(whole)[100:140], dequantise(part), rtol=1e-3, atol=1e-3)


def test_inputs_that_never_fire_change_nothing() -> None:
    weight, _ = some(4, 64, 4)
    fmt = Format(4, 32)
    codes, scale, zero = rounded(weight, fmt)
    same, kept = polished(weight, (codes, scale, zero), fmt, torch.zeros(64, 64))
    assert torch.equal(same, codes)
    assert torch.equal(kept, scale)


def test_a_group_that_never_fires_keeps_a_usable_scale() -> None:
    weight, hessian = some(4, 64, 5)
    hessian[:32], hessian[:, :32] = 0, 0
    found = SecondOrder(hessian).quantise(weight, Format(3, 32))
    assert torch.isfinite(dequantise(found)).all()
    assert (torch.as_tensor(found.scale) != 0).all()
