"""One process that measures: a tracker of its own, or a rank of a job.

    rank_sample.py MODE LEDGER [POWERCAP]

MODE is `window` (a plain window), `nested` (one in another of the same name) or `callback` (the
phases of a training library). The process says `open` when its windows are, and closes them when
a line comes in. POWERCAP is a tree of counters; without one the machine has none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from negawatt.adapters.meters import rapl
from negawatt.adapters.trackers.phases import Phases
from negawatt.core import registry
from negawatt.ledger.windows import keep
from negawatt.meters import inventory, measure
from negawatt.meters.tracking import callback


def wait() -> None:
    sys.stdout.write("open\n")
    sys.stdout.flush()
    sys.stdin.readline()


def main(mode: str, ledger: str, powercap: str = "") -> None:
    meters = tuple(rapl.discover(Path(powercap))) if powercap else ()
    then = keep(Path(ledger))
    if mode == "callback":
        found = inventory.Inventory(meters=meters)
        inventory.here = lambda: found
        registry.build = lambda group, name, windows: Phases(windows)
        phases = callback("any", then=then)
        phases.begin("train")
        wait()
        phases.end("train")
        return
    with measure("train", meters=meters, then=then):
        if mode == "nested":
            with measure("train", meters=meters, then=then):
                wait()
        else:
            wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
