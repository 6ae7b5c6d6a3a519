from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from negawatt.core import registry
from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.quantities import Joules, Watts
from negawatt.meters import discover
from negawatt.meters.integrate import Integrated
from negawatt.meters.inventory import Inventory


class Counter:
    name, boundary = "plug:kitchen", "wall"

    def energy(self) -> Joules:
        return Joules(1.0)


class Gauge:
    name, boundary, limit = "plug:hall", "wall:2", Watts(2000.0)

    def power(self) -> Watts:
        return Watts(1.0)


def install(monkeypatch: pytest.MonkeyPatch, **sources: Callable[[], Any]) -> None:
    monkeypatch.setattr(registry, "names", lambda group: tuple(sources))
    monkeypatch.setattr(registry, "load", lambda group, name: sources[name])


def fail(error: Exception) -> Callable[[], Any]:
    def source() -> Any:
        raise error

    return source


def test_counters_come_as_they_are_and_gauges_integrated(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    install(monkeypatch, plug=lambda: [counter, Gauge()])
    first, second = discover().meters
    assert first is counter
    assert isinstance(second, Integrated)
    assert (second.name, second.boundary) == ("plug:hall", "wall:2")


def test_a_boundary_is_read_once_and_counted_if_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    gauge, counter, later = Gauge(), Counter(), Counter()
    gauge.boundary = counter.boundary  # type: ignore[misc]
    install(monkeypatch, board=lambda: [gauge], chip=lambda: [counter], other=lambda: [later])
    assert discover().meters == (counter,)


def test_one_broken_adapter_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch,
        bad=fail(KeyError("surprise")),
        gone=fail(MeterUnavailable("no plug", fix="buy one")),
        plug=lambda: [Counter()],
    )
    found = discover()
    assert found.boundaries == ("wall",)
    assert found.measures_cpu
    assert [(m.adapter, m.fix) for m in found.missing] == [
        ("bad", "report it to the author of the bad adapter"),
        ("gone", "buy one"),
    ]
    assert "KeyError" in found.missing[0].reason


def test_an_adapter_asked_for_by_a_wrong_name_is_an_error() -> None:
    with pytest.raises(UsageError, match="perpetuum"):
        discover(["perpetuum"])


def test_the_adapters_of_this_package_are_asked() -> None:
    found = discover()
    answered = {meter.name.partition(":")[0] for meter in found.meters}
    assert {"rapl", "nvml"} <= answered | {missing.adapter for missing in found.missing}
    assert all(missing.reason and missing.fix for missing in found.missing)


def test_an_empty_inventory_measures_nothing() -> None:
    assert not Inventory(meters=()).measures_cpu


def test_what_several_adapters_lack_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    none = MeterUnavailable("no plug is named", fix="name one")
    install(monkeypatch, shelf=fail(none), plug=fail(none), socket=fail(KeyError("surprise")))
    missing = [(m.adapter, m.fix) for m in discover().missing]
    assert missing[0] == ("shelf, plug", "name one")
    assert len(missing) == 2
