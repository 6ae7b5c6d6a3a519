"""Codes stand for weights no further away than their format must leave them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from negawatt.compress.levels import Levels
from negawatt.compress.quantise import dequantise, fit_grid, kept, round_to_nearest
from negawatt.core.errors import BrokenWeights
from negawatt.core.levels import TABLES
from negawatt.core.records import Format, QuantisedWeight

FORMATS = [
    Format(bits, group, symmetric=symmetric)
    for bits, group in [
        (8, 0),
        (8, 32),
        (6, 16),
        (5, 32),
        (4, 0),
        (4, 16),
        (4, 32),
        (3, 16),
        (2, 16),
    ]
    for symmetric in (True, False)
] + [Format(4, group, levels="nl") for group in (16, 32)]
BY_NAME = [fmt.name for fmt in FORMATS]
NESTED = [Format.parse(name) for name in ("int6-g16x16-sym", "int4-g32x8-asym", "nl4-g32x8")]
LEAST_SCALE = 2.0**-24  # the smallest number that 16 bits hold, and their step down there

anyone = pytest.mark.parametrize("fmt", FORMATS, ids=BY_NAME)
some_format = st.sampled_from(FORMATS)


@st.composite
def matrices(draw: st.DrawFn) -> Tensor:
    """Up to 5 rows of 32, 64 or 96 values between rounding dust and a few hundred."""
    shape = draw(st.integers(1, 5)), 32 * draw(st.integers(1, 3))
    values = st.floats(-1, 1, width=32)
    scale = 10.0 ** draw(st.integers(-6, 2))
    return torch.from_numpy(draw(arrays(np.float32, shape, elements=values))) * scale


def grouped(values: Tensor, fmt: Format) -> Tensor:
    return values.reshape(values.shape[0], -1, fmt.group or values.shape[1])


@given(matrices(), some_format)
def test_every_group_is_as_close_as_plain_rounding_would_be(weight: Tensor, fmt: Format) -> None:
    groups = grouped(weight, fmt)
    if fmt.symmetric:
        # The far end of the short side of the codes may be a whole step away.
        top, most = 2 ** (fmt.bits - 1) - (fmt.bits == 8), 0.5 if fmt.bits == 8 else 1.0
        step = groups.abs().amax(-1) / top
    else:
        high, low = groups.amax(-1).clamp_min(0), groups.amin(-1).clamp_max(0)
        step, most = (high - low) / (2**fmt.bits - 1), 0.5
    # Scales are kept in 16 bits: off by a share of 2^-11, or by half of their last digit.
    off = torch.maximum(step * 2**-11, torch.tensor(LEAST_SCALE))
    bound = most * step + off * 2**fmt.bits

    error = grouped(dequantise(round_to_nearest(weight, fmt)) - weight, fmt)

    assert bool((error.square().mean(-1).sqrt() <= bound * 1.001).all())


@given(matrices(), some_format)
def test_codes_scales_and_zeros_have_their_shapes_types_and_ranges(
    weight: Tensor, fmt: Format
) -> None:
    found = round_to_nearest(weight, fmt)
    groups = (weight.shape[0], weight.shape[1] // (fmt.group or weight.shape[1]))

    assert (found.codes.dtype, found.codes.shape) == (np.uint8, tuple(weight.shape))
    assert (found.scale.dtype, found.scale.shape) == (np.float16, groups)
    assert (found.zero.dtype, found.zero.shape) == (np.uint8, groups)
    assert found.codes.max() < 2**fmt.bits
    assert found.zero.max() < 2**fmt.bits
    assert np.isfinite(found.scale).all()
    assert (found.scale != 0).all()
    if fmt.symmetric:
        assert (found.zero == fmt.middle).all()


@given(matrices(), st.sampled_from([fmt for fmt in FORMATS if fmt.symmetric]))
def test_a_symmetric_format_does_not_care_which_sign_is_which(weight: Tensor, fmt: Format) -> None:
    weight = weight / weight.abs().amax().clamp_min(1e-3)  # scales as fine as 16 bits can be
    groups = weight.reshape(weight.shape[0], -1, fmt.group or weight.shape[1])
    tied = (groups.amax(-1) == -groups.amin(-1)) & (groups.amax(-1) > 0)
    assume(bool((~tied | (groups.sum(-1).abs() > 1e-5)).all()))  # else neither sign is the better
    plain = dequantise(round_to_nearest(weight, fmt)) - weight
    mirrored = dequantise(round_to_nearest(-weight, fmt)) + weight
    torch.testing.assert_close(plain.square().sum(), mirrored.square().sum(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_a_lone_extreme_keeps_its_value_whatever_its_sign(bits: int, sign: float) -> None:
    weight = torch.zeros(1, 32)
    weight[0, 7] = sign
    error = dequantise(round_to_nearest(weight, Format(bits, 32))) - weight
    assert float(error.abs().max()) < 1e-3


@anyone
@settings(max_examples=20)
@given(data=st.data())
def test_weights_already_on_a_grid_come_back_exactly(fmt: Format, data: st.DataObject) -> None:
    rows, cols = 3, 96
    draw = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    codes = draw.integers(0, 2**fmt.bits, (rows, cols))
    groups = codes.reshape(rows, -1, fmt.group or cols)
    groups[..., 0] = 1 if fmt.bits == 8 and fmt.symmetric else 0  # both ends of the range are used
    groups[..., 1] = 2**fmt.bits - 1
    if fmt.bits == 8 and fmt.symmetric:
        groups.clip(1, 255, out=groups)
    zero = np.full(groups.shape[:2], fmt.middle)
    if not fmt.symmetric:
        zero = draw.integers(0, 2**fmt.bits, groups.shape[:2])
    scale = draw.uniform(1e-3, 1e-1, groups.shape[:2]).astype(np.float16).astype(np.float32)
    levels = np.array(TABLES[fmt.levels])[groups] if fmt.levels else groups
    weight = torch.from_numpy(
        ((levels - zero[..., None]) * scale[..., None]).astype(np.float32).reshape(rows, cols)
    )

    back = dequantise(round_to_nearest(weight, fmt))

    torch.testing.assert_close(back, weight, rtol=1e-6, atol=1e-9)


@anyone
@pytest.mark.parametrize("value", [0.0, 0.7, -0.7, 1e-9, -1e-9])
def test_constant_rows_have_a_scale_and_come_back(fmt: Format, value: float) -> None:
    weight = torch.full((2, 32), value)
    found = round_to_nearest(weight, fmt)
    assert (found.scale != 0).all()
    assert float((dequantise(found) - weight).abs().max()) <= max(1e-3 * abs(value), LEAST_SCALE)


@anyone
def test_weights_too_large_for_16_bit_scales_are_refused(fmt: Format) -> None:
    weight = torch.full((2, 32), 1e9)
    weight[0, 0] = -1e9
    with pytest.raises(BrokenWeights, match="large"):
        round_to_nearest(weight, fmt)


@anyone
def test_the_largest_weights_that_scales_can_hold_are_kept(fmt: Format) -> None:
    reach = 65_000.0 * (2 ** (fmt.bits - 1) - 1)
    weight = torch.linspace(-reach, reach, 64).reshape(2, 32)
    error = dequantise(round_to_nearest(weight, fmt)) - weight
    assert float(error.abs().max()) <= 1.01 * 65_504


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    weight = torch.ones(2, 32)
    weight[1, 3] = bad
    with pytest.raises(BrokenWeights, match="finite"):
        round_to_nearest(weight, Format(8))


def test_the_weight_given_is_left_as_it_was() -> None:
    weight = torch.randn(4, 64)
    kept = weight.clone()
    round_to_nearest(weight, Format(4, 32))
    torch.testing.assert_close(weight, kept, rtol=0, atol=0)


def test_important_columns_are_rounded_better_than_others() -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(64, 32, generator=generator) ** 3  # heavy tails: clipping pays
    importance = torch.ones(32)
    importance[:8] = 1000.0
    plain = round_to_nearest(weight, Format(3))
    weighted = round_to_nearest(weight, Format(3), importance)

    def error(found: QuantisedWeight) -> float:
        return float((dequantise(found) - weight)[:, :8].square().sum())

    assert error(weighted) < 0.9 * error(plain)


@given(matrices(), some_format)
def test_a_grid_has_whole_zero_points_inside_the_codes(weight: Tensor, fmt: Format) -> None:
    _, zero = fit_grid(weight, fmt)
    assert bool((zero == zero.round()).all())
    assert bool(((zero >= 0) & (zero < 2**fmt.bits)).all())


def test_uneven_levels_are_told_apart_by_the_sign_of_their_scale() -> None:
    """They reach further on one side: the heavier tail goes there, whichever sign it has."""
    fmt = Format(4, 32, levels="nl")
    weight = torch.linspace(-1, 1, 64).pow(3).reshape(2, 32)
    found = [round_to_nearest(sign * weight, fmt) for sign in (1.0, -1.0)]
    assert (found[0].scale > 0).tolist() == (found[1].scale < 0).tolist()
    torch.testing.assert_close(dequantise(found[0]), -dequantise(found[1]))


def test_uneven_levels_lose_less_where_most_weights_are_small() -> None:
    weight = torch.randn(256, 64, generator=torch.Generator().manual_seed(3))
    even, uneven = Format(4, 32), Format(4, 32, levels="nl")
    lost = [
        float((dequantise(round_to_nearest(weight, fmt)) - weight).square().mean())
        for fmt in (uneven, even)
    ]
    assert lost[0] < 0.85 * lost[1]


@given(st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=40))
def test_a_value_goes_to_the_nearest_uneven_level(values: list[float]) -> None:
    levels, table = Levels(Format(4, 32, levels="nl")), torch.tensor(TABLES["nl"]).float()
    given_ = torch.tensor(values)
    found = levels.snap(given_.clone())
    assert bool(torch.isin(found, table).all())
    off = (given_[:, None] - table).abs().amin(1)
    torch.testing.assert_close((found - given_).abs(), off, rtol=0, atol=0)
    torch.testing.assert_close(levels.of(levels.codes(found), torch.float32), found)


@given(data=st.data(), fmt=st.sampled_from(NESTED))
def test_nested_scales_are_the_nearest_multiples_that_16_bits_hold(
    data: st.DataObject, fmt: Format
) -> None:
    size = st.floats(LEAST_SCALE, 65504.0, width=32) | st.floats(2.0**-7, 2.0**-3, width=32)
    wanted = torch.from_numpy(data.draw(arrays(np.float32, (2, fmt.nested), elements=size)))
    signs = data.draw(arrays(np.float32, (2, fmt.nested), elements=st.sampled_from([1, -1])))
    if not fmt.has_minimum:
        wanted *= torch.from_numpy(signs)
    found = kept(wanted, fmt)
    assert torch.equal(found.half().float(), found)
    whole = (found.double() * 2.0**24).long()
    unit = torch.from_numpy(np.gcd.reduce(whole.numpy(), axis=-1))[:, None]
    assert int((whole // unit).abs().max()) <= fmt.most_multiples
    # Of the numbers that reach the largest it is the least one, rounded up.
    digits = 11 - fmt.most_multiples.bit_length()
    held = wanted.half().float()  # what a format without multiples would keep
    largest = held.abs().amax(-1, keepdim=True)
    least = largest / fmt.most_multiples
    rounded_up = (least / LEAST_SCALE).ceil() * LEAST_SCALE  # near zero 16 bits have no more digits
    step = torch.maximum(least * (1 + 2.0 ** (1 - digits)), rounded_up)
    bearable = (step / 2).clamp_min(LEAST_SCALE)
    near = ((found - held).abs() <= bearable * 1.001) | (found.abs() <= step)
    # Beyond what 16 bits hold there is nothing to go to.
    assert bool((near | (largest > 65504.0 - 2 * step)).all())
    assert torch.equal(found.sign(), wanted.sign())
