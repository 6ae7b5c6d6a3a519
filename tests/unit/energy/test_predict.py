from __future__ import annotations

from collections.abc import Sequence

import pytest
from engine_sample import BF16, INT4, INT8, PricedRuntime, decoder, lawful
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Format, Layer, Workload
from negawatt.energy.calibrations import Anatomy, Lesson, carry
from negawatt.energy.costs import CostTable, Shape, Wanted, measure_costs
from negawatt.energy.model import PHASES, Calibration, EnergyModel
from negawatt.energy.predict import (
    Prediction,
    Product,
    Profile,
    Subject,
    completed,
    forecast,
    has,
    products,
    refuse_unknown,
    unanswerable,
    uniform_plan,
)

CHAT = Workload(128, 128, 1)
JOULES = Estimate(value=2.0, low=1.0, high=5.0, unit="J/s", kind=Kind.MODELLED, source="band")
EMPTY = CostTable("here", "priced 1.0", ())
FITS = {"prefill": Calibration(1e-4, 1.1, 0.05), "decode": Calibration(4e-4, 0.9, 0.02)}


def subject(layers: Sequence[Layer] = decoder(), vectors: int = 640) -> Subject:
    own = sum(layer.weights for layer in layers if not layer.tied_to)
    return Subject("sample", "LlamaForCausalLM", own + vectors, tuple(layers))


def measured(layers: Sequence[Layer], workload: Workload = CHAT) -> CostTable:
    runtime, table = PricedRuntime(lawful), EMPTY
    for product in products(layers, [BF16, INT8, INT4], workload):
        wanted = Wanted((product.shape,), (product.format,), 1, (product.tokens,))
        table = measure_costs(runtime, wanted, table, clock=runtime.clock)
    return table


def profile(table: CostTable, *, lesson: Lesson | None = None) -> Profile:
    anatomy = Anatomy.of("LlamaForCausalLM", decoder())
    return Profile(table, 1, JOULES, carry([lesson], anatomy, CHAT, 1) if lesson else None)


def learnt(workload: Workload = CHAT) -> Lesson:
    return Lesson(Anatomy.of("LlamaForCausalLM", decoder()), workload, 1, 1, FITS)


def test_a_head_is_never_multiplied_for_a_whole_prompt() -> None:
    wanted = products(decoder(), [INT8], Workload(128, 128, 4))
    assert {p.tokens for p in wanted if p.shape == Shape(1024, 128)} == {4}
    assert {p.tokens for p in wanted if p.shape == Shape(384, 128)} == {4, 128}
    sizes = [p.shape.rows * p.shape.cols for p in wanted]
    assert sizes == sorted(sizes)


def test_a_format_that_does_not_fit_is_asked_for_in_8_bits() -> None:
    odd = (Layer("up", "linear", 64, 96, 0),)
    assert {p.format for p in products(odd, [INT4], CHAT)} == {INT8}
    assert uniform_plan(odd, INT4) == {"up": INT8}
    assert set(uniform_plan(decoder(), BF16).values()) == {BF16}


def test_a_measured_model_is_told_by_its_table_to_the_digit() -> None:
    layers = decoder()
    found = forecast(subject(layers), INT4, CHAT, profile(measured(layers)))
    plan = uniform_plan(layers, INT4)
    model = EnergyModel(layers, measured(layers), CHAT, 1, JOULES, {})
    assert found.energy.value == pytest.approx(model.energy(plan).value)
    assert found.decode_cpu.value == pytest.approx(model.cpu(plan, "decode"))
    assert found.decode_cpu.low == pytest.approx(found.decode_cpu.value)  # no law, no spread
    assert found.decode_cpu.boundary == "matrix products"
    assert "law" not in found.energy.source


def test_joules_are_cpu_seconds_times_their_price_and_say_so() -> None:
    found = forecast(subject(), INT8, CHAT, profile(measured(decoder()), lesson=learnt()))
    for cpu, joules in (
        (found.prefill_cpu, found.prefill_energy),
        (found.decode_cpu, found.decode_energy),
    ):
        assert joules.value == pytest.approx(cpu.value * JOULES.value)
        assert (joules.low, joules.high) == pytest.approx((cpu.low * 1.0, cpu.high * 5.0))
        assert (joules.kind, joules.unit) == (Kind.MODELLED, "J/token")
        assert joules.boundary == "process"


@given(prompt=st.integers(1, 2000), generate=st.integers(1, 2000))
def test_a_workload_mixes_its_phases_by_their_tokens(prompt: int, generate: int) -> None:
    workload = Workload(prompt, generate, 1)
    found = forecast(subject(), INT8, workload, profile(measured(decoder())))
    spent = prompt * found.prefill_energy.value + generate * found.decode_energy.value
    assert found.energy.value * workload.tokens == pytest.approx(spent)


