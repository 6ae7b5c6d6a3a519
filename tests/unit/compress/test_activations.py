"""How what enters a layer is rounded: the levels, the range, and factors between channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_encoder import WORDS, small_encoder

from negawatt.compress.activations import balanced, input_grids, rounded_input
from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import Format, InputGrid
from negawatt.models.encoder import layers_of, load_encoder

INT8 = Format(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("encoder"))


def windows(count: int = 4) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(1).integers(5, WORDS, (count, 24))


def test_zero_is_a_level_and_the_range_is_kept() -> None:
    grid = InputGrid(-1.0, 3.0)
    x = torch.tensor([[-9.0, -1.0, 0.0, 0.5, 3.0, 9.0]])
    found = rounded_input(x, InputGrid(-64 * grid.scale, 191 * grid.scale))
    assert float(found[0, 2]) == 0.0
    assert float(found[0, 0]) == pytest.approx(-64 * grid.scale)
    assert float(found[0, 5]) == pytest.approx(191 * grid.scale)
    assert abs(float(found[0, 3]) - 0.5) <= grid.scale / 2 + 1e-6


def test_every_layer_inside_gets_levels_and_those_of_one_input_share_them(folder: Path) -> None:
    model = load_encoder(folder)
    grids = input_grids(model, layers_of(model), windows(), INT8)
    assert len(grids) == 12
    assert not any(grid.factor for grid in grids.values())
    place = "encoder.layer.1.attention.self."
    assert grids[f"{place}query"] is grids[f"{place}key"] is grids[f"{place}value"]
    assert all(0 <= grid.zero <= 255 and grid.low <= 0 < grid.high for grid in grids.values())


def test_balancing_keeps_the_function_and_helps_where_a_channel_stands_out(folder: Path) -> None:
    model = load_encoder(folder)
    norm = model.encoder.layer[0].attention.output.LayerNorm
    reader = model.encoder.layer[0].intermediate.dense
    with torch.no_grad():  # one channel is forty times the others, and read forty times less
        norm.weight[3] *= 40
        reader.weight[:, 3] /= 40
    text = windows()
    name = "encoder.layer.0.intermediate.dense"
    given: list[torch.Tensor] = []
    handle = reader.register_forward_pre_hook(lambda _, x: given.append(x[0][0]))
    with torch.no_grad():
        wanted = model(input_ids=torch.from_numpy(text)).last_hidden_state
    handle.remove()
    x, weight = torch.cat(given), reader.weight.detach().clone()
    off = {}
    for balance in (False, True):
        grid = input_grids(model, layers_of(model), text, INT8, balance=balance)[name]
        scaled = weight * torch.tensor(grid.factor or (1.0,))
        codes = dequantise(round_to_nearest(scaled, INT8))
        off[balance] = float((rounded_input(x, grid) @ codes.T - x @ weight.T).square().sum())
        assert bool(grid.factor) == balance
    assert off[True] < 0.5 * off[False]
    balanced(model, input_grids(model, layers_of(model), text, INT8, balance=True))
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(text)).last_hidden_state
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_layer_that_is_fed_no_numbers_is_named(folder: Path) -> None:
    model = load_encoder(folder)
    with torch.no_grad():
        model.encoder.layer[1].attention.output.LayerNorm.weight[0] = torch.nan
    with pytest.raises(BrokenWeights, match=r"layer\.1\.intermediate"):
        input_grids(model, layers_of(model), windows(), INT8)
