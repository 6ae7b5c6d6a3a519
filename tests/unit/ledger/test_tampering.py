"""Any change to the file behind the ledger's back is found, and the entry is named."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ledger_sample import filled, opened, rewrite, rows_of

from negawatt.core.errors import LedgerError
from negawatt.core.stores import Row
from negawatt.ledger import Head, open_ledger
from negawatt.ledger.entry import GENESIS, sealed
from negawatt.ledger.keys import Secret
from negawatt.ledger.merge import LedgerSource, take_in

COUNT = 7
KEY = Secret(b"k" * 32)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Entries of its own and imported ones, a checkpoint in between."""
    folder = tmp_path_factory.mktemp("template")
    path = filled(folder / "ledger.db", 4)
    other = filled(folder / "other.db", 2, host="bobbin", machine="m2")
    with opened(path, hours=10) as ledger, open_ledger(other, readonly=True) as source:
        take_in(ledger, LedgerSource(source))  # two entries and the record of their import
        assert ledger.head().sequence == COUNT
    return path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "ledger.db"


def complaint(path: Path) -> str:
    with open_ledger(path, readonly=True) as ledger, pytest.raises(LedgerError) as caught:
        ledger.verify()
    return caught.value.what


def named(text: str) -> int:
    """The entry that a complaint is about."""
    found = re.search(r"entr(?:y|ies) (\d+)", text)
    assert found is not None, text
    return int(found[1])


positions = st.integers(0, COUNT - 1)
words = st.text(max_size=12) | st.sampled_from(["{}", "measure", "loom", "m1"])


@settings(max_examples=60)
@given(at=positions, field=st.sampled_from(Row._fields[1:]), word=words, number=st.integers(0, 9))
def test_an_edit_of_any_column_names_the_entry(
    template: Path, scratch: Path, at: int, field: str, word: str, number: int
) -> None:
    rows = rows_of(template)
    value = number if field == "origin_sequence" else word
    assume(getattr(rows[at], field) != value)
    assume("\x00" not in word and word.isascii())
    rows[at] = rows[at]._replace(**{field: value})
    shutil.copy(template, scratch)
    try:
        rewrite(scratch, rows)
    except sqlite3.IntegrityError:
        return  # the file itself refuses two entries with one hash
    assert named(complaint(scratch)) == at + 1


@settings(max_examples=40)
@given(first=positions, count=st.integers(1, COUNT))
def test_a_removal_names_the_first_that_is_missing(
    template: Path, scratch: Path, first: int, count: int
) -> None:
    rows = rows_of(template)
    del rows[first : first + count]
    shutil.copy(template, scratch)
    rewrite(scratch, rows)
    text = complaint(scratch)
    assert f"entry {first + 1} is missing" in text


@settings(max_examples=40)
@given(order=st.permutations(range(COUNT)), renumber=st.booleans())
def test_another_order_names_the_first_that_moved(
    template: Path, scratch: Path, order: list[int], renumber: bool
) -> None:
    assume(order != sorted(order))
    before = rows_of(template)
    rows = [before[k]._replace(sequence=n + 1) for n, k in enumerate(order)]
    moved = next(n for n, k in enumerate(order) if n != k)
    if renumber:  # and each hash made to fit the new number
        rows = [sealed(row) for row in rows]
    shutil.copy(template, scratch)
    rewrite(scratch, rows)
    assert named(complaint(scratch)) in {moved + 1, moved + 2}


@settings(max_examples=40)
@given(at=positions, body=st.integers().map(lambda n: f'{{"n":{n}}}'), fix_head=st.booleans())
def test_a_row_with_a_new_hash_does_not_fit_its_neighbours(
    template: Path, scratch: Path, at: int, body: str, fix_head: bool
) -> None:
    assume(not (fix_head and at == COUNT - 1))  # the end alone: only a signature tells, see below
    rows = rows_of(template)
    assume(rows[at].body != body)
    rows[at] = sealed(rows[at]._replace(body=body))
    shutil.copy(template, scratch)
    rewrite(scratch, rows, head=fix_head)
    assert named(complaint(scratch)) in {at + 1, at + 2}


@settings(max_examples=30)
@given(at=st.integers(1, COUNT))
def test_an_insertion_is_noticed(template: Path, scratch: Path, at: int) -> None:
    rows = rows_of(template)
    previous = rows[at - 1].hash
    new = sealed(rows[0]._replace(sequence=at + 1, body='{"forged":true}', previous=previous))
    rows = [*rows[:at], new, *[row._replace(sequence=row.sequence + 1) for row in rows[at:]]]
    shutil.copy(template, scratch)
    rewrite(scratch, rows)
    assert named(complaint(scratch)) in {at + 1, at + 2}


