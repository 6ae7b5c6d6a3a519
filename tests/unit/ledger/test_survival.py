"""Many writers, sudden death, full disks, foreign files."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def _killings(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    script = Path(__file__).parents[2] / "samples" / "ledger_killer.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(rounds), str(seed)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    told: dict[str, int] = json.loads(done.stdout)
    return told


def test_kill_9_at_any_instant_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    told = _killings(tmp_path, rounds=64, seed=random.SystemRandom().getrandbits(32))
    assert told["killed"] == 3 * 64
    assert told["acknowledged"] > 64  # they truly wrote


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_kill_9_many_times_more(tmp_path: Path, seed: int) -> None:
    assert _killings(tmp_path, rounds=600, seed=seed)["killed"] == 1800


def test_threads_write_side_by_side_each_with_a_ledger_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    def write(name: int) -> list[str]:
        with open_ledger(path) as ledger:
            return [ledger.append("measure", {"name": name, "n": n}).hash for n in range(15)]

    with ThreadPoolExecutor(4) as threads:
        written = [own for part in threads.map(write, range(4)) for own in part]
    with open_ledger(path, readonly=True) as ledger:
        assert ledger.verify().sequence == 60
        assert {entry.hash for entry in ledger.entries()} == set(written)


def test_a_ledger_of_another_thread_is_refused_in_words(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db") as ledger, ThreadPoolExecutor(1) as thread:
        with pytest.raises(LedgerError, match="another thread") as caught:
            thread.submit(ledger.append, "measure", {}).result()
        assert "each thread" in caught.value.fix
        assert ledger.append("measure", {}).sequence == 1


FORKED = """
import os, sys
from pathlib import Path
from negawatt.core.errors import LedgerError
from negawatt.ledger import open_ledger
with open_ledger(Path(sys.argv[1])) as ledger:
    ledger.append("measure", {})
    child = os.fork()
    if child == 0:
        try:
            ledger.append("measure", {})
        except LedgerError as error:
            print(error, flush=True)
        ledger.close()
        os._exit(0)
    os.waitpid(child, 0)
    print(ledger.append("measure", {}).sequence)
"""


def test_a_ledger_from_before_a_fork_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tmp_path / "ledger.db")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "before it forked" in done.stdout
    assert done.stdout.splitlines()[-1] == "2"


def test_a_writer_that_waited_too_long_says_for_whom(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ledger.store._connection.execute("PRAGMA busy_timeout = 20")
        with pytest.raises(LedgerError, match="held it for too long") as caught:
            ledger.append("measure", {})
        assert "fuser" in caught.value.fix
        other.execute("ROLLBACK")
        other.close()
        assert ledger.append("measure", {}).sequence == 1


def test_a_disk_that_fills_up_loses_nothing_and_takes_more_when_there_is_room(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 100_000)
        with open_ledger(disk / "ledger.db") as ledger:
            kept: list[str] = []

            def fill() -> None:
                while len(kept) < 1000:
                    kept.append(ledger.append("measure", {"pad": "x" * 4000}).hash)

            with pytest.raises(LedgerError, match=r"disk (is full|refused)") as caught:
                fill()
            assert caught.value.fix
            assert kept
            assert [entry.hash for entry in ledger.entries()] == kept
            assert ledger.verify().sequence == len(kept)
            ballast.unlink()
            assert ledger.append("measure", {}).sequence == len(kept) + 1
            ledger.verify()
    finally:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S607


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
