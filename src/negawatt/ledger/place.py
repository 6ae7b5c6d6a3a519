"""Where the ledger lies when nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "NEGAWATT_LEDGER"


def default_path(environ: Mapping[str, str]) -> Path:
    """The ledger of this user: `NEGAWATT_LEDGER`, else the platform's data folder.

    The data folder is `XDG_DATA_HOME`, on Windows `LOCALAPPDATA`, and
    otherwise `~/.local/share`. Nothing is created or looked at here.

    >>> default_path({"HOME": "/home/ada"}).as_posix()
    '/home/ada/.local/share/negawatt/ledger.db'
    >>> default_path({"NEGAWATT_LEDGER": "/srv/energy.db"}).as_posix()
    '/srv/energy.db'
    """
    if named := environ.get(VARIABLE):
        return Path(named).expanduser()
    if folder := environ.get("XDG_DATA_HOME") or environ.get("LOCALAPPDATA"):
        return Path(folder) / "negawatt" / "ledger.db"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".local" / "share" / "negawatt" / "ledger.db"
