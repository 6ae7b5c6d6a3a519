"""How long a command took before, and at what power: from the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from negawatt.core.estimate import Estimate
from negawatt.ledger import Entry


@dataclass(frozen=True, slots=True)
class Before:
    """Past runs of one command that ended well.

    Args:
        runs: How many.
        usual_s: The median of how long they took. [s]
        longest_s: The longest. [s]
        power_w: The median of their mean powers; None where no energy was measured. [W]
    """

    runs: int
    usual_s: float
    longest_s: float
    power_w: float | None


def before(entries: Iterable[Entry], command: str) -> Before | None:
    """What the ledger knows of a command; None where it has not run to a good end.

    Runs by `negawatt measure` count, and those by `negawatt run` at the present time; a replayed one
    tells nothing of the hours it would take.
    """
    lengths, powers = [], []
    for entry in entries:
        body = entry.body
        if body.get("command") != command or body.get("exit_status") != 0:
            continue
        if body.get("speed", 1) != 1 or entry.kind not in {"measure", "run"}:
            continue
        took = body.get("work_seconds", body.get("wall_seconds"))
        if not isinstance(took, dict) or not took.get("value", 0) > 0:
            continue
        lengths.append(float(took["value"]))
        energy, wall = body.get("energy"), body.get("wall_seconds")
        if energy is not None and wall is not None and wall["value"] > 0:
            powers.append(Estimate.from_json(energy).value / float(wall["value"]))
    if not lengths:
        return None
    power = median(powers) if powers else None
    return Before(len(lengths), median(lengths), max(lengths), power or None)
