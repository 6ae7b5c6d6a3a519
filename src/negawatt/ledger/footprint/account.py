"""Everything one activity took, each figure on its own: none is a grand total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.grid import Basis
from negawatt.ledger.footprint.embodied import Part, hardware_share, together
from negawatt.ledger.footprint.idle import idle_energy, idle_power
from negawatt.ledger.footprint.intensity import Intensity
from negawatt.ledger.footprint.operation import facility_energy
from negawatt.ledger.footprint.primary import primary_energy
from negawatt.ledger.footprint.scope2 import Instrument, Scope2, scope2
from negawatt.ledger.footprint.water import Water, water


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The place where it ran and what was bought for it; None is unknown, never zero."""

    grid: Intensity
    zone: str | None = None
    pue: Estimate | None = None  # [1]
    wue: Estimate | None = None  # on site [L/kWh]
    wue_offsite: Estimate | None = None  # [L/kWh]
    instruments: tuple[Instrument, ...] = ()
    residual: Estimate | None = None  # [gCO2e/kWh]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Hardware that was held, how long, and which share of it."""

    parts: tuple[Part, ...]
    period: Estimate  # [s]
    share: float = 1.0  # of all parts [1]
    busy: Estimate | None = None  # of the period; None leaves idle draw out [s]
    lifetime: Estimate | None = None  # of all parts; published ones when None [s]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What was found. A figure that is None is unknown, and `notes` say why."""

    energy: Estimate  # of the IT equipment, idle draw of what was held included [J]
    idle: Estimate | None  # the part of it that did nothing [J]
    facility: Estimate  # at the building's meter where the PUE is known [J]
    scope2: Scope2
    water: Water
    primary: Estimate | None  # [MJ]
    embodied: Estimate | None  # [gCO2e]
    embodied_parts: Mapping[str, Estimate]  # [gCO2e]
    basis: Basis
    place: str
    period: Estimate | None  # hardware was held [s]
    notes: tuple[str, ...]

    @property
    def emissions(self) -> Estimate | None:
        """Location-based use and embodied share; None while the share is unknown. [gCO2e]"""
        return None if self.embodied is None else self.scope2.location + self.embodied


def account(energy: Estimate, site: Site, hold: Hold | None = None) -> Account:
    """Work out every figure that an energy, a place and the hardware give.

    Args:
        energy: Drawn by the IT equipment. [J]
        site: Where, and what was bought.
        hold: Hardware that was held; without it the embodied share stays unknown.

    Raises:
        UsageError: a unit, share or time cannot be.

    >>> from negawatt.ledger.footprint.intensity import stated
    >>> hour = Estimate.exact(3_600_000, unit="J", source="meter")
    >>> found = account(hour, Site(grid=stated(400)))
    >>> found.scope2.location.value, found.embodied is None
    (400.0, True)
    """
    notes: list[str] = []
    idle = None if hold is None else _idle(hold, notes)
    drawn = energy if idle is None else energy + idle
    shares = (
        {}
        if hold is None
        else hardware_share(
            hold.parts, period=hold.period, share=hold.share, lifetime=hold.lifetime
        )
    )
    primary = primary_energy(drawn, site.zone, site.pue)
    if not shares:
        notes.append("embodied share unknown: no hardware was named")
    if primary is None:
        notes.append(f"primary energy unknown: no published factor for {site.zone}")
    both = scope2(
        drawn, site.grid, pue=site.pue, instruments=site.instruments, residual=site.residual
    )
    return Account(
        energy=drawn,
        idle=idle,
        facility=facility_energy(drawn, site.pue),
        scope2=both,
        water=water(drawn, pue=site.pue, onsite=site.wue, offsite=site.wue_offsite),
        primary=primary,
        embodied=together(shares),
        embodied_parts=shares,
        basis=site.grid.basis,
        place=site.grid.place,
        period=None if hold is None else hold.period,
        notes=(*both.notes, *notes),
    )


def _idle(hold: Hold, notes: list[str]) -> Estimate | None:
    """Idle energy of all parts whose draw at rest is published."""
    if hold.busy is None:
        return None
    total: Estimate | None = None
    for part in hold.parts:
        power = idle_power(part)
        if power is None:
            notes.append(f"idle draw of {part.name} unknown: not in the figures")
            continue
        one = idle_energy(power.scaled(hold.share), reserved=hold.period, busy=hold.busy)
        total = one if total is None else total + one
    if total is None:
        raise UsageError(
            "no named hardware has a published draw at rest, so its idle energy is unknown",
            fix="leave --busy-hours out, or name accelerators such as h100:8",
        )
    return total
