from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.estimate import Kind
from negawatt.core.factors import Factor
from negawatt.meters import energy_of, joules_per_cpu_second, machine
from negawatt.meters.band import band_of
from negawatt.meters.facts import Identity, cpus, facts_of, table

TABLES = ("band", "curve", "memory", "meters")
FACTORS = [factor for name in TABLES for factor in table(name).values()]
FACTORS += [entry.watts_per_thread for entry in cpus()]


def guest(threads: float = 2.0, memory_gb: float = 8.0, **cpu: object) -> machine.Machine:
    return replace(
        machine.here(),
        cpu=Identity(**cpu),  # type: ignore[arg-type]
        threads_usable=threads,
        memory_usable=int(memory_gb * 1e9),
    )


@pytest.mark.parametrize("factor", FACTORS, ids=lambda factor: factor.name)
def test_every_published_value_can_be_cited(factor: Factor) -> None:
    assert factor.low <= factor.value <= factor.high
    assert factor.unit
    assert len(factor.source) > 20
    assert factor.licence
    assert 1990 < factor.year <= 2026


@pytest.mark.parametrize(
    ("cpu", "key"),
    [
        ({"name": "AMD EPYC 9654 96-Core Processor"}, "epyc-9654"),
        ({"name": "Intel(R) Xeon(R) Platinum 8480+"}, "xeon-8480-plus"),
        ({"name": "AMD EPYC", "vendor": "AuthenticAMD", "family": 26, "model": 2}, "epyc-turin"),
        (
            {
                "name": "Intel(R) Xeon(R) Processor",
                "vendor": "GenuineIntel",
                "family": 6,
                "model": 143,
            },
            "xeon-sapphire-rapids",
        ),
        ({"name": "AMD Ryzen 9 5950X", "vendor": "AuthenticAMD"}, "client-x86-amd"),
        (
            {"name": "11th Gen Intel(R) Core(TM) i7-1165G7", "vendor": "GenuineIntel"},
            "client-x86-intel",
        ),
        ({"name": "Apple M2"}, "apple-silicon"),
        ({"name": "Intel(R) Xeon(R) from the future"}, "server-other"),
        ({}, "unknown"),
    ],
)
def test_a_cpu_finds_its_entry(cpu: dict[str, object], key: str) -> None:
    assert facts_of(Identity(**cpu)).key == key  # type: ignore[arg-type]


def test_the_last_entry_describes_every_cpu_and_no_other_is_unreachable() -> None:
    assert cpus()[-1].key == "unknown"
    assert not cpus()[-1].conditions
    assert all(entry.conditions for entry in cpus()[:-1])


def test_a_better_known_cpu_has_a_narrower_band() -> None:
    named = band_of(guest(name="AMD EPYC 9654 96-Core Processor"))
    hidden = band_of(guest(name="AMD EPYC", vendor="AuthenticAMD", family=25, model=17))
    nobody = band_of(guest(name=""))

    def width(each: object) -> float:
        return each.per_cpu_second.high / each.per_cpu_second.low  # type: ignore[attr-defined]

    assert width(named) < width(hidden) < width(nobody)
    assert (named.known, hidden.known, nobody.known) == (True, True, False)


def test_the_share_of_a_machine_draws_its_share_of_the_power() -> None:
    whole, half = band_of(guest(threads=64, memory_gb=128)), band_of(guest(32, 64))
    assert half.rest.value == pytest.approx(whole.rest.value / 2)
    assert half.full.high == pytest.approx(whole.full.high / 2)
    assert half.per_cpu_second == replace(whole.per_cpu_second, source=half.per_cpu_second.source)


def test_work_costs_rest_and_then_some() -> None:
    here = band_of(guest())
    idle = here.energy(cpu_seconds=0.0, wall_seconds=10.0)
    busy = here.energy(cpu_seconds=20.0, wall_seconds=10.0)
    assert idle.value == pytest.approx(10 * here.rest.value)
    assert busy.value == pytest.approx(idle.value + 20 * here.per_cpu_second.value)
    assert busy.high <= 10 * here.full.high
    assert busy.kind is Kind.MODELLED


def test_no_time_costs_nothing() -> None:
    nothing = energy_of(0.0, 0.0)
    assert (nothing.low, nothing.value, nothing.high) == (0.0, 0.0, 0.0)


def test_the_price_of_a_cpu_second_is_a_range_of_this_machine() -> None:
    each = joules_per_cpu_second()
    assert each.kind is Kind.MODELLED
    assert 0 < each.low < each.value < each.high
    assert "band for" in each.source
    assert each.unit == "J/s"


amounts = st.floats(min_value=0.0, max_value=1e5)


@given(some=amounts, more=amounts)
def test_memory_never_takes_power_away(some: float, more: float) -> None:
    less, with_more = band_of(guest(memory_gb=some)), band_of(guest(memory_gb=some + more))
    for before, after in ((less.rest, with_more.rest), (less.full, with_more.full)):
        assert before.low <= after.low
        assert before.value <= after.value
        assert before.high <= after.high
    assert less.per_cpu_second.value == with_more.per_cpu_second.value


@given(some=st.floats(min_value=0.01, max_value=1e3), more=st.floats(0.0, 1e3))
def test_a_larger_share_of_the_threads_never_takes_power_away(some: float, more: float) -> None:
    less, with_more = band_of(guest(threads=some)), band_of(guest(threads=some + more))
    for before, after in ((less.rest, with_more.rest), (less.full, with_more.full)):
        assert before.low <= after.low
        assert before.value <= after.value
        assert before.high <= after.high


def test_a_figure_says_how_often_the_truth_lies_inside() -> None:
    server = band_of(guest(name="AMD EPYC 9654 96-Core Processor"))
    share = table("band")["coverage"].value
    assert server.covers == share
    for each in (server.rest, server.full, server.per_cpu_second, energy_of(1, 1, band=server)):
        assert f"covers {share:.0%} of held-out servers" in each.source


@pytest.mark.parametrize("name", ["Apple M2", "AMD Ryzen 9 5950X", "", "Neoverse-V2"])
def test_no_share_is_claimed_for_what_was_not_tried(name: str) -> None:
    band = band_of(guest(name=name))
    assert band.covers is None
    assert "covers" not in band.source


def test_full_load_is_reached_by_the_line_itself() -> None:
    here = band_of(guest(threads=8, memory_gb=32))
    busy = here.energy(cpu_seconds=8.0, wall_seconds=1.0)
    assert busy.value == pytest.approx(here.full.value)
