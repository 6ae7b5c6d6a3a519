"""Channels and blocks taken out: what stays is an ordinary model that computes nearly the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, random_decoder

from negawatt.compress.pruned import Cut
from negawatt.compress.pruning import Evidence, known, named, surgery
from negawatt.compress.pruning.importances import refitted
from negawatt.compress.pruning.taking import shorter
from negawatt.core.errors import BrokenWeights, UsageError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3_text")
everyone = pytest.mark.parametrize("rule", [named(name) for name in known()], ids=list(known()))


def tokens() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(3, VOCABULARY, (2, 24)))


def answers(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=tokens(), use_cache=False).logits
    return logits


def fed(rows: int = 400, cols: int = 24, dead: int = 0) -> torch.Tensor:
    """Inputs in which a few directions carry nearly everything."""
    draw = torch.Generator().manual_seed(2)
    inputs = torch.randn(rows, 10, generator=draw) @ torch.randn(10, cols, generator=draw)
    inputs = inputs + 0.1 * torch.randn(rows, cols, generator=draw)
    inputs[:, :dead] = 0
    return inputs


def seen(weight: torch.Tensor, sums: torch.Tensor) -> Evidence:
    """With slopes as those of a loss that feels every output alike."""
    drawn = torch.randn(8, weight.shape[1], generator=torch.Generator().manual_seed(3))
    return Evidence(weight, sums, drawn * (weight.norm(dim=0) * sums.diagonal().sqrt()))


# ------------------------------------------------------------------ every importance


@everyone
def test_it_chooses_as_many_as_asked_in_order(rule: Any) -> None:
    inputs, weight = fed(), torch.randn(5, 24, generator=torch.Generator().manual_seed(1))
    for keep in (1, 7, 24):
        kept = rule.choose(seen(weight, inputs.T @ inputs), keep)
        assert kept.dtype == torch.int64
        assert len(kept) == keep
        assert kept.tolist() == sorted(set(kept.tolist()))


@everyone
def test_columns_that_are_nothing_go_first(rule: Any) -> None:
    inputs, weight = fed(), torch.randn(5, 24, generator=torch.Generator().manual_seed(1))
    weight[:, [3, 11]] = 0
    assert not {3, 11} & set(rule.choose(seen(weight, inputs.T @ inputs), 22).tolist())


@everyone
def test_dead_inputs_and_singular_sums_do_no_harm(rule: Any) -> None:
    inputs, weight = fed(dead=6), torch.ones(5, 24)
    sums = inputs.T @ inputs
    kept = rule.choose(seen(weight, sums), 12)
    assert len(kept) == 12
    assert torch.isfinite(refitted(weight, sums, kept)).all()
    assert len(rule.choose(seen(weight, torch.zeros(24, 24)), 12)) == 12


def test_rules_that_look_at_the_inputs_leave_out_what_never_fires() -> None:
    inputs, weight = fed(dead=6), torch.ones(5, 24)
    for name in ("wanda", "second-order"):
        kept = named(name).choose(seen(weight, inputs.T @ inputs), 12)
        assert min(kept.tolist()) >= 6, name


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(BrokenWeights):
        refitted(torch.ones(5, 24), torch.full((24, 24), torch.nan), torch.arange(12))


def test_fitting_what_stays_anew_undoes_most_of_the_damage() -> None:
    inputs, weight = fed(), torch.randn(5, 24, generator=torch.Generator().manual_seed(1))
    sums = inputs.T @ inputs
    lost = {}
    for name in known():
        kept = named(name).choose(seen(weight, sums), 14)
        wanted = inputs @ weight.T
        plain = inputs[:, kept] @ weight[:, kept].T
        fitted = inputs[:, kept] @ refitted(weight, sums, kept).T
        lost[name] = float((fitted - wanted).square().sum() / (plain - wanted).square().sum())
    assert max(lost.values()) < 0.1, lost


# ------------------------------------------------------------------ surgery


@pytest.mark.parametrize("family", FAMILIES)
def test_channels_that_carry_nothing_can_go_unseen(family: str) -> None:
    model = random_decoder(family)
    parts = surgery.feeds(model)
    assert [part.block for part in parts] == [0, 1]
    kept = torch.arange(0, 96, 2)
    for part in parts:
        weight = model.get_submodule(part.reader).weight
        weight[:, 1::2] = 0
    before = answers(model)
    for part in parts:
        columns = model.get_submodule(part.reader).weight[:, kept].clone()
        surgery.narrow(model, part, kept, columns)
    surgery.told_width(model, 48)
    torch.testing.assert_close(answers(model), before, rtol=1e-4, atol=1e-4)
    again = type(model)(model.config)  # the configuration describes what is left
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_block_that_does_nothing_is_the_one_that_goes(family: str) -> None:
    model = random_decoder(family, num_hidden_layers=3)
    for name, value in model.named_parameters():
        if ".layers.1." in name and value.ndim > 1:
            value.zero_()
    before = answers(model)
    gone = surgery.dispensable(model, 1, lambda: float((answers(model) - before).square().mean()))
    torch.testing.assert_close(answers(model), before)  # trying changes nothing
    assert gone == [1]
    surgery.without(model, gone)
    assert model.config.num_hidden_layers == len(surgery.blocks_of(model)) == 2
    torch.testing.assert_close(answers(model), before, rtol=1e-4, atol=1e-4)
    again = type(model)(model.config)
    assert set(again.state_dict()) == set(model.state_dict())


def test_what_cannot_be_is_refused_with_the_way_out() -> None:
    model = random_decoder()
    for count in (-1, 2, 5):
        with pytest.raises(UsageError, match="blocks"):
            surgery.dispensable(model, count, lambda: 0.0)
    for share in (0.0, 1.5, -1.0):
        with pytest.raises(UsageError, match="share"):
            Cut(ffn=share)
    with pytest.raises(UsageError, match="nothing"):
        Cut()


def test_short_windows_keep_their_marks() -> None:
    windows = np.arange(40).reshape(2, 20)
    cut = shorter(windows, 8)
    assert cut.shape == (6, 8)
    assert set(cut[:, 0]) == {0, 20}
    assert set(cut[:, -1]) == {19, 39}
    assert shorter(windows, 20) is windows
