"""Slopes by gates foresee how far rounded inputs move an encoder's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_encoder import WORDS, small_encoder

from negawatt.compress.activations import input_grids, rounded_input
from negawatt.compress.harm import slopes
from negawatt.compress.mixed import inlets_of
from negawatt.core.records import Format
from negawatt.models.encoder import Ending, layers_of, load_encoder


def answers(model: Any, tokens: torch.Tensor, kind: Ending) -> torch.Tensor:
    with torch.no_grad():
        said = model(input_ids=tokens)
    if kind == "embedding":
        vector = said.last_hidden_state.mean(1)
        return vector / vector.norm(dim=-1, keepdim=True)
    return said.logits.log_softmax(-1).flatten(0, -2)


def distance(base: torch.Tensor, other: torch.Tensor, kind: Ending) -> float:
    if kind == "embedding":
        return float((1 - (base * other).sum(-1)).mean())
    return float((base.exp() * (base - other)).sum(-1).mean())


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("BertModel", "embedding"),
        ("DistilBertForSequenceClassification", "labels"),
        ("BertForMaskedLM", "tokens"),
    ],
)
def test_what_is_foreseen_is_what_rounding_does(
    architecture: str, kind: Ending, tmp_path: Path
) -> None:
    model = load_encoder(small_encoder(tmp_path / "model", architecture))
    tokens = np.random.default_rng(3).integers(5, WORDS, (16, 48))
    grids = input_grids(model, layers_of(model), tokens[:4], Format(8))
    # A coarse grid, so that the effect stands far above float32's own rounding.
    coarse = {
        name: type(grid)(8 * grid.low, 8 * grid.high, grid.factor) for name, grid in grids.items()
    }
    inlets = inlets_of(layers_of(model), coarse)
    assert len(inlets) == 8
    given = torch.from_numpy(tokens)
    before = answers(model, given, kind)
    scores = slopes(model, (inlets, coarse), tokens, (kind, "mean"), seed=1)
    assert scores.shape == (64, 8)
    assert torch.equal(answers(model, given, kind), before)  # the model is as it was
    foreseen = 0.5 * float(np.square(scores.sum(1)).mean())
    for inlet in inlets:
        for name in inlet.layers:
            model.get_submodule(name).register_forward_pre_hook(
                lambda _, x, grid=coarse[name]: (rounded_input(x[0], grid),)
            )
    measured = distance(before, answers(model, given, kind), kind)
    assert measured > 1e-6
    assert 0.5 < foreseen / measured < 2
    alone = 0.5 * np.square(scores).mean(0)
    assert (alone > 0).all()
