"""The ledger keeps what it was given, in order, and refuses what it cannot keep."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import LedgerError
from negawatt.core.estimate import Estimate
from negawatt.ledger import Ledger, Origin, default_path, open_ledger
from negawatt.ledger.entry import GENESIS, canonical

START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppingClock:
    """A calendar that moves one hour at each look."""

    def __init__(self) -> None:
        self.hours = -1

    def monotonic(self) -> float:
        return 0.0

    def cpu(self) -> float:
        return 0.0

    def now(self) -> datetime:
        self.hours += 1
        return START + timedelta(hours=self.hours)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    origin = Origin("ada", "loom", {"negawatt": "0"})
    with open_ledger(path, clock=SteppingClock(), origin=origin) as opened:
        yield opened


def test_an_entry_comes_back_as_it_was_written(ledger: Ledger) -> None:
    energy = Estimate.exact(3.5, unit="J", source="meter")

    written = ledger.append("measure", {"name": "µ demo", "energy": energy, "list": (1, 2)})

    (read,) = ledger.entries()
    assert read == written
    assert read.sequence == 1
    assert read.time == START
    assert (read.who, read.host, read.versions) == ("ada", "loom", {"negawatt": "0"})
    assert read.previous == GENESIS
    assert read.body == {"name": "µ demo", "energy": energy.to_json(), "list": [1, 2]}


def test_entries_are_chained_and_the_head_is_the_last(ledger: Ledger) -> None:
    entries = [ledger.append("measure", {"n": n}) for n in range(3)]

    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert ledger.verify() == ledger.head()
    assert (ledger.head().sequence, ledger.head().hash) == (3, entries[-1].hash)


def test_an_empty_ledger_verifies(ledger: Ledger) -> None:
    assert ledger.verify().sequence == 0
    assert list(ledger.entries()) == []


def test_entries_are_filtered_by_kind_and_time(ledger: Ledger) -> None:
    for kind in ("measure", "optimize", "measure"):
        ledger.append(kind, {})

    assert [entry.sequence for entry in ledger.entries("measure")] == [1, 3]
    assert [e.sequence for e in ledger.entries(since=START + timedelta(hours=1))] == [2, 3]
    assert [e.sequence for e in ledger.entries("measure", START + timedelta(hours=1))] == [3]


def test_a_time_without_zone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="time zone"):
        next(ledger.entries(since=datetime(2026, 1, 1)))  # noqa: DTZ001 - the point of the test


def test_the_chain_goes_on_after_reopening(path: Path) -> None:
    for n in range(3):
        with open_ledger(path) as ledger:
            assert ledger.append("measure", {"n": n}).sequence == n + 1
    with open_ledger(path, readonly=True) as ledger:
        assert ledger.verify().sequence == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf, {1, 2}, object()])
def test_what_json_cannot_say_is_refused_and_nothing_is_written(
    ledger: Ledger, bad: object
) -> None:
    with pytest.raises(LedgerError, match="as JSON") as caught:
        ledger.append("measure", {"x": bad})
    assert "leave an unknown figure out" in caught.value.fix
    assert ledger.verify().sequence == 0


def test_text_that_is_not_unicode_survives(ledger: Ledger) -> None:
    argument = b"caf\xe9".decode("utf-8", "surrogateescape")  # an argument in another encoding
    ledger.append("measure", {"command": argument})

    (entry,) = ledger.entries()
    assert entry.body["command"] == argument
    ledger.verify()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_canonical_text_does_not_depend_on_the_order_of_keys(body: dict[str, object]) -> None:
    turned = dict(reversed(body.items()))
    assert canonical(turned) == canonical(body)
    assert canonical(body).isascii()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '{}'",
        "DELETE FROM entries",
        "DELETE FROM head",
        "UPDATE head SET sequence = 7",
    ],
)
def test_the_file_itself_refuses_to_forget(ledger: Ledger, path: Path, statement: str) -> None:
    ledger.append("measure", {"n": 1})
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|one entry at a time"):
        connection.execute(statement)
    connection.close()


def test_a_closed_ledger_says_so(ledger: Ledger) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.append("measure", {})


def test_the_default_place_follows_the_environment() -> None:
    assert default_path({"NEGAWATT_LEDGER": "/a/b.db", "HOME": "/h"}) == Path("/a/b.db")
    assert default_path({"XDG_DATA_HOME": "/x", "HOME": "/h"}) == Path("/x/negawatt/ledger.db")
    assert default_path({"HOME": "/h"}) == Path("/h/.local/share/negawatt/ledger.db")
    assert default_path({}).parts[-2:] == ("negawatt", "ledger.db")


def test_the_writer_is_named_without_being_asked(path: Path) -> None:
    with open_ledger(path) as ledger:
        entry = ledger.append("measure", {})
    assert entry.who
    assert entry.host
    assert entry.versions.keys() == {"negawatt", "python"}
