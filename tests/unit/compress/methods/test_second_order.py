"""What one column loses, the columns after it make up for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from negawatt.compress.methods.second_order import Gptq
from negawatt.compress.quantise import dequantise, fit_grid, round_to_nearest
from negawatt.core.records import Format, QuantisedWeight


def gptq(weight: Tensor, hessian: Tensor, fmt: Format) -> QuantisedWeight:
    return Gptq().prepare(hessian).quantise(weight, fmt)


def grouped(values: Tensor, fmt: Format) -> Tensor:
    return values.reshape(values.shape[0], -1, fmt.group or values.shape[1])


def correlated(rows: int, cols: int, seed: int = 0) -> Tensor:
    """Inputs of which a few directions carry most of the power, as in a real model."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(cols, cols, generator=generator) * torch.logspace(0, -2, cols)[:, None]
    return torch.randn(rows, cols, generator=generator) @ mix


def output_error(weight: Tensor, quantised: QuantisedWeight, hessian: Tensor) -> float:
    """Squared error of the layer's outputs, summed over the inputs behind the Hessian."""
    error = (dequantise(quantised) - weight).double()
    return float(((error @ hessian.double()) * error).sum())


@pytest.mark.parametrize(
    "fmt", [Format(4), Format(4, 32), Format(4, 32, symmetric=False), Format(3, 32)], ids=str
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_correlated_inputs_compensation_beats_rounding(fmt: Format, seed: int) -> None:
    inputs = correlated(512, 160, seed)  # wider than a block of columns
    hessian = inputs.T @ inputs
    weight = torch.randn(48, 160, generator=torch.Generator().manual_seed(seed + 9))

    second_order = output_error(weight, gptq(weight, hessian, fmt), hessian)

    assert second_order < 0.7 * output_error(weight, round_to_nearest(weight, fmt), hessian)


def one_at_a_time(weight: Tensor, hessian: Tensor, fmt: Format) -> Tensor:
    """The method as its paper derives it: invert what is left after every column."""
    cols = weight.shape[1]
    diagonal = hessian.diagonal()
    scale, zero = fit_grid(weight, fmt, diagonal)
    damped = hessian.double() + 0.03 * diagonal.double().mean() * torch.eye(cols)
    work, codes = weight.double().clone(), torch.empty_like(weight)
    left = torch.argsort(diagonal, descending=True, stable=True).tolist()
    while left:
        inverse = torch.linalg.inv(damped[left][:, left])
        column = left[0]
        group = column // (fmt.group or cols)
        s, z = scale[:, group].double(), zero[:, group].double()
        code = (torch.round(work[:, column] / s) + z).clamp(0, 2**fmt.bits - 1)
        error = ((code - z) * s - work[:, column]) / inverse[0, 0]
        codes[:, column] = code.float()
        work[:, left] += error[:, None] * inverse[0][None]
        left = left[1:]
    return codes


@pytest.mark.parametrize("fmt", [Format(4, 32), Format(4, 0, symmetric=False)], ids=str)
def test_the_blocked_method_gives_the_codes_of_the_plain_one(fmt: Format) -> None:
    inputs = correlated(400, 160, 3)
    hessian = inputs.T @ inputs
    weight = torch.randn(8, 160, generator=torch.Generator().manual_seed(4))

    same = torch.from_numpy(gptq(weight, hessian, fmt).codes) == one_at_a_time(weight, hessian, fmt)

    assert float(same.float().mean()) > 0.98  # a value half-way between two codes may go either way


def test_with_inputs_that_know_nothing_of_each_other_there_is_nothing_to_compensate() -> None:
    weight = torch.randn(8, 64)
    found = gptq(weight, 3.0 * torch.eye(64), Format(4, 32))
    plain = round_to_nearest(weight, Format(4, 32))
    np.testing.assert_array_equal(found.codes, plain.codes)
    np.testing.assert_array_equal(found.scale, plain.scale)


def test_inputs_that_never_fire_are_rounded_plainly() -> None:
    inputs = correlated(256, 64)
    inputs[:, ::5] = 0.0
    hessian = inputs.T @ inputs
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))

    found = gptq(weight, hessian, Format(4, 32))

    plain = torch.round(grouped(weight, found.format) / torch.from_numpy(found.scale)[..., None])
    plain = (plain + torch.from_numpy(found.zero)[..., None]).clamp(0, 15).reshape(weight.shape)
    np.testing.assert_array_equal(found.codes[:, ::5], plain[:, ::5].numpy())
    rounded = output_error(weight, round_to_nearest(weight, Format(4, 32)), hessian)
    assert output_error(weight, found, hessian) < 0.7 * rounded


@pytest.mark.parametrize("power", [1e-6, 1.0, 1e6])
def test_the_size_of_the_inputs_changes_nothing(power: float) -> None:
    inputs = correlated(256, 64)
    inputs[:, ::5] = 0.0
    hessian = inputs.T @ inputs
    hessian /= hessian.diagonal().mean()
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    usual = output_error(weight, gptq(weight, hessian, Format(4, 32)), hessian)
    scaled = output_error(weight, gptq(weight, hessian * power, Format(4, 32)), hessian)
    assert scaled == pytest.approx(usual, rel=0.02)


def test_fewer_texts_than_inputs_still_help() -> None:
    inputs = correlated(5, 96)  # a Hessian of rank 5
    hessian = inputs.T @ inputs
    weight = torch.randn(16, 96, generator=torch.Generator().manual_seed(1))
    found = gptq(weight, hessian, Format(4, 32))
    assert np.isfinite(dequantise(found).numpy()).all()
    assert output_error(weight, found, hessian) < 0.5 * output_error(
        weight, round_to_nearest(weight, Format(4, 32)), hessian
    )


def test_without_any_input_it_is_plain_rounding() -> None:
    weight = torch.randn(4, 64)
    found = gptq(weight, torch.zeros(64, 64), Format(4, 32))
    np.testing.assert_array_equal(found.codes, round_to_nearest(weight, Format(4, 32)).codes)


def test_statistics_that_no_inputs_can_have_do_no_harm() -> None:
    generator = torch.Generator().manual_seed(8)
    wrong = torch.randn(64, 64, generator=generator)
    wrong = wrong + wrong.T  # indefinite: damping cannot mend it
    wrong.diagonal().copy_(torch.rand(64, generator=generator) * 0.01 + 0.01)
    weight = torch.randn(4, 64, generator=generator)
    back = dequantise(gptq(weight, wrong, Format(4, 32)))
    assert float((back - weight).square().mean()) < 0.02
