"""Kill writers of a ledger with signal 9, round after round, and look at what they left.

    python ledger_killer.py FOLDER ROUNDS SEED

A process of its own, because it forks: writers begin in a millisecond, so that
many die in the midst of a commit. Prints one JSON object; any loss is an error.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from negawatt.core.errors import LedgerError
from negawatt.ledger import Ledger, Origin, open_ledger
from negawatt.ledger.entry import canonical
from negawatt.ledger.keys import Secret

WRITERS = 3
KEY = Secret(b"a secret of thirty-two bytes ...")
BATCH = 4  # entries of one transaction: all of them or none


def write_until_killed(path: Path, told: int, seed: int) -> None:
    """Append in every way there is; say so only after each call has returned."""
    dice = random.Random(seed)  # noqa: S311 - which way to die is no secret
    pad = "x" * dice.choice([10, 3000, 40_000])
    with open_ledger(path, origin=Origin("victim", "here", {})) as ledger:
        number = 0
        while True:
            number += 1
            way = dice.random()
            if way < 0.15 and number > 1:
                made = ledger.checkpoint(KEY)
                said = f"checkpoint {made.sequence} {made.hash}"
            elif way < 0.4:
                name = f"{os.getpid()}-{seed}-{number}"
                drafts = [
                    ledger.drafted("batch", canonical({"batch": name, "k": k}))
                    for k in range(BATCH)
                ]
                ledger.store.append(drafts)
                said = f"batch {name} -"
            else:
                entry = ledger.append("measure", {"n": number, "pad": pad})
                said = f"entry {entry.sequence} {entry.hash}"
            os.write(told, f"{said}\n".encode())  # one write: whole, or not there


def start(path: Path, seed: int) -> tuple[int, int]:
    """A writer, and where it tells what it has done."""
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(heard)
            write_until_killed(path, told, seed)
        except BaseException as error:  # noqa: BLE001 - told, and found by the parent
            os.write(
                told, f"failed {type(error).__name__} {error!s:.300}".replace("\n", " ").encode()
            )
        finally:
            os._exit(1)
    os.close(told)
    return child, heard


def kill(child: int, heard: int) -> list[str]:
    """Kill a writer and return the whole lines that it told."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(heard, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"a writer ended by itself: {lines[-1:]}")
    return lines


def look(ledger: Ledger, told: list[str]) -> None:
    """Everything that was acknowledged is there, and every transaction is whole."""
    head = ledger.verify()
    kept = {entry.sequence: entry for entry in ledger.entries()}
    batches = Counter(entry.body["batch"] for entry in kept.values() if entry.kind == "batch")
    signed = {(one.sequence, one.hash) for one in ledger.checkpoints()}
    if head.sequence != len(kept) or set(batches.values()) - {BATCH}:
        raise SystemExit(f"half a transaction: {batches}")
    for line in told:
        what, name, own = line.split()
        found = {
            "entry": lambda n=name, o=own: kept[int(n)].hash == o,
            "batch": lambda n=name: n in batches,
            "checkpoint": lambda n=name, o=own: (int(n), o) in signed,
        }[what]()
        if not found:
            raise SystemExit(f"acknowledged and lost: {line}")
    ledger.audit([KEY])


def main() -> None:
    """Run the rounds, several ledgers one after another, each begun under fire."""
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    dice = random.Random(seed)  # noqa: S311
    killed = acknowledged = 0
    told: list[str] = []
    for number in range(rounds):
        if number % 8 == 0:
            path, told = folder / f"ledger-{number}.db", []
        writers = [start(path, dice.getrandbits(32)) for _ in range(WRITERS)]
        time.sleep(dice.choice([0.002, 0.01, 0.05]) * dice.uniform(0.2, 1.5))
        dice.shuffle(writers)
        for child, heard in writers:
            lines = kill(child, heard)
            told += lines
            killed += 1
            acknowledged += len(lines)
        try:
            with open_ledger(path) as ledger:  # and it goes on
                look(ledger, told)
                ledger.append("measure", {"after": "death"})
        except LedgerError as error:
            raise SystemExit(f"round {number}, seed {seed}: {error}") from error
    sys.stdout.write(json.dumps({"killed": killed, "acknowledged": acknowledged}) + "\n")


if __name__ == "__main__":
    main()
