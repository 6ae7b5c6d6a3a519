"""A real PostgreSQL server in a folder of its own, on a socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where Debian and Ubuntu put the programs of each version.
DEBIAN = Path("/usr/lib/postgresql")


class NoServer(Exception):
    """Why no server can be started here."""


def programs() -> Path:
    """The folder that holds initdb and pg_ctl."""
    found = [folder / "bin" for folder in DEBIAN.glob("*") if (folder / "bin/pg_ctl").is_file()]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    if (on_path := shutil.which("pg_ctl")) and shutil.which("initdb"):
        return Path(on_path).parent
    raise NoServer("no PostgreSQL server here: apt install postgresql")


def _user() -> str | None:
    """Whom the server runs as: it refuses root. None means as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoServer("a PostgreSQL server does not run as root, and there is no other user")


def _auth(folder: Path, password: str, user: str | None) -> tuple[str, ...]:
    if not password:
        return ("--auth=trust",)
    file = folder / "password"
    file.write_text(password)
    if user is not None:
        shutil.chown(file, user)
    return ("--auth=scram-sha-256", f"--pwfile={file}")


@contextmanager
def running(password: str = "") -> Iterator[str]:
    """The address of a server that lives as long as the block.

    Args:
        password: Asked for of everybody; none is when it is empty. It is not in the address.
    """
    tools, user = programs(), _user()
    folder = Path(tempfile.mkdtemp(prefix="nw-pg-"))  # short: a socket's path has 107 bytes
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*words: str) -> None:
        done = subprocess.run(
            words, user=user, cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            log = folder / "log"
            told = log.read_text() if log.is_file() else done.stderr
            raise NoServer(f"{Path(words[0]).name} failed: {told.strip()[-300:]}")

    options = f"-k {folder} -c listen_addresses='' -c shared_buffers=16MB -c max_connections=40"
    try:
        run(
            str(tools / "initdb"), "-D", str(data), "-U", "auditor", "-E", "UTF8", "--locale=C",
            "--no-sync", *_auth(folder, password, user),
        )  # fmt: skip
        run(
            str(tools / "pg_ctl"), "-D", str(data), "-l", str(folder / "log"), "-o", options,
            "-w", "-t", "30", "start",
        )  # fmt: skip
        try:
            yield f"postgresql://auditor@/postgres?host={folder}"
        finally:
            run(str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
