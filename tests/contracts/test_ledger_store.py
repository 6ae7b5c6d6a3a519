"""What every store of a ledger must do. A new one is done when its rig passes here.

The PostgreSQL rig starts a real server; without one installed it is skipped, and says why.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from ledger_sample import START, filled, opened
from postgres_server import NoServer, running

from negawatt.core import registry
from negawatt.core.errors import LedgerError
from negawatt.core.stores import STORES, Head, Row, Store
from negawatt.ledger import Ledger, open_ledger
from negawatt.ledger.entry import GENESIS, sealed
from negawatt.ledger.keys import Secret
from negawatt.ledger.merge import LedgerSource, take_in
from negawatt.ledger.sqlite import SqliteStore

KEY = Secret(b"k" * 32)


class Rig(Protocol):
    place: Path | str

    def store(self, *, readonly: bool = False) -> Store:
        """Open it anew."""

    def force(self, statement: str) -> None:
        """Do something to the tables behind the store's back, its guards removed."""

    def ask(self, statement: str) -> None:
        """Ask the database for something, its guards in place."""

    def tables(self) -> dict[str, str]:
        """The names of the tables."""


class SqliteRig:
    def __init__(self, folder: Path) -> None:
        self.place = folder / "ledger.db"

    def store(self, *, readonly: bool = False) -> Store:
        return SqliteStore(self.place, readonly=readonly)

    def force(self, statement: str) -> None:
        with closing(sqlite3.connect(self.place)) as connection:
            guards = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in guards.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(statement)
            connection.commit()

    def ask(self, statement: str) -> None:
        with closing(sqlite3.connect(self.place, isolation_level=None)) as connection:
            connection.execute(statement)

    def tables(self) -> dict[str, str]:
        return {name: name for name in ("entries", "head", "checkpoints")}


class PostgresRig:
    def __init__(self, server: str, name: str) -> None:
        import psycopg

        self._psycopg = psycopg
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        self.place = server.replace("/postgres?", f"/{name}?")

    def store(self, *, readonly: bool = False) -> Store:
        store: Store = registry.load(STORES, "postgres")(self.place, readonly=readonly)
        return store

    def force(self, statement: str) -> None:
        with self._psycopg.connect(self.place, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # no trigger fires
            connection.execute(statement.encode())

    def ask(self, statement: str) -> None:
        with self._psycopg.connect(self.place, autocommit=True) as connection:
            connection.execute(statement.encode())

    def tables(self) -> dict[str, str]:
        return {name: f"negawatt.{name}" for name in ("entries", "head", "checkpoints")}


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    try:
        with running() as address:
            yield address
    except NoServer as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["sqlite", "postgres"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    if request.param == "sqlite":
        return SqliteRig(tmp_path)
    name = f"t{abs(hash(request.node.name)) % 10**9}"
    return PostgresRig(request.getfixturevalue("server"), name)


@pytest.fixture
def store(rig: Rig) -> Iterator[Store]:
    with closing(rig.store()) as opened_store:
        yield opened_store


@pytest.fixture
def ledger(rig: Rig) -> Iterator[Ledger]:
    with opened(rig.place) as opened_ledger:
        yield opened_ledger


def drafted(body: str = "{}", **more: Any) -> Callable[[Head], Row]:
    def make(head: Head) -> Row:
        time = f"2026-01-01T00:00:{head.sequence:02}.000000+00:00"
        row = Row(head.sequence + 1, time, "measure", "a", "h", body, "{}", head.hash, "", "m")
        return sealed(row._replace(**more))

    return make


def test_it_fulfils_the_protocol(store: Store) -> None:
    assert isinstance(store, Store)
    assert store.place


def test_a_new_one_is_empty(store: Store) -> None:
    assert store.head() == Head(0, GENESIS)
    assert list(store.read()) == []
    assert store.kept() == ()


def test_rows_come_back_as_they_were_given(store: Store) -> None:
    odd = '{"a":"\\u0000\\udce9","b":1e-300}'  # what JSON escapes, no database may interpret
    assert store.append([drafted(odd), drafted()]) == 2
    first, second = store.read()
    assert first.body == odd
    assert first == drafted(odd)(Head(0, GENESIS))
    assert second.previous == first.hash
    assert store.head() == Head(2, second.hash)


def test_a_time_of_text_is_compared_as_text(ledger: Ledger) -> None:
    for kind in ("measure", "optimize", "measure"):
        ledger.append(kind, {})
    assert [entry.sequence for entry in ledger.entries("measure")] == [1, 3]
    assert [e.sequence for e in ledger.entries(since=START + timedelta(hours=1))] == [2, 3]
    assert [e.sequence for e in ledger.entries("measure", START + timedelta(hours=1))] == [3]


def test_all_rows_or_none(store: Store) -> None:
    def fail(head: Head) -> Row:
        raise RuntimeError(head)

    store.append([drafted()])
    before = store.head()
    with pytest.raises(RuntimeError):
        store.append([drafted(), drafted(), fail])
    assert store.head() == before
    assert len(list(store.read())) == 1
    assert store.append([drafted()]) == 1


def test_none_is_nothing(store: Store) -> None:
    assert store.append([lambda head: None]) == 0
    assert store.append([]) == 0
    assert store.head().sequence == 0


def test_an_entry_that_is_here_is_passed_over(store: Store) -> None:
    def moved(head: Head) -> Row:
        origin = {"origin_sequence": 1, "origin_previous": GENESIS, "origin_hash": "ab" * 32}
        return sealed(drafted()(head)._replace(**origin))

    assert store.append([moved, moved, drafted()]) == 2
    assert store.append([moved]) == 0
    own = next(row for row in store.read() if row.origin_hash is None)
    again = sealed(
        own._replace(sequence=3, origin_sequence=1, origin_previous="", origin_hash=own.hash)
    )
    assert store.append([lambda head: again]) == 0
    assert store.head().sequence == 2


def test_checkpoints_are_kept_in_order(store: Store) -> None:
    for text in ("one", "two", "one"):
        store.keep(text)
    assert store.kept() == ("one", "two", "one")


def test_a_moment_does_not_move(rig: Rig, store: Store) -> None:
    store.append([drafted()])
    with closing(rig.store()) as other, store.moment():
        assert store.head().sequence == 1
        other.append([drafted()])
        other.keep("later")
        assert store.head().sequence == 1
        assert len(list(store.read())) == 1
        assert store.kept() == ()
    assert store.head().sequence == 2


def test_reading_goes_on_while_others_write(rig: Rig, store: Store) -> None:
    store.append([drafted() for _ in range(5)])
    rows = store.read()
    seen = [next(rows).sequence]
    store.append([drafted()])
    seen += [row.sequence for row in rows]
    assert seen[:5] == [1, 2, 3, 4, 5]
    assert store.head().sequence == 6


def test_leaving_a_read_early_is_harmless(store: Store) -> None:
    store.append([drafted() for _ in range(5)])
    rows = store.read()
    next(rows)
    rows.close()
    assert store.append([drafted()]) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {entries} SET body = '[]'",
        "UPDATE {entries} SET machine = NULL",
        "DELETE FROM {entries} WHERE sequence = 2",
        "UPDATE {head} SET sequence = 7",
        "UPDATE {head} SET sequence = 1",
        "DELETE FROM {head}",
        "INSERT INTO {head} VALUES (1, 9, 'x')",
        "UPDATE {checkpoints} SET text = ''",
        "DELETE FROM {checkpoints}",
        (
            "INSERT INTO {entries} (sequence, time, kind, who, host, body, versions, previous,"
            " hash) SELECT 9, time, kind, who, host, body, versions, previous, 'x' FROM {entries}"
            " WHERE sequence = 1"
        ),
    ],
)
def test_the_database_itself_refuses_to_forget(rig: Rig, store: Store, statement: str) -> None:
    store.append([drafted(), drafted()])
    store.keep("signed")
    before = list(store.read()), store.head(), store.kept()
    with pytest.raises(Exception, match=r"append-only|one entry at a time"):
        rig.ask(statement.format(**rig.tables()))
    assert (list(store.read()), store.head(), store.kept()) == before


