"""The energy gradient on a device beside finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from negawatt.compress.slope import slope
from negawatt.energy.catalogue import catalogue
from negawatt.energy.configs import anatomy_of
from negawatt.energy.precisions import weight_bits
from negawatt.energy.serving import Run, serve

MODEL = anatomy_of(
    {
        "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "num_experts": 16, "num_experts_per_tok": 2,
        "vocab_size": 1000, "tie_word_embeddings": False,
    }
)  # fmt: skip
H100 = catalogue().find("h100")


@pytest.mark.parametrize("batching", ["continuous", "static"])
@pytest.mark.parametrize("field", ["weight_bits", "keep", "keep_heads"])
def test_it_agrees_with_finite_differences(batching: str, field: str) -> None:
    profile = replace(H100, origin=replace(H100.origin, batching=batching))  # type: ignore[arg-type]
    run = Run(
        batch=4, prompt=64, written=32, weight_bits=weight_bits(MODEL, "fp8"),
        keep=np.full(len(MODEL.matrices), 0.8), keep_heads=np.full(len(MODEL.caches), 0.9),
    )  # fmt: skip
    told = slope(MODEL, run, profile)
    own = {"weight_bits": told.bits, "keep": told.keep, "keep_heads": told.keep_heads}[field]
    wait = float(np.median(list(profile.waits.values())))
    at = np.asarray(getattr(run, field))
    found = []
    for i in range(len(at)):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[i] += sign * 1e-3
            served = serve(
                MODEL, replace(run, **{field: moved}), profile.constants,
                batching=profile.origin.batching, wait_s=wait,
            )  # fmt: skip
            ends.append(float(served.joules_per_token))
        found.append((ends[0] - ends[1]) / 2e-3)
    np.testing.assert_allclose(own, found, rtol=1e-4, atol=1e-9)
    assert told.joules == pytest.approx(float(
        serve(MODEL, run, profile.constants, batching=profile.origin.batching,
              wait_s=wait).joules_per_token))  # fmt: skip


def test_experts_that_nobody_meets_cost_less_a_bit() -> None:
    few, many = (slope(MODEL, Run(batch=b), H100) for b in (1, 64))
    experts = [i for i, one in enumerate(MODEL.matrices) if one.role == "expert"]
    values = np.array([one.values for one in MODEL.matrices])
    dense = next(i for i, one in enumerate(MODEL.matrices) if one.role == "attention")
    apart = [(one.bits / values)[experts[0]] / (one.bits / values)[dense] for one in (few, many)]
    assert apart[0] == pytest.approx(2 / 16, rel=1e-6)
    assert apart[1] > 0.99
