"""A statement after the GHG Protocol: what a company's inventory takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from negawatt.core.estimate import Estimate
from negawatt.core.grid import Accounting
from negawatt.ledger.footprint.account import Account
from negawatt.reports.standards.wording import sentence

_LEFT_OUT = (
    "Scope 1 (on-site fuels, backup generators, refrigerants)",
    "network, end-user devices, the building itself, disposal of hardware",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """Figures by scope, with the words an auditor asks for."""

    electricity: Estimate  # bought, at the meter the boundary names [J]
    scope2_location: Estimate  # [gCO2e]
    scope2_market: Estimate  # [gCO2e]
    scope3_hardware: Estimate | None  # category 1 when rented, 2 when owned [gCO2e]
    residual: str
    grid: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def statement(found: Account) -> Statement:
    """The GHG Protocol view of an account: Scope 2 twice, embodied hardware in Scope 3.

    >>> from negawatt.ledger.footprint.account import Site, account
    >>> from negawatt.ledger.footprint.intensity import stated
    >>> hour = Estimate.exact(3_600_000, unit="J", source="meter")
    >>> statement(account(hour, Site(grid=stated(400)))).scope3_hardware is None
    True
    """
    upstream = (
        ()
        if found.basis.accounting is Accounting.LIFE_CYCLE
        else ("Scope 3 category 3 (fuel supply and grid losses of the electricity)",)
    )
    return Statement(
        electricity=found.facility,
        scope2_location=found.scope2.location,
        scope2_market=found.scope2.market,
        scope3_hardware=found.embodied,
        residual=found.scope2.residual,
        grid=f"{found.place}, {found.basis}",
        left_out=(*upstream, *_LEFT_OUT),
        notes=found.notes,
    )


def text(told: Statement) -> str:
    """The statement as Markdown, one figure a line and sources below."""
    rows: Mapping[str, Estimate | None] = {
        "Electricity bought": told.electricity,
        "Scope 2, location-based": told.scope2_location,
        "Scope 2, market-based": told.scope2_market,
        "Scope 3, hardware (category 1 rented, 2 owned)": told.scope3_hardware,
    }
    lines = ["# Greenhouse gas statement", ""]
    lines += [f"- {name}: {sentence(value)}" for name, value in rows.items()]
    lines += ["", f"Grid: {told.grid}.", f"Residual mix: {told.residual}."]
    lines += ["The two Scope 2 figures tell the same electricity twice and are never added.", ""]
    lines += [f"- Left out: {what}." for what in told.left_out]
    lines += [f"- Note: {note}." for note in told.notes]
    lines += ["", "Sources:"]
    lines += [f"- {name}: {value.source}" for name, value in rows.items() if value is not None]
    return "\n".join(lines) + "\n"
