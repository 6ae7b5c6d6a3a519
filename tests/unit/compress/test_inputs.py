"""Statistics of inputs: those that the layers really get, however the layers are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, layers_of, random_decoder
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.compress import inputs
from negawatt.compress.inputs import input_statistics
from negawatt.core.records import Layer

WINDOWS = np.random.default_rng(2).integers(0, VOCABULARY, (5, 24))

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "gemma3_text": {
        "sliding_window": 6,
        "query_pre_attn_scalar": 16,
        "head_dim": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "gpt_neox": {},
}


def family(name: str) -> tuple[Any, list[Layer]]:
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    }
    grouped = {} if name == "gpt_neox" else {"num_key_value_heads": 2}
    torch.manual_seed(1)
    config = AutoConfig.for_model(name, **sizes, **grouped, **FAMILIES[name])
    model = AutoModelForCausalLM.from_config(config).eval()
    head = next(n for n, m in model.named_modules() if m is model.get_output_embeddings())
    layers = []
    for path, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            block = next((int(part) for part in path.split(".") if part.isdigit()), None)
            kind = "embedding" if isinstance(module, torch.nn.Embedding) else "linear"
            rows, cols = module.weight.shape
            layers.append(Layer(path, "head" if path == head else kind, rows, cols, block))  # type: ignore[arg-type]
    return model, layers


def watched(model: Any, layers: list[Layer]) -> dict[str, torch.Tensor]:
    """The plain way: run the whole model, and look at every layer."""
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        model.get_submodule(layer.name).register_forward_pre_hook(
            lambda _, args, name=layer.name: seen.setdefault(name, []).append(
                args[0].flatten(0, -2)
            )
        )
        for layer in layers
        if layer.kind != "embedding"
    ]
    with torch.no_grad():
        model(torch.from_numpy(WINDOWS))
    for handle in handles:
        handle.remove()
    sums = {name: torch.cat(x).T @ torch.cat(x) for name, x in seen.items()}
    return {name: plain + mixed(model, name, plain) for name, plain in sums.items()}


def mixed(model: Any, name: str, plain: torch.Tensor) -> torch.Tensor:
    """What attention makes of the inputs of a value projection, at the level of the plain sum."""
    if not name.endswith("v_proj"):
        return torch.zeros_like(plain)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    fed: list[torch.Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _, args: fed.append(args[0])
    )
    with torch.no_grad():
        out = model(torch.from_numpy(WINDOWS[:: inputs._EVERY]), output_attentions=True)
    handle.remove()
    model.set_attn_implementation(before)
    block = next(int(part) for part in name.split(".") if part.isdigit())
    seen = (out.attentions[block] @ fed[0][:, None]).flatten(0, 2)
    found = seen.T @ seen
    return found * plain.diagonal().mean() / found.diagonal().mean()


def gathered(model: Any, layers: list[Layer], todo: list[Layer]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    taken: list[str] = []
    for group, sums in input_statistics(model, layers, todo, WINDOWS):
        taken += [layer.name for layer in group]
        found |= sums
    assert sorted(taken) == sorted(layer.name for layer in todo)
    return found


@pytest.mark.parametrize("held", [1, 2**30], ids=["a block at a time", "all at once"])
@pytest.mark.parametrize("name", FAMILIES)
def test_they_are_what_a_plain_run_feeds(
    name: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_HELD", held)
    model, layers = family(name)
    found, expected = gathered(model, layers, layers), watched(model, layers)
    assert set(found) == set(expected)
    for layer, sums in expected.items():
        torch.testing.assert_close(found[layer], sums, rtol=1e-3, atol=1e-3)


def test_some_layers_alone_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_HELD", 1)
    model = random_decoder()
    layers = list(layers_of(model))
    todo = [layer for layer in layers if layer.kind != "embedding"][2::3]
    found, expected = gathered(model, layers, todo), watched(model, layers)
    for layer in todo:
        torch.testing.assert_close(found[layer.name], expected[layer.name], rtol=1e-3, atol=1e-3)


def test_layers_fed_alike_share_one_sum() -> None:
    model = random_decoder()
    layers = list(layers_of(model))
    found = gathered(model, layers, layers)
    block = next(layer.name for layer in layers if layer.name.endswith("q_proj")).rpartition(".")[0]
    assert found[f"{block}.q_proj"] is found[f"{block}.k_proj"]


def test_the_text_goes_through_each_block_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many groups there are."""
    monkeypatch.setattr(inputs, "_HELD", 1)
    model = random_decoder()
    layers = list(layers_of(model))
    last = next(layer.name for layer in reversed(layers) if layer.block is not None)
    calls: list[int] = []
    handle = model.get_submodule(last).register_forward_pre_hook(lambda *_: calls.append(1))
    gathered(model, layers, layers)
    handle.remove()
    assert len(calls) == len(WINDOWS)


def test_a_token_that_attention_looks_at_counts_for_more() -> None:
    """The first token of a text is looked at from everywhere; the last one only from itself."""
    model, layers = family("llama")
    name = "model.layers.0.self_attn.v_proj"
    found = gathered(model, layers, layers)
    other = found[name.replace("v_proj", "k_proj")]
    x = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: x.append(args[0]))
    with torch.no_grad():
        model(torch.from_numpy(WINDOWS))
    handle.remove()
    first, last = x[0][:, 0].mean(0), x[0][:, -1].mean(0)

    def gain(direction: torch.Tensor) -> float:
        return float((direction @ found[name] @ direction) / (direction @ other @ direction))

    assert gain(first) > 1.2 * gain(last)


def test_a_model_that_does_not_show_its_attention_is_served_plainly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, layers = family("llama")
    monkeypatch.setattr(type(model), "set_attn_implementation", lambda *_: None)
    found = gathered(model, layers, layers)
    block = "model.layers.1.self_attn"
    torch.testing.assert_close(found[f"{block}.v_proj"], found[f"{block}.q_proj"])


def test_no_hook_is_left() -> None:
    model = random_decoder()
    layers = list(layers_of(model))
    before = model.config._attn_implementation
    gathered(model, layers, layers)
    assert model.config._attn_implementation == before
    assert all(not module._forward_hooks for module in model.modules())
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_layers_outside_blocks_are_grouped_without_others() -> None:
    head = Layer("head", "head", 96, 64)
    assert inputs.grouped([head]) == [[head]]
