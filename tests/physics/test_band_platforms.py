"""The band against servers that its fit has not seen; the arithmetic is that of `bench/band.py`."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.meters import machine
from negawatt.meters.band import Band, band_of
from negawatt.meters.facts import Identity, Platform, facts_of, platforms, table

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "band.py"
HELD_OUT = ("platform", "CPU family", "vendor")
NAMED = [each for each in platforms() if facts_of(Identity(name=each.cpu)).names_model]


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("band_bench", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["band_bench"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["band_bench"]


@pytest.fixture(scope="module")
def figures(bench: ModuleType) -> dict[str, Any]:
    measured: dict[str, Any] = bench.measure()
    return measured


@pytest.mark.parametrize("platform", platforms(), ids=lambda each: f"{each.system} {each.cpu}")
def test_a_published_curve_rises_from_rest_to_full(platform: Platform) -> None:
    assert len(platform.watts) == 11
    assert all(before < after for before, after in pairwise(platform.watts))
    assert platform.threads >= platform.chips > 0
    assert 2007 <= platform.year <= 2026
    assert platform.source


def test_no_platform_stands_twice() -> None:
    assert len({each.watts for each in platforms()}) == len(platforms())


@pytest.mark.parametrize("rule", HELD_OUT)
def test_the_curve_of_others_gives_half_load_within_a_tenth(
    figures: dict[str, Any], rule: str
) -> None:
    curve, usual = figures["half_load_curve"][rule], figures["half_load_usual"]
    assert abs(curve["bias"]) < 0.1
    assert abs(curve["median"]) < 0.1
    errors = [each["mean_absolute_error"] for each in usual.values()]
    assert curve["mean_absolute_error"] < min(errors)


@pytest.mark.parametrize("rule", HELD_OUT)
def test_cpu_and_memory_alone_give_half_load_without_bias(
    figures: dict[str, Any], rule: str
) -> None:
    line = figures["half_load_line"][rule]
    assert abs(line["bias"]) < 0.1
    assert abs(line["median"]) < 0.1


def test_the_usual_curves_err_as_they_are_known_to(figures: dict[str, Any]) -> None:
    usual = figures["half_load_usual"]
    assert usual["full × (0.1 + 0.9 load³)"]["bias"] < -0.6
    assert usual["full × load"]["bias"] < -0.15


@pytest.mark.parametrize("rule", HELD_OUT)
def test_the_band_holds_its_stated_share_of_servers_it_has_not_seen(
    figures: dict[str, Any], rule: str
) -> None:
    assert figures["coverage"][rule] >= table("band")["coverage"].value


def test_a_narrower_band_would_not_hold_it(bench: ModuleType) -> None:
    line = bench.fit(bench.with_design_power())
    ends = line.price
    narrow = replace(line, price=replace(ends, low=ends.value * 0.9, high=ends.value * 1.1))
    assert not any(narrow.holds(each) for each in bench.with_design_power())


def test_the_shipped_coefficients_are_those_of_the_fit(figures: dict[str, Any]) -> None:
    for name, (low, value, high) in figures["coefficients"].items():
        shipped = table("band")[name]
        assert low - 0.01 <= shipped.low <= low + 1e-4, name  # rounded outwards
        assert high - 1e-4 <= shipped.high <= high + 0.01, name
        assert shipped.value == pytest.approx(value, abs=0.02), name
    band = table("band")
    assert band["full"].value == pytest.approx(band["rest"].value + band["price"].value)


def test_the_published_figures_are_those_of_the_code(figures: dict[str, Any]) -> None:
    published = json.loads((SCRIPT.parent / "results" / "band.json").read_text(encoding="utf-8"))
    assert published == figures, "run python bench/band.py"


def test_the_shape_is_that_of_the_wall_whatever_is_outside(bench: ModuleType) -> None:
    for each in platforms():
        package = bench.inside(each, 0.4, 0.2)
        shape = (package - package[0]) / (package[-1] - package[0])
        assert shape == pytest.approx(bench.shape(each))


def whole(platform: Platform) -> Band:
    return band_of(
        replace(
            machine.here(),
            cpu=Identity(name=platform.cpu),
            threads_usable=float(platform.threads),
            memory_usable=int(platform.memory_gb * 1e9),
        )
    )


@pytest.mark.parametrize("platform", NAMED, ids=lambda each: f"{each.system} {each.cpu}")
def test_the_product_holds_servers_whose_processor_it_knows(
    bench: ModuleType, platform: Platform
) -> None:
    band = whole(platform)
    assert band.covers == table("band")["coverage"].value
    for watts in bench.corners(platform):
        for load, true in zip(np.arange(11) / 10, watts, strict=True):
            second = band.energy(cpu_seconds=load * platform.threads, wall_seconds=1.0)
            assert second.low <= true <= second.high


seconds = st.floats(min_value=0, max_value=1e5)
share = st.floats(0, 1)


@given(cpu=seconds, wall=seconds, cpu_share=share, wall_share=share)
def test_a_window_cut_where_the_load_differs_keeps_its_energy(
    cpu: float, wall: float, cpu_share: float, wall_share: float
) -> None:
    band = whole(NAMED[0])
    uncut = band.energy(cpu_seconds=cpu, wall_seconds=wall)
    parts = band.energy(cpu_seconds=cpu * cpu_share, wall_seconds=wall * wall_share)
    parts += band.energy(cpu_seconds=cpu * (1 - cpu_share), wall_seconds=wall * (1 - wall_share))
    assert parts.value == pytest.approx(uncut.value)
    assert parts.low == pytest.approx(uncut.low)
