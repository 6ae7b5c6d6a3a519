from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import TextError
from negawatt.models.interval import block_mean, wilson


def test_the_interval_is_students_for_blocks_of_one_size() -> None:
    from scipy import stats

    values = np.random.default_rng(0).normal(size=(4, 128))
    blocks = values.reshape(8, 64).mean(axis=1)
    expected = stats.t.interval(0.95, 7, blocks.mean(), stats.sem(blocks))
    mean, low, high = block_mean(values)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(expected)


def test_short_last_blocks_count_by_their_tokens() -> None:
    values = np.zeros((3, 70))
    values[:, 64:] = 7.0
    assert block_mean(values)[0] == pytest.approx(values.mean())


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2_000, 64 * 12))
    drift = np.repeat(rng.normal(size=(2_000, 12)), 64, axis=1)  # neighbours alike
    inside = 0
    for row in noise + drift:
        _, low, high = block_mean(row.reshape(2, -1))
        inside += low <= 0 <= high
    assert 0.93 <= inside / 2_000 <= 0.97


def test_one_block_tells_no_spread() -> None:
    with pytest.raises(TextError, match="63 scored tokens"):
        block_mean(np.zeros((1, 63)))


@given(trials=st.integers(1, 500), data=st.data())
def test_a_share_lies_in_its_interval_and_that_in_zero_to_one(
    trials: int, data: st.DataObject
) -> None:
    successes = data.draw(st.integers(0, trials))
    share, low, high = wilson(successes, trials)
    assert 0 <= low <= share <= high <= 1
    mirrored = wilson(trials - successes, trials)
    assert (1 - mirrored[2], 1 - mirrored[1]) == pytest.approx((low, high))


def test_wilson_agrees_with_a_published_value() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263, method 3.
    assert wilson(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_no_share_of_nothing(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, trials)
