"""Formats are kept for what they save and what they spoil."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from small_decoder import layers_of, random_decoder

from negawatt.compress.formats import local_bargains, rounding_error, shortlist
from negawatt.core.records import Format

HAVEN = Format(8)
NARROW = [Format(4, g, symmetric=s) for g in (32, 64, 128) for s in (True, False)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = random_decoder()
    save_file(
        {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    return tmp_path


def test_finer_formats_err_less(folder: Path) -> None:
    layers = layers_of(random_decoder())
    formats = [Format(8), Format(5, 32), Format(4, 32), Format(4), Format(3, 32)]
    found = rounding_error(folder, layers, formats)
    errors = [found[fmt] for fmt in formats]
    assert errors == sorted(errors)
    assert errors[0] < 1e-3
    assert 1e-3 < errors[2] < 0.03


def test_what_fits_no_layer_is_left_out(folder: Path) -> None:
    layers = layers_of(random_decoder())
    assert Format(4, 128) not in rounding_error(folder, layers, [Format(8), Format(4, 128)])


@given(
    st.lists(st.tuples(st.floats(0.1, 12), st.floats(1e-3, 0.1)), min_size=6, max_size=6),
    st.integers(1, 7),
)
def test_the_haven_leads_and_nothing_kept_costs_more(
    figures: list[tuple[float, float]], most: int
) -> None:
    energy = {HAVEN: 10.0} | {f: e for f, (e, _) in zip(NARROW, figures, strict=True)}
    error = {HAVEN: 1e-4} | {f: e for f, (_, e) in zip(NARROW, figures, strict=True)}
    kept = shortlist(HAVEN, energy, error, most=most)
    assert kept[0] == HAVEN
    assert len(kept) == len(set(kept)) <= most
    saving = [fmt for fmt in NARROW if energy[fmt] < energy[HAVEN]]
    if saving:
        assert all(energy[fmt] < energy[HAVEN] for fmt in kept[1:])
    elif most > 1:  # nothing saves: the cheapest is compared all the same
        assert kept[1:] == (min(NARROW, key=energy.__getitem__),)
    bargains = [(energy[HAVEN] - energy[fmt]) / error[fmt] for fmt in kept[1:]]
    assert bargains == sorted(bargains, reverse=True)


def test_uneven_levels_take_the_place_of_even_ones_where_they_cost_the_same() -> None:
    even, uneven, five = Format(4, 32), Format(4, 32, levels="nl"), Format(5, 32)
    error = {HAVEN: 1e-4, even: 0.008, uneven: 0.006, five: 0.002}
    kept = shortlist(HAVEN, {HAVEN: 10.0, even: 6.0, uneven: 6.1, five: 11.0}, error, most=3)
    assert kept == (HAVEN, uneven)
    kept = shortlist(HAVEN, {HAVEN: 10.0, even: 6.0, uneven: 7.0, five: 11.0}, error, most=3)
    assert set(kept) == {HAVEN, uneven, even}
    size = {fmt: fmt.bytes(64, 64) for fmt in error}
    assert shortlist(HAVEN, size, error, most=3) == (HAVEN, five, uneven)


@pytest.mark.parametrize(
    ("cost", "coarse", "found"),
    [(1.7, 1.1, True), (1.9, 1.1, False), (1.7, 2.0, False)],
    ids=["much cheaper", "hardly cheaper", "much coarser"],
)
def test_a_format_of_some_layers_is_searched_where_it_is_much_cheaper(
    cost: float, coarse: float, found: bool
) -> None:
    kept, local = [HAVEN, Format(4, 32)], Format(4, 32, symmetric=False, nested=8)
    energy = {
        576: {HAVEN: 10.0, Format(4, 32): 6.0},
        1536: {HAVEN: 3.0, Format(4, 32): 2.0, local: cost},
        100: {},
    }
    error = {HAVEN: 1e-4, Format(4, 32): 0.01, local: 0.01 * coarse}
    assert local_bargains(kept, energy, error) == ([local] if found else [])
