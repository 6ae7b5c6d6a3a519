"""Layers over unlike devices in a row, beside every cut there is."""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.decisions.split import Chain, Cut, cut, quickest


def every(chain: Chain) -> list[Cut]:
    """All cuts that fit."""
    devices, layers = chain.joules.shape
    found = []
    for inner in combinations_with_replacement(range(layers + 1), devices - 1):
        ends = (0, *inner, layers)
        joules = slowest = 0.0
        fits = True
        for device, (first, after) in enumerate(pairwise(ends)):
            if after == first:
                continue
            sent = first > 0
            joules += chain.joules[device, first:after].sum() + chain.on_joules[device]
            joules += sent * chain.send_joules
            lasts = chain.seconds[device, first:after].sum() + sent * chain.send_s
            slowest = max(slowest, lasts)
            fits &= chain.stored[first:after].sum() <= chain.room[device]
        if fits:
            found.append(Cut(ends=ends, joules=float(joules), slowest_s=float(slowest)))
    return found


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    devices, layers = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    whole = st.integers(0, 9)

    def table(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        size = int(np.prod(shape))
        values = draw(st.lists(whole, min_size=size, max_size=size))
        return np.array(values, dtype=float).reshape(shape)

    return Chain(
        joules=table(devices, layers), seconds=table(devices, layers), stored=table(layers),
        room=2 * table(devices), send_joules=draw(whole), send_s=draw(whole), on_joules=table(devices),
    )  # fmt: skip


@settings(max_examples=200)
@given(chain=chains(), limit=st.integers(0, 60))
def test_no_cut_takes_less(chain: Chain, limit: int) -> None:
    able = [one for one in every(chain) if one.slowest_s <= limit]
    found = cut(chain, float(limit))
    assert (found is None) == (not able)
    if found is not None:
        assert found.joules == pytest.approx(min(one.joules for one in able))
        assert found.slowest_s <= limit
        assert found.ends in {one.ends for one in able}


@settings(max_examples=200)
@given(chain=chains())
def test_no_cut_is_quicker(chain: Chain) -> None:
    able, found = every(chain), quickest(chain)
    assert (found is None) == (not able)
    if found is not None:
        least = min(one.slowest_s for one in able)
        assert found.slowest_s == pytest.approx(least)
        assert found.joules == pytest.approx(
            min(one.joules for one in able if one.slowest_s <= least + 1e-9)
        )


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(UsageError, match="stored has the shape"):
        Chain(
            joules=np.ones((2, 3)), seconds=np.ones((2, 3)), stored=np.ones(2),
            room=np.ones(2), send_joules=0.0, send_s=0.0, on_joules=np.ones(2),
        )  # fmt: skip
