"""Constants of a device: found again where they are known, and used on models left out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from negawatt.core.errors import UsageError
from negawatt.energy.devices import datasheets_in
from negawatt.energy.fitting import Windows, fit
from negawatt.energy.published import Totals, totals_in, windows_in
from negawatt.energy.roofline import Constants, time_of
from negawatt.energy.workload import Load

TRUE = Constants(
    bandwidth=2.4e12,
    rate=5e14,
    layer_s=3e-5,
    sequence_s=5e-5,
    link_s=2e-5,
    expert_s=5e-5,
    sharpness=3.0,
    static_w=180.0,
    weight_j=9e-11,
    context_j=4e-11,
    operation_j=6e-13,
    link_j=2e-10,
)
START = TRUE.changed({"static_w": 140.0, "weight_j": 6e-11, "rate": 7e14, "layer_s": 2e-5})


def some_load(count: int, seed: int) -> Load:
    draw = np.random.default_rng(seed)
    weights = 10 ** draw.uniform(9, 11, count)
    sequences = np.round(10 ** draw.uniform(0, 3, count))
    devices = draw.choice([1.0, 2.0, 4.0], count)
    return Load(
        operations=weights * sequences * draw.uniform(1, 3, count),
        weight_bytes=weights,
        context_bytes=sequences * 10 ** draw.uniform(6, 8.5, count),
        link_bytes=(devices > 1) * 10 ** draw.uniform(8, 10, count),
        layers=np.round(draw.uniform(20, 100, count)),
        expert_layers=np.where(draw.random(count) < 0.4, 30.0, 0.0),
        sequences=sequences,
        devices=devices,
    )


def windows(count: int = 120, noise: float = 0.0, seed: int = 0) -> Windows:
    load = some_load(count, seed)
    seconds = np.asarray(time_of(load, TRUE).total)
    draw = np.random.default_rng(seed + 1)
    joules = (
        TRUE.static_w * load.devices * seconds
        + TRUE.weight_j * load.weight_bytes
        + TRUE.context_j * load.context_bytes
        + TRUE.operation_j * load.operations
        + TRUE.link_j * load.link_bytes
    )
    return Windows(
        load=load,
        joules=joules * np.exp(noise * draw.normal(size=count)),
        seconds=seconds * np.exp(noise * draw.normal(size=count)),
        groups=tuple(f"model {i % 6}" for i in range(count)),
    )


def test_constants_that_windows_tell_are_found_again() -> None:
    found = fit(windows(), START)
    for name in ("static_w", "weight_j", "operation_j", "layer_s", "sequence_s", "bandwidth"):
        assert getattr(found.constants, name) == pytest.approx(getattr(TRUE, name), rel=0.1)
    unseen = windows(seed=7)
    off = found.joules(unseen.load) / unseen.joules - 1
    assert np.abs(off).mean() < 0.02


def test_a_few_windows_gone_wrong_change_little() -> None:
    good = windows(noise=0.03)
    wild = good.joules.copy()
    wild[::20] *= 6.0
    spoilt = Windows(load=good.load, joules=wild, seconds=good.seconds, groups=good.groups)
    unseen = windows(seed=7)
    off = [
        np.abs(fit(one, START).joules(unseen.load) / unseen.joules - 1).mean()
        for one in (good, spoilt)
    ]
    assert off[1] < off[0] + 0.04


def test_what_no_window_tells_stays_and_is_named() -> None:
    whole = windows()
    alone = whole.where((whole.load.devices == 1) & (whole.load.expert_layers == 0))
    found = fit(alone, START)
    assert {"link_s", "link_j", "expert_s"} <= set(found.unidentified)
    assert "static_w" not in found.unidentified
    assert found.constants.link_j == pytest.approx(START.link_j)
    assert found.constants.expert_s == pytest.approx(START.expert_s)


def test_every_constant_is_positive_even_where_data_would_have_it_otherwise() -> None:
    plain = windows()
    less = Windows(  # joules that fall with the bytes of the context
        load=plain.load,
        joules=plain.joules / (1 + 1e-8 * plain.load.context_bytes) ** 0.3,
        seconds=plain.seconds,
        groups=plain.groups,
    )
    assert np.isfinite(fit(less, START).constants.logs()).all()


def test_a_step_never_takes_longer_than_its_parts_one_after_the_other() -> None:
    plain = windows()
    late = Windows(
        load=plain.load, joules=plain.joules, seconds=3 * plain.seconds, groups=plain.groups
    )
    times = time_of(plain.load, fit(late, START).constants)
    both = np.asarray(times.memory + times.compute)
    assert (np.asarray(times.together) <= both * (1 + 1e-9)).all()


def test_a_kind_of_run_that_waits_is_told_from_one_that_does_not() -> None:
    plain = windows()
    waits = np.arange(len(plain)) % 3 == 0
    more = np.where(waits, 0.03, 0.0)
    late = Windows(
        load=plain.load,
        joules=plain.joules + TRUE.static_w * plain.load.devices * more,
        seconds=plain.seconds + more,
        groups=plain.groups,
        kinds=tuple("exam" if late else "chat" for late in waits),
    )
    found = fit(late, START)
    assert found.waits["exam"] == pytest.approx(0.03, rel=0.1)
    assert found.waits["chat"] < 0.002
    off = found.joules(late.load, late.kinds) / late.joules - 1
    assert np.abs(off).mean() < 0.02
    assert np.abs(found.joules(late.load) / late.joules - 1)[waits].mean() > 0.02


def test_windows_without_joules_are_refused() -> None:
    good = windows(10)
    with pytest.raises(UsageError, match="joules"):
        Windows(load=good.load, joules=0 * good.joules, seconds=good.seconds, groups=good.groups)
    with pytest.raises(UsageError, match="nothing to fit"):
        fit(good.where(np.zeros(10, dtype=bool)), START)


def left_out(found: Windows, start: Constants) -> float:
    """Mean error of joules on models that the fit had not seen, times not known. [1]"""
    groups = np.array(found.groups)
    off = []
    for group in sorted(set(found.groups)):
        told = fit(found.where(groups != group), start)
        unseen = found.where(groups == group)
        off.extend(np.abs(told.joules(unseen.load, unseen.kinds) / unseen.joules - 1))
    return float(np.mean(off))


@pytest.mark.parametrize(
    ("device", "sheet", "experts", "most"),
    [
        ("H100", "H100-SXM5-80GB", False, 0.07),
        ("H100", "H100-SXM5-80GB", True, 0.18),
        ("B200", "B200-SXM-180GB", False, 0.10),
    ],
)
def test_published_measurements_of_models_left_out(
    shared: Path, device: str, sheet: str, experts: bool, most: float
) -> None:
    folder = shared / "data" / "hardware"
    with (folder / "models.csv").open(encoding="utf-8") as lines:
        told = list(csv.DictReader(lines))
    plain = {row["model"] for row in told if "hybrid" not in row["note"]}
    models: dict[str, Totals] = {
        name: totals
        for name, totals in totals_in(told).items()
        if name in plain and (experts or totals.experts == 1)
    }
    with (folder / "measured_energy.csv").open(encoding="utf-8") as lines:
        rows = [
            row
            for row in csv.DictReader(lines)
            if row["device"] == device and row["source"] == "mlenergy_v3"
        ]
    found = windows_in(rows, models)
    assert len(set(found.groups)) >= 7
    assert left_out(found, datasheets_in(folder / "devices.csv")[sheet].usual) < most
