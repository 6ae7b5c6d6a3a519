"""A site with its own solar and battery: what there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.grid import Topic
from negawatt.decisions.when import Job
from negawatt.signals.series import Series

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A battery as its data sheet tells it, on the side of the building's wires.

    Args:
        capacity_j: Energy between empty and full. [J]
        charge_w: Most that may flow in. [W]
        discharge_w: Most that may flow out. [W]
        charge_efficiency: Of what flows in, the part that is stored. [1]
        discharge_efficiency: Of what is taken, the part that flows out. [1]
        loss_per_h: Of what is stored, the part that an hour loses. [1/h]
        min_soc: Least state of charge that is allowed. [1]
        initial_soc: State of charge at the beginning. [1]
        final_soc: Least state of charge at the end; as at the beginning when None. [1]
        wear_g_per_kwh: Of making it, for each kilowatt-hour that flows out. [gCO2e/kWh]

    Raises:
        UsageError: a number is absurd.

    >>> Battery(capacity_j=3.6e6, charge_w=500, discharge_w=500).ends_at
    0.5
    """

    capacity_j: float
    charge_w: float
    discharge_w: float
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    loss_per_h: float = 0.0
    min_soc: float = 0.0
    initial_soc: float = 0.5
    final_soc: float | None = None
    wear_g_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        for name in ("capacity_j", "charge_w", "discharge_w", "wear_g_per_kwh"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UsageError(
                    f"{name} of the battery is {getattr(self, name)!r}", fix="give 0 or more"
                )
        for name in ("charge_efficiency", "discharge_efficiency"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} of the battery is {getattr(self, name)!r}", fix="give a share: 0.95"
                )
        if not 0 <= self.loss_per_h < 1:
            raise UsageError(
                f"the battery loses {self.loss_per_h!r} an hour", fix="give a share below 1"
            )
        if not 0 <= self.min_soc <= self.initial_soc <= 1:
            raise UsageError(
                f"the battery begins at {self.initial_soc!r} and may not fall below"
                f" {self.min_soc!r}",
                fix="give shares of the capacity, the first not below the second",
            )
        if not self.min_soc <= self.ends_at <= 1:
            raise UsageError(
                f"the battery is to end at {self.ends_at!r}",
                fix=f"give a share between {self.min_soc:g} and 1",
            )

    @property
    def ends_at(self) -> float:
        """Least state of charge at the end. [1]"""
        return self.initial_soc if self.final_soc is None else self.final_soc


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Site:
    """What a site draws, what it makes, and what its grid emits, step by step.

    Args:
        name: For people.
        intensity: Of the grid; its steps are those of every column. [gCO2e/kWh]
        load_w: That IT equipment draws whatever is decided. [W]
        pue: Facility over IT power; one number, or one a step. [1]
        solar_w: That the panels give, after their inverter. [W]
        price: Of the grid's electricity, in the same steps. [CUR/MWh]
        jobs: That may be moved in time; those that may be interrupted, at any power up to theirs.
        battery: None where there is none.
        import_w: Most the grid may give; no limit when None. [W]
        export_w: Most the grid takes of solar power; nothing when 0, no limit when None. [W]
        avoided: Share of the grid's intensity that exported solar power is credited with. Nothing
            by default: who counts it as avoided counts it a second time elsewhere. [1]
        price_weight: Grams that one unit of the currency counts as. [g/CUR]

    Raises:
        UsageError: a step has no intensity, a column has another length, a number is absurd.
    """

    name: str
    intensity: Series
    load_w: Column
    pue: Column
    solar_w: Column
    price: Series | None = None
    jobs: tuple[Job, ...] = ()
    battery: Battery | None = None
    import_w: float | None = None
    export_w: float | None = 0.0
    avoided: float = 0.0
    price_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.intensity.topic is not Topic.CARBON:
            raise UsageError(
                f"the grid of {self.name} is told as {self.intensity.topic}",
                fix="give a series of carbon intensities",
            )
        _known(self.intensity)
        for name in ("load_w", "pue", "solar_w"):
            self._column(name)
        if bool((self.pue < 1).any()):
            raise UsageError(
                f"the PUE of {self.name} is {self.pue.min():g} at its least",
                fix="give facility over IT energy, 1 or more",
            )
        if not 0 <= self.avoided <= 1 or self.price_weight < 0:
            raise UsageError(
                f"{self.name} credits exports with {self.avoided!r} and weighs money with"
                f" {self.price_weight!r}",
                fix="give a share from 0 to 1, and grams of 0 or more",
            )
        if self.price is not None:
            self._same_steps(self.price)
        elif self.price_weight:
            raise UsageError(
                f"{self.name} weighs money and has no price", fix="give a price, or no weight"
            )
        names = [job.name for job in self.jobs]
        if len(set(names)) < len(names):
            raise UsageError(
                f"two jobs of {self.name} have one name", fix="give each a name of its own"
            )
        for job in self.jobs:
            self._inside(job)

    def _column(self, name: str) -> None:
        """Check one column, and make it one number a step."""
        given = np.asarray(getattr(self, name), dtype=np.float64)
        if given.ndim == 0:
            given = np.full(len(self.intensity), float(given))
        if given.shape != self.intensity.values.shape:
            raise UsageError(
                f"{name} of {self.name} has {given.size} steps, the intensity"
                f" {len(self.intensity)}",
                fix="give one number, or one for each step of the intensity",
            )
        if not bool((np.isfinite(given) & (given >= 0)).all()):
            raise UsageError(
                f"{name} of {self.name} is not known, or below 0, at some step",
                fix="give finite numbers of 0 or more",
            )
        object.__setattr__(self, name, given)

    def _same_steps(self, price: Series) -> None:
        ours = self.intensity
        if (price.start, price.step, len(price)) != (ours.start, ours.step, len(ours)):
            raise UsageError(
                f"the price of {self.name} has other steps than its intensity",
                fix="cut and resample both to the same window",
            )
        _known(price)

    def _inside(self, job: Job) -> None:
        if job.scaling:
            raise UsageError(
                f"{job.name} may be spread over nodes, which a site does not plan",
                fix="plan it with `negawatt plan`, or leave its scaling out",
            )
        if job.release < self.intensity.start or job.deadline > self.intensity.end:
            raise UsageError(
                f"{job.name} may run from {job.release:%Y-%m-%d %H:%M} to"
                f" {job.deadline:%Y-%m-%d %H:%M} UTC, the signal tells"
                f" {self.intensity.start:%Y-%m-%d %H:%M} to {self.intensity.end:%Y-%m-%d %H:%M}",
                fix="give a longer signal, or another window",
            )

    @property
    def step_h(self) -> float:
        """Length of a step. [h]"""
        return self.intensity.step_s / 3600.0

    @property
    def start(self) -> datetime:
        """When the first step begins."""
        return self.intensity.start


def _known(series: Series) -> None:
    lacking = np.flatnonzero(~np.isfinite(series.values))
    if len(lacking):
        first = series.start + int(lacking[0]) * series.step
        raise UsageError(
            f"{series.source} has no {series.topic} of {series.zone} at {first:%Y-%m-%d %H:%M} UTC,"
            f" nor at {len(lacking) - 1} other steps",
            fix="fill the gap, or choose a time without one",
        )
