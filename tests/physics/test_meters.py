"""What no meter may do, whatever the numbers: lose energy, make it, or count it twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.adapters.meters.rapl import RaplMeter
from negawatt.core.quantities import Joules
from negawatt.meters import Instruments, Window, machine
from negawatt.meters.band import Band, band_of
from negawatt.meters.boundary import contains, outermost
from negawatt.meters.facts import Identity, cpus
from negawatt.meters.integrate import integrate

BOUNDARIES = ["wall", "psys", "package:0", "package:1", "core:0", "uncore:1", "dram:0", "gpu:0"]
seconds = st.floats(0, 1e5)


class HandClock:
    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.wall_s

    def cpu(self) -> float:
        return self.cpu_s

    def now(self) -> None:
        return None


class Counter:
    def __init__(self, boundary: str) -> None:
        self.name, self.boundary, self.joules = f"test:{boundary}", boundary, 0.0

    def energy(self) -> Joules:
        return Joules(self.joules)


@given(st.lists(st.floats(0, 2_000), min_size=3, max_size=40), st.data())
def test_splitting_a_series_neither_makes_nor_loses_energy(
    power_w: list[float], data: st.DataObject
) -> None:
    step = st.integers(0, 5 * 10**9).map(lambda count: 1e-9 * count)  # clocks count nanoseconds
    steps = data.draw(st.lists(step, min_size=len(power_w), max_size=len(power_w)), label="steps")
    t_s = [sum(steps[: i + 1]) for i in range(len(power_w))]
    cut = data.draw(st.integers(1, len(t_s) - 2))

    whole = integrate(t_s, power_w, ceiling_w=2_000)
    parts = integrate(t_s[: cut + 1], power_w[: cut + 1], ceiling_w=2_000)
    parts += integrate(t_s[cut:], power_w[cut:], ceiling_w=2_000)

    assert parts.value == pytest.approx(whole.value)
    assert parts.gap_s == pytest.approx(whole.gap_s)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high))
    assert whole.low <= whole.value * (1 + 1e-12)
    assert whole.value <= whole.high * (1 + 1e-12)


@given(
    start=st.floats(0, 99),
    flows=st.lists(st.floats(0, 99), max_size=30),
)
def test_a_counter_never_runs_backwards_even_across_a_wrap(
    start: float, flows: list[float]
) -> None:
    range_uj, true_uj = 100_000_000, round(start * 1e6)
    shown = {"energy_uj": true_uj % range_uj, "max_energy_range_uj": range_uj}

    meter = RaplMeter(
        Path("zone"), name="rapl:package-0", boundary="package:0",
        read=lambda path: str(shown[path.name]),
    )  # fmt: skip
    first = last = meter.energy()
    for joules in flows:
        true_uj += round(joules * 1e6)
        shown["energy_uj"] = true_uj % range_uj
        now = meter.energy()
        assert now >= last
        last = now
    assert (last - first).value == pytest.approx(
        sum(round(joules * 1e6) for joules in flows) / 1e6, abs=1e-6
    )


@given(st.lists(st.sampled_from(BOUNDARIES), max_size=8))
def test_nothing_that_is_added_contains_another(boundaries: list[str]) -> None:
    added = outermost(boundaries)
    assert not any(contains(one, other) for one in added for other in added)
    for boundary in boundaries:  # and nothing known is lost: it is added, or inside what is
        assert boundary in added or any(contains(outer, boundary) for outer in added)


@given(
    inside=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 500)), max_size=6),
    outside=st.floats(0, 500),
)
def test_parts_never_exceed_the_whole(
    inside: list[tuple[float, float, float]], outside: float
) -> None:
    clock, package = HandClock(), Counter("package:0")
    tools = Instruments(meters=(package,), clock=clock, children=lambda: 0.0)
    with Window("whole", instruments=tools) as whole:
        for number, (wall, cpu, joules) in enumerate(inside):
            with Window(f"part {number % 2}", instruments=tools):
                clock.wall_s += wall
                clock.cpu_s += cpu
                package.joules += joules
        package.joules += outside
        clock.wall_s += 1.0
    parts = whole.parts.values()
    slack = 1 + 1e-9
    assert sum(part.energy.value for part in parts) <= whole.energy.value * slack + 1e-9
    assert sum(part.cpu_s for part in parts) <= whole.cpu_seconds.value * slack
    assert sum(part.wall_s for part in parts) <= whole.wall_seconds.value * slack
    assert sum(part.modelled.value for part in parts) <= whole.result.modelled.value * slack


def some_band(threads: float = 2.0, memory_gb: float = 8.0, **cpu: object) -> Band:
    return band_of(
        replace(
            machine.here(),
            cpu=Identity(**cpu),  # type: ignore[arg-type]
            threads_usable=threads,
            memory_usable=int(memory_gb * 1e9),
        )
    )


@given(cpu=seconds, wall=seconds, share=st.floats(0, 1))
def test_cutting_a_modelled_window_neither_makes_nor_loses_energy(
    cpu: float, wall: float, share: float
) -> None:
    band = some_band(name="AMD EPYC 9654")
    whole = band.energy(cpu_seconds=cpu, wall_seconds=wall)
    parts = band.energy(cpu_seconds=cpu * share, wall_seconds=wall * share)
    parts += band.energy(cpu_seconds=cpu * (1 - share), wall_seconds=wall * (1 - share))
    assert parts.value == pytest.approx(whole.value)
    assert parts.low == pytest.approx(whole.low)


@given(cpu=seconds, wall=seconds, more=st.floats(0, 1e5))
def test_more_work_never_costs_less(cpu: float, wall: float, more: float) -> None:
    band = some_band(name="AMD EPYC 9654")
    before = band.energy(cpu_seconds=cpu, wall_seconds=wall)
    for after in (
        band.energy(cpu_seconds=cpu + more, wall_seconds=wall),
        band.energy(cpu_seconds=cpu, wall_seconds=wall + more),
    ):
        assert (after.low, after.value, after.high) >= (before.low, before.value, before.high)


@pytest.mark.parametrize("entry", cpus(), ids=lambda entry: entry.key)
def test_every_cpu_draws_less_at_rest_than_at_work(entry: object) -> None:
    band = band_of(machine.here(), entry)  # type: ignore[arg-type]
    assert 0 < band.rest.low < band.rest.value < band.rest.high
    assert band.rest.value < band.full.value < band.full.high
    assert band.rest.low < band.full.low
    assert 0 < band.per_cpu_second.low < band.per_cpu_second.high


INTEL = {"vendor": "GenuineIntel", "family": 6}
#: Wall power of whole servers in SPECpower_ssj2008: CPU, threads, memory [GB], full [W], idle [W].
PUBLISHED = [
    ({"name": "AMD EPYC 9654"}, 384, 384, 817.0, 128.0),
    ({"name": "AMD EPYC 7763"}, 256, 256, 408.0, 94.6),
    ({"name": "AMD EPYC 7742"}, 128, 128, 206.0, 56.4),
    ({"name": "AMD EPYC 7742"}, 768, 768, 1140.0, 228.0),
    ({"name": "Intel Xeon Platinum 8380", "model": 106, **INTEL}, 160, 256, 623.0, 110.0),
    ({"name": "Intel Xeon Platinum 8280L", "model": 85, **INTEL}, 112, 192, 405.0, 47.4),
]


@pytest.mark.parametrize(("cpu", "threads", "memory", "full", "idle"), PUBLISHED)
def test_published_servers_lie_inside_their_band(
    cpu: dict[str, object], threads: int, memory: int, full: float, idle: float
) -> None:
    # The band leaves out fans, disks and the power supply, which took between a tenth and a third
    # of what the wall saw. Whatever they took, the rest must lie inside the band.
    band = some_band(threads=threads, memory_gb=memory, **cpu)
    for losses in (0.1, 0.33):
        assert band.full.low <= (1 - losses) * full <= band.full.high
        assert band.rest.low <= (1 - losses) * idle <= band.rest.high
