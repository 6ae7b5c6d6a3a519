"""Before and after: shared factors cancel, independent parts add, nothing differs from itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import GramsPerKWh
from negawatt.ledger import Ledger, open_ledger
from negawatt.ledger.footprint import operational_emissions, stated_intensity, world_intensity
from negawatt.meters import machine
from negawatt.meters.band import Band, band_of
from negawatt.reports import compare
from negawatt.reports.compare import Change, Comparison
from negawatt.reports.difference import Difference, difference
from negawatt.reports.terms import Terms, terms_of
from negawatt.reports.totals import Grid

BAND: Band = band_of(machine.here())
GRID = world_intensity()

seconds = st.floats(0.01, 1e5)
parts = st.floats(0.1, 1e4)


def _exact(value: float) -> Estimate:
    return Estimate.exact(value, unit="s", source="clock", boundary="machine")


def _window(cpu_s: float, wall_s: float, counter: Estimate | None = None) -> dict[str, Estimate]:
    """What a window on this machine would put into a ledger."""
    energy = BAND.energy(cpu_seconds=cpu_s, wall_seconds=wall_s)
    return {
        "cpu_seconds": _exact(cpu_s),
        "wall_seconds": _exact(wall_s),
        "energy": energy if counter is None else energy + counter,
    }


def _counter(low: float, value: float, high: float, source: str = "rapl") -> Estimate:
    return Estimate(
        value=value, low=low, high=high, unit="J", kind=Kind.MEASURED, source=source, boundary="gpu"
    )


def _differ(before: dict[str, Estimate], after: dict[str, Estimate]) -> Difference:
    return difference(terms_of(before, "energy"), terms_of(after, "energy"))


@given(seconds, seconds, seconds, seconds)
def test_swapping_the_sides_negates(cpu: float, wall: float, cpu2: float, wall2: float) -> None:
    one, other = _window(cpu, wall), _window(cpu2, wall2)
    there, back = _differ(one, other), _differ(other, one)
    assert there.change.value == -back.change.value
    assert (there.change.low, there.change.high) == (-back.change.high, -back.change.low)
    assert there.ratio is not None
    assert back.ratio is not None
    assert there.ratio.value * back.ratio.value == pytest.approx(1)
    assert there.ratio.low * back.ratio.high == pytest.approx(1)


@given(seconds, seconds)
def test_two_windows_of_the_same_amounts_differ_by_exactly_nothing(cpu: float, wall: float) -> None:
    found = _differ(_window(cpu, wall), _window(cpu, wall))
    assert (found.change.low, found.change.value, found.change.high) == (0, 0, 0)
    assert found.ratio is not None
    assert (found.ratio.low, found.ratio.high) == (1, 1)
    assert found.added == ()
    assert len(found.shared) == 2


@given(seconds, seconds, st.floats(1.01, 50))
def test_a_shared_band_cancels_in_a_ratio_of_like_windows(
    cpu: float, wall: float, times: float
) -> None:
    found = _differ(_window(cpu, wall), _window(cpu * times, wall * times))
    assert found.ratio is not None
    # The cap at full power can only bind on both sides at once here.
    assert found.ratio.low == pytest.approx(times)
    assert found.ratio.high == pytest.approx(times)
    assert found.change.low > 0


@given(seconds, seconds, seconds, seconds, st.floats(0, 1), st.floats(0, 1))
def test_whatever_the_band_truly_is_the_true_difference_is_inside(
    cpu: float, wall: float, cpu2: float, wall2: float, at_rest: float, at_work: float
) -> None:
    rest = BAND.rest.low + at_rest * (BAND.rest.high - BAND.rest.low)
    work = BAND.per_cpu_second.low + at_work * (BAND.per_cpu_second.high - BAND.per_cpu_second.low)
    before, after = rest * wall + work * cpu, rest * wall2 + work * cpu2
    if before > BAND.full.high * wall or after > BAND.full.high * wall2:
        return  # no machine draws more than its full power
    found = _differ(_window(cpu, wall), _window(cpu2, wall2))
    slack = 2e-3 * (before + after)  # the source names the memory with three digits
    assert found.change.low - slack <= after - before <= found.change.high + slack
    assert found.ratio is not None
    assert found.ratio.low * 0.998 <= after / before <= found.ratio.high * 1.002


@given(parts, parts, parts, parts)
def test_independent_counters_add_their_errors(a: float, b: float, da: float, db: float) -> None:
    before = Terms.apart(_counter(max(0.0, a - da), a, a + da))
    after = Terms.apart(_counter(max(0.0, b - db), b, b + db))
    found = difference(before, after)
    width = (before.whole.high - before.whole.low) + (after.whole.high - after.whole.low)
    assert found.change.high - found.change.low == pytest.approx(width)
    assert found.shared == ()
    assert found.added == ("rapl",)


@given(seconds, seconds, seconds, seconds)
def test_the_uncertainty_of_a_difference_is_never_more_than_that_of_both_ends(
    cpu: float, wall: float, cpu2: float, wall2: float
) -> None:
    one, other = _window(cpu, wall)["energy"], _window(cpu2, wall2)["energy"]
    change = _differ(_window(cpu, wall), _window(cpu2, wall2)).change
    assert change.low >= other.low - one.high
    assert change.high <= other.high - one.low


@given(seconds, seconds, st.floats(1.1, 9))
def test_one_intensity_cancels_in_a_ratio_of_emissions(
    cpu: float, wall: float, times: float
) -> None:
    sides = []
    for stretch in (1.0, times):
        figures = _window(cpu * stretch, wall * stretch)
        figures["emissions"] = operational_emissions(figures["energy"], GRID)
        sides.append(terms_of(figures, "emissions"))
    found = difference(sides[0], sides[1])
    assert found.ratio is not None
    assert found.ratio.low == pytest.approx(times)
    assert found.ratio.high == pytest.approx(times)
    assert GRID.source in found.shared
    assert found.change.low > 0


def test_two_intensities_do_not_cancel() -> None:
    sides = []
    for grid in (GRID, stated_intensity(GramsPerKWh(50))):
        figures = _window(3, 2)
        figures["emissions"] = operational_emissions(figures["energy"], grid)
        sides.append(terms_of(figures, "emissions"))
    found = difference(sides[0], sides[1])
    assert found.change.low < 0 < found.change.high
    assert GRID.source not in found.shared


def test_a_counter_beside_the_band_is_added_and_the_band_is_shared() -> None:
    found = _differ(
        _window(5, 10, _counter(90, 100, 110)), _window(5, 10, _counter(45, 50, 55, "nvml:0"))
    )
    assert found.change.value == pytest.approx(-50)
    assert (found.change.low, found.change.high) == pytest.approx((-65, -35), abs=0.2)
    assert found.added == ("rapl", "nvml:0")
    assert len(found.shared) == 2


def test_a_figure_whose_band_has_changed_since_is_kept_apart() -> None:
    window = _window(5, 10)
    window["energy"] = window["energy"].scaled(1.2)
    assert terms_of(window, "energy").amounts == {}


def test_repeats_widen_by_what_they_say() -> None:
    # Welch's t for 10, 12, 11 against 15, 18, 16 by hand: variances 1 and 7/3 of three runs,
    # standard error 1.0541, 3.4483 degrees of freedom, t = 2.9608 (two-sided 95 %).
    before, after = [10.0, 12.0, 11.0], [15.0, 18.0, 16.0]
    one, other = (Terms.apart(_counter(m, m, m)) for m in (11.0, 49 / 3))
    change = difference(one, other, repeats=(before, after)).change
    assert change.value == pytest.approx(16 / 3)
    assert (change.high - change.low) / 2 == pytest.approx(1.0541 * 2.9608, rel=2e-3)


def test_a_shared_grid_does_not_make_runs_differ_more_than_they_do() -> None:
    # an unknown grid is uncertain by a factor of thirty and the same for both sides
    sides = []
    for cpu_s in (30.0, 10.0):
        figures = _window(cpu_s, cpu_s)
        sides.append(
            terms_of(
                {**figures, "emissions": operational_emissions(figures["energy"], GRID)},
                "emissions",
            )
        )
    runs = [[side.whole.value * share for share in (0.98, 1.0, 1.02)] for side in sides]
    found = difference(*sides, repeats=(runs[0], runs[1]))
    assert found.ratio is not None
    assert found.ratio.high < 1.0
    assert found.change.high < 0.0
    assert found.change.low <= found.change.value <= found.change.high


def test_there_is_no_ratio_to_what_may_be_zero() -> None:
    assert difference(Terms.apart(_counter(0, 1, 2)), Terms.apart(_counter(3, 4, 5))).ratio is None


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.db") as opened:
        yield opened


def _append(ledger: Ledger, name: str, cpu_s: float, wall_s: float, **more: Any) -> None:
    ledger.append("measure", {"name": name, **_window(cpu_s, wall_s), **more})


def _energy(found: Comparison) -> Change:
    return next(change for change in found.changes if change.name == "energy")


def test_an_entry_does_not_differ_from_itself(ledger: Ledger) -> None:
    _append(ledger, "a", 3, 2)
    ledger.append("measure", {"name": "b", "energy": _counter(9, 10, 12)})
    for label in ("1", "2", "a", "b"):
        found = compare.compare(ledger, label, label)
        for change in found.changes:
            assert change.difference.is_exact
            assert change.difference.value == 0
            assert change.ratio is not None
            assert (change.ratio.low, change.ratio.value, change.ratio.high) == (1, 1, 1)
            assert change.sentence.endswith(": exactly the same.")
        assert "every error is shared" in found.notes[0]


def test_names_are_compared_by_their_means(ledger: Ledger) -> None:
    for cpu in (9, 11):
        _append(ledger, "before", cpu, 10)
    for cpu in (4, 6):
        _append(ledger, "after", cpu, 10)
    found = compare.compare(ledger, "before", "after")
    assert found.before.entries == (1, 2)
    cpu_time = next(c for c in found.changes if c.name == "CPU time")
    assert (cpu_time.before.value, cpu_time.after.value) == (10, 5)
    assert cpu_time.difference.low < -5 < cpu_time.difference.high  # the runs differ
    assert _energy(found).runs == (2, 2)
    assert any("means of runs" in note for note in found.notes)


def test_the_sentence_says_what_can_be_told_apart(ledger: Ledger) -> None:
    for name, energy in (
        ("a", _counter(95, 100, 105)),
        ("b", _counter(45, 50, 55)),
        ("c", _counter(90, 97, 104)),
    ):
        ledger.append("measure", {"name": name, "energy": energy})
    sure = _energy(compare.compare(ledger, "a", "b")).sentence
    unsure = _energy(compare.compare(ledger, "a", "c")).sentence
    assert sure == "Energy: 50 J less after (40 J to 60 J): distinguishable from zero."
    assert unsure.endswith("not distinguishable from zero.")


def test_other_boundaries_are_not_compared_in_words(ledger: Ledger) -> None:
    _append(ledger, "a", 3, 2)
    ledger.append("measure", {"name": "b", "energy": _counter(9000, 10000, 12000)})
    found = compare.compare(ledger, "a", "b")
    assert "do not count the same things" in _energy(found).sentence
    assert any("boundaries of energy" in note for note in found.notes)


def test_a_stated_grid_is_the_same_for_both(ledger: Ledger) -> None:
    _append(ledger, "a", 3, 2)
    _append(ledger, "b", 30, 20)
    grid = Grid(stated_intensity(GramsPerKWh(100)))
    found = compare.compare(ledger, "a", "b", grid=grid)
    grams = next(c for c in found.changes if c.name == "emissions")
    energy = _energy(found)
    assert grams.ratio is not None
    assert energy.ratio is not None
    assert grams.ratio.low == pytest.approx(energy.ratio.low)
    assert grams.difference.high == pytest.approx(energy.difference.high * 100 / 3.6e6)


def test_what_is_not_there_or_shares_nothing_is_refused(ledger: Ledger) -> None:
    _append(ledger, "a", 3, 2)
    ledger.append("note", {"name": "words"})
    with pytest.raises(UsageError, match="no entry 'z'"):
        compare.compare(ledger, "a", "z")
    with pytest.raises(UsageError, match="no figure in common"):
        compare.compare(ledger, "a", "words")
