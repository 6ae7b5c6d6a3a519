"""What a decision rests on: checked against what the model itself says when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import random_decoder
from small_encoder import small_encoder

from negawatt.core.errors import NumericsGateFailed
from negawatt.models.agreement import agreements, overlap, rank, same_choice
from negawatt.models.attribution import Attributed, attribute
from negawatt.models.opening import open_model
from negawatt.models.probes import Probe

TEXTS = [Probe((1, 5, 9, 40, 7, 33), "one"), Probe((1, 80, 2, 2, 11, 60), "two")]


@pytest.fixture(scope="module")
def decoder() -> Any:
    return random_decoder()


@pytest.fixture(scope="module")
def found(decoder: Any) -> Attributed:
    return attribute(decoder, TEXTS, (None, "mean"))


def log_chance(model: Any, vectors: torch.Tensor, choice: int) -> float:
    with torch.no_grad():
        return float(model(inputs_embeds=vectors).logits[0, -1].log_softmax(-1)[choice])


def test_the_choice_is_the_models_own(decoder: Any, found: Attributed) -> None:
    for probe, choice in zip(TEXTS, found.choices, strict=True):
        with torch.no_grad():
            logits = decoder(input_ids=torch.tensor([probe.tokens])).logits
        assert int(logits[0, -1].argmax()) == choice


def test_gradients_add_up_to_what_the_text_changes(decoder: Any, found: Attributed) -> None:
    table = decoder.get_input_embeddings().weight
    for probe, choice, values, gap in zip(
        TEXTS, found.choices, found.gradients, found.gaps, strict=True
    ):
        vectors = table[list(probe.tokens)][None]
        nothing = table.mean(0).expand_as(vectors)
        change = log_chance(decoder, vectors, choice) - log_chance(decoder, nothing, choice)
        assert abs(sum(values) - change) == pytest.approx(gap * abs(change), abs=1e-4)
        assert gap <= 0.1


def test_leaving_a_token_out_costs_what_it_costs(decoder: Any, found: Attributed) -> None:
    table = decoder.get_input_embeddings().weight
    vectors = table[list(TEXTS[0].tokens)][None]
    whole = log_chance(decoder, vectors, found.choices[0])
    for place, value in enumerate(found.left_out[0]):
        without = vectors.clone()
        without[0, place] = table.mean(0)
        expected = whole - log_chance(decoder, without, found.choices[0])
        assert value == pytest.approx(expected, abs=1e-4)


def test_another_model_explains_the_bases_choice(decoder: Any, found: Attributed) -> None:
    other = random_decoder(num_hidden_layers=1)
    told = attribute(other, TEXTS, (None, "mean"), found.choices)
    again = attribute(other, TEXTS, (None, "mean"))
    assert told.choices == again.choices  # what it would say itself is told beside it
    assert told.gradients != again.gradients


def test_weights_that_are_no_numbers_are_refused() -> None:
    broken = random_decoder(num_hidden_layers=1)
    with torch.no_grad():
        broken.get_output_embeddings().weight[3] = float("nan")
    with pytest.raises(NumericsGateFailed, match="not numbers"):
        attribute(broken, TEXTS[:1], (None, "mean"))


@pytest.mark.parametrize(
    ("architecture", "kind", "probe"),
    [
        ("BertModel", "embedding", Probe((2, 40, 50, 3), "s", other=(2, 60, 70, 80, 3))),
        ("BertForSequenceClassification", "labels", Probe((2, 40, 50, 60, 3), "s")),
        ("BertForMaskedLM", "tokens", Probe((2, 40, 4, 60, 3), "s", at=2)),
    ],
)
def test_encoders_are_asked_what_they_end_in(
    tmp_path: Path, architecture: str, kind: Any, probe: Probe
) -> None:
    model = open_model(small_encoder(tmp_path / "model", architecture))
    told = attribute(model, [probe], (kind, "mean"))
    assert len(told.gradients[0]) == len(told.left_out[0]) == len(probe.tokens)
    assert max(map(abs, told.left_out[0])) > 0
    with torch.no_grad():
        seen = model(input_ids=torch.tensor([probe.tokens]))
    if kind != "embedding":
        logits = seen.logits if kind == "labels" else seen.logits[:, probe.at]
        assert told.choices == (int(logits[0].argmax()),)


def test_the_same_model_agrees_with_itself_and_noise_does_not(found: Attributed) -> None:
    random = np.random.default_rng(0)

    def made(values: tuple[tuple[float, ...], ...]) -> Attributed:
        return Attributed((1,) * len(values), values, values, (0.0,) * len(values))

    texts = [Probe(tuple(range(20)), f"s{i % 2}") for i in range(30)]
    base = made(tuple(tuple(random.normal(size=20)) for _ in texts))
    near = made(tuple(tuple(np.array(one) + random.normal(size=20) / 3) for one in base.gradients))
    for one in agreements(texts, base, base, near, 0):
        assert one.yardstick.rank.value == one.yardstick.top.value == 1.0
        assert 0.8 < one.variant.rank.value < 1.0
        assert one.lost.high < 0
        assert one.shuffled.rank.low < 0 < one.shuffled.rank.high
        assert one.elsewhere.rank.high < one.variant.rank.low
        assert set(one.slices) == {"s0", "s1"}
        average = np.mean([one.slices[name].value for name in one.slices])
        assert average == pytest.approx(one.variant.rank.value)
    assert same_choice(base, near).value == 1.0
    del found


def test_ties_share_their_rank() -> None:
    from scipy.stats import spearmanr

    one, other = (0.0, 0.0, 1.0, 2.0, 2.0), (3.0, 1.0, 1.0, 5.0, 4.0)
    assert rank(one, other) == pytest.approx(float(spearmanr(one, other).statistic))
    assert overlap(one, other) == 1.0  # all five of five
