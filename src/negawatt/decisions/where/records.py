"""Places a job could run at, what moving it takes, and what was chosen of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.grid import Topic
from negawatt.decisions.when import Job, Schedule
from negawatt.ledger.footprint.water import Water
from negawatt.signals.series import Series


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Place:
    """One place where a job could run.

    Args:
        name: For people, and to be named as home.
        outlook: Intensity of its grid over the time the job may run. [gCO2e/kWh]
        pue: Facility over IT energy. [1]
        speed: Work done per second there, beside the device the job is told for. [1]
        energy: IT energy of the same work there, beside that device. [1]
        latency_ms: From those who wait for it; None where nobody measured. [ms]
        embodied_g_per_h: Of making the hardware; the job's own when None. [gCO2e/h]
        price: Of its electricity; None where it is not known. [CUR/MWh]
        wue: Water taken on site; a band when None. [L/kWh]
        offsite: Water of its electricity; a band when None. [L/kWh]

    Raises:
        UsageError: a number is absurd, or the outlook is no intensity.
    """

    name: str
    outlook: Series
    pue: float = 1.0
    speed: float = 1.0
    energy: float = 1.0
    latency_ms: float | None = None
    embodied_g_per_h: float | None = None
    price: Series | None = None
    wue: Estimate | None = None
    offsite: Estimate | None = None

    def __post_init__(self) -> None:
        if self.outlook.topic is not Topic.CARBON:
            raise UsageError(
                f"the outlook of {self.name} is a {self.outlook.topic}",
                fix="give carbon intensities",
            )
        if not 1 <= self.pue < np.inf:
            raise UsageError(f"the PUE of {self.name} is {self.pue!r}", fix="give 1 or more")
        for what in ("speed", "energy"):
            if not 0 < getattr(self, what) < np.inf:
                raise UsageError(
                    f"{what} of {self.name} is {getattr(self, what)!r}",
                    fix="give it beside the job's own device, for example 0.8",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What has to be moved when a job does not run at home.

    Args:
        bytes_in: To the place, before it can start. [B]
        bytes_out: Back, before the deadline. [B]
        network: Energy of sending. [J/B]
        bandwidth: None takes no time. [B/s]

    Raises:
        UsageError: a number is absurd.
    """

    bytes_in: float
    network: Estimate
    bytes_out: float = 0.0
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        bad = self.bandwidth is not None and not self.bandwidth > 0
        if bad or not min(self.bytes_in, self.bytes_out, self.network.low) >= 0:
            raise UsageError(
                f"{self.bytes_in!r} and {self.bytes_out!r} bytes cannot be sent",
                fix="give bytes of 0 or more, and a bandwidth above 0",
            )
        if self.network.unit != "J/B":
            raise UsageError(
                f"the network is told in {self.network.unit}", fix="give its energy in J/B"
            )

    @property
    def total(self) -> float:
        """There and back. [B]"""
        return self.bytes_in + self.bytes_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One place with all that running there emits.

    Args:
        place: Its name.
        schedule: When the job would run there; its job has the power of the whole facility.
        transfer: Of moving the data. [gCO2e]
        water: Litres on site and off site.
        place_part: Saved by moving alone, beside running at home at once; below 0 is lost. [gCO2e]
        time_part: Saved by waiting there, on top. [gCO2e]
        excluded: Why it may not be chosen; empty where it may.
        price_weight: Grams that one unit of the currency counts as. [g/CUR]
    """

    place: str
    schedule: Schedule
    transfer: Estimate
    water: Water
    place_part: float | None
    time_part: float
    excluded: str = ""
    price_weight: float = 0.0

    @property
    def grams(self) -> Estimate:
        """Running and moving. [gCO2e]"""
        return self.schedule.grams + self.transfer

    @property
    def now(self) -> Estimate:
        """The same, started as soon as the data are there. [gCO2e]"""
        return self.schedule.now + self.transfer

    @property
    def objective(self) -> float:
        """Grams, and money as the grams it counts as. [gCO2e]"""
        money = self.schedule.cost or 0.0
        return self.grams.value + self.price_weight * money


@dataclass(frozen=True, slots=True, kw_only=True)
class Siting:
    """Where a job runs and when, why there, and what it was chosen from.

    Args:
        job: As it was told.
        home: Where its data lie and where it would run if nobody chose.
        chosen: The best place.
        ranking: All places that could run it in time, best first, the excluded last.
        impossible: Places that cannot, with the reason.
        saving: `1 - grams / grams at home, at once`; None where home cannot run it. [1]
        because: The reason, for people.
        would_change: What would make it another place.
        data: What has to be moved; None where nothing has.
    """

    job: Job
    home: str
    chosen: Ranked
    ranking: tuple[Ranked, ...]
    impossible: tuple[tuple[str, str], ...]
    saving: Estimate | None
    because: str
    would_change: tuple[str, ...]
    data: Data | None = None

    def at(self, place: str) -> Ranked | None:
        """What was found of a place; None where it cannot run the job."""
        return next((one for one in self.ranking if one.place == place), None)
