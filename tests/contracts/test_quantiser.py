"""What every method of rounding must do. A new one is done when its name passes here."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from negawatt.compress.methods import Quantiser, known, named
from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.errors import BrokenWeights, UsageError
from negawatt.core.records import Format, QuantisedWeight

FORMATS = [
    Format(bits, group, symmetric=symmetric)
    for bits, group in [(2, 16), (3, 32), (4, 32), (4, 0), (5, 32), (6, 16), (8, 0)]
    for symmetric in (True, False)
] + [Format(4, 32, levels="nl"), Format(6, 16, nested=2), Format(4, 32, symmetric=False, nested=5)]
FORMATS += [Format(4, 32, levels="nl", nested=5)]
COLS = 160  # wider than a block of columns

anyone = pytest.mark.parametrize("method", [named(name) for name in known()], ids=list(known()))
everywhere = pytest.mark.parametrize("fmt", FORMATS, ids=str)


def fed(tokens: int = 400, seed: int = 0) -> Tensor:
    """Inputs of which a few directions carry most of the power, as in a real model."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(COLS, COLS, generator=generator) * torch.logspace(0, -2, COLS)[:, None]
    return torch.randn(tokens, COLS, generator=generator) @ mix


def matrix(rows: int = 24) -> Tensor:
    return torch.randn(rows, COLS, generator=torch.Generator().manual_seed(9))


def hessian(x: Tensor) -> Tensor:
    return x.T @ x


def loss(weight: Tensor, found: QuantisedWeight, x: Tensor) -> float:
    """Squared error of the outputs over that of having no weights."""
    off = dequantise(found) - weight
    return float((x @ off.T).square().sum() / (x @ weight.T).square().sum())


@anyone
@everywhere
def test_codes_scales_and_zeros_have_their_shapes_types_and_ranges(
    method: Quantiser, fmt: Format
) -> None:
    found = method.prepare(hessian(fed())).quantise(matrix(), fmt)
    groups = (24, COLS // (fmt.group or COLS))
    assert found.format == fmt
    assert (found.codes.dtype, found.codes.shape) == (np.uint8, (24, COLS))
    assert (found.scale.dtype, found.scale.shape) == (np.float16, groups)
    assert (found.zero.dtype, found.zero.shape) == (
        np.float16 if fmt.has_minimum else np.uint8,
        groups,
    )
    assert max(found.codes.max(), found.zero.max()) < 2**fmt.bits
    assert np.isfinite(found.scale).all()
    assert (found.scale != 0).all()
    if fmt.symmetric:
        assert (found.zero == fmt.middle).all()


@anyone
@everywhere
def test_it_is_no_worse_than_rounding_on_text_it_has_not_seen(
    method: Quantiser, fmt: Format
) -> None:
    weight, mixed = matrix(200), fed(1200)
    seen, unseen = mixed[:800], mixed[800:]
    found = method.prepare(hessian(seen)).quantise(weight, fmt)
    plain = round_to_nearest(weight, fmt)
    assert loss(weight, found, unseen) <= 1.1 * loss(weight, plain, unseen)


@anyone
def test_more_bits_lose_less(method: Quantiser) -> None:
    rounder, x = method.prepare(hessian(fed())), fed()
    losses = [
        loss(matrix(), rounder.quantise(matrix(), Format(bits, 32)), x) for bits in (2, 3, 4, 5, 6)
    ]
    assert all(a > 1.5 * b for a, b in pairwise(losses))


@anyone
@everywhere
def test_the_same_input_gives_the_same_codes_and_stays_as_it_was(
    method: Quantiser, fmt: Format
) -> None:
    weight, inputs = matrix(), hessian(fed())
    kept, kept_inputs = weight.clone(), inputs.clone()
    first = method.prepare(inputs).quantise(weight, fmt)
    again = method.prepare(inputs).quantise(weight, fmt)
    np.testing.assert_array_equal(first.codes, again.codes)
    np.testing.assert_array_equal(first.scale, again.scale)
    torch.testing.assert_close(weight, kept, rtol=0, atol=0)
    torch.testing.assert_close(inputs, kept_inputs, rtol=0, atol=0)


@anyone
def test_rows_do_not_depend_on_each_other(method: Quantiser) -> None:
    weight, rounder = matrix(), method.prepare(hessian(fed()))
    fmt = Format(4, 32)
    whole = dequantise(rounder.quantise(weight, fmt))
    parts = [dequantise(rounder.quantise(part, fmt)) for part in weight.split(8)]
    # Products of other sizes add up in another order, and a value half-way may go either way.
    same = (whole - torch.cat(parts)).abs() < 1e-6
    assert float(same.float().mean()) > 0.98


@anyone
def test_weights_in_16_bits_are_taken_too(method: Quantiser) -> None:
    found = method.prepare(hessian(fed())).quantise(matrix().bfloat16(), Format(4, 32))
    assert loss(matrix(), found, fed()) < 0.1


@anyone
@pytest.mark.parametrize("fmt", [Format(4, 32), Format(4, 32, levels="nl")], ids=str)
def test_an_embedding_has_no_inputs_and_is_rounded_all_the_same(
    method: Quantiser, fmt: Format
) -> None:
    found = method.prepare(None).quantise(matrix(), fmt)
    np.testing.assert_array_equal(found.codes, round_to_nearest(matrix(), fmt).codes)


@anyone
@pytest.mark.parametrize("alive", [0, 3, COLS - 5])
def test_inputs_that_never_fire_do_no_harm(method: Quantiser, alive: int) -> None:
    x = fed()
    x[:, alive:] = 0.0
    weight = matrix()
    back = dequantise(method.prepare(hessian(x)).quantise(weight, Format(4, 32)))
    assert bool(torch.isfinite(back).all())
    silent = (back - weight)[:, alive:]
    assert float(silent.square().mean()) < 0.03


@anyone
def test_fewer_texts_than_inputs_do_no_harm(method: Quantiser) -> None:
    x = fed(4)
    found = method.prepare(hessian(x)).quantise(matrix(), Format(4, 32))
    assert loss(matrix(), found, fed(seed=1)) < 0.1


@anyone
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_refused(method: Quantiser, bad: float) -> None:
    weight = matrix()
    weight[1, 3] = bad
    with pytest.raises(BrokenWeights, match="finite"):
        method.prepare(hessian(fed())).quantise(weight, Format(4, 32))
    with pytest.raises(BrokenWeights, match="finite"):
        method.prepare(torch.full((COLS, COLS), bad)).quantise(matrix(), Format(4, 32))


@anyone
def test_it_says_its_name(method: Quantiser) -> None:
    assert named(method.name).name == method.name


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no-such") as caught:
        named("no-such")
    assert "gptq" in str(caught.value.fix)
