"""A gated model is exactly the models it mixes, and its gradient is the true one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, layers_of, put_in, random_decoder, rounded_bank

from negawatt.compress.bank import WeightBank
from negawatt.compress.gates import GatedModel
from negawatt.core.records import Format, Layer
from negawatt.energy.units import Unit, spread, units
from negawatt.models.architecture import SUPPORTED

FORMATS = (Format(8), Format(4, 32), Format(3, 32, symmetric=False))
TOKENS = np.random.default_rng(5).integers(0, VOCABULARY, (3, 12))

Tensor = torch.Tensor


class Both:
    """A gated model, its bank, and a maker of plain models to compare it with."""

    def __init__(self, folder: Path, family: str = "llama", **changes: Any) -> None:
        self._make: Callable[[], Any] = lambda: random_decoder(family, **changes)
        model = self._make()
        self.layers: tuple[Layer, ...] = layers_of(model)
        self.units: tuple[Unit, ...] = units(self.layers)
        self.bank: WeightBank = rounded_bank(model, self.layers, FORMATS, folder / "bank")
        self.gated = GatedModel(model, self.units, FORMATS, self.bank)

    def gates(self, plan: dict[str, Format], batch: int = len(TOKENS)) -> Tensor:
        """One-hot rows for a plan of units; units that are absent stay as they are."""
        row = [float(plan.get(name) == fmt) for name, fmt in self.gated.options]
        return torch.tensor([row] * batch)

    def logits(self, gates: Tensor | None) -> Tensor:
        self.gated.set_gates(gates)
        tokens = torch.from_numpy(TOKENS)
        return self.gated.logits(self.gated.hidden(tokens))

    def plain(self, plan: dict[str, Format]) -> Tensor:
        """Logits of an ordinary model that holds the decoded weights of the plan."""
        parts = [unit for unit in self.units if unit.name in plan]
        model = put_in(self._make(), self.bank, spread(plan, parts))
        with torch.no_grad():
            logits: Tensor = model(torch.from_numpy(TOKENS)).logits
        return logits


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-4, atol=1e-4)


def test_options_are_every_candidate_of_every_unit(both: Both) -> None:
    names = [unit.name for unit in both.units]
    assert both.gated.options == [(name, fmt) for name in names for fmt in FORMATS]
    # Query, key and value are one unit, and so are gate and up.
    assert len(names) == 2 + 2 * 4


@pytest.mark.parametrize("family", SUPPORTED.values())
@pytest.mark.parametrize("tied", [True, False])
def test_with_no_gate_or_gates_at_zero_it_is_the_base(
    tmp_path: Path, family: str, tied: bool
) -> None:
    both = Both(tmp_path, family, tie_word_embeddings=tied)
    base = both.plain({})
    close(both.logits(None), base)
    close(both.logits(torch.zeros(len(TOKENS), len(both.gated.options))), base)


@pytest.mark.parametrize("family", SUPPORTED.values())
@pytest.mark.parametrize("tied", [True, False])
def test_with_one_hot_gates_it_is_the_model_with_those_weights(
    tmp_path: Path, family: str, tied: bool
) -> None:
    both = Both(tmp_path, family, tie_word_embeddings=tied)
    plan = {unit.name: FORMATS[i % 3] for i, unit in enumerate(both.units)}
    wanted = both.plain(plan)

    close(both.logits(both.gates(plan)), wanted)
    assert float((wanted - both.plain({})).abs().max()) > 0.1  # the comparison can fail


@pytest.mark.parametrize("kind", ["embedding", "head"])
def test_embedding_and_tied_head_have_gates_of_their_own(tmp_path: Path, kind: str) -> None:
    both = Both(tmp_path, tie_word_embeddings=True)
    (one,) = (unit for unit in both.units if unit.layers[0].kind == kind)
    plan = {one.name: Format(3, 32, symmetric=False)}
    wanted = both.plain(plan)
    close(both.logits(both.gates(plan)), wanted)
    assert float((wanted - both.plain({})).abs().max()) > 0.1


def test_a_mixture_of_gates_mixes_the_weights(both: Both) -> None:
    name = both.units[1].name  # the attention inputs of the first block
    gates = torch.zeros(len(TOKENS), len(both.gated.options))
    at = [i for i, (unit, _) in enumerate(both.gated.options) if unit == name]
    gates[:, at] = torch.tensor([0.25, 0.5, 0.125])

    model = random_decoder()
    for layer in both.units[1].layers:
        weight = model.get_submodule(layer.name).weight
        change = torch.zeros_like(weight)
        for fmt, share in zip(FORMATS, (0.25, 0.5, 0.125), strict=True):
            rounded = put_in(random_decoder(), both.bank, {layer.name: fmt})
            change += share * (rounded.get_submodule(layer.name).weight - weight)
        weight.add_(change)
    with torch.no_grad():
        close(both.logits(gates), model(torch.from_numpy(TOKENS)).logits)


def test_units_whose_rows_no_format_divides_stay_plain(tmp_path: Path) -> None:
    both = Both(tmp_path, intermediate_size=80)  # 80 inputs of down_proj: int8 alone fits
    down = [fmt for name, fmt in both.gated.options if name.endswith("down_proj")]
    assert down == [Format(8)] * 2


def test_biases_stay(tmp_path: Path) -> None:
    both = Both(tmp_path, "qwen2")
    assert both.layers[1].name.endswith("q_proj")
    assert random_decoder("qwen2").get_submodule(both.layers[1].name).bias is not None
    plan = {unit.name: Format(4, 32) for unit in both.units}
    close(both.logits(both.gates(plan)), both.plain(plan))


def likelihood(both: Both, gates: Tensor) -> Tensor:
    """A loss on the logits of every sequence, [sequences]."""
    picked = both.logits(gates).log_softmax(-1)
    labels = torch.from_numpy(np.roll(TOKENS, -1, axis=1))
    return picked.gather(-1, labels[..., None]).sum((1, 2))


def test_the_gradient_is_that_of_finite_differences(both: Both) -> None:
    options = len(both.gated.options)
    generator = torch.Generator().manual_seed(1)
    start = 0.2 * torch.rand(options, generator=generator)
    gates = start.expand(len(TOKENS), -1).clone().requires_grad_()
    likelihood(both, gates).sum().backward()
    assert gates.grad is not None
    found = gates.grad.sum(0)

    step, differences = 2e-2, torch.empty(options)
    for k in range(options):
        ends = []
        for sign in (1, -1):
            moved = start.clone()
            moved[k] += sign * step
            with torch.no_grad():
                ends.append(likelihood(both, moved.expand(len(TOKENS), -1)).sum())
        differences[k] = (ends[0] - ends[1]) / (2 * step)

    # Central differences of a float32 model: a percent of the larger ones.
    torch.testing.assert_close(
        found, differences, rtol=0.03, atol=0.02 * float(differences.abs().max())
    )
    assert float(differences.abs().max()) > 0.1


def test_every_sequence_gets_a_gradient_of_its_own(both: Both) -> None:
    shape = len(TOKENS), len(both.gated.options)
    gates = torch.full(shape, 0.1, requires_grad=True)
    likelihood(both, gates).sum().backward()
    assert gates.grad is not None
    for i in range(len(TOKENS)):
        alone = torch.full(shape, 0.1, requires_grad=True)
        likelihood(both, alone)[i].backward()
        assert alone.grad is not None
        torch.testing.assert_close(alone.grad[i], gates.grad[i], rtol=1e-3, atol=1e-4)
        others = [j for j in range(len(TOKENS)) if j != i]
        assert float(alone.grad[others].abs().max()) == 0.0


def test_every_position_gets_a_gradient_of_its_own(both: Both) -> None:
    options = len(both.gated.options)
    whole = torch.full((len(TOKENS), options), 0.1, requires_grad=True)
    parts = torch.full((*TOKENS.shape, options), 0.1, requires_grad=True)
    for gates in (whole, parts):
        both.logits(gates)[:, 3].log_softmax(-1)[..., 7].sum().backward()
    assert whole.grad is not None
    assert parts.grad is not None
    torch.testing.assert_close(parts.grad.sum(1), whole.grad, rtol=1e-3, atol=1e-4)
    assert float(parts.grad[:, 4:].abs().max()) == 0.0  # what comes later has no part in it
    assert bool((parts.grad[:, :4].abs().amax((0, 2)) > 0).all())


def test_gates_at_zero_still_get_a_gradient(both: Both) -> None:
    gates = torch.zeros(len(TOKENS), len(both.gated.options), requires_grad=True)
    likelihood(both, gates).sum().backward()
    assert gates.grad is not None
    assert bool((gates.grad.abs().sum(0) > 0).all())


def test_weights_ask_for_no_gradient(both: Both) -> None:
    gates = torch.zeros(len(TOKENS), len(both.gated.options), requires_grad=True)
    likelihood(both, gates).sum().backward()
    assert all(p.grad is None for p in both.gated.model.parameters())


def test_a_head_longer_than_a_block_of_rows_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.compress import gates

    both = Both(tmp_path)
    plan = {unit.name: Format(4, 32) for unit in both.units}
    asked = both.gates(plan).requires_grad_()
    likelihood(both, asked).sum().backward()
    monkeypatch.setattr(gates, "_ROWS", 40)  # 96 rows: two whole blocks and a part
    again = both.gates(plan).requires_grad_()
    likelihood(both, again).sum().backward()

    close(both.logits(both.gates(plan)), both.plain(plan))
    assert asked.grad is not None
    assert again.grad is not None
    torch.testing.assert_close(again.grad, asked.grad, rtol=1e-3, atol=1e-3)


def test_a_second_look_leaves_leading_logits_as_the_base_has_them(tmp_path: Path) -> None:
    both = Both(tmp_path, tie_word_embeddings=True)
    gates = both.gates({"lm_head": FORMATS[2]}).requires_grad_()
    base, narrow = both.logits(None).detach(), both.logits(gates).detach()
    reach = 0.8 * float((base.amax(-1) - base.median(-1).values).median())
    both.gated._reach = reach
    near = base > base.amax(-1, keepdim=True) - reach
    assert 0 < near.double().mean() < 0.5
    found = both.logits(gates)
    close(found[near], base[near])
    close(found[~near], narrow[~near])
    assert not torch.allclose(narrow[near], base[near], atol=1e-3)
    (slope,) = torch.autograd.grad(found[near].sum(), gates, retain_graph=True)
    own = slice(-len(FORMATS), None)  # the head is the last unit
    assert float(slope[:, own].abs().max()) == 0.0  # codes of leading rows decide nothing
    (slope,) = torch.autograd.grad(found[~near].sum(), gates)
    assert float(slope[:, own].abs().max()) > 0.0
