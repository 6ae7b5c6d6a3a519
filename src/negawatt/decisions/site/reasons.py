"""Why a site is run as it is, in figures that can be checked."""

from __future__ import annotations

from negawatt.decisions.site.building import figure
from negawatt.decisions.site.program import Solved
from negawatt.decisions.site.records import Column, Site


def kwh(power: Column, site: Site) -> float:
    """Energy of a column of powers. [kWh]"""
    return float(power.sum()) * site.step_h / 1e3


def gram_words(grams: float) -> str:
    """Grams or kilograms, and nothing where it is nothing.

    >>> gram_words(12345.0), gram_words(3.21), gram_words(1e-9)
    ('12.3 kg', '3.21 g', 'nothing')
    """
    if abs(grams) < 0.05:
        return "nothing"
    return f"{figure(grams / 1e3)} kg" if abs(grams) >= 1e3 else f"{figure(grams)} g"


def because(site: Site, found: Solved, bare: float) -> str:
    """What is bought and when, in figures that can be checked."""
    flows = found.flows
    bought, needed = kwh(flows.grid, site), kwh(flows.facility, site)
    parts = [f"it needs {figure(needed)} kWh and buys {figure(bought)} kWh"]
    made = kwh(flows.solar, site)
    if made > 0:
        lost = kwh(flows.export + flows.curtailed, site)
        parts.append(
            f"the panels give {figure(made)} kWh, of which {1 - lost / made:.0%} is used here"
        )
    moved = kwh(flows.discharge, site)
    if moved > 1e-6 * needed:
        parts.append(f"the battery gives {figure(moved)} kWh back when power is dirtier or dark")
    elif site.battery:
        parts.append("the battery rests: what it loses or wears is more than it could save")
    if bought > 0:
        mean = float(flows.grid @ site.intensity.values) / float(flows.grid.sum())
        whole = bare / max(needed, 1e-12)
        parts.append(
            f"what is bought emits {figure(mean)} g/kWh; everything bought at once would emit {figure(whole)}"
        )
    return "; ".join(parts)


def notes(site: Site) -> tuple[str, ...]:
    """What is not planned, not counted, or set."""
    told = []
    if any(job.interruptible and job.restart_s for job in site.jobs):
        told.append("what restarting a job costs is not planned here")
    if any(job.idle_w or job.embodied_g_per_h for job in site.jobs):
        told.append("hardware that is reserved while a job waits is not counted here")
    if site.price is not None and bool(
        (site.intensity.values + site.price_weight * site.price.values / 1e3 < 0).any()
    ):
        told.append("steps whose weighted price is below 0 count as 0: nothing is burnt for money")
    battery = site.battery
    if battery and battery.ends_at < battery.initial_soc:
        told.append("the battery may end emptier than it began: that energy is not counted")
    if site.avoided:
        told.append(
            f"exports are credited with {site.avoided:.0%} of the grid's intensity, which is"
            " avoided elsewhere and no emission of this site"
        )
    return tuple(told)
