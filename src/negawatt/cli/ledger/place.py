"""Ledgers and files as they are named on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from negawatt.ledger.merge import Source

    _Parameter = click.ParamType[str | Path]
else:
    _Parameter = click.ParamType  # earlier versions of click do not say what it holds


class AnyPlace(_Parameter):
    """A file, a folder, or the address of a database, which is no path."""

    name = "source"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        """A text with `://` in it is an address."""
        del param, ctx
        return Path(value) if isinstance(value, str) and "://" not in value else value


class Place(AnyPlace):
    """A file, or the address of a database."""

    name = "ledger"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        """A folder holds no ledger."""
        place = super().convert(value, param, ctx)
        if isinstance(place, Path) and place.is_dir():
            self.fail(f"{value} is a folder", param, ctx)
        return place


LEDGER = click.argument("ledger", required=False, type=Place(), metavar="[LEDGER]")
FILE = click.Path(dir_okay=False, path_type=Path)


def place_of(ledger: str | Path | None) -> str | Path:
    """The ledger that is meant: the one named, or the user's own."""
    from negawatt import settings

    return settings.load().paths.ledger if ledger is None else ledger


def file_source(path: Path) -> Source:
    """An exported file, of the format that its name says."""
    from negawatt.ledger.jsonlines import JsonLinesFile
    from negawatt.ledger.parquet import ParquetFile

    return ParquetFile(path) if is_parquet(path) else JsonLinesFile(path)


def is_parquet(path: Path) -> bool:
    """True for a name that ends like a Parquet file's."""
    return path.suffix.lower() in {".parquet", ".pq"}


def entries_word(count: int) -> str:
    """How many entries, in words."""
    return f"{count} {'entry' if count == 1 else 'entries'}"
