"""What a variant's joules mean outside the machine: kilowatt-hours and grams."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.core.outcome import Outcome
from negawatt.core.quantities import J_PER_KWH
from negawatt.ledger.footprint import operational_emissions, world_intensity
from negawatt.reports import view
from negawatt.reports.figures import Figure, Sources

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Outside:
    """One variant's draw and emissions for a million tokens of the workload."""

    name: str
    chosen: bool
    kwh: Figure
    grams: Figure


def rows(outcome: Outcome, sources: Sources) -> tuple[Outside, ...]:
    """Reference, base, uniform variants and the chosen one, for a million tokens each.

    The place is unknown to an outcome, so the intensity is the world's band
    and the grams are assumed.
    """
    choice = view.chosen(outcome)
    shown = [p for p in view.ordered(outcome) if p.role != "searched" or p is choice]
    intensity = world_intensity()
    made = []
    for point in shown:
        joules = point.energy.scaled(MILLION, unit="J")
        grams = operational_emissions(joules, intensity)
        made.append(
            Outside(
                name=point.variant.name,
                chosen=point is choice,
                kwh=sources.figure(joules, "energy of a million tokens", scale=1 / J_PER_KWH),
                grams=sources.figure(grams, "emissions of a million tokens"),
            )
        )
    return tuple(made)
