"""OpenTelemetry's counters, read back from its own in-memory reader."""

from __future__ import annotations

from typing import Any

import pytest
from spent import World

import negawatt

sdk: Any = pytest.importorskip(
    "opentelemetry.sdk.metrics",
    reason="opentelemetry-sdk is not installed: pip install 'negawatt[opentelemetry]'",
)
export: Any = pytest.importorskip("opentelemetry.sdk.metrics.export")


@pytest.fixture
def reader() -> Any:
    return export.InMemoryMetricReader()


def read(reader: Any) -> dict[tuple[str, str, str], tuple[float, str, str]]:
    """Value, unit and kind by name, window and boundary."""
    data = reader.get_metrics_data()
    metrics = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    return {
        (
            metric.name,
            point.attributes["negawatt.window"],
            point.attributes.get("negawatt.boundary", ""),
        ): (point.value, metric.unit, point.attributes.get("negawatt.kind", ""))
        for metric in metrics
        for point in metric.data.data_points
    }


def test_windows_add_up_with_units_interval_and_kind(reader: Any) -> None:
    provider = sdk.MeterProvider(metric_readers=[reader])
    tracker, world = negawatt.tracker("opentelemetry", provider=provider), World()
    for joules in (10.0, 30.0):
        world.spend("request", joules, tracker.record)
    tracker.close()
    got = read(reader)
    both = "package:0 + gpu:0"
    total, unit, kind = got["negawatt.energy", "request", both]
    assert (total, unit, kind) == (pytest.approx(120.0), "J", "measured")
    low = got["negawatt.energy.low", "request", both][0]
    assert low < total < got["negawatt.energy.high", "request", both][0]
    assert got["negawatt.boundary.energy", "request", "gpu:0"][0] == pytest.approx(80.0)
    cpu = [value for key, value in got.items() if key[0] == "negawatt.cpu.time"]
    assert cpu == [(1.0, "s", "measured")]
    assert got["negawatt.windows", "request", ""][:2] == (2, "{window}")
    provider.shutdown()


def test_a_counter_that_was_lost_is_absent(reader: Any) -> None:
    provider = sdk.MeterProvider(metric_readers=[reader])
    tracker, world = negawatt.tracker("opentelemetry", provider=provider), World()
    with world.measure("request", tracker.record):
        world.work(10.0)
        world.package.broken = True
    got = read(reader)
    assert not [key for key in got if key[2] == "package:0"]
    assert {value[2] for key, value in got.items() if key[0] == "negawatt.energy"} == {"modelled"}
    provider.shutdown()
