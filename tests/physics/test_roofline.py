"""Physical invariants of what a step costs, and its gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, LlamaConfig

from negawatt.core.errors import UsageError
from negawatt.energy.configs import anatomy_of
from negawatt.energy.roofline import Constants, Point, joules_of, time_of
from negawatt.energy.workload import Step, work_of

SMALL = {
    "model_type": "mistral",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 172,
    "vocab_size": 512,
    "sliding_window": 16,
}
EXPERTS = SMALL | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
DEVICE = Constants(
    bandwidth=1e9,
    rate=1e12,
    layer_s=1e-6,
    sequence_s=1e-6,
    link_s=1e-6,
    expert_s=1e-6,
    sharpness=4.0,
    static_w=10.0,
    weight_j=1e-10,
    context_j=1e-10,
    operation_j=1e-12,
    link_j=1e-10,
)

models = st.sampled_from([anatomy_of(SMALL), anatomy_of(EXPERTS)])
steps = st.builds(
    Step,
    phase=st.sampled_from(["prefill", "decode", "forward", "backward", "optimizer"]),
    batch=st.floats(1, 300),
    new=st.floats(1, 100),
    context=st.floats(0, 1000),
    devices=st.integers(1, 8),
    split=st.sampled_from(["tensor", "expert", "data"]),
    weight_bits=st.floats(1, 16),
    context_bits=st.floats(1, 16),
)


def joules(model: Any, step: Step, **point: float) -> float:
    return float(joules_of(work_of(model, step), DEVICE, Point(**point)).total)


@given(models, steps)
def test_energy_is_at_least_what_standing_still_takes(model: Any, step: Step) -> None:
    work = work_of(model, step)
    lasted = float(time_of(work.load, DEVICE).total)
    found = joules_of(work, DEVICE)
    assert float(found.total) >= step.devices * DEVICE.static_w * lasted > 0
    parts = [found.static, *found.weights, *found.operations, *found.context, *found.looked]
    assert sum(map(float, parts)) + float(found.links) == pytest.approx(float(found.total))
    assert min(map(float, parts)) >= 0


@given(models, steps, st.sampled_from(["batch", "new", "context", "weight_bits", "context_bits"]))
@example(anatomy_of(SMALL), Step(phase="prefill", context=15.5), "context")
def test_more_of_anything_is_never_cheaper(model: Any, step: Step, size: str) -> None:
    more = replace(step, **{size: 1.5 * getattr(step, size) + 0.5})
    assert joules(model, more) >= joules(model, step) * (1 - 1e-12)


@given(models, steps)
def test_splitting_a_batch_never_makes_energy(model: Any, step: Step) -> None:
    half = replace(step, batch=step.batch / 2)
    assert 2 * joules(model, half) >= joules(model, step) * (1 - 1e-12)


@given(models, steps, st.floats(0, 1))
def test_pruned_weights_cost_nothing(model: Any, step: Step, keep: float) -> None:
    assert joules(model, replace(step, keep=keep)) <= joules(model, step) * (1 + 1e-12)


@given(models, steps)
def test_a_lower_voltage_takes_less_and_a_higher_clock_less_time(model: Any, step: Step) -> None:
    work = work_of(model, step)
    assert joules(model, step, voltage=0.8) < joules(model, step)
    fast, plain = time_of(work.load, DEVICE, Point(frequency=2.0)), time_of(work.load, DEVICE)
    assert float(fast.compute) == pytest.approx(float(plain.compute) / 2)
    assert float(fast.total) <= float(plain.total)  # equal where memory alone is waited for
    known = joules_of(work, DEVICE, Point(voltage=0.5), time=1.0)
    usual = joules_of(work, DEVICE, time=1.0)
    moving = float(usual.total) - float(usual.static)
    assert float(known.total) - float(known.static) == pytest.approx(moving / 4)


@given(models, steps)
def test_the_corner_lies_between_the_longer_and_the_sum(model: Any, step: Step) -> None:
    times = time_of(work_of(model, step).load, DEVICE)
    longer = max(float(times.memory), float(times.compute))
    both = float(times.memory) + float(times.compute)
    assert longer * (1 - 1e-12) <= float(times.together) <= both * (1 + 1e-12)


def test_operations_are_counted_as_the_issue_of_a_dense_decoder_says() -> None:
    model = anatomy_of(SMALL | {"sliding_window": None})
    work = work_of(model, Step(batch=5, context=40))
    multiplied = sum(one.used for one in model.matrices)
    looked = 4 * 3 * 64 * 41 * 5  # 4 · layers · heads · head size · context, of each sequence
    assert float(work.load.operations) == pytest.approx(2 * multiplied * 5 + looked)
    assert float(work.load.context_bytes) == pytest.approx(5 * 2 * 3 * 4 * 8 * 41 * 2)


def test_a_window_bounds_what_is_looked_at() -> None:
    model = anatomy_of(SMALL)
    near, far = (work_of(model, Step(context=c)) for c in (15.0, 1000.0))
    np.testing.assert_allclose(near.looked, far.looked)
    np.testing.assert_allclose(near.context_bytes, far.context_bytes)
    whole = work_of(model, Step(phase="prefill", new=20.0))
    pairs = sum(min(i + 1, 16) for i in range(20))
    np.testing.assert_allclose(whole.looked, 4 * 64 * pairs)


def test_few_tokens_meet_few_experts_and_many_meet_all() -> None:
    model = anatomy_of(EXPERTS)
    at = [i for i, one in enumerate(model.matrices) if one.role == "expert"]
    stored = 2 * model.matrices[at[0]].values
    alone, many = (work_of(model, Step(batch=b)).weight_bytes[at[0]] for b in (1, 1000))
    assert alone == pytest.approx(stored * 2 / 8)
    assert many == pytest.approx(stored)


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_operations_are_those_that_torch_counts(family: str) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "intermediate_size": 172,
        "vocab_size": 512,
    }
    config = (
        LlamaConfig(**sizes, num_key_value_heads=4)
        if family == "decoder"
        else BertConfig(**sizes, max_position_embeddings=64)
    )
    config._attn_implementation = "eager"
    build = AutoModelForCausalLM if family == "decoder" else AutoModel
    module = build.from_config(config).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(torch.zeros(2, 24, dtype=torch.long))
    model = anatomy_of(config.to_dict())
    work = work_of(model, Step(phase="prefill", batch=2, new=24))
    # Torch multiplies the masked half too.
    full = 1.0 if family == "encoder" else 24 * 24 / (24 * 25 / 2)
    told = float(work.operations.sum()) + full * float(work.looked.sum())
    pooled = 2 * 2 * 64 * 64 if family == "encoder" else 0  # of the first token alone
    assert counter.get_total_flops() == pytest.approx(told + pooled, rel=1e-3)


def test_gradients_are_exact() -> None:
    model = anatomy_of(EXPERTS)
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=draw, dtype=torch.float64).requires_grad_()

    def total(
        bits: torch.Tensor, keep: torch.Tensor, heads: torch.Tensor, *rest: torch.Tensor
    ) -> torch.Tensor:
        batch, context, frequency = rest
        step = Step(
            phase="prefill",
            batch=1 + batch,
            new=3,
            context=10 * context,
            weight_bits=4 + 4 * bits,
            keep=keep,
            keep_heads=heads,
        )
        point = Point(frequency=0.5 + frequency, voltage=0.5 + frequency)
        found = joules_of(work_of(model, step, torch), DEVICE, point).total
        assert isinstance(found, torch.Tensor)
        return 1e3 * found

    matrices, caches = len(model.matrices), len(model.caches)
    inputs = (some(matrices), some(matrices), some(caches), some(), some(), some())
    assert torch.autograd.gradcheck(total, inputs, eps=1e-5, atol=1e-9, rtol=1e-4)


def test_numpy_and_torch_agree() -> None:
    model = anatomy_of(EXPERTS)
    step = Step(batch=3.0, context=50.0, devices=2, split="expert", weight_bits=4.5)
    one = joules_of(work_of(model, step), DEVICE)
    other = joules_of(work_of(model, step, torch), DEVICE)
    assert float(one.total) == pytest.approx(float(other.total), rel=1e-12)


@pytest.mark.parametrize(
    ("size", "value"), [("batch", 0), ("new", -1), ("context", -5), ("devices", 0)]
)
def test_absurd_steps_are_refused(size: str, value: int) -> None:
    with pytest.raises(UsageError, match=size):
        Step(**{size: value})  # type: ignore[arg-type]


def test_an_encoder_writes_nothing() -> None:
    model = anatomy_of({**SMALL, "model_type": "bert", "num_key_value_heads": 8})
    with pytest.raises(UsageError, match="encoder"):
        work_of(model, Step())


def test_constants_are_positive() -> None:
    np.testing.assert_allclose(Constants.exp(DEVICE.logs()).logs(), DEVICE.logs())
    with pytest.raises(UsageError, match="weight_j"):
        DEVICE.changed({"weight_j": 0.0}).logs()
