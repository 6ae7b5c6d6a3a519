"""What must hold of the energy model whatever the prices are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from engine_sample import BF16, INT4, INT8, decoder
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Format, Layer, Workload
from negawatt.energy.costs import CostRow, CostTable, Shape
from negawatt.energy.model import (
    PHASES,
    PREFILL_TOKENS,
    Calibration,
    EnergyModel,
    Observation,
    calibrate,
)
from negawatt.energy.units import Unit, units

FORMATS = (BF16, INT8, INT4)
JOULES = Estimate(
    value=2.0, low=0.5, high=9.0, unit="J/s", kind=Kind.MODELLED, source="band", boundary="package"
)

seconds = st.floats(1e-7, 1e-2)
spreads = st.floats(0.0, 3.0)
fits = st.builds(Calibration, st.floats(0.0, 1e-2), st.floats(0.5, 2.0), spreads)
workloads = st.builds(Workload, st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 16))


def shapes_of(layers: Sequence[Layer]) -> set[Shape]:
    """Every product, the joint ones of siblings included."""
    joint = [Unit(u.layers) for u in units(layers)]
    apart = [Unit((layer,)) for layer in layers if layer.kind != "embedding"]
    return {
        Shape(sum(layer.rows for layer in u.layers), u.layers[0].cols) for u in (*joint, *apart)
    }


@st.composite
def models(draw: st.DrawFn, *, jointly: bool = False) -> EnergyModel:
    """A small decoder whose products have any price at all."""
    layers = decoder(blocks=draw(st.integers(1, 3)))
    workload = draw(workloads)
    known = sorted(shapes_of(layers))
    if not jointly:
        alone = {Shape(layer.rows, layer.cols) for layer in layers}
        known = [shape for shape in known if shape in alone]
    rows = []
    for shape in known:
        for fmt in FORMATS:
            for tokens in {workload.batch, PREFILL_TOKENS}:
                cpu_s = draw(seconds)
                rows.append(CostRow(shape, fmt, 1, tokens, cpu_s, cpu_s, cpu_s))
    return EnergyModel(
        layers=layers,
        table=CostTable("here", "any 1", tuple(rows)),
        workload=workload,
        threads=1,
        joules_per_cpu_s=JOULES,
        calibration=draw(st.fixed_dictionaries(dict.fromkeys(PHASES, fits))),
    )


@st.composite
def plans(draw: st.DrawFn, model: EnergyModel) -> dict[str, Format]:
    return {layer.name: draw(st.sampled_from(FORMATS)) for layer in model.layers}


def rest_of(model: EnergyModel) -> float:
    """Joules per token that no plan changes."""
    work, calibration = model.workload, model.calibration
    rest = work.prompt * calibration["prefill"].rest + work.generate * calibration["decode"].rest
    return rest / work.tokens * JOULES.value


@given(st.data())
def test_the_parts_sum_to_the_whole(data: st.DataObject) -> None:
    model = data.draw(models(jointly=True))
    plan = data.draw(plans(model))
    for joint in ((), model.joint(plan)):
        parts = model.parts(plan, joint)
        assert math.fsum(parts.values()) == pytest.approx(model.energy(plan, joint).value)
        assert all(joules > 0 for joules in parts.values())


@given(st.data())
def test_layers_add_and_the_options_are_the_exact_gradient(data: st.DataObject) -> None:
    model = data.draw(models())
    plan = data.draw(plans(model))
    names = [layer.name for layer in model.layers]
    chosen = model.option_energy([(name, plan[name]) for name in names if alone(model, name)])
    grouped = [unit for unit in model.units if len(unit.layers) > 1]
    together = sum(
        float(replace(model, layers=unit.layers, calibration=bare(model)).energy(plan).value)
        for unit in grouped
    )
    assert together + chosen.sum() + rest_of(model) == pytest.approx(model.energy(plan).value)


def alone(model: EnergyModel, name: str) -> bool:
    return any(unit.names == (name,) for unit in model.units)


def bare(model: EnergyModel) -> Mapping[str, Calibration]:
    """The calibration without its rest."""
    return {phase: replace(fit, rest=0.0) for phase, fit in model.calibration.items()}


@given(st.data())
def test_changing_one_choice_changes_the_energy_by_the_difference_of_its_options(
    data: st.DataObject,
) -> None:
    model = data.draw(models())
    unit = data.draw(st.sampled_from(model.units))
    plan = data.draw(plans(model)) | dict.fromkeys(unit.names, INT8)
    other = plan | dict.fromkeys(unit.names, INT4)
    before, after = model.option_energy([(unit.name, INT8), (unit.name, INT4)])
    step = model.energy(other).value - model.energy(plan).value
    assert step == pytest.approx(after - before, rel=1e-6, abs=1e-9 * model.energy(plan).value)


@given(st.data())
def test_one_format_everywhere_costs_the_sum_of_its_options(data: st.DataObject) -> None:
    model = data.draw(models())
    for fmt in FORMATS:
        gradient = model.option_energy([(unit.name, fmt) for unit in model.units])
        plan = dict.fromkeys((layer.name for layer in model.layers), fmt)
        assert rest_of(model) + gradient.sum() == pytest.approx(model.energy(plan).value)


@given(st.data(), st.floats(1.0, 100.0))
def test_a_dearer_product_never_makes_a_cheaper_token(data: st.DataObject, factor: float) -> None:
    model = data.draw(models())
    plan = data.draw(plans(model))
    dear = data.draw(st.sampled_from(model.table.rows))
    table = model.table.with_rows([replace(dear, cpu_s=dear.cpu_s * factor)])
    after = replace(model, table=table)
    assert after.energy(plan).value >= model.energy(plan).value * (1 - 1e-12)
    for phase in PHASES:
        assert after.cpu(plan, phase) >= model.cpu(plan, phase) * (1 - 1e-12)


@given(st.data())
def test_multiplying_as_one_is_chosen_only_where_it_is_cheaper(data: st.DataObject) -> None:
    model = data.draw(models(jointly=True))
    plan = data.draw(plans(model))
    joint = model.joint(plan)
    assert model.energy(plan, joint).value <= model.energy(plan).value * (1 + 1e-9)
    for names in joint:
        assert len({plan[name] for name in names}) == 1


@given(st.data())
def test_the_interval_holds_the_value_and_every_price_of_a_cpu_second(
    data: st.DataObject,
) -> None:
    model = data.draw(models())
    plan = data.draw(plans(model))
    energy = model.energy(plan)
    assert energy.kind is Kind.MODELLED
    for price in (JOULES.low, JOULES.value, JOULES.high):
        there = replace(model, joules_per_cpu_s=Estimate.exact(price, unit="J/s", source="t"))
        assert energy.low * (1 - 1e-9) <= there.energy(plan).value <= energy.high * (1 + 1e-9)


@given(
    rest=st.floats(0.0, 10.0),
    kappa=st.floats(0.5, 2.0),
    table=st.lists(st.floats(0.1, 10.0), min_size=2, max_size=9, unique=True),
)
def test_calibration_recovers_a_line(rest: float, kappa: float, table: list[float]) -> None:
    if max(table) - min(table) < 0.1:
        table = [*table, max(table) + 1.0]
    fit = calibrate([Observation(t, rest + kappa * t) for t in table])
    assert fit.kappa == pytest.approx(kappa, rel=1e-6)
    assert fit.rest == pytest.approx(rest, rel=1e-6, abs=1e-6)
    assert fit.spread < 1e-5


@given(st.lists(st.tuples(st.floats(1e-4, 1.0), st.floats(1e-4, 1.0)), min_size=1, max_size=9))
def test_calibration_stays_physical_whatever_was_measured(runs: list[tuple[float, float]]) -> None:
    fit = calibrate([Observation(*run) for run in runs])
    assert fit.rest >= 0.0
    assert 0.5 <= fit.kappa <= 2.0
    for table, measured in runs:
        told = fit.rest + fit.kappa * table
        assert abs(told - measured) <= fit.spread * measured * (1 + 1e-9) + 1e-15


def test_a_head_is_read_once_a_prompt_and_an_embedding_one_row_a_token() -> None:
    head, embedding = Layer("lm_head", "head", 8, 4), Layer("embed", "embedding", 8, 4)
    rows = [CostRow(Shape(8, 4), INT8, 1, 1, 6.4e-3, 0.0, 1.0)]
    model = EnergyModel(
        (embedding, head), CostTable("m", "r", tuple(rows)), Workload(64, 64, 1), 1, JOULES, {}
    )
    assert model.layer_cpu(head, INT8, "decode") == pytest.approx(6.4e-3)
    assert model.layer_cpu(head, INT8, "prefill") == pytest.approx(1e-4)
    per_byte = 6.4e-3 / INT8.bytes(8, 4)
    copied = model.layer_cpu(embedding, INT8, "decode")
    assert copied == pytest.approx(per_byte * INT8.bytes(1, 4))


@pytest.mark.parametrize(("batch", "wanted"), [(1, 0.25), (2, 1 - 0.75**2)])
def test_an_expert_costs_what_it_is_called(batch: int, wanted: float) -> None:
    """While writing; a prompt calls every expert."""
    expert = Layer("b.experts.0.up_proj", "linear", 8, 4, 0, share=0.25)
    dense = replace(expert, share=1.0)
    rows = [
        CostRow(Shape(8, 4), INT8, 1, tokens, 1e-3 * tokens, 0.0, 1.0) for tokens in (batch, 128)
    ]
    model = EnergyModel(
        (expert, dense), CostTable("m", "r", tuple(rows)), Workload(64, 64, batch), 1, JOULES, {}
    )
    for phase, share in (("decode", wanted), ("prefill", 1.0)):
        whole = model.layer_cpu(dense, INT8, phase)  # type: ignore[arg-type]
        own = model.layer_cpu(expert, INT8, phase)  # type: ignore[arg-type]
        assert own == pytest.approx(share * whole)


def test_a_product_that_nobody_measured_is_an_error_and_no_zero() -> None:
    model = EnergyModel(decoder(), CostTable("m", "r", ()), Workload(64, 64, 1), 1, JOULES, {})
    with pytest.raises(UsageError, match="no row for"):
        model.layer_cpu(model.layers[-1], INT8, "decode")