def test_a_calibration_adds_its_rest_and_widens_by_its_spread() -> None:
    table = measured(decoder())
    alone = forecast(subject(), INT8, CHAT, profile(table))
    whole = forecast(subject(), INT8, CHAT, profile(table, lesson=learnt()))
    value = 4e-4 + 0.9 * alone.decode_cpu.value
    assert whole.decode_cpu.value == pytest.approx(value)
    assert whole.decode_cpu.low == pytest.approx(value * 0.98)
    assert whole.decode_cpu.high == pytest.approx(value * 1.02)
    assert "this shape" in whole.energy.source


def test_a_calibration_of_another_workload_is_less_sure() -> None:
    table = measured(decoder())
    own, other = (
        forecast(subject(), INT8, CHAT, profile(table, lesson=learnt(workload))).decode_cpu
        for workload in (CHAT, Workload(1024, 1024, 1))
    )
    assert other.high / other.low > own.high / own.low
    assert other.low <= own.value  # a shorter context costs no more than the longer one did


@given(
    width=st.sampled_from([64, 192, 512]),
    ffn=st.sampled_from([256, 1024, 2048]),
    blocks=st.integers(1, 4),
    fmt=st.sampled_from([BF16, INT8, INT4]),
)
def test_what_the_table_lacks_follows_by_law_and_the_interval_holds_the_truth(
    width: int, ffn: int, blocks: int, fmt: Format
) -> None:
    layers = decoder(width=width, ffn=ffn, blocks=blocks)
    by_law = forecast(subject(layers), fmt, CHAT, profile(measured(decoder())))
    true = forecast(subject(layers), fmt, CHAT, profile(measured(layers)))
    for phase in PHASES:
        told, real = (getattr(f, f"{phase}_cpu") for f in (by_law, true))
        assert told.low <= told.value <= told.high
        assert told.low <= real.value * (1 + 1e-3)
        assert real.value * (1 - 1e-3) <= told.high
    assert by_law.weights_bytes == true.weights_bytes


def test_more_blocks_never_cost_less() -> None:
    table = measured(decoder())
    costs = [
        forecast(subject(decoder(blocks=n)), INT4, CHAT, profile(table)).energy for n in (1, 2, 9)
    ]
    assert [c.value for c in costs] == sorted(c.value for c in costs)
    assert costs[2].value - costs[0].value == pytest.approx(8 * (costs[1].value - costs[0].value))


def test_weights_are_counted_as_they_are_stored() -> None:
    layers = decoder(width=64, ffn=64, keys=64, blocks=1, words=100)
    table = measured(layers)
    wide, narrow = (
        forecast(subject(layers, vectors=10), fmt, CHAT, profile(table)).weights_bytes
        for fmt in (BF16, INT8)
    )
    assert wide.value == 2 * (100 * 64 + 7 * 64 * 64 + 10)  # embedding and head are one
    per_row = 64 + 2  # codes and a scale
    assert narrow.value == (2 * 100 + 7 * 64) * per_row + 2 * 10
    assert "cache" not in narrow.boundary


def test_an_empty_table_answers_nothing_and_does_not_say_zero() -> None:
    wanted = products(decoder(), [INT8], CHAT)
    assert unanswerable(EMPTY, wanted, 1) == wanted
    with pytest.raises(UsageError, match="too few"):
        forecast(subject(), INT8, CHAT, profile(EMPTY))


def test_a_table_of_other_threads_does_not_answer() -> None:
    table, wanted = measured(decoder()), products(decoder(), [INT8], CHAT)
    assert unanswerable(table, wanted, 1) == ()
    assert unanswerable(table, wanted, 2) == wanted


def test_a_completed_table_keeps_what_was_measured() -> None:
    table = measured(decoder())
    known = products(decoder(), [INT8], CHAT)
    new = Product(Shape(999, 333), INT8, 1)
    after = completed(table, [*known, new], 1)
    assert has(after, new, 1)
    assert not has(table, new, 1)
    assert all(row in after.rows for row in table.rows)


def test_a_format_no_engine_executes_is_refused_with_those_it_does() -> None:
    with pytest.raises(UsageError, match="int8-row-sym"):
        refuse_unknown([Format(5, 64)], [BF16, INT8], "priced 1.0")


def test_a_prediction_can_be_written_down() -> None:
    from negawatt.core.codec import decode, encode

    told = Prediction(
        subject(), CHAT, "priced 1.0", 1,
        (forecast(subject(), INT8, CHAT, profile(measured(decoder()))),), 9, 0, ("a note",),
    )  # fmt: skip
    assert decode(Prediction, encode(told)) == told
