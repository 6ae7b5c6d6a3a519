"""What the ledger is told of runs: each window as it was measured, and each end with its saving."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from negawatt.actions.run.book import Entry
from negawatt.actions.run.orders import Actual, Order, Progress
from negawatt.actions.run.saving import Saving, realised
from negawatt.actions.run.stint import Stint
from negawatt.actions.run.watch import Seen
from negawatt.core.errors import NegawattError
from negawatt.core.estimate import Estimate
from negawatt.ledger.windows import body_of


def window_body(seen: Seen, stints: Sequence[Stint]) -> dict[str, Any]:
    """A window over orders that ran at one time, with each one's part."""
    body = body_of(seen.span, seen.started_at)
    orders = [
        {"order": stint.number, "name": stint.order.name, "share": seen.shares[stint.number]}
        for stint in stints
    ]
    return {**body, "orders": orders}


def energy_of(progress: Progress) -> Estimate | None:
    """Everything it took; None where a part of that is not known. [J]"""
    known = [part.energy for part in progress.parts if part.energy is not None]
    if not known or len(known) < len(progress.parts):
        return None
    total = known[0]
    for energy in known[1:]:
        total = total + energy
    return total


def saving_of(
    order: Order, progress: Progress, actual: Callable[[Order], Actual]
) -> tuple[Saving | None, str]:
    """What was saved, or why nobody can tell."""
    if not progress.parts:
        return None, "it never ran"
    if energy_of(progress) is None:
        return None, "nobody saw what it took, and no power was told (--power)"
    end = max(progress.parts[-1].end, order.release)
    through = max(end, order.release + sum((p.end - p.start for p in progress.parts), end - end))
    try:
        series = actual(order)(order.release, through)
    except NegawattError as error:
        return None, error.what
    found = realised(order, progress, series)
    return found, "" if found else "an intensity that it takes is not known"


def ended_body(entry: Entry, actual: Callable[[Order], Actual]) -> dict[str, Any]:
    """An order that has ended: what it took, when it ran, what that saved."""
    order, progress = entry.order, entry.progress
    saving, why = saving_of(order, progress, actual)
    energy = energy_of(progress)
    seconds = sum(part.seconds for part in progress.parts)
    figures: dict[str, Any] = {} if energy is None else {"energy": energy}
    if saving is not None:
        figures |= {("carbon_replayed" if order.pace.replayed else "carbon"): saving.actual}
    return {
        "name": order.name,
        "order": entry.id,
        "command": shlex.join(order.argv),
        "exit_status": progress.exit_status,
        "phase": progress.phase,
        "zone": order.zone,
        "provider": order.provider,
        "runner": order.runner,
        "wall_seconds": _seconds(seconds, "operating system, monotonic clock"),
        "work_seconds": _seconds(progress.ran_s, "the time of the signal"),
        "speed": order.pace.speed,
        **figures,
        "resumes": progress.resumes,
        "attempts": progress.attempt + 1,
        "stretches": [{"start": part.start, "end": part.end} for part in progress.parts],
        "deadline": order.deadline,
        "deadline_kept": progress.ended is not None and progress.ended <= order.deadline,
        "saving": saving,
        "saving_unknown": why,
        "notes": list(progress.notes),
    }


def _seconds(value: float, source: str) -> Estimate:
    return Estimate.exact(value, unit="s", source=source, boundary="machine")
