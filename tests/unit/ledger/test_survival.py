"""Many writers, sudden death, full disks, foreign files."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from negawatt.core.errors import LedgerError
from negawatt.ledger import open_ledger
from negawatt.ledger.migrate import migrate, schema_of

WRITER = """
import sys
from pathlib import Path
from negawatt.ledger import open_ledger
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with open_ledger(path) as ledger:
    for n in range(count):
        entry = ledger.append("measure", {"name": name, "n": n, "pad": "x" * 2000})
        print(entry.sequence, entry.hash, flush=True)
"""


def _writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_many_writers_make_one_chain_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"  # does not exist: they also race to make it
    writers = [_writer(path, f"writer {k}", 20) for k in range(4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors

    with open_ledger(path, readonly=True) as ledger:
        assert ledger.verify().sequence == 80
        written = [(entry.body["name"], entry.body["n"]) for entry in ledger.entries()]
    for k in range(4):  # each writer's own order is kept
        assert [n for name, n in written if name == f"writer {k}"] == list(range(20))


def test_verifying_while_others_write_raises_no_false_alarm(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    writer = _writer(path, "busy", 60)
    seen = set()
    with open_ledger(path, readonly=True) as ledger:
        while writer.poll() is None:
            seen.add(ledger.verify().sequence)
    _, errors = writer.communicate(timeout=30)
    assert writer.returncode == 0, errors
    assert len(seen) > 2  # it really did look in between


def test_kill_9_while_writing_loses_no_acknowledged_entry(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    acknowledged: dict[int, str] = {}
    for lines in (1, 7, 23):
        writer = _writer(path, "victim", 1_000_000)
        assert writer.stdout is not None
        for _ in range(lines):
            sequence, own = writer.stdout.readline().split()
            acknowledged[int(sequence)] = own
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        assert writer.returncode == -signal.SIGKILL
        for line in rest.splitlines():
            if len(parts := line.split()) == 2 and len(parts[1]) == 64:
                acknowledged[int(parts[0])] = parts[1]

        with open_ledger(path) as ledger:
            assert ledger.verify().sequence >= max(acknowledged)
            kept = {entry.sequence: entry.hash for entry in ledger.entries()}
            assert {n: kept.get(n) for n in acknowledged} == acknowledged
            ledger.append("measure", {"after": "death"})  # and it goes on
            ledger.verify()


def test_a_full_file_is_a_clear_error_and_the_chain_stays_whole(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.append("measure", {"n": 0})
        pages = ledger.store._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger.store._connection.execute(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(LedgerError, match="disk is full") as caught:
            ledger.append("measure", {"pad": "x" * 100_000})

        assert "free some space" in caught.value.fix
        assert ledger.verify().sequence == 1
        ledger.store._connection.execute("PRAGMA max_page_count = 100000")
        assert ledger.append("measure", {"n": 1}).sequence == 2


LIMITED = """
import sys
from pathlib import Path
from negawatt.core.errors import LedgerError
from negawatt.ledger import open_ledger
with open_ledger(Path(sys.argv[1])) as ledger:
    try:
        ledger.append("measure", {"pad": "x" * 1_000_000})
    except LedgerError as error:
        print(error)
    print(ledger.verify().sequence)
"""


def test_a_disk_that_refuses_to_write_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        ledger.append("measure", {"n": 0})

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )

    assert "cannot append to the ledger" in done.stdout
    assert "Fix: " in done.stdout
    assert done.stdout.splitlines()[-1] == "1"  # the chain is as it was


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LedgerError, match="cannot open the ledger"):
        open_ledger(tmp_path / "file" / "ledger.db")


def test_a_folder_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be opened"):
        open_ledger(tmp_path)


UNPRIVILEGED = """
import sys
from pathlib import Path
from negawatt.core.errors import LedgerError
from negawatt.ledger import open_ledger
path = Path(sys.argv[1])
with open_ledger(path, readonly=True) as ledger:
    print(ledger.verify().sequence)
try:
    with open_ledger(path) as ledger:
        ledger.append("measure", {})
except LedgerError as error:
    print(error)
"""


def test_a_read_only_ledger_can_be_read_and_says_why_it_cannot_be_written(tmp_path: Path) -> None:
    source = tmp_path / "ledger.db"
    with open_ledger(source) as ledger:
        ledger.append("measure", {"n": 0})
    folder = tmp_path / "kept"
    folder.mkdir()
    shutil.copy(source, folder / "ledger.db")
    (folder / "ledger.db").chmod(0o444)
    folder.chmod(0o555)
    command = [sys.executable, "-c", UNPRIVILEGED, str(folder / "ledger.db")]
    if os.geteuid() == 0:  # root may write everywhere: take that right away from the child
        if shutil.which("setpriv") is None:
            pytest.skip("root writes read-only files, and setpriv is not here to prevent it")
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *command]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    folder.chmod(0o755)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1\n")
    assert "read-only" in done.stdout or "cannot be opened" in done.stdout
    assert "Fix: " in done.stdout


def test_a_missing_ledger_is_named_when_only_reading(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger at"):
        open_ledger(tmp_path / "none.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("readonly", [True, False])
def test_a_text_file_is_not_a_ledger_and_is_left_alone(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, " * 100)
    with pytest.raises(LedgerError, match="not a ledger"):
        open_ledger(path, readonly=readonly)
    assert path.read_text() == "these are my notes, " * 100


@pytest.mark.parametrize("readonly", [True, False])
def test_a_database_of_something_else_is_left_alone(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger"):
        open_ledger(path, readonly=readonly)
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [True, False])
def test_a_newer_schema_is_refused_with_the_upgrade(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    with sqlite3.connect(path) as future:
        future.execute("PRAGMA user_version = 99")
    future.close()
    with pytest.raises(LedgerError, match="schema 99") as caught:
        open_ledger(path, readonly=readonly)
    assert "upgrade" in caught.value.fix


def test_an_empty_file_becomes_a_ledger_but_is_none_to_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    with pytest.raises(LedgerError, match="is empty"):
        open_ledger(path, readonly=True)
    with open_ledger(path) as ledger:
        assert ledger.verify().sequence == 0


def test_a_damaged_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        for n in range(50):
            ledger.append("measure", {"n": n, "pad": "x" * 500})
    content = bytearray(path.read_bytes())
    for start in range(4096 * 3, len(content), 4096):
        content[start : start + 64] = b"\xff" * 64
    path.write_bytes(content)

    with open_ledger(path, readonly=True) as ledger, pytest.raises(LedgerError, match="damaged"):
        ledger.verify()


def test_migrations_run_once_each_in_order_and_all_or_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path, isolation_level=None)
    first = "CREATE TABLE a (x INT);\nINSERT INTO a VALUES (1);"
    second = "INSERT INTO a VALUES (2);"
    migrate(connection, path, [first])
    migrate(connection, path, [first, second])
    migrate(connection, path, [first, second])
    assert [x for (x,) in connection.execute("SELECT x FROM a")] == [1, 2]

    broken = "INSERT INTO a VALUES (3);\nINSERT INTO nowhere VALUES (1);"
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection, path, [first, second, broken])
    assert [x for (x,) in connection.execute("SELECT x FROM a")] == [1, 2]
    assert schema_of(connection, path, latest=2) == 2
    connection.close()
