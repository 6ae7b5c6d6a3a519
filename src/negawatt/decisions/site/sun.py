"""What panels give when nobody measured it: the height of the sun, and a sky as clear as told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.decisions.site.records import Column

_PER_HOUR = 4  # moments looked at in an hour, so that sunrise does not fall between


def sun_height(times: Sequence[datetime], latitude: float, longitude: float) -> Column:
    """Sine of the sun's height above the horizon; below 0 by night. [1]

    Declination and equation of time by the first terms of Spencer (1971): within half a degree.

    Args:
        times: Aware.
        latitude: North is above 0. [deg]
        longitude: East is above 0. [deg]

    Raises:
        UsageError: there is no such place.

    >>> noon = datetime(2026, 6, 21, 12, tzinfo=UTC)
    >>> height = sun_height([noon], 51.5, 0.0)[0]
    >>> float(np.degrees(np.arcsin(height)).round())
    62.0
    """
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise UsageError(
            f"there is no place at latitude {latitude:g} and longitude {longitude:g}",
            fix="give degrees, north and east above 0",
        )
    moments = [time.astimezone(UTC) for time in times]
    day = np.array([time.timetuple().tm_yday for time in moments], dtype=np.float64)
    hour = np.array([time.hour + time.minute / 60 + time.second / 3600 for time in moments])
    angle = 2 * np.pi * (day - 1 + (hour - 12) / 24) / 365
    declination = (
        0.006918 - 0.399912 * np.cos(angle) + 0.070257 * np.sin(angle)
        - 0.006758 * np.cos(2 * angle) + 0.000907 * np.sin(2 * angle)
    )  # fmt: skip
    ahead_min = 229.18 * (
        0.000075 + 0.001868 * np.cos(angle) - 0.032077 * np.sin(angle)
        - 0.014615 * np.cos(2 * angle) - 0.040849 * np.sin(2 * angle)
    )  # fmt: skip
    turned = np.radians(15 * (hour + longitude / 15 + ahead_min / 60 - 12))
    place = np.radians(latitude)
    found: Column = np.sin(place) * np.sin(declination) + np.cos(place) * np.cos(
        declination
    ) * np.cos(turned)
    return found


def clear_sky(height: Column) -> Column:
    """Irradiance of a level square metre under a clear sky, by Haurwitz (1945). [W/m2]

    >>> clear_sky(np.array([1.0, 0.5, -0.1])).round()
    array([1037.,  490.,    0.])
    """
    up = np.maximum(height, 1e-3)
    return np.where(height > 0, 1098.0 * up * np.exp(-0.057 / up), 0.0)


def modelled_yield(
    times: Sequence[datetime],
    step_h: float,
    place: tuple[float, float],
    *,
    clearness: float,
    performance: float,
) -> Column:
    """Output of one kilowatt peak of level panels, step by step. [kW/kWp]

    Every day is taken to be as cloudy as the mean one, so that a battery looks better than it is.

    Args:
        times: When each step begins; aware.
        step_h: How long it is. [h]
        place: Latitude and longitude. [deg]
        clearness: Energy over that of clear skies. [1]
        performance: Of the panels' rated output, what arrives after heat, dirt and inverter. [1]

    Raises:
        UsageError: a share is none.
    """
    if not (0 < clearness <= 1.2 and 0 < performance <= 1):
        raise UsageError(
            f"a clearness of {clearness!r} and a performance of {performance!r} are no shares",
            fix="give 0.6 for cloudy places, 0.9 for deserts; a performance such as 0.8",
        )
    parts = max(1, round(step_h * _PER_HOUR))
    sky = np.zeros(len(times))
    for part in range(parts):
        later = timedelta(hours=step_h * (part + 0.5) / parts)
        sky += clear_sky(sun_height([time + later for time in times], *place)) / parts
    return sky / 1e3 * clearness * performance
