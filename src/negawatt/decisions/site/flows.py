"""What flows at a site step by step, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from negawatt.core.estimate import Estimate
from negawatt.decisions.site.records import Column, Site


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Flows:
    """Mean power of each step. Every step is balanced: what comes in goes out.

    grid + solar + discharge = it × pue + charge + export + curtailed

    Args:
        grid: Bought. [W]
        solar: That the panels could give. [W]
        charge: Into the battery. [W]
        discharge: Out of it. [W]
        export: Of solar power, to the grid. [W]
        curtailed: Solar power that nobody took. [W]
        it: Drawn by IT equipment, jobs included. [W]
        facility: The same with the building. [W]
        soc_j: Stored when each step begins, and at the end of the last: one number more. [J]
        jobs: Of the facility's power, that of each job's IT equipment. [W]
    """

    grid: Column
    solar: Column
    charge: Column
    discharge: Column
    export: Column
    curtailed: Column
    it: Column
    facility: Column
    soc_j: Column
    jobs: Mapping[str, Column]

    def imbalance(self) -> Column:
        """What comes in less what goes out: 0 but for rounding. [W]"""
        return (
            self.grid
            + self.solar
            + self.discharge
            - (self.facility + self.charge + self.export + self.curtailed)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The same site run in a poorer way."""

    what: str  # "no solar, no battery, run now"
    grams: Estimate  # [gCO2e]
    cost: float | None = None  # in the currency of the price


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Operation:
    """How a site is run over the time its signal tells.

    Args:
        site: What there is.
        flows: Power of each step.
        grams: Of what is bought, less what exports are credited with, plus wear. [gCO2e]
        wear: Part of it: of making the battery, by use. [gCO2e]
        cost: Of what is bought, where a price is known.
        saved: Grams by part, each beside the one before: solar, then battery, then shifting.
        saving: `1 - grams / grams without any of them`, with its interval. [1]
        because: The reason, for people.
        beside: Poorer ways: each part left out, and all of them.
        would_change: What a little more of each part would save.
        gap: Of the objective that the best of all is below it at most; 0 without whole numbers. [1]
        notes: What was left out or set.
    """

    site: Site
    flows: Flows
    grams: Estimate
    wear: float
    cost: float | None
    saved: Mapping[str, float]
    saving: Estimate
    because: str
    beside: tuple[Beside, ...] = ()
    would_change: tuple[str, ...] = ()
    gap: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def self_use(self) -> float | None:
        """Share of the solar energy that the site used itself; None without any. [1]"""
        made = float(self.flows.solar.sum())
        lost = float((self.flows.export + self.flows.curtailed).sum())
        return 1 - lost / made if made > 0 else None