def test_truncation_is_refused_where_it_exists(rig: Rig, store: Store) -> None:
    store.append([drafted()])
    if not isinstance(rig, PostgresRig):
        return  # SQLite has no such statement, and its DELETE is refused above
    for table in rig.tables().values():
        with pytest.raises(Exception, match="append-only"):
            rig.ask(f"TRUNCATE {table}")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE {entries} SET body = '[]' WHERE sequence = 2", "entry 2"),
        ("DELETE FROM {entries} WHERE sequence = 2", "entry 2 is missing"),
        ("DELETE FROM {entries} WHERE sequence > 3", "entry 4 is missing"),
        ("UPDATE {head} SET hash = 'x'", "entry 5 is not the one"),
        ("DELETE FROM {head}", "where the chain ends is missing"),
    ],
)
def test_what_is_done_behind_its_back_is_found(
    rig: Rig, ledger: Ledger, statement: str, said: str
) -> None:
    for n in range(5):
        ledger.append("measure", {"n": n})
    rig.force(statement.format(**rig.tables()))
    with pytest.raises(LedgerError, match=said):
        ledger.verify()


def test_a_chain_that_was_cut_takes_no_more(rig: Rig, ledger: Ledger) -> None:
    for n in range(3):
        ledger.append("measure", {"n": n})
    rig.force("DELETE FROM {entries} WHERE sequence = 3".format(**rig.tables()))  # noqa: S608
    with pytest.raises(LedgerError, match="ends at entry 2, but 3 were written"):
        ledger.append("measure", {})


def test_a_ledger_on_it_is_signed_and_audited(rig: Rig, ledger: Ledger) -> None:
    for n in range(3):
        ledger.append("measure", {"n": n})
    held = ledger.checkpoint(KEY)
    ledger.append("measure", {})
    with open_ledger(rig.place, readonly=True) as reader:
        audit = reader.audit([KEY], [held])
    assert (audit.signed, audit.unsigned) == (3, 1)