def rechained(rows: list[Row]) -> list[Row]:
    """The rows with all hashes made anew: what somebody can do who needs no key."""
    done: list[Row] = []
    for number, row in enumerate(rows, 1):
        previous = done[-1].hash if done else GENESIS
        done.append(sealed(row._replace(sequence=number, previous=previous)))
    return done


@settings(max_examples=40)
@given(
    signed=st.integers(1, COUNT),
    at=positions,
    act=st.sampled_from(["edit", "remove", "cut", "append"]),
    wipe=st.booleans(),
)
def test_a_chain_written_anew_is_caught_by_a_checkpoint_and_by_nothing_else(
    template: Path, scratch: Path, signed: int, at: int, act: str, wipe: bool
) -> None:
    rows = rows_of(template)
    shutil.copy(template, scratch)
    rewrite(scratch, rows[:signed], head=True)
    with opened(scratch, hours=50) as ledger:
        held = ledger.checkpoint(KEY)
    if act == "edit":
        rows[at] = rows[at]._replace(kind="forged")
    elif act == "remove":
        del rows[at]
    elif act == "cut":
        del rows[at:]
    else:
        rows.append(rows[0])
    imported = any(row.origin_hash and row.kind == "forged" for row in rows)
    assume(not imported and rows)  # an imported entry has a second hash, checked above
    rewrite(scratch, rechained(rows), head=True, checkpoints=not wipe)

    touched = at < signed and act != "append"
    with open_ledger(scratch, readonly=True) as ledger:
        if wipe or not touched:
            assert ledger.verify() == ledger.head()  # the chain itself is sound
        if touched:
            with pytest.raises(LedgerError, match="checkpoint") as caught:
                ledger.audit([KEY], [held])
            assert "cut off" in str(caught.value) or "written anew" in str(caught.value)
            assert caught.value.fix
        else:
            found = ledger.audit([KEY], [held])
            assert found.signed == signed
            assert found.unsigned == len(rows) - signed


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_happens_to_a_byte_a_ledger_that_verifies_holds_what_it_held(
    template: Path, scratch: Path, data: st.DataObject
) -> None:
    content = bytearray(template.read_bytes())
    at = data.draw(st.integers(100, len(content) - 1))  # the header names the file's own version
    content[at] ^= data.draw(st.integers(1, 255))
    scratch.with_name("ledger.db-wal").unlink(missing_ok=True)
    scratch.write_bytes(content)
    try:
        with open_ledger(scratch, readonly=True) as ledger:
            ledger.verify()
            whole = list(ledger.store.read())
            kind = list(ledger.store.read("optimize"))
    except LedgerError:
        return
    assert whole == rows_of(template)
    assert kind == [row for row in whole if row.kind == "optimize"]


def test_an_entry_added_behind_the_end_is_named(template: Path, scratch: Path) -> None:
    rows = rows_of(template)
    new = sealed(rows[0]._replace(sequence=COUNT + 1, previous=rows[-1].hash))
    shutil.copy(template, scratch)
    rewrite(scratch, [*rows, new])
    assert f"entry {COUNT + 1} was added behind the end" in complaint(scratch)


def test_a_forged_import_is_named_even_when_the_chain_fits(template: Path, scratch: Path) -> None:
    rows = rows_of(template)
    assert rows[5].origin_hash
    rows[5] = rows[5]._replace(who="somebody else")
    shutil.copy(template, scratch)
    rewrite(scratch, rechained(rows), head=True)
    assert "entry 6" in complaint(scratch)
    assert "was imported" in complaint(scratch)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO entries SELECT * FROM entries WHERE sequence = 2",
        "REPLACE INTO head VALUES (1, 0, 'x')",
        "UPDATE checkpoints SET text = ''",
        "DELETE FROM checkpoints",
        "INSERT OR REPLACE INTO checkpoints SELECT * FROM checkpoints",
        (
            "INSERT INTO entries (sequence, time, kind, who, host, body, versions, previous, hash)"
            " SELECT 99, time, kind, who, host, body, versions, previous, 'x' FROM entries LIMIT 1"
        ),
    ],
)
def test_the_file_refuses_what_would_replace_something(tmp_path: Path, statement: str) -> None:
    path = filled(tmp_path / "ledger.db", 3)
    with opened(path, hours=9) as ledger:
        ledger.checkpoint(KEY)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_the_head_noted_before_still_tells(template: Path) -> None:
    with open_ledger(template, readonly=True) as ledger:
        assert ledger.verify(expect=Head(0, GENESIS)) == ledger.head()
