"""The second-order model foretells what rounding a layer does to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from small_decoder import VOCABULARY, layers_of, random_decoder, rounded_bank

from negawatt.compress import sensitivity
from negawatt.compress.gates import GatedModel
from negawatt.compress.search import EnergyGradientSearch, Problem
from negawatt.compress.sensitivity import RUN, Sensitivity, measure_sensitivity, slices
from negawatt.core.records import Format
from negawatt.energy.units import units
from negawatt.models.load import load_reference
from negawatt.models.source import ModelSource

Windows = npt.NDArray[np.int64]

FINE = (Format(8), Format(5, 32))  # small changes, as second order asks for
WINDOWS = np.random.default_rng(4).integers(0, VOCABULARY, (24, 32))


def gated_random(folder: Path, formats: tuple[Format, ...] = FINE) -> GatedModel:
    model = random_decoder()
    parts = units(layers_of(model))
    return GatedModel(model, parts, formats, rounded_bank(model, layers_of(model), formats, folder))


def true_kl(gated: GatedModel, windows: Windows, chosen: list[int]) -> float:
    """KL(base || base with these options), mean over tokens, computed from whole logits."""
    total = 0.0
    with torch.no_grad():
        for window in torch.from_numpy(windows).split(4):
            row = torch.zeros(len(gated.options))
            row[chosen] = 1.0
            found = []
            for gates in (None, row.expand(len(window), -1)):
                gated.set_gates(gates)
                found.append(gated.logits(gated.hidden(window)).double().log_softmax(-1))
            base, other = found
            total += float((base.exp() * (base - other)).sum())
    gated.set_gates(None)
    return total / windows.size


def compare(gated: GatedModel, windows: Windows, seed: int = 0) -> tuple[Any, Any]:
    found = measure_sensitivity(gated, windows, seed=seed)
    return found.alone, np.array(
        [true_kl(gated, windows[:8], [i]) for i in range(len(gated.options))]
    )


def test_on_a_random_model_the_forecast_is_of_the_right_size(tmp_path: Path) -> None:
    foretold, true = compare(gated_random(tmp_path), WINDOWS)
    wrong = foretold / true
    assert float(np.median(wrong)) == pytest.approx(1.0, abs=0.35)
    assert wrong.min() > 1 / 3
    assert wrong.max() < 3
    assert float(np.corrcoef(np.log(foretold), np.log(true))[0, 1]) > 0.95


def test_on_a_trained_model_the_forecast_is_of_the_right_size(
    tmp_path: Path, stories: ModelSource, stories_text: Windows
) -> None:
    model = load_reference(stories.folder, torch.float32)
    formats = (Format(8), Format(4, 32))
    bank = rounded_bank(model, stories.layers, formats, tmp_path / "bank")
    gated = GatedModel(model, units(stories.layers), formats, bank)

    foretold, true = compare(gated, stories_text[:48])

    wrong = foretold / true
    assert float(np.median(wrong)) == pytest.approx(1.0, abs=0.35)
    assert wrong.min() > 1 / 3
    assert wrong.max() < 3
    assert float(np.corrcoef(np.log(foretold), np.log(true))[0, 1]) > 0.95


def test_choices_made_together_are_foretold_with_what_they_do_to_each_other(
    tmp_path: Path,
) -> None:
    gated = gated_random(tmp_path)
    found = measure_sensitivity(gated, WINDOWS, seed=0)
    problem = Problem(found, np.ones(len(found.options)))
    search = EnergyGradientSearch(problem, None, WINDOWS, seed=0)
    plan = {name: FINE[1] for name, _ in found.options}
    chosen = [i for i, (_, fmt) in enumerate(found.options) if fmt == FINE[1]]
    assert search.expected_kl(plan) == pytest.approx(true_kl(gated, WINDOWS[:8], chosen), rel=0.4)


def test_the_fisher_information_is_one_of_a_covariance(tmp_path: Path) -> None:
    found = measure_sensitivity(gated_random(tmp_path), WINDOWS[:8], seed=0)
    fisher = found.fisher
    np.testing.assert_allclose(fisher, fisher.T, rtol=1e-12)
    assert np.linalg.eigvalsh(fisher).min() > -1e-9 * np.trace(fisher)
    np.testing.assert_allclose(0.5 * np.diag(fisher), found.alone, rtol=1e-9)


def test_coarser_formats_of_a_layer_hurt_more(tmp_path: Path) -> None:
    formats = (Format(8), Format(4, 32), Format(3, 32))
    found = measure_sensitivity(gated_random(tmp_path, formats), WINDOWS[:12], seed=0)
    alone = found.alone.reshape(-1, 3)
    assert bool((np.diff(alone, axis=1) > 0).all())


def test_the_seed_decides_the_scores(tmp_path: Path) -> None:
    gated = gated_random(tmp_path)
    one, again, other = (measure_sensitivity(gated, WINDOWS[:4], seed=s).scores for s in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0


def test_every_text_gives_its_scores_and_the_base_is_handed_back(tmp_path: Path) -> None:
    gated = gated_random(tmp_path)
    told: list[tuple[int, int]] = []
    found = measure_sensitivity(
        gated, WINDOWS[:6], seed=0, batch=4, on_batch=lambda *done: told.append(done)
    )
    assert found.scores.shape == (6 * 32 // RUN, len(gated.options))
    assert np.isfinite(found.scores).all()
    assert bool((np.abs(found.scores).sum(axis=1) > 0).all())
    assert told == [(4, 6), (6, 6)]
    with torch.no_grad():
        tokens = torch.from_numpy(WINDOWS[:1])
        base = random_decoder()(tokens).logits
        torch.testing.assert_close(gated.logits(gated.hidden(tokens)), base, rtol=1e-4, atol=1e-4)


def test_the_runs_of_a_text_add_up_to_the_score_of_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = gated_random(tmp_path)
    ragged = WINDOWS[:6, :30]  # the last run is shorter
    parts = measure_sensitivity(gated, ragged, seed=0).scores.reshape(6, 4, -1)
    monkeypatch.setattr(sensitivity, "RUN", 30)
    whole = measure_sensitivity(gated, ragged, seed=0).scores
    np.testing.assert_allclose(parts.sum(1) / np.sqrt(4), whole, rtol=1e-4, atol=1e-6)


def test_runs_foretell_the_same_as_whole_texts_with_less_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = gated_random(tmp_path)
    texts = np.random.default_rng(9).integers(0, VOCABULARY, (96, 32))
    means, scatter = [], []
    for run in (RUN, 32):
        monkeypatch.setattr(sensitivity, "RUN", run)
        found = [measure_sensitivity(gated, t, seed=0).alone for t in np.split(texts, 8)]
        means.append(np.mean(found, axis=0))
        scatter.append(float(np.log(found).std(0).mean()))
    np.testing.assert_allclose(means[0], means[1], rtol=0.4)
    assert scatter[0] < 0.75 * scatter[1]


@pytest.mark.parametrize(("batch", "positions"), [(4, 512), (1, 100), (3, 64), (200, 7)])
def test_slices_cover_every_position_once(batch: int, positions: int) -> None:
    found = list(slices(torch.zeros(batch, positions)))
    assert [i for s in found for i in range(positions)[s]] == list(range(positions))


def test_scores_of_nothing_but_noise_have_the_size_of_the_noise() -> None:
    draw = np.random.default_rng(0)
    found = Sensitivity((("a", Format(8)),), draw.normal(size=(4000, 1)))
    assert float(found.alone[0]) == pytest.approx(0.5, rel=0.1)