def test_a_ledger_is_carried_from_one_store_to_the_other(
    rig: Rig, ledger: Ledger, tmp_path: Path
) -> None:
    with open_ledger(filled(tmp_path / "file.db", 4, host="bobbin"), readonly=True) as file:
        assert take_in(ledger, LedgerSource(file)).entries == 4
        ids = {entry.id for entry in file.entries()}
    with opened(tmp_path / "back.db") as back:
        assert take_in(back, LedgerSource(ledger)).entries == 5
        assert ids <= {entry.id for entry in back.entries()}
        assert back.verify().sequence == 6
    assert ledger.verify().sequence == 5


WRITER = """
import json, sys
from negawatt.ledger import open_ledger
with open_ledger(sys.argv[1]) as ledger:
    print(json.dumps([ledger.append("measure", {"n": n}).hash for n in range(15)]))
"""


def test_many_processes_make_one_chain(rig: Rig) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(rig.place)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)  # they also race to make the tables
    ]
    written = [own for writer in writers for own in json.loads(writer.communicate(timeout=60)[0])]
    with open_ledger(rig.place, readonly=True) as ledger:
        assert ledger.verify().sequence == 45
        assert {entry.hash for entry in ledger.entries()} == set(written)


def test_threads_each_with_their_own_make_one_chain(rig: Rig, store: Store) -> None:
    def write() -> None:
        with closing(rig.store()) as own:
            for _ in range(10):
                own.append([drafted()])

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.head().sequence == 30


def test_a_reader_changes_nothing(rig: Rig, store: Store) -> None:
    store.append([drafted()])
    with closing(rig.store(readonly=True)) as reader:
        assert reader.head().sequence == 1
        with pytest.raises(LedgerError, match="read-only"):
            reader.append([drafted()])
        with pytest.raises(LedgerError, match="read-only"):
            reader.keep("text")


def test_a_reader_makes_no_ledger(rig: Rig) -> None:
    with pytest.raises(LedgerError, match="no ledger at") as caught:
        rig.store(readonly=True)
    assert "measure" in caught.value.fix


def test_closing_twice_is_harmless_and_a_closed_one_says_so(store: Store) -> None:
    store.append([drafted()])
    store.close()
    store.close()
    for act in (store.head, lambda: store.append([drafted()]), lambda: list(store.read())):
        with pytest.raises(LedgerError, match="closed"):
            act()


def test_a_newer_schema_is_refused_with_the_upgrade(rig: Rig, store: Store) -> None:
    store.append([drafted()])
    if isinstance(rig, PostgresRig):
        rig.force("UPDATE negawatt.schema SET number = 99")
    else:
        rig.ask("PRAGMA user_version = 99")
    for readonly in (True, False):
        with pytest.raises(LedgerError, match="schema 99") as caught:
            rig.store(readonly=readonly)
        assert "upgrade" in caught.value.fix


# ---------------------------------------------------------- what only a server can do


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> PostgresRig:
    return PostgresRig(server, f"d{abs(hash(request.node.name)) % 10**9}")


def test_a_password_is_never_shown() -> None:
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    address = "postgresql://ada:secret@127.0.0.1:1/energy"
    with pytest.raises(LedgerError) as caught:
        open_ledger(address)
    assert "postgresql://127.0.0.1:1/energy" in caught.value.what
    assert "does not answer" in caught.value.what
    assert "secret" not in str(caught.value)


def test_an_address_that_is_none_is_refused() -> None:
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    with pytest.raises(LedgerError, match="address") as caught:
        open_ledger("postgresql://[nowhere")
    assert "postgresql://user@host" in caught.value.fix


def test_a_user_without_rights_is_told_which(database: PostgresRig) -> None:
    database.store().close()
    database.ask("CREATE ROLE guest LOGIN")
    with pytest.raises(LedgerError, match="may not") as caught:
        open_ledger(str(database.place).replace("auditor@", "guest@"))
    assert "GRANT" in caught.value.fix


def test_one_who_waits_too_long_is_told_where_to_look(database: PostgresRig) -> None:
    import psycopg

    with closing(database.store()) as store, psycopg.connect(database.place) as other:
        other.execute("SELECT * FROM negawatt.head FOR UPDATE")
        store._connection.execute("SET lock_timeout = 50")
        with pytest.raises(LedgerError, match="too long") as caught:
            store.append([drafted()])
        assert "pg_stat_activity" in caught.value.fix
        other.rollback()
        assert store.append([drafted()]) == 1


def test_a_writer_that_is_cut_off_leaves_whole_transactions(database: PostgresRig) -> None:
    import psycopg

    with closing(database.store()) as store:
        store.append([drafted()])

        def cut(head: Head) -> Row:
            with psycopg.connect(database.place, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            return drafted()(head)

        with pytest.raises(LedgerError, match="does not answer"):
            store.append([drafted(), cut])
    with closing(database.store()) as store:
        assert store.head().sequence == 1
        assert store.append([drafted()]) == 1
