"""From weather to PUE and water: how a site is cooled, hour by hour.

The cheapest way that the weather allows is taken: outside air, then a dry cooler, then outside air
that evaporating water has cooled, then a chiller. All of it is a model of a usual plant.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.decisions.site.records import Column

_KELVIN = 273.15
_LATENT_MJ_PER_L = 2.43  # at 27 degC
_MJ_PER_KWH = 3.6
_AIR_J_PER_KG_K = 1006.0
_RACK_K = 12.0  # by which servers warm their air
_AIR_K = 8.0  # between chilled water and the air it cools
_TOWER_K = 5.0  # between what a tower gives back and the wet bulb
_DRY_K = 10.0  # between what a dry cooler gives back and the air
_LIFT_K = 4.0  # between a condenser and its water
_WET = 0.85  # of the way from dry to wet bulb that evaporation cools air


class Mode(IntEnum):
    """How a site is cooled, cheapest first."""

    OUTSIDE_AIR = 0
    DRY_COOLER = 1
    EVAPORATION = 2
    CHILLER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Air that servers may take in, by an ASHRAE class. [degC]"""

    name: str
    dry_high: float
    dew_low: float
    dew_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """How a site can be cooled, and what its parts draw.

    Args:
        overhead: Losses of supplies and wiring, and light, over IT energy. [1]
        fans: Over IT energy. [1]
        pumps: Of what gives heat off outside, over IT energy. [1]
        carnot: A chiller's coefficient of performance over the ideal one. [1]
        evaporation: Of a tower, per kilowatt-hour of heat. [L/kWh]
        concentration: Cycles after which its water is drained. [1]
        outside_air: It can let outside air in.
        evaporative: It can cool that air by evaporating water.
        tower: Its chiller gives heat off by a wet tower, else by a dry cooler.

    Raises:
        UsageError: a number is absurd.
    """

    overhead: float
    fans: float
    pumps: float
    carnot: float
    evaporation: float
    concentration: float
    outside_air: bool = True
    evaporative: bool = False
    tower: bool = True

    def __post_init__(self) -> None:
        parts = (self.overhead, self.fans, self.pumps, self.evaporation)
        if min(parts) < 0 or not 0 < self.carnot <= 1 or not self.concentration > 1:
            raise UsageError(
                "a part of the cooling plant is out of its range",
                fix="give shares of 0 or more, a carnot share up to 1, a concentration above 1",
            )

    @property
    def drained(self) -> float:
        """Water taken over water evaporated. [1]"""
        return self.concentration / (self.concentration - 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cooled:
    """How a site is cooled at each step.

    Args:
        mode: Which way, as `Mode` numbers them.
        pue: Facility over IT energy. [1]
        wue: Water taken at the site, per kilowatt-hour of IT energy. [L/kWh]
    """

    mode: NDArray[np.int_]
    pue: Column
    wue: Column

    def share(self, mode: Mode) -> float:
        """Of the steps that are cooled so. [1]"""
        return float((self.mode == mode).mean())

    @property
    def free(self) -> float:
        """Share of the steps without a chiller. [1]"""
        return 1 - self.share(Mode.CHILLER)


def wet_bulb(dry_c: Column, humidity: Column) -> Column:
    """Wet-bulb temperature at sea level, by the fit of Stull (2011). [degC]

    R. Stull, Journal of Applied Meteorology and Climatology 50, 2267: for humidities of 5 to 99 %
    and -20 to 50 degC, within 1 K, most within 0.3 K.

    Args:
        dry_c: Temperature of the air. [degC]
        humidity: Relative. [1]

    >>> float(wet_bulb(np.array([20.0]), np.array([0.5]))[0].round(1))
    13.7
    """
    percent = np.clip(100 * humidity, 5.0, 99.0)
    found: Column = (
        dry_c * np.arctan(0.151977 * np.sqrt(percent + 8.313659))
        + np.arctan(dry_c + percent)
        - np.arctan(percent - 1.676331)
        + 0.00391838 * percent**1.5 * np.arctan(0.023101 * percent)
        - 4.686035
    )
    return np.minimum(found, dry_c)  # the fit may lie a little above where air is saturated


def dew_point(dry_c: Column, humidity: Column) -> Column:
    """Dew point, by Magnus with the constants of Alduchov and Eskridge (1996). [degC]

    >>> float(dew_point(np.array([20.0]), np.array([0.5]))[0].round(1))
    9.3
    """
    vapour = np.log(np.clip(humidity, 0.001, 1.0)) + 17.625 * dry_c / (243.04 + dry_c)
    return np.asarray(243.04 * vapour / (17.625 - vapour))


def _moisture(dew_c: Column) -> Column:
    """Water in air of a dew point, at sea level. [kg/kg]"""
    pressure = 610.94 * np.exp(17.625 * dew_c / (dew_c + 243.04))
    return np.asarray(0.622 * pressure / (101325.0 - pressure))


def cool(
    dry_c: Column, humidity: Column, envelope: Envelope, plant: Plant, *, free: bool = True
) -> Cooled:
    """How weather lets a site be cooled.

    Args:
        dry_c: Temperature outside. [degC]
        humidity: Relative. [1]
        envelope: Air that servers may take in.
        plant: What there is to cool with.
        free: Do without the chiller where that is possible; False shows what that saves.

    Raises:
        UsageError: columns differ in length, or a value is not known or absurd.
    """
    if dry_c.shape != humidity.shape or not bool(
        (np.isfinite(dry_c) & (humidity >= 0) & (humidity <= 1.01)).all()
    ):
        raise UsageError(
            "the weather lacks a temperature or a humidity, or humidity is no share",
            fix="give degrees Celsius and humidity from 0 to 1 for every step",
        )
    wet, dew = wet_bulb(dry_c, humidity), dew_point(dry_c, humidity)
    supply, heat = envelope.dry_high, 1 + plant.fans
    mode = np.full(dry_c.shape, int(Mode.CHILLER))
    if free:
        damp = dew <= envelope.dew_high
        evaporated = dry_c - _WET * (dry_c - wet)
        allowed = [
            (Mode.EVAPORATION, plant.outside_air and plant.evaporative,
             (evaporated <= supply) & (wet <= envelope.dew_high)),
            (Mode.DRY_COOLER, True, dry_c + _DRY_K + _AIR_K <= supply),
            (Mode.OUTSIDE_AIR, plant.outside_air,
             (dry_c <= supply) & damp & (dew >= envelope.dew_low)),
        ]  # fmt: skip
        for way, there, possible in allowed:
            if there:
                mode[possible] = way
    outside = wet + _TOWER_K if plant.tower else dry_c + _DRY_K
    cold = supply - _AIR_K + _KELVIN
    warm = np.maximum(outside + _LIFT_K + _KELVIN, cold + _LIFT_K)  # no chiller works for nothing
    driven = heat * (warm - cold) / (plant.carnot * cold)
    pue = np.full(dry_c.shape, 1 + plant.overhead + plant.fans)
    pue += np.where((mode == Mode.CHILLER) | (mode == Mode.DRY_COOLER), plant.pumps, 0.0)
    pue += np.where(mode == Mode.CHILLER, driven, 0.0)
    tower = (heat + driven) * plant.evaporation * plant.drained if plant.tower else 0 * driven
    air = (
        _MJ_PER_KWH * 1e6 / (_AIR_J_PER_KG_K * _RACK_K)
    )  # that carries a kilowatt-hour of heat [kg]
    cooling = np.maximum(dry_c - supply, 0) / _RACK_K * _MJ_PER_KWH / _LATENT_MJ_PER_L
    damping = air * np.maximum(_moisture(np.array(envelope.dew_low)) - _moisture(dew), 0)
    misted = heat * np.maximum(cooling, damping) * plant.drained
    wue = np.where(mode == Mode.CHILLER, tower, np.where(mode == Mode.EVAPORATION, misted, 0.0))
    return Cooled(mode=mode, pue=pue, wue=wue)
