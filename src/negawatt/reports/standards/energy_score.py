"""What the AI Energy Score rates: watt-hours of the accelerators for a thousand queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger.footprint.operation import expect

QUERIES = 1000
HARDWARE = "h100"
STARS = 5
_J_PER_WH = 3600.0


@dataclass(frozen=True, slots=True)
class Rating:
    """The protocol's figure, where a run departs from the protocol, and the stars if any."""

    task: str
    energy: Estimate  # of the accelerators for `QUERIES` queries [Wh]
    queries: int
    hardware: str
    departures: tuple[str, ...]  # a rated figure has none
    stars: tuple[int, int] | None  # at the high and at the low end; None without peers


def rating(
    gpu_energy: Estimate,
    *,
    task: str,
    queries: int,
    hardware: str,
    peers: Sequence[float] = (),
) -> Rating:
    """Put a run into the form the AI Energy Score compares.

    The protocol runs a task's 1000 queries on one NVIDIA H100 80 GB, batch 1,
    and counts the energy of the accelerator. Stars are relative to the models
    rated for the same task: five for the fifth that needs least, one for the
    fifth that needs most. Without their figures there are no stars here.

    Args:
        gpu_energy: Of the accelerators over all queries. [J]
        task: Name of the task, such as "text_generation".
        queries: How many were answered.
        hardware: What they ran on, as "h100" or "h100:1".
        peers: Watt-hours for 1000 queries of models rated for this task.

    Raises:
        UsageError: no queries, or the energy is not in joules.

    >>> spent = Estimate.exact(7200, unit="J", source="NVML", boundary="gpu:0")
    >>> found = rating(spent, task="text_generation", queries=1000, hardware="h100")
    >>> found.energy.value, found.departures
    (2.0, ())
    """
    expect(gpu_energy, "J", "energy of the accelerators")
    if queries < 1:
        raise UsageError("a rating needs queries", fix="say how many were answered: --units 1000")
    energy = gpu_energy.scaled(QUERIES / queries / _J_PER_WH, unit="Wh")
    departures = []
    if queries != QUERIES:
        departures.append(f"{queries} queries, scaled to {QUERIES}")
    if hardware.lower() not in {HARDWARE, f"{HARDWARE}:1"}:
        departures.append(f"ran on {hardware or 'unnamed hardware'}, not on one H100 80 GB")
    if "gpu" not in gpu_energy.boundary:
        departures.append(f"energy of {gpu_energy.boundary or 'an unstated boundary'}, not of GPUs")
    ends = (stars(energy.high, peers), stars(energy.low, peers)) if peers else None
    return Rating(task, energy, queries, hardware, tuple(departures), ends)


def stars(watt_hours: float, peers: Sequence[float]) -> int:
    """Five for the frugal fifth of the peers, one for the fifth that needs most.

    >>> [stars(x, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) for x in (0.5, 2.5, 5, 9.5)]
    [5, 4, 3, 1]
    """
    below = sum(peer < watt_hours for peer in peers) / len(peers)
    return max(1, STARS - int(below * STARS))


def text(found: Rating) -> str:
    """The rating's inputs as lines."""
    lines = [
        f"task: {found.task}",
        f"energy for {QUERIES} queries: {found.energy}",
        f"measured over: {found.queries} queries on {found.hardware or 'unnamed hardware'}",
        f"source: {found.energy.source}",
    ]
    if found.stars is not None:
        low, high = found.stars
        lines.append(f"stars among the peers given: {low if low == high else f'{low} to {high}'}")
    lines += [f"departs from the protocol: {what}" for what in found.departures]
    return "\n".join(lines) + "\n"
