"""Interactions are believed as far as samples agree on them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from negawatt.compress.interactions import shrunk_fisher

Floats = npt.NDArray[np.float64]

GROUPS = [slice(0, 2), slice(2, 5), slice(5, 6)]


def scores(samples: int, shared: float, seed: int) -> Floats:
    """Six options; `shared` is how much of each is the same in all."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(samples, 1))
    return shared * common + random.normal(size=(samples, 6)) * np.arange(1, 7)


def between(fisher: Floats) -> Floats:
    inside = np.zeros(fisher.shape, dtype=bool)
    for group in GROUPS:
        inside[group, group] = True
    return fisher[~inside]


@given(st.integers(2, 60), st.floats(0, 3), st.integers(0, 2**20))
def test_it_is_a_covariance_and_what_options_share_within_a_layer_stays(
    samples: int, shared: float, seed: int
) -> None:
    found = scores(samples, shared, seed)
    plain, shrunk = found.T @ found / samples, shrunk_fisher(found, GROUPS)
    for group in GROUPS:
        np.testing.assert_array_equal(shrunk[group, group], plain[group, group])
    assert np.linalg.eigvalsh(shrunk).min() > -1e-9 * np.trace(shrunk)
    left = between(shrunk) / between(plain)
    assert np.ptp(left) < 1e-9
    assert 0 <= left[0] <= 1


def test_what_is_there_is_kept_and_noise_is_not() -> None:
    found = {}
    for shared in (0.0, 3.0):
        left = [
            between(shrunk_fisher(found_, GROUPS)).sum() / between(found_.T @ found_ / 200).sum()
            for found_ in (scores(200, shared, seed) for seed in range(30))
        ]
        found[shared] = float(np.mean(left))
    assert found[0.0] < 0.3
    assert found[3.0] > 0.9


def test_options_that_do_nothing_are_no_trouble() -> None:
    shrunk = shrunk_fisher(np.zeros((5, 6)), GROUPS)
    assert not shrunk.any()
