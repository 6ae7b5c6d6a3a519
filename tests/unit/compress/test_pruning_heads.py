"""Attention heads taken out in groups that share keys and values; gradients that judge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, layers_of, random_decoder
from small_encoder import small_encoder

from negawatt.compress.inputs import input_statistics
from negawatt.compress.pruned import Cut
from negawatt.compress.pruning import Evidence, known, named, surgery
from negawatt.compress.pruning.answers import Answering, answering
from negawatt.compress.pruning.importances import refitted
from negawatt.compress.pruning.slopes import gate_slopes
from negawatt.core.errors import UnsupportedArchitecture, UsageError
from negawatt.models.architecture import blueprint

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3_text")
WINDOWS = np.random.default_rng(0).integers(3, VOCABULARY, (6, 24))
LOGITS = Answering("logits", "", keyed=True)
everyone = pytest.mark.parametrize("rule", [named(name) for name in known()], ids=list(known()))


def answers(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.from_numpy(WINDOWS), use_cache=False).logits
    return logits


def seen(model: Any, part: surgery.Part, rule: Any) -> Evidence:
    layers = layers_of(model)
    todo = [one for one in layers if one.name == part.reader]
    ((_, sums),) = input_statistics(model, layers, todo, WINDOWS)
    slopes = gate_slopes(model, LOGITS, [part.reader], WINDOWS) if rule.slopes else {}
    weight = model.get_submodule(part.reader).weight.detach()
    return Evidence(weight, sums[part.reader], slopes.get(part.reader))


@everyone
@pytest.mark.parametrize("family", FAMILIES)
def test_the_group_that_nobody_reads_goes_unseen(family: str, rule: Any) -> None:
    model = random_decoder(family)
    parts = surgery.attentions(model)
    assert [(part.block, part.width, part.group) for part in parts] == [(0, 64, 32), (1, 64, 32)]
    for part in parts:
        model.get_submodule(part.reader).weight[:, :32] = 0
    before = answers(model)
    for part in parts:
        evidence = seen(model, part, rule)
        kept = rule.choose(evidence, 32, part.group)
        assert kept.tolist() == list(range(32, 64))
        surgery.narrow(model, part, kept, refitted(evidence.weight, evidence.inputs, kept))
    surgery.told_heads(model, 1)
    torch.testing.assert_close(answers(model), before, rtol=1e-3, atol=1e-3)
    config = model.config
    told = (config.num_attention_heads, config.num_key_value_heads, config.head_dim)
    assert told == (2, 1, 16)
    plan = blueprint(config.to_dict())  # an ordinary configuration describes what is left
    assert all(tuple(model.state_dict()[name].shape) == one for name, one in plan.shapes.items())


@everyone
def test_channels_of_a_group_stay_together(rule: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(200, 24, generator=draw), torch.randn(5, 24, generator=draw)
    slopes = torch.randn(6, 24, generator=draw)
    kept = rule.choose(Evidence(weight, inputs.T @ inputs, slopes), 12, 4)
    assert len(kept) == 12
    assert kept[::4].tolist() == [one for one in kept.tolist() if one % 4 == 0]
    assert kept.tolist() == sorted(kept.tolist())


def test_what_others_can_say_for_it_is_the_head_that_goes() -> None:
    """Of two heads that carry the same one may go, however loud they are."""
    draw = torch.Generator().manual_seed(0)
    loud, quiet = torch.randn(300, 4, generator=draw), 0.3 * torch.randn(300, 4, generator=draw)
    inputs = torch.cat([3 * loud, quiet, 3 * loud], 1)
    evidence = Evidence(torch.eye(4).repeat(1, 3), inputs.T @ inputs)
    assert set(range(4, 8)) <= set(named("second-order").choose(evidence, 8, 4).tolist())
    assert not set(range(4, 8)) & set(named("wanda").choose(evidence, 8, 4).tolist())


def test_slopes_are_those_of_weight_times_gradient() -> None:
    """A gate before a column and the column itself: d loss / d gate = sum of w * d loss / d w."""
    model = random_decoder()
    part = surgery.feeds(model)[1]
    found = gate_slopes(model, LOGITS, [part.reader], WINDOWS[:1])[part.reader][0]
    weight = model.get_submodule(part.reader).weight.requires_grad_(requires_grad=True)
    tokens = torch.from_numpy(WINDOWS[:1])
    logits = model(input_ids=tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    torch.testing.assert_close(found, (weight * weight.grad).sum(0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "architecture", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"]
)
def test_encoders_have_slopes_and_no_heads_to_spare(architecture: str, tmp_path: Path) -> None:
    from negawatt.compress.pruning.folder import opened

    folder = small_encoder(tmp_path / "model", architecture)
    model = opened(folder)
    part = surgery.feeds(model)[0]
    slopes = gate_slopes(model, answering(model, folder), [part.reader], WINDOWS)[part.reader]
    assert slopes.shape == (len(WINDOWS), 96)
    assert float(slopes.abs().sum()) > 0
    with pytest.raises(UnsupportedArchitecture, match="head size"):
        surgery.attentions(model)


def test_shares_that_take_no_group_name_those_that_do() -> None:
    part = surgery.attentions(random_decoder())[0]
    assert surgery.groups_for(0.5, part) == 1
    with pytest.raises(UsageError) as refused:
        surgery.groups_for(0.9, part)
    assert "50%" in str(refused.value.fix)
    with pytest.raises(UsageError, match="heads"):
        Cut(heads=1.5)
