"""What may be built at a site, what that takes to make, and which size is best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate

YEAR_H = 8766.0

Aim = Literal["carbon", "cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What panels and batteries cost to make, and how long they last.

    Args:
        solar_kg_per_kwp: Panels with what holds and joins them. [kgCO2e/kWp]
        solar_years: How long they last. [year]
        battery_kg_per_kwh: Of capacity. [kgCO2e/kWh]
        battery_years: How long a battery lasts that is hardly used. [year]
        battery_cycles: Full cycles after which it is worn out. [1]
        solar_price: With building it. [CUR/kWp]
        battery_price: With building it. [CUR/kWh]
    """

    solar_kg_per_kwp: Estimate
    solar_years: Estimate
    battery_kg_per_kwh: Estimate
    battery_years: Estimate
    battery_cycles: Estimate
    solar_price: float | None = None
    battery_price: float | None = None

    def solar_year(self, aim: Aim) -> float:
        """Of a kilowatt peak, a year. [g] or [CUR]"""
        whole = 1e3 * self.solar_kg_per_kwp.value if aim == "carbon" else _price(self.solar_price)
        return whole / self.solar_years.value

    def battery_whole(self, aim: Aim) -> float:
        """Of a kilowatt-hour of capacity, over its life. [g] or [CUR]"""
        if aim == "carbon":
            return 1e3 * self.battery_kg_per_kwh.value
        return _price(self.battery_price)


def _price(given: float | None) -> float:
    if given is None:
        raise UsageError(
            "least cost needs what panels and batteries cost",
            fix="give the price of a kWp and of a kWh, or size for carbon",
        )
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be built.

    Args:
        solar_kwp: At most; what the roof holds. [kWp]
        battery_kwh: At most. [kWh]
        rate_per_h: Power of the battery over its capacity. [1/h]
        charge_efficiency: Of what flows in, the part that is stored. [1]
        discharge_efficiency: Of what is taken, the part that flows out. [1]
        loss_per_h: Of what is stored, the part that an hour loses. [1/h]
    """

    solar_kwp: float = np.inf
    battery_kwh: float = np.inf
    rate_per_h: float = 0.5
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    loss_per_h: float = 0.0

    def __post_init__(self) -> None:
        if min(self.solar_kwp, self.battery_kwh) < 0 or not self.rate_per_h > 0:
            raise UsageError(
                f"at most {self.solar_kwp:g} kWp and {self.battery_kwh:g} kWh at"
                f" {self.rate_per_h:g} an hour cannot be built",
                fix="give limits of 0 or more, and a rate above 0",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One size, and what a year with it comes to.

    Args:
        what: "solar and battery", "solar alone", "as it is".
        solar_kwp: Panels. [kWp]
        battery_kwh: Battery. [kWh]
        bought_g: Of the electricity bought in a year. [gCO2e]
        making_g: The year's part of making panels and battery. [gCO2e]
        bought_kwh: In a year. [kWh]
        cost: Of a year, in the currency of the price; None without one.
    """

    what: str
    solar_kwp: float
    battery_kwh: float
    bought_g: Estimate
    making_g: Estimate
    bought_kwh: float
    cost: float | None = None

    @property
    def grams(self) -> Estimate:
        """Of a year. [gCO2e]"""
        return self.bought_g + self.making_g


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The best size, and what it was chosen from.

    Args:
        aim: What is least.
        best: What to build.
        beside: Solar alone at its best size, and nothing built.
        because: The reason, for people.
        would_change: What would make it another size.
        notes: What was left out.
    """

    aim: Aim
    best: Built
    beside: tuple[Built, ...]
    because: str
    would_change: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def saving(self) -> float:
        """Share of a year's grams that building saves. [1]"""
        nothing = self.beside[-1].grams.value
        return 1 - self.best.grams.value / nothing if nothing > 0 else 0.0


def figure(value: float) -> str:
    """Three figures, as people write them.

    >>> figure(179234.0), figure(0.01234)
    ('179 000', '0.0123')
    """
    return f"{float(f'{value:.3g}'):,.12g}".replace(",", " ")
