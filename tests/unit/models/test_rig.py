from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from negawatt.actions.calibrate.plan import Shape
from negawatt.core.errors import RuntimeUnavailable
from negawatt.models.kept_context import grouped, kept
from negawatt.models.rig import TorchRig

SHAPE = Shape(name="s", hidden=64, layers=2, heads=4, kv_heads=2, ffn=128, vocabulary=256)


@pytest.fixture
def rig() -> Iterator[TorchRig]:
    before = torch.get_num_threads()
    yield TorchRig("cpu", threads=1)
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int8"])
def test_products_of_every_format_it_names_run(rig: TorchRig, dtype: str) -> None:
    assert dtype in rig.dtypes
    run, steps = rig.product(64, dtype)
    run(2)
    assert steps == 1


def test_copies_decoding_and_reading_run_again_and_again(rig: TorchRig) -> None:
    for (run, steps), wanted in (
        (rig.copy(1000), 1),
        (rig.decode(SHAPE.config, 3, 20, 4), 4),
        (rig.prefill(SHAPE.config, 2, 9), 1),
    ):
        run(1)
        run(2)
        assert steps == wanted


def test_each_round_of_decoding_begins_where_the_first_did(
    rig: TorchRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    model: Any = rig._model(SHAPE.config)
    forward = model.forward

    def watched(**given: Any) -> Any:
        lengths.append(given["past_key_values"].get_seq_length())
        return forward(**given)

    monkeypatch.setattr(model, "forward", watched)
    run, _ = rig.decode(SHAPE.config, 1, 20, 3)
    run(2)
    assert lengths == [20, 21, 22, 20, 21, 22]


def test_a_placed_context_gives_what_the_usual_one_gives(rig: TorchRig) -> None:
    model: Any = rig._model(SHAPE.config)
    from transformers.cache_utils import DynamicCache

    placed = kept(model.config, 2, 10, 3, torch.device("cpu"))
    usual = DynamicCache(config=model.config)
    for number, layer in enumerate(placed.layers):
        usual.update(layer.keys.clone(), layer.values.clone(), number)
    tokens = torch.tensor([[5], [9]])
    with torch.inference_mode():
        for _ in range(3):
            one = model(input_ids=tokens, past_key_values=placed, use_cache=True).logits
            other = model(input_ids=tokens, past_key_values=usual, use_cache=True).logits
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("tokens", [1, 3])
def test_heads_that_look_together_see_what_each_would_see(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 8, tokens, 16, generator=generator)
    key, value = (torch.randn(2, 2, 9, 16, generator=generator) for _ in range(2))
    mask = None if tokens == 1 else torch.randn(1, 1, tokens, 9, generator=generator)
    module = torch.nn.Module()
    module.num_key_value_groups = 4  # type: ignore[assignment]
    module.is_causal = False  # type: ignore[assignment]
    seen, _ = grouped(module, query, key, value, mask, scaling=0.3)
    scores = 0.3 * query @ key.repeat_interleave(4, 1).transpose(-1, -2)
    weights = torch.softmax(scores if mask is None else scores + mask, -1)
    wanted = (weights @ value.repeat_interleave(4, 1)).transpose(1, 2)
    torch.testing.assert_close(seen, wanted)


def test_a_token_that_is_written_looks_in_groups(
    rig: TorchRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = rig._model(SHAPE.config)
    shapes: list[tuple[int, ...]] = []
    from negawatt.models import kept_context

    plain = kept_context.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        shapes.append(tuple(query.shape))
        return plain(query, *rest, **more)

    monkeypatch.setattr(kept_context.functional, "scaled_dot_product_attention", watched)
    rig.decode(SHAPE.config, 3, 20, 1)[0](1)
    assert shapes == [(3, 2, 2, 16)] * model.config.num_hidden_layers  # 4 heads on 2 keys


def test_a_model_has_as_many_weights_as_its_anatomy(rig: TorchRig) -> None:
    model: Any = rig._model(SHAPE.config)
    assert sum(one.numel() for one in model.parameters()) == SHAPE.anatomy.parameters
    assert rig._model(SHAPE.config) is model


def test_it_names_engine_and_memory(rig: TorchRig) -> None:
    assert rig.engine.startswith(f"torch {torch.__version__}, transformers ")
    assert rig.memory_bytes > 1e8
    assert rig.accelerator is None


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeUnavailable, match="no CUDA device"):
        TorchRig("cuda:0", threads=1)


def test_a_gpu_too_old_for_bfloat16_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(RuntimeUnavailable, match="Tesla T4 has no bfloat16") as raised:
        TorchRig("cuda:0", threads=1)
    assert "--from" in raised.value.fix
    with pytest.raises(RuntimeUnavailable, match="finds 1 CUDA devices, and no cuda:1") as absent:
        TorchRig("cuda:1", threads=1)
    assert "cuda:0" in absent.value.fix


@pytest.mark.gpu
def test_a_gpu_does_the_same_work() -> None:
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device")
    rig = TorchRig("cuda:0", threads=1, accelerator=0)
    for run, _ in (rig.product(256, "bfloat16"), rig.copy(1000), rig.decode(SHAPE.config, 2, 9, 3)):
        run(2)
