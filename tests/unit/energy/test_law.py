from __future__ import annotations

from collections.abc import Sequence

import pytest
from engine_sample import BF16, INT4, INT8, lawful
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.records import Format
from negawatt.energy.costs import CostRow, Shape
from negawatt.energy.law import fit

#: What one model consists of: all have a side of 576, so they cannot tell three prices apart.
MODEL = [Shape(192, 576), Shape(576, 576), Shape(1536, 576), Shape(576, 1536), Shape(8192, 576)]
SHAPES = [*MODEL[:4], Shape(2048, 2048)]
ELSEWHERE = [Shape(64, 64), Shape(320, 960), Shape(4096, 4096), Shape(128_000, 2048)]


def rows(
    fmt: Format, tokens: int, shapes: Sequence[Shape] = SHAPES, *, wrong: float = 1.0
) -> list[CostRow]:
    found = []
    for i, shape in enumerate(shapes):
        cpu_s = lawful(shape.rows, shape.cols, fmt, tokens) * (wrong if i % 2 else 1.0)
        found.append(CostRow(shape, fmt, 1, tokens, cpu_s, cpu_s, cpu_s))
    return found


@pytest.mark.parametrize("fmt", [BF16, INT8, INT4, Format(4, 0)], ids=str)
@pytest.mark.parametrize("tokens", [1, 8, 128])
def test_a_lawful_engine_is_told_without_error(fmt: Format, tokens: int) -> None:
    law = fit(rows(fmt, tokens))
    for shape in ELSEWHERE:
        assert law.row(shape).cpu_s == pytest.approx(
            lawful(shape.rows, shape.cols, fmt, tokens), rel=1e-2
        )


@pytest.mark.parametrize("shapes", [SHAPES, MODEL], ids=["many", "one model"])
@pytest.mark.parametrize("fmt", [BF16, INT8, INT4, Format(4, 0)], ids=str)
@pytest.mark.parametrize("tokens", [1, 128])
def test_the_interval_of_a_lawful_engine_holds_the_truth(
    fmt: Format, tokens: int, shapes: list[Shape]
) -> None:
    law = fit(rows(fmt, tokens, shapes))
    for shape in ELSEWHERE:
        true = lawful(shape.rows, shape.cols, fmt, tokens)
        found = law.row(shape)
        assert found.low <= found.cpu_s <= found.high
        assert found.low <= true * (1 + 1e-4)
        assert true * (1 - 1e-4) <= found.high


def test_further_from_what_was_measured_is_less_sure() -> None:
    law = fit(rows(BF16, 128, MODEL))  # nothing off its one side of 576 was seen
    near, far = (law.row(shape) for shape in (Shape(1024, 576), Shape(64, 64)))
    assert near.high / near.low < 1.001
    assert far.high / far.low > 1.5


@given(error=st.floats(0.5, 2.0))
def test_the_interval_holds_every_product_it_was_fitted_to(error: float) -> None:
    measured = rows(INT8, 1, wrong=error)
    law = fit(measured)
    for row in measured:
        told = law.row(row.shape)
        assert told.low <= row.cpu_s * (1 + 1e-9)
        assert row.cpu_s <= told.high * (1 + 1e-9)


@given(
    prices=st.lists(st.floats(1e-6, 1e-2), min_size=5, max_size=5),
    shape=st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)),
    more=st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)),
)
def test_a_larger_product_never_costs_less_whatever_was_measured(
    prices: list[float], shape: tuple[int, int], more: tuple[int, int]
) -> None:
    law = fit([CostRow(s, INT4, 1, 1, p, p, p) for s, p in zip(SHAPES, prices, strict=True)])
    assert min(law.per_operation, law.per_byte, law.fixed) >= 0
    small = law.cpu_s(*shape)
    large = law.cpu_s(shape[0] + more[0], shape[1] + more[1])
    assert 0 <= small <= large * (1 + 1e-12)


def test_the_law_is_smooth_between_whole_sizes() -> None:
    law = fit(rows(INT4, 1))
    left, middle, right = (law.cpu_s(1000.0 + step, 512.0) for step in (-0.5, 0.0, 0.5))
    assert right - middle == pytest.approx(middle - left)  # bilinear: no steps
    assert right > middle


def test_two_shapes_are_too_few() -> None:
    with pytest.raises(UsageError, match="too few"):
        fit(rows(INT8, 1)[:2])
