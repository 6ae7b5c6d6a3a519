"""What is particular to PyTorch; what it shares with others is in the contract suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.adapters.runtimes.torch import TorchRuntime
from negawatt.adapters.runtimes.torch_session import slow_halves
from negawatt.core.protocols import RunOptions, RunsOtherwise, Steps
from negawatt.models.halves import product, quick_halves, reading_dtype

TOKENS = np.random.default_rng(0).integers(0, 64, (1, 12))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = AutoConfig.for_model("llama", **sizes, **heads)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder / "source")
    TorchRuntime().convert(folder / "source", folder / "base")
    return folder / "base"


def said(base: Path, options: RunOptions) -> np.ndarray:
    with TorchRuntime().open(base, options) as session:
        return np.asarray(session.forward(TOKENS))


@pytest.mark.parametrize(
    ("capability", "steps", "wide"),
    [("AVX2", "read", True), ("AVX2", "any", False), ("AVX512", "read", False)],
)
def test_texts_are_read_in_32_bits_where_16_take_longer(
    base: Path, monkeypatch: pytest.MonkeyPatch, capability: str, steps: Steps, wide: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert slow_halves() != quick_halves() == (capability != "AVX2")
    assert (reading_dtype() == torch.float32) == (capability == "AVX2")
    exact = said(base, RunOptions(precision="exact"))
    assert np.array_equal(said(base, RunOptions(steps=steps)), exact) == wide


def test_slow_products_are_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = TorchRuntime()
    assert isinstance(runtime, RunsOtherwise)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert "reading took several times as long" in runtime.otherwise(base, RunOptions())
    assert "read texts in 32 bits" in runtime.otherwise(base, RunOptions(steps="read"))
    assert runtime.otherwise(base, RunOptions(precision="exact")) == ""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert runtime.otherwise(base, RunOptions()) == ""


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_products_keep_their_type_and_value(
    monkeypatch: pytest.MonkeyPatch, capability: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    one, other = torch.randn(3, 64, dtype=torch.bfloat16), torch.randn(64, 5, dtype=torch.bfloat16)
    found = product(one, other)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), one.float() @ other.float(), rtol=1e-2, atol=1e-1)
    assert torch.equal(product(one.float(), other.float()), one.float() @ other.float())
