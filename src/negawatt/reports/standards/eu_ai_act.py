"""Energy fields of the documentation of a general-purpose model, EU AI Act, Annex XI."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import J_PER_KWH
from negawatt.ledger.footprint.operation import expect
from negawatt.reports.standards.wording import significant

_J_PER_MWH = J_PER_KWH * 1000
_DIGITS = 2  # what the documentation form asks for, at least


@dataclass(frozen=True, slots=True)
class Fields:
    """What Annex XI, section 1, point 2 (d) and (e) asks for, in the units of the form."""

    energy_mwh: float
    energy_mwh_low: float
    energy_mwh_high: float
    status: str  # "known" when measured, "estimated" otherwise
    method: str
    boundary: str
    training_time_h: float | None
    hardware: str
    compute_flop: float | None  # None: not stated


def fields(
    energy: Estimate,
    *,
    hardware: str = "",
    period: Estimate | None = None,
    compute_flop: float | None = None,
) -> Fields:
    """Fill the fields for an energy of training.

    Regulation (EU) 2024/1689, Annex XI: "known or estimated energy consumption
    of the model", which may rest on the computational resources when it is not
    known. The Model Documentation Form of the code of practice asks for MWh.

    Args:
        energy: Of training, at whatever meter its boundary names. [J]
        hardware: What it ran on.
        period: How long. [s]
        compute_flop: Operations of training, when they are stated. [1]

    Raises:
        UsageError: the energy is not in joules.

    >>> fields(Estimate.exact(3.6e9 * 1.234, unit="J", source="meter")).energy_mwh
    1.234
    >>> fields(Estimate.exact(3.6e9, unit="J", source="meter")).status
    'known'
    """
    expect(energy, "J", "energy of training")
    if compute_flop is not None and not compute_flop > 0:
        raise UsageError("training took some operations", fix="give them above 0, or leave out")
    low, value, high = (
        significant(joules / _J_PER_MWH, _DIGITS + 2)
        for joules in (energy.low, energy.value, energy.high)
    )
    return Fields(
        energy_mwh=value,
        energy_mwh_low=low,
        energy_mwh_high=high,
        status="known" if energy.kind is Kind.MEASURED else "estimated",
        method=f"{energy.kind}: {energy.source}",
        boundary=energy.boundary,
        training_time_h=None if period is None else period.value / 3600,
        hardware=hardware,
        compute_flop=compute_flop,
    )


def text(told: Fields) -> str:
    """The fields as Markdown, named as the form names them."""
    spread = f"{told.energy_mwh_low:g} to {told.energy_mwh_high:g}"
    rows = {
        "Energy used for training": f"{told.energy_mwh:g} MWh ({told.status}; {spread} MWh)",
        "Methodology": told.method,
        "Boundary": told.boundary or "not stated",
        "Training time": "N/A" if told.training_time_h is None else f"{told.training_time_h:g} h",
        "Hardware": told.hardware or "N/A",
        "Compute used for training": "N/A"
        if told.compute_flop is None
        else f"{told.compute_flop:.2g} FLOP",
    }
    head = "# Energy consumption (Annex XI, section 1, point 2)\n\n"
    return head + "\n".join(f"- {name}: {value}" for name, value in rows.items()) + "\n"
