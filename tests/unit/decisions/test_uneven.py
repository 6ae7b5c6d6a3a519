"""A slice that loses more is found, and one that only looks so is not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from negawatt.decisions.uneven import Moments, holm, uneven
from negawatt.models.interval import block_moments


def drawn(means: list[float], texts: int, seed: int) -> list[Moments]:
    random = np.random.default_rng(seed)
    return [
        Moments(*block_moments(random.normal(mean, 1.0, (1, texts)), block=1)) for mean in means
    ]


def test_two_slices_are_compared_as_welch_compares_two_samples() -> None:
    random = np.random.default_rng(3)
    one, other = random.normal(0.3, 1.0, 40), random.normal(0.0, 3.0, 70)
    moments = [Moments(*block_moments(values[None], block=1)) for values in (one, other)]
    expected = ttest_ind(one, other, equal_var=False, alternative="greater")
    found = uneven(moments)
    raw = found[0].p / 2 if found[0].p <= found[1].p else found[0].p  # Holm doubles the smaller
    assert raw == pytest.approx(float(expected.pvalue), rel=1e-9)
    assert found[0].value == pytest.approx((one.mean() - other.mean()) / 2)


def test_equal_slices_raise_no_more_false_alarms_than_promised() -> None:
    alarms = sum(
        any(one.p < 0.05 for one in uneven(drawn([0.0] * 5, 30, seed))) for seed in range(400)
    )
    assert alarms <= 35  # of 400; 20 are allowed on average, and 35 by the luck of the draw


def test_a_slice_that_is_hit_stands_out_and_no_other_does() -> None:
    found = uneven(drawn([0.0, 0.0, 0.8, 0.0], 200, 1))
    assert [one.p < 0.05 for one in found] == [False, False, True, False]
    assert found[2].low > 0


def test_what_never_varies_is_sure() -> None:
    found = uneven([Moments(0.0, 0.0, 9), Moments(1.0, 0.0, 9)])
    assert [one.p for one in found] == [1.0, 0.0]


def test_one_slice_has_no_company() -> None:
    with pytest.raises(ValueError, match="one slice"):
        uneven([Moments(0.0, 1.0, 9)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_correction_raises_every_chance_and_keeps_their_order(chances: list[float]) -> None:
    found = holm(chances)
    assert all(raw <= new <= 1 for raw, new in zip(chances, found, strict=True))
    order = np.argsort(chances, kind="stable")
    assert all(found[a] <= found[b] for a, b in pairwise(order))
