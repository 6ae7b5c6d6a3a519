"""A ledger's totals: unknown is not zero, nothing is added that has no sum."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome_sample import sample_outcome
from rich.console import Console

from negawatt.core.codec import encode
from negawatt.core.errors import LedgerError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import GramsPerKWh
from negawatt.ledger import Entry, Ledger, Origin, open_ledger
from negawatt.ledger.footprint import stated_intensity, stated_pue
from negawatt.ledger.since import parse_since
from negawatt.reports import book
from negawatt.reports.totals import Grid, totals

START = datetime(2026, 3, 1, tzinfo=UTC)


def _energy(value: float, kind: Kind = Kind.MEASURED) -> dict[str, Any]:
    return Estimate(
        value=value, low=0.9 * value, high=1.2 * value, unit="J", kind=kind, source=f"{kind} meter"
    ).to_json()


def _entry(sequence: int, body: Mapping[str, Any], kind: str = "measure") -> Entry:
    time = START + timedelta(hours=sequence)
    return Entry(sequence, time, kind, "ada", "loom", body, {}, "0" * 64, f"{sequence:064x}")


class Hourly:
    """A calendar for ledgers that are written in a test."""

    def __init__(self) -> None:
        self.hour = 0

    def monotonic(self) -> float:
        return 0.0

    def cpu(self) -> float:
        return 0.0

    def now(self) -> datetime:
        self.hour += 1
        return START + timedelta(hours=self.hour)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with open_ledger(path, clock=Hourly(), origin=Origin("ada", "loom", {"negawatt": "0"})) as it:
        it.append("measure", {"name": "train", "energy": _energy(100)})
        it.append("measure", {"name": "train", "energy": _energy(50, Kind.MODELLED)})
        it.append("measure", {"name": "train"})  # a counter that could not be read
        it.append("measure", {"name": "<b>serve</b>", "energy": _energy(900)})
        it.append("optimize", encode(sample_outcome(blocks=2)))
        yield it


def test_sums_are_by_kind_and_name_and_the_dearest_first(ledger: Ledger) -> None:
    found = totals(ledger.entries())
    assert [(t.kind, t.name, t.entries) for t in found] == [
        ("optimize", "sample-135m (test data)", 1),
        ("measure", "<b>serve</b>", 1),
        ("measure", "train", 3),
    ]


def test_an_unknown_figure_is_not_counted_as_zero(ledger: Ledger) -> None:
    train = totals(ledger.entries("measure"))[-1]
    energy = train.sums["energy"]
    assert (energy.estimate.value, energy.known, train.entries) == (150.0, 2, 3)
    assert (energy.estimate.low, energy.estimate.high) == pytest.approx((135, 180))


def test_a_sum_is_of_the_weakest_kind_and_names_all_sources(ledger: Ledger) -> None:
    energy = totals(ledger.entries("measure"))[-1].sums["energy"].estimate
    assert energy.kind is Kind.MODELLED
    assert energy.source == "measured meter; modelled meter"


def test_many_sources_are_counted_instead_of_listed() -> None:
    entries = [
        _entry(n, {"name": "x", "energy": {**_energy(1), "source": f"meter {n}"}}) for n in range(9)
    ]
    assert totals(entries)[0].sums["energy"].estimate.source.endswith("; and 6 more")


def test_what_has_no_sum_is_not_added() -> None:
    body = {"name": "x", "energy": {**_energy(3), "unit": "J/token"}, "wall_seconds": 3.0}
    assert totals([_entry(1, body), _entry(2, body)])[0].sums == {}


def test_units_that_differ_have_no_sum() -> None:
    one = {"name": "x", "energy": _energy(1)}
    other = {"name": "x", "energy": {**_energy(1), "unit": "s"}}
    assert "energy" not in totals([_entry(1, one), _entry(2, other)])[0].sums


def test_first_and_last_are_the_ends_in_time_whatever_the_order() -> None:
    merged = [_entry(n, {"name": "x", "energy": _energy(1)}) for n in (5, 2, 9, 4)]
    (total,) = totals(merged)
    assert (total.first, total.last) == (merged[1].time, merged[2].time)


@pytest.mark.parametrize("broken", [-3.0, {"value": 1.0, "low": -1.0}])
def test_a_figure_below_zero_is_left_out_and_told(ledger: Ledger, broken: Any) -> None:
    change = broken if isinstance(broken, dict) else {"value": broken, "low": broken}
    ledger.append("measure", {"name": "train", "energy": {**_energy(1), **change}})
    read = book.read_book(ledger, book.Choice(name="train"))
    (total,) = read.totals
    assert (total.refused, total.sums["energy"].known) == (1, 2)
    assert total.sums["energy"].estimate.value == 150.0
    assert "1 entry holds a figure below zero" in " ".join(read.notes)
    assert "below zero" in _shown(read, terminal=False)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_unknown(word: str) -> None:
    energy = json.loads(json.dumps(_energy(1)).replace("1.2", word))
    (total,) = totals([_entry(1, {"name": "x", "energy": energy})])
    assert total.sums == {}


def test_a_clock_that_was_set_back_is_told(path: Path) -> None:
    clock = Hourly()
    with open_ledger(path, clock=clock, origin=Origin("ada", "loom", {}, "m1")) as it:
        it.append("measure", {"name": "train", "energy": _energy(1)})
        it.append("measure", {"name": "train", "energy": _energy(1)})
        clock.hour -= 5
        it.append("measure", {"name": "train", "energy": _energy(1)})
        it.append("measure", {"name": "train", "energy": _energy(1)})
        assert it.audit().back == (3,)
        read = book.read_book(it)
    assert read.totals[0].sums["energy"].estimate.value == 4
    assert "set back before entry 3" in read.notes[0]


def test_a_broken_figure_is_passed_over() -> None:
    body = {"energy": {**_energy(1), "low": 5.0, "high": 2.0}, "cpu_seconds": "many"}
    (total,) = totals([_entry(1, body)])
    assert (total.name, total.sums) == ("unnamed", {})


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20), st.data())
def test_the_order_of_entries_does_not_change_a_sum(
    values: list[float], data: st.DataObject
) -> None:
    entries = [_entry(n, {"energy": _energy(v)}) for n, v in enumerate(values)]
    turned = data.draw(st.permutations(entries))
    assert totals(turned)[0].sums["energy"].estimate.value == pytest.approx(
        totals(entries)[0].sums["energy"].estimate.value
    )


def test_recorded_emissions_are_kept_unless_a_grid_is_stated() -> None:
    grams = {**_energy(7), "unit": "gCO2e", "kind": "assumed"}
    entry = _entry(1, {"energy": _energy(7_200_000), "carbon": grams})

    recorded = totals([entry])[0].sums["emissions"].estimate
    grid = Grid(stated_intensity(GramsPerKWh(150)), stated_pue(1.2))
    stated = totals([entry], grid)[0].sums["emissions"].estimate

    assert recorded.value == 7
    assert stated.value == pytest.approx(360)


def test_energy_without_recorded_emissions_gets_the_worlds_band() -> None:
    emissions = totals([_entry(1, {"energy": _energy(3_600_000)})])[0].sums["emissions"].estimate
    assert emissions.kind is Kind.ASSUMED
    assert emissions.low < 50
    assert 300 < emissions.value < emissions.high


def test_a_book_is_read_only_of_a_sound_ledger(ledger: Ledger) -> None:
    ledger.store._connection.execute("DROP TRIGGER entries_stay")
    ledger.store._connection.execute("UPDATE entries SET body = '{}' WHERE sequence = 2")
    with pytest.raises(LedgerError, match="entry 2"):
        book.read_book(ledger)


def test_choices_narrow_a_book(ledger: Ledger) -> None:
    by_name = book.read_book(ledger, book.Choice(name="train"))
    since = book.read_book(ledger, book.Choice(kind="measure", since=START + timedelta(hours=3)))
    assert [t.name for t in by_name.totals] == ["train"]
    assert sum(t.entries for t in since.totals) == 2
    assert str(since.choice) == "kind measure, since 2026-03-01 03:00 UTC"
    assert str(book.read_book(ledger).choice) == "all entries"


def test_a_book_knows_which_entries_hold_an_optimisation(ledger: Ledger) -> None:
    ledger.append("optimize", {"name": "nested", "outcome": encode(sample_outcome(blocks=1))})
    assert book.read_book(ledger).outcomes == (5, 6)


def _shown(read: book.Book, *, terminal: bool) -> str:
    stream = io.StringIO()
    book.show(read, Console(file=stream, width=110, force_terminal=terminal, color_system=None))
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_terminal_shows_totals_intervals_and_gaps(ledger: Ledger, terminal: bool) -> None:
    text = _shown(book.read_book(ledger), terminal=terminal)
    assert "5 entries verify" in text
    assert "2 of 3 known" in text
    assert "150~" in text
    assert "135…180" in text
    assert "no grand total" in text
    assert "--entry 5" in text
    assert max(map(len, text.splitlines())) <= 112


def test_an_empty_ledger_is_told_as_such(path: Path) -> None:
    with open_ledger(path) as ledger:
        read = book.read_book(ledger)
    assert "No entry was chosen" in _shown(read, terminal=False)
    assert "No entry was chosen" in book.page(read)
    assert json.loads(book.as_json(read))["totals"] == []


def test_the_page_is_escaped_and_complete(ledger: Ledger) -> None:
    html = book.page(book.read_book(ledger))
    assert "<b>serve</b>" not in html
    assert "&lt;b&gt;serve&lt;/b&gt;" in html
    assert "2 of 3 known" in html
    assert ledger.head().hash in html
    assert "ada@loom" in html


def test_the_json_holds_every_figure_whole(ledger: Ledger) -> None:
    value = json.loads(book.as_json(book.read_book(ledger)))
    train = next(t for t in value["totals"] if t["name"] == "train")
    energy = train["sums"]["energy"]
    assert energy["known"] == 2
    assert energy["estimate"].keys() >= {"value", "low", "high", "unit", "kind", "source"}
    assert value["head"]["sequence"] == 5


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", datetime(2026, 2, 22, tzinfo=UTC)),
        ("30min", datetime(2026, 2, 28, 23, 30, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_moments_as_people_type_them(text: str, moment: datetime) -> None:
    assert parse_since(text, START) == moment
