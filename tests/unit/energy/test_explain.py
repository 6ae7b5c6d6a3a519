"""Where the joules go: parts, slopes, levers, sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.energy.catalogue import catalogue
from negawatt.energy.configs import anatomy_of
from negawatt.energy.explain import Explanation, explain
from negawatt.energy.explain.leaves import grouped, total
from negawatt.energy.precisions import weight_bits
from negawatt.energy.serving import Run, serve

EIGHT = anatomy_of(
    {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "eight",
)  # fmt: skip
EXPERTS = anatomy_of(
    {
        "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
        "vocab_size": 1000, "tie_word_embeddings": False,
    },
    "experts",
)  # fmt: skip
H100 = catalogue().find("h100")
STATIC = replace(H100, origin=replace(H100.origin, batching="static"))
BY: tuple[Literal["phase", "operation", "level", "layer"], ...] = (
    "phase",
    "operation",
    "level",
    "layer",
)


@settings(max_examples=30)
@given(
    batch=st.integers(1, 512),
    prompt=st.integers(1, 4000),
    written=st.integers(1, 1000),
    devices=st.sampled_from([1, 2, 8]),
    experts=st.booleans(),
    batching=st.sampled_from(["continuous", "static"]),
)
def test_parts_sum_to_the_whole(
    batch: int, prompt: int, written: int, devices: int, experts: bool, batching: str
) -> None:
    anatomy = EXPERTS if experts else EIGHT
    profile = STATIC if batching == "static" else H100
    run = Run(batch=batch, prompt=prompt, written=written, devices=devices)
    told = explain(anatomy, run, profile)
    whole = told.per_token.value * batch * written
    assert told.joules == pytest.approx(whole, rel=1e-9)
    for by in BY:
        groups = grouped(told.leaves, by)
        assert math.fsum(group.joules for group in groups) == pytest.approx(told.joules, rel=1e-14)
        assert sum(group.share for group in groups) == pytest.approx(1.0)
    assert min(leaf.joules for leaf in told.leaves) > 0


def test_a_group_holds_its_leaves_whatever_their_order() -> None:
    told = explain(EIGHT, Run(batch=8), H100)
    assert total(told.leaves) == total(reversed(told.leaves)) == told.joules


def named(
    told: Explanation, by: Literal["phase", "operation", "level", "layer"]
) -> dict[str, float]:
    return {group.name: group.share for group in grouped(told.leaves, by)}


def test_static_watts_weigh_less_in_company() -> None:
    alone, many = (explain(EIGHT, Run(batch=b), H100) for b in (8, 256))
    assert named(alone, "level")["static watts"] > named(many, "level")["static watts"]
    assert named(many, "level")["arithmetic"] > named(alone, "level")["arithmetic"]


def test_layers_that_are_alike_take_alike() -> None:
    shares = [share for name, share in named(explain(EIGHT, Run(batch=8), H100), "layer").items()
              if name.startswith("layer ")]  # fmt: skip
    assert len(shares) == 32
    assert max(shares) == pytest.approx(min(shares))


def test_what_is_told_is_where_it_belongs() -> None:
    told = named(explain(EXPERTS, Run(batch=8, devices=2), H100), "operation")
    assert {"experts", "router", "attention", "looking back", "sampling"} <= set(told)
    assert told["talking to other devices"] > 0
    alone = named(explain(EIGHT, Run(batch=8), H100), "operation")
    assert "talking to other devices" not in alone


def test_slopes_agree_with_autograd() -> None:
    run = Run(batch=8.0, prompt=512.0, written=256.0, weight_bits=weight_bits(EIGHT, "bf16"))
    wait = float(np.median(list(H100.waits.values())))
    told = {slope.name: slope.percent for slope in explain(EIGHT, run, H100).slopes}
    log = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    scale = torch.exp(log)
    moved = Run(
        batch=8.0 * scale[0],
        prompt=512.0 * scale[1],
        written=256.0 * scale[2],
        weight_bits=torch.as_tensor(weight_bits(EIGHT, "bf16")) * scale[3],
    )
    served = serve(EIGHT, moved, H100.constants, wait_s=wait, xp=torch)
    torch.log(served.joules_per_token).backward()  # type: ignore[no-untyped-call]
    assert log.grad is not None
    names = ("requests at once", "tokens read", "tokens written", "bits of a weight")
    for name, gradient in zip(names, log.grad.tolist(), strict=True):
        assert told[name] == pytest.approx(gradient, abs=1e-5)


def test_slopes_point_where_they_should() -> None:
    told = {slope.name: slope for slope in explain(EIGHT, Run(batch=8), H100).slopes}
    assert told["requests at once"].percent < 0
    assert told["bits of a weight"].percent > 0
    assert told["bits of keys and values"].percent > 0
    assert "saves" in told["requests at once"].words


def test_levers_do_what_they_say() -> None:
    now = explain(EIGHT, Run(batch=8), H100)
    lever = next(one for one in now.levers if one.name.startswith("64 requests"))
    then = explain(EIGHT, Run(batch=64), H100)
    assert lever.per_token == then.per_token
    assert lever.share == pytest.approx(then.per_token.value / now.per_token.value)
    assert lever.same_answers
    assert not next(one for one in now.levers if "int4" in one.name).same_answers


def test_levers_that_memory_forbids_are_not_told() -> None:
    full = replace(H100, sheet=replace(H100.sheet, memory_bytes=18.2e9))
    told = explain(EIGHT, Run(batch=8, prompt=300, written=300), full)
    assert not any("requests at once" in lever.name for lever in told.levers)


def test_the_sentences_name_what_takes_most() -> None:
    told = explain(EIGHT, Run(batch=8), H100)
    assert told.because[0].startswith("At 8 requests at once, static watts take")
    assert told.levers[0].words in " ".join(told.because)


def test_an_encoder_is_refused() -> None:
    encoder = anatomy_of(
        {"model_type": "bert", "hidden_size": 64, "intermediate_size": 128,
         "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    )  # fmt: skip
    with pytest.raises(UsageError, match="writes none"):
        explain(encoder, Run(), H100)
