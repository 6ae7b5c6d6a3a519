"""The pull endpoint, scraped with the library's own parser."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from spent import World

import negawatt
from negawatt.core.errors import UsageError

client: Any = pytest.importorskip(
    "prometheus_client",
    reason="prometheus-client is not installed: pip install 'negawatt[prometheus]'",
)
parser: Any = pytest.importorskip("prometheus_client.parser")


@pytest.fixture
def registry() -> Any:
    return client.CollectorRegistry()


@pytest.fixture
def tracker(registry: Any) -> Iterator[Any]:
    made = negawatt.tracker("prometheus", registry=registry)
    yield made
    made.close()


def shown(text: str) -> dict[tuple[str, ...], float]:
    """Every sample of an exposition by its name and label values."""
    return {
        (
            sample.name,
            *(sample.labels[k] for k in sorted(sample.labels, reverse=True)),
        ): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(registry: Any) -> dict[tuple[str, ...], float]:
    return shown(client.generate_latest(registry).decode())


def test_windows_of_one_name_add_up_with_interval_boundary_and_kind(
    tracker: Any, registry: Any
) -> None:
    world = World()
    for joules in (10.0, 30.0):
        world.spend("request", joules, tracker.record)
    got = scrape(registry)
    both = "package:0 + gpu:0"
    total = got["negawatt_energy_joules_total", "request", "measured", both]
    assert total == pytest.approx(120.0)
    low = got["negawatt_energy_low_joules_total", "request", "measured", both]
    high = got["negawatt_energy_high_joules_total", "request", "measured", both]
    assert low < total < high
    part = "negawatt_boundary_energy_joules_total"
    assert got[part, "request", "measured", "package:0"] == pytest.approx(40.0)
    assert got[part, "request", "measured", "gpu:0"] == pytest.approx(80.0)
    cpu = [
        v for k, v in got.items() if k[:3] == ("negawatt_cpu_seconds_total", "request", "measured")
    ]
    assert cpu == [1.0]
    assert got["negawatt_windows_total", "request"] == 2


def test_a_counter_that_was_lost_is_absent_and_the_rest_is_modelled(
    tracker: Any, registry: Any
) -> None:
    world = World()
    with world.measure("request", tracker.record):
        world.work(10.0)
        world.package.broken = True
    got = scrape(registry)
    assert not [key for key in got if "package:0" in key]
    kinds = {key[2] for key in got if key[0] == "negawatt_energy_joules_total"}
    assert kinds == {"modelled"}


def test_before_any_window_there_is_no_figure(tracker: Any, registry: Any) -> None:
    assert scrape(registry) == {}


def test_an_open_window_is_read_for_each_scrape_and_counted_once(
    tracker: Any, registry: Any
) -> None:
    world = World()
    key = ("negawatt_boundary_energy_joules_total", "server", "measured", "package:0")
    with world.measure("server", tracker.record) as window:
        tracker.follow(window)
        world.work(5.0)
        assert scrape(registry)[key] == pytest.approx(5.0)
        world.work(5.0)
        assert scrape(registry)[key] == pytest.approx(10.0)
    assert scrape(registry)[key] == pytest.approx(10.0)


def test_no_port_is_open_unless_one_is_given(tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        pytest.fail("a port was bound")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    other = negawatt.tracker("prometheus", registry=client.CollectorRegistry())
    World().spend("request", 1.0, other.record)
    assert (tracker.port, other.port) == (None, None)
    other.close()


def test_a_server_pulls_over_http_until_it_is_closed(registry: Any) -> None:
    tracker: Any = negawatt.tracker("prometheus", port=0, registry=registry)
    try:
        World().spend("request", 7.0, tracker.record)
        address = f"http://127.0.0.1:{tracker.port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:  # our own port
            got = shown(answer.read().decode())
    finally:
        tracker.close()
    part = "negawatt_boundary_energy_joules_total"
    assert got[part, "request", "measured", "package:0"] == pytest.approx(7.0)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=10)


def test_a_port_that_is_taken_is_told_and_nothing_stays_behind(registry: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match="cannot be opened"):
            negawatt.tracker("prometheus", port=other.getsockname()[1], registry=registry)
    negawatt.tracker("prometheus", registry=registry).close()


def test_two_on_one_registry_would_count_twice_and_are_refused(tracker: Any, registry: Any) -> None:
    with pytest.raises(UsageError, match="already"):
        negawatt.tracker("prometheus", registry=registry)
