"""The height of the sun, and what panels give where nobody measured it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.decisions.site.sun import clear_sky, modelled_yield, sun_height

YEAR = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(8760)]


@pytest.mark.parametrize(
    ("moment", "latitude", "longitude", "degrees"),
    [
        # Elevations of almanacs: overhead at the equator in March, the poles' midnight sun.
        (datetime(2025, 3, 20, 12, 7, tzinfo=UTC), 0.0, 0.0, 90.0),
        (datetime(2025, 6, 21, 0, 0, tzinfo=UTC), 90.0, 0.0, 23.4),
        (datetime(2025, 12, 21, 12, 0, tzinfo=UTC), 52.5, 0.0, 14.1),
        (datetime(2025, 6, 21, 13, 8, tzinfo=timezone(timedelta(hours=2))), 52.5, 13.4, 60.9),
    ],
)
def test_the_sun_stands_where_almanacs_put_it(
    moment: datetime, latitude: float, longitude: float, degrees: float
) -> None:
    height = np.degrees(np.arcsin(sun_height([moment], latitude, longitude)[0]))
    assert height == pytest.approx(degrees, abs=0.6)


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_every_place_has_half_a_year_of_night(latitude: float, longitude: float) -> None:
    height = sun_height(YEAR[::7], latitude, longitude)
    assert (np.abs(height) <= 1 + 1e-9).all()
    assert (height > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (clear_sky(height)[height <= 0] == 0).all()
    assert clear_sky(height).max() < 1100


def test_a_year_of_berlin_is_about_what_panels_there_give() -> None:
    given = modelled_yield(YEAR, 1.0, (52.5, 13.4), clearness=0.6, performance=0.8).sum()
    assert 750 < given < 950  # kWh of a level kilowatt peak
    halves = [YEAR[0] + timedelta(minutes=30 * place) for place in range(48)]
    fine = modelled_yield(halves, 0.5, (52.5, 13.4), clearness=0.6, performance=0.8)
    coarse = modelled_yield(YEAR[:24], 1.0, (52.5, 13.4), clearness=0.6, performance=0.8)
    assert fine.sum() / 2 == pytest.approx(coarse.sum(), rel=0.03)


def test_no_such_place_and_no_such_sky() -> None:
    with pytest.raises(UsageError, match="no place"):
        sun_height(YEAR[:1], 91.0, 0.0)
    for clearness, performance in ((0.0, 0.8), (0.6, 1.5)):
        with pytest.raises(UsageError, match="no shares"):
            modelled_yield(YEAR[:1], 1.0, (0.0, 0.0), clearness=clearness, performance=performance)
