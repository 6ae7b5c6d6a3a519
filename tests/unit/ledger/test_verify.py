"""Whatever is done to a ledger behind its back, `verify` names the entry."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from negawatt.core.errors import LedgerError
from negawatt.ledger import Head, Ledger, open_ledger
from negawatt.ledger.entry import sealed

COUNT = 6
TRIGGERS = ("entries_stay", "entries_remain", "head_advances", "head_remains")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    with open_ledger(file) as ledger:
        for n in range(COUNT):
            ledger.append("measure", {"name": f"run {n}", "n": n})
    return file


def _tamper(path: Path, *statements: str) -> None:
    """Act as somebody who knows SQLite and removes the triggers first."""
    connection = sqlite3.connect(path)
    for trigger in TRIGGERS:
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _complaint(path: Path, act: Callable[[Ledger], object] = Ledger.verify) -> str:
    with open_ledger(path, readonly=True) as ledger, pytest.raises(LedgerError) as caught:
        act(ledger)
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        "body = '{\"n\":99}'",
        "time = '2020-01-01T00:00:00.000000+00:00'",
        "kind = 'optimize'",
        "who = 'somebody else'",
        "host = 'another machine'",
        "versions = '{}'",
        "previous = hash",
        "hash = previous || 'x'",
    ],
)
@pytest.mark.parametrize("sequence", [1, 4, COUNT])
def test_an_edit_of_any_field_of_any_entry_is_named(path: Path, change: str, sequence: int) -> None:
    _tamper(path, f"UPDATE entries SET {change} WHERE sequence = {sequence}")  # noqa: S608
    assert f"entry {sequence} (" in _complaint(path)
    assert "was changed after it was written" in _complaint(path)


@pytest.mark.parametrize("sequence", [1, 3, COUNT])
def test_a_removal_is_named_even_at_the_end(path: Path, sequence: int) -> None:
    _tamper(path, f"DELETE FROM entries WHERE sequence = {sequence}")  # noqa: S608
    assert f"entry {sequence} is missing" in _complaint(path)


def test_closing_the_gap_after_a_removal_is_named(path: Path) -> None:
    _tamper(
        path,
        "DELETE FROM entries WHERE sequence = 3",
        "UPDATE entries SET sequence = sequence - 1 WHERE sequence > 3",
    )
    assert "entry 3 (" in _complaint(path)


def test_two_entries_exchanged_are_named(path: Path) -> None:
    _tamper(
        path,
        "UPDATE entries SET sequence = 100 WHERE sequence = 2",
        "UPDATE entries SET sequence = 2 WHERE sequence = 5",
        "UPDATE entries SET sequence = 5 WHERE sequence = 100",
    )
    assert "entry 2 (" in _complaint(path)


def _forge(path: Path, sequence: int) -> None:
    """Edit one entry and give it a hash that fits its new content."""
    with open_ledger(path, readonly=True) as ledger:
        row = next(row for row in ledger.store.read() if row.sequence == sequence)
    forged = sealed(row._replace(body=json.dumps({"n": 0})))
    _tamper(
        path,
        f"UPDATE entries SET body = '{forged.body}', hash = '{forged.hash}'"  # noqa: S608
        f" WHERE sequence = {sequence}",
    )


def test_a_forged_entry_breaks_the_link_to_the_next(path: Path) -> None:
    _forge(path, 3)
    assert "entry 4 (" in _complaint(path)
    assert "does not follow entry 3" in _complaint(path)


def test_a_forged_last_entry_is_not_the_head(path: Path) -> None:
    _forge(path, COUNT)
    assert f"entry {COUNT} is not the one that the chain ended with" in _complaint(path)


def test_a_ledger_cut_at_the_end_takes_no_new_entries(path: Path) -> None:
    _tamper(path, f"DELETE FROM entries WHERE sequence = {COUNT}")  # noqa: S608
    with open_ledger(path) as ledger, pytest.raises(LedgerError, match="ends at entry 5, but 6"):
        ledger.append("measure", {})


def test_a_missing_head_is_noticed(path: Path) -> None:
    _tamper(path, "DELETE FROM head")
    assert "where the chain ends is missing" in _complaint(path)


def test_a_chain_written_anew_is_caught_by_a_head_noted_before(path: Path) -> None:
    with open_ledger(path, readonly=True) as ledger:
        noted = ledger.head()
    path.unlink()
    with open_ledger(path) as ledger:
        for n in range(COUNT):
            ledger.append("measure", {"name": f"run {n}", "n": n + 1})
        assert ledger.verify().sequence == COUNT  # alone, the new chain is sound

        with pytest.raises(LedgerError, match="written anew"):
            ledger.verify(expect=noted)


def test_a_ledger_that_grew_still_holds_the_head_noted_before(path: Path) -> None:
    with open_ledger(path) as ledger:
        noted = ledger.head()
        ledger.append("measure", {})
        assert ledger.verify(expect=noted).sequence == COUNT + 1
        assert ledger.verify(expect=Head(0, "0" * 64)).sequence == COUNT + 1


def test_an_unreadable_body_is_a_ledger_error_when_listed(path: Path) -> None:
    _tamper(path, "UPDATE entries SET body = '{' WHERE sequence = 2")
    assert "entry 2 cannot be read" in _complaint(path, lambda ledger: list(ledger.entries()))


def test_the_fix_says_how_far_the_chain_can_be_trusted(path: Path) -> None:
    _tamper(path, "UPDATE entries SET kind = 'x' WHERE sequence = 4")
    assert "entries 1 to 3 still verify" in _complaint(path)
