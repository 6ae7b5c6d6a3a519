"""`negawatt ledger`: look into the ledger, verify and sign it, take it elsewhere."""

from __future__ import annotations

import click

from negawatt.cli.ledger.carry import export, import_files, merge
from negawatt.cli.ledger.check import checkpoint, key, verify
from negawatt.cli.ledger.look import list_entries, show


@click.group(commands=[verify, checkpoint, key, list_entries, show, export, import_files, merge])
def command() -> None:
    """Look into the ledger, verify and sign it, take it elsewhere.

    The ledger keeps what was measured. Each entry is chained to the one before
    it by a hash, so an entry that was edited, removed or moved is found; a
    checkpoint signs the end of the chain, so that a chain written anew is found
    too. LEDGER is a file, or the address of a PostgreSQL database
    (postgresql://host/name); your own ledger when left out.
    """
