"""What we know: an append-only record of what was measured and decided.

>>> import tempfile, pathlib
>>> with tempfile.TemporaryDirectory() as folder:
...     with open_ledger(pathlib.Path(folder) / "ledger.db") as ledger:
...         first = ledger.append("measure", {"name": "demo"})
...         head = ledger.verify()
>>> head.sequence, head.hash == first.hash
(1, True)

The conventions of a body, which `negawatt.reports` reads: `name` says what the
entry is about, and every figure at its top level is an `Estimate`. A body with
`started_at`, `wall_seconds` and `boundaries` (boundary to energy) can be told
from another one that measured the same: see `negawatt.ledger.overlap`.
"""

from negawatt.core.stores import Head
from negawatt.ledger.checkpoint import Audit, Checkpoint
from negawatt.ledger.entry import Entry, Link, Origin
from negawatt.ledger.place import default_path
from negawatt.ledger.store import Ledger, open_ledger

__all__ = [
    "Audit",
    "Checkpoint",
    "Entry",
    "Head",
    "Ledger",
    "Link",
    "Origin",
    "default_path",
    "open_ledger",
]
