"""A filled bank holds every candidate, made from the inputs each layer really has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, layers_of, put_in, random_decoder

from negawatt.compress import calibrate, inputs
from negawatt.compress.bank import WeightBank
from negawatt.compress.calibrate import fill_bank
from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import Format, Layer
from negawatt.models.mapped import Mapped

FORMATS = (Format(8), Format(4, 32), Format(4, 64, symmetric=False))
WINDOWS = np.random.default_rng(2).integers(0, VOCABULARY, (6, 48))


def filled(folder: Path, model: Any, **options: Any) -> WeightBank:
    bank = WeightBank(folder)
    fill_bank(model, layers_of(model), FORMATS, WINDOWS, bank, **options)
    return bank


def inputs_of(model: Any, name: str) -> torch.Tensor:
    """What a layer is fed on the windows, [tokens, cols]."""
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].flatten(0, -2))
    )
    with torch.no_grad():
        model(torch.from_numpy(WINDOWS))
    handle.remove()
    return torch.cat(seen)


def test_every_candidate_that_fits_is_there(tmp_path: Path) -> None:
    model = random_decoder()
    told: list[tuple[int, int]] = []
    bank = filled(tmp_path, model, on_layer=lambda done, total: told.append((done, total)))
    layers = layers_of(model)
    for layer in layers:
        for fmt in FORMATS:
            assert bank.has(layer.name, fmt) == fmt.fits(layer.cols)
    assert told == [(done, len(layers)) for done in range(len(layers) + 1)]


def test_outputs_are_closer_than_those_of_rounding(tmp_path: Path) -> None:
    model = random_decoder()
    bank = filled(tmp_path, model)
    ratios = []
    for layer in layers_of(model):
        if layer.kind == "embedding":
            continue
        inputs = inputs_of(model, layer.name)
        weight = model.get_submodule(layer.name).weight
        fmt = Format(4, 32)

        def error(found: Any, w: torch.Tensor = weight, x: torch.Tensor = inputs) -> float:
            return float((x @ (dequantise(found) - w).T).square().sum())

        plain = error(round_to_nearest(weight, fmt))
        ratios.append(error(bank.get(layer.name, fmt)) / plain)
    assert max(ratios) < 1.0
    assert float(np.median(ratios)) < 0.85


def test_layers_in_groups_give_what_layers_together_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_decoder()
    together = filled(tmp_path / "a", model)
    monkeypatch.setattr(inputs, "_HELD", 1)  # one block at a time
    apart = filled(tmp_path / "b", model)
    for layer in layers_of(model):
        a, b = together.get(layer.name, FORMATS[1]), apart.get(layer.name, FORMATS[1])
        assert np.mean(a.codes == b.codes) > 0.99


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = random_decoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    filled(tmp_path, model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    model = random_decoder()
    whole = filled(tmp_path / "whole", model)

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise Stop

    with pytest.raises(Stop):
        filled(tmp_path / "part", model, on_layer=stop)
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "part").iterdir()}
    part = filled(tmp_path / "part", model)

    assert 0 < len(kept) < len(list((tmp_path / "whole").iterdir()))
    for name, time in kept.items():
        assert (tmp_path / "part" / name).stat().st_mtime_ns == time  # not made again
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "part" / file.name).read_bytes() == file.read_bytes()
    assert part.has(layers_of(model)[0].name, Format(8))
    assert whole.has(layers_of(model)[0].name, Format(8))


def test_a_layer_with_values_that_are_no_numbers_is_named(tmp_path: Path) -> None:
    model = random_decoder()
    bad = layers_of(model)[-2].name
    model.get_submodule(bad).weight[3, 4] = float("nan")
    with pytest.raises(BrokenWeights, match=bad):
        filled(tmp_path, model)
    assert not WeightBank(tmp_path).has(bad, Format(8))


def test_rows_are_quantised_in_blocks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_decoder()
    whole = filled(tmp_path / "whole", model)
    monkeypatch.setattr(calibrate, "_ROWS", 40)
    blocks = filled(tmp_path / "blocks", model)
    for layer in layers_of(model):
        a, b = whole.get(layer.name, FORMATS[1]), blocks.get(layer.name, FORMATS[1])
        np.testing.assert_array_equal(a.scale, b.scale)
        assert np.mean(a.codes == b.codes) > 0.999  # sums may take another order


def test_it_works_on_a_model_in_16_bits(tmp_path: Path) -> None:
    model = random_decoder().to(torch.bfloat16)
    bank = filled(tmp_path, model)
    layers = layers_of(model)
    plan = {layer.name: Format(8) for layer in layers}
    tokens = torch.from_numpy(WINDOWS[:1])
    with torch.no_grad():
        base = random_decoder()(tokens).logits.log_softmax(-1)
        other = put_in(random_decoder(), bank, plan)(tokens).logits.log_softmax(-1)
    assert float((base.exp() * (base - other)).sum(-1).mean()) < 0.01


def test_nothing_to_do_asks_nothing_of_the_text(tmp_path: Path) -> None:
    model = random_decoder()
    bank = filled(tmp_path, model)
    layers: tuple[Layer, ...] = layers_of(model)
    fill_bank(model, layers, FORMATS, np.zeros((0, 4), np.int64), bank)


def test_inputs_that_are_no_numbers_are_told_from_weights_that_are_none(tmp_path: Path) -> None:
    """Every weight is finite; what the text makes of them is not."""
    model = random_decoder()
    model.model.layers[0].post_attention_layernorm.weight.fill_(1e38)
    with pytest.raises(BrokenWeights, match=r"layers\.0\.mlp\.\w+_proj: what the calibration text"):
        filled(tmp_path, model)


@pytest.mark.parametrize("method", ["rtn", "gptq", "polished", "signround"])
@pytest.mark.parametrize("alive", [0, 5])
def test_channels_that_never_fire_leave_a_model_that_works(
    method: str, alive: int, tmp_path: Path
) -> None:
    model = random_decoder()
    model.model.layers[0].mlp.up_proj.weight[alive:] = 0.0  # so `down_proj` is fed nothing there
    bank = filled(tmp_path, model, method=method)
    plan = {layer.name: Format(8) for layer in layers_of(model)}
    tokens = torch.from_numpy(WINDOWS[:1])
    with torch.no_grad():
        base = model(tokens).logits.log_softmax(-1)
        other = put_in(model, bank, plan)(tokens).logits.log_softmax(-1)
    assert float((base.exp() * (base - other)).sum(-1).mean()) < 0.01


def test_a_mapped_model_gives_the_codes_of_the_whole_one(tmp_path: Path) -> None:
    model = random_decoder()
    model.save_pretrained(tmp_path / "model")
    layers = layers_of(model)
    whole = filled(tmp_path / "whole", model)
    mapped = WeightBank(tmp_path / "mapped")
    parts = Mapped(tmp_path / "model", torch.float32)
    fill_bank(parts, layers, FORMATS, WINDOWS, mapped)
    for layer in layers:
        for fmt in FORMATS:
            if whole.has(layer.name, fmt):
                a, b = whole.get(layer.name, fmt), mapped.get(layer.name, fmt)
                np.testing.assert_array_equal(a.codes, b.codes)
                np.testing.assert_array_equal(a.scale, b.scale)


def test_large_layers_shared_among_threads_get_the_codes_of_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_decoder()
    small = filled(tmp_path / "small", model)
    monkeypatch.setattr(calibrate, "LARGE", 0)
    large = filled(tmp_path / "large", model)
    for layer in layers_of(model):
        a, b = small.get(layer.name, FORMATS[1]), large.get(layer.name, FORMATS[1])
        np.testing.assert_array_equal(a.scale, b.scale)
        assert np.mean(a.codes == b.codes) > 0.999  # sums may take another order
