"""What an entry says of a window, so that a sum can tell what others measured too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from negawatt.core.estimate import Estimate
from negawatt.ledger.machine import process_id, view_id
from negawatt.meters import band as bands
from negawatt.meters.boundary import covers_cpu
from negawatt.meters.machine import here
from negawatt.meters.span import Span
from negawatt.meters.window import Window


def body_of(span: Span, started_at: datetime) -> dict[str, Any]:
    """The figures of a window under the names that `negawatt.ledger` gives them.

    Args:
        span: What was seen.
        started_at: When the window was opened; aware.

    Returns:
        `boundaries` holds what counters saw. Where none covers the CPU, `modelled`
        holds the two parts of the band: the rest of what this process sees of the
        machine, the same for all that run there, and what its own CPU time added.
    """
    return {
        "name": span.name,
        "started_at": started_at,
        "wall_seconds": span.wall_seconds,
        "cpu_seconds": span.cpu_seconds,
        "energy": span.energy,
        "boundaries": dict(span.energies),
        **_modelled(span),
        "unread": list(span.unread),
    }


def keep(place: Path | str) -> Callable[[Window], None]:
    """What writes windows into a ledger: the `then` of `measure` and of `callback`.

    The ledger is opened anew for each window, so threads, forks and many ranks
    may use the same.

    Args:
        place: A file, or the address of a database.

    >>> import tempfile
    >>> from negawatt.ledger import open_ledger
    >>> from negawatt.meters import measure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder) / "ledger.db"
    ...     with measure("work", then=keep(place)):
    ...         total = sum(range(1000))
    ...     with open_ledger(place, readonly=True) as ledger:
    ...         [entry.body["name"] for entry in ledger.entries()]
    ['work']
    """

    def then(window: Window) -> None:
        from negawatt.ledger.store import open_ledger

        with open_ledger(place) as ledger:
            ledger.append("measure", body_of(window.result, window.started_at))

    return then


def _modelled(span: Span) -> dict[str, dict[str, Estimate]]:
    if covers_cpu(span.energies):
        return {}
    whole, band = span.modelled, span.band or bands.local()
    rest = band.rest.scaled(span.wall_s, unit="J")
    value = max(0.0, whole.value - rest.value)
    above = replace(
        whole,
        low=min(value, max(0.0, whole.low - rest.low)),
        value=value,
        high=max(value, whole.high - rest.high),
        boundary=bands.MARGINAL_BOUNDARY,
    )
    machine = here()
    sees_all = (
        machine.threads_usable >= machine.threads_present
        and machine.memory_usable >= machine.memory_present
    )
    names = (f"rest:{view_id(whole=sees_all)}", f"process:{process_id()}")
    return {"modelled": dict(zip(names, (rest, above), strict=True))}
