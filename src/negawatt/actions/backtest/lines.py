"""Lines of a CSV file, gzipped or not."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from negawatt.core.errors import UsageError


def lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The first line, and all others that hold anything.

    Raises:
        UsageError: it cannot be read, holds nothing, or lines differ in length.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found = list(csv.reader(raw.decode("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, EOFError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", fix="name a CSV file") from error
    head = [name.strip() for name in found[0]] if found else []
    body = [row for row in found[1:] if row]
    if not body:
        raise UsageError(f"{path.name} has no rows", fix="give a first line of names, then values")
    short = next((at for at, row in enumerate(found[1:], 2) if row and len(row) != len(head)), None)
    if short is not None:
        raise UsageError(
            f"{path.name}, line {short}: not as many cells as the first line has",
            fix="mend that line",
        )
    return head, body
