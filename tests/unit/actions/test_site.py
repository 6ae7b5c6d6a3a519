"""What a site's file says: columns by time, every field checked, real data taken as they are."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from negawatt.actions.site import describe, example
from negawatt.actions.site.tables import Steps, column
from negawatt.core.errors import UsageError
from negawatt.decisions.site.account import account

START = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TWO = Steps(START, HOUR, 2)

SITE = """
[site]
intensity = 400
start = 2026-06-01T00:00:00Z
hours = 24
load_kw = 10
"""

Written = Callable[[str, str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_shorter_steps_are_averaged_and_longer_ones_repeated(written: Written) -> None:
    half = written(
        "half.csv",
        "# remark\ntime,x\n2026-06-01T00:00Z,1\n2026-06-01T00:30Z,3\n2026-06-01T01:00Z,5\n"
        "2026-06-01T01:30Z,7\n",
    )
    assert column(half, "x", TWO) == pytest.approx([2, 6])
    quarters = Steps(START, timedelta(minutes=15), 4)
    assert column(half, "x", quarters) == pytest.approx([1, 1, 3, 3])


def test_seconds_since_a_start_begin_with_the_site(written: Written) -> None:
    told = "offset_s,Berlin\n" + "".join(f"{300 * n},{n}\n" for n in range(24))
    assert column(written("sun.csv", told), "Berlin", TWO) == pytest.approx([5.5, 17.5])


def test_a_typical_year_is_taken_in_local_standard_time(written: Written, tmp_path: Path) -> None:
    rows = "".join(
        f"{station},{month},{day},{hour},{value}\n"
        for station in ("a", "b")
        for month, day, value in ((5, 31, 10), (6, 1, 20))
        for hour in range(24)
    )
    file = tmp_path / "year.csv.gz"
    file.write_bytes(gzip.compress(f"station,month,day,hour_local_std,t\n{rows}".encode()))
    hours = Steps(START, HOUR, 8)
    found = column(file, "t", hours, offset_h=-7, only={"station": "a"})
    assert found.tolist() == [10.0] * 7 + [20.0]
    with pytest.raises(UsageError, match="told before"):
        column(file, "t", hours, offset_h=-7)
    with pytest.raises(UsageError, match="local standard time"):
        column(file, "t", hours)
    with pytest.raises(UsageError, match="no line of station c"):
        column(file, "t", hours, offset_h=0, only={"station": "c"})
    with pytest.raises(UsageError, match="does not tell t"):
        column(file, "t", Steps(START + 30 * 24 * HOUR, HOUR, 2), offset_h=0, only={"station": "a"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,x\n", "holds no values"),
        ("time,y\n2026-06-01T00:00Z,1\n", "no column x"),
        ("when,x\n2026-06-01T00:00Z,1\n2026-06-01T01:00Z,1\n", "tells no time"),
        ("time,x\n2026-06-01T00:00Z,1\n2026-06-01T01:00Z\n", "line 3"),
        ("time,x\n2026-06-01T00:00Z,1\n2026-06-01T01:00Z,?\n", "line 3.*no number"),
        ("time,x\n2026-06-01T00:00Z,1\n2026-06-01T01:00Z,inf\n", "line 3.*inf"),
        ("time,x\n2026-06-01T00:00Z,1\nnoon,1\n", "line 3.*no time"),
        ("time,x\n2026-06-01T00:00,1\n2026-06-01T01:00,1\n", "no time zone"),
        ("time,x\n2026-06-01T00:00Z,1\n2026-06-01T00:30Z,1\n2026-06-01T01:30Z,1\n", "gap after"),
        ("time,x\n2026-06-01T00:00Z,1\n2026-06-01T00:00Z,1\n", "not before"),
        ("time,x\n2026-06-01T00:00Z,1\n2026-06-01T00:30Z,1\n", "does not tell x"),
        ("time,x\n2026-06-01T00:30Z,1\n2026-06-01T01:30Z,1\n", "does not tell x"),
        ("time,x\n2025-06-01T00:30Z,1\n2025-06-01T01:30Z,1\n", "does not tell x"),
    ],
)
def test_a_file_that_cannot_be_taken_is_named_with_its_line(
    written: Written, text: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        column(written("bad.csv", text), "x", TWO)


def test_a_file_that_is_none_is_named(tmp_path: Path, written: Written) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        column(tmp_path / "none.csv", "x", TWO)
    with pytest.raises(UsageError, match="no gzip"):
        column(written("no.csv.gz", "time,x"), "x", TWO)


def test_the_example_is_understood(written: Written) -> None:
    told = describe(written("roof.toml", example()), sized=True)
    assert told.site.name == "roof"
    assert told.site.battery is not None
    assert told.site.battery.charge_efficiency == pytest.approx(0.9**0.5)
    assert told.site.battery.wear_g_per_kwh == pytest.approx(83 / 5)
    assert told.site.solar_w.max() > 20e3
    assert told.site.intensity.low is not None
    assert told.yield_per_kwp is not None
    assert any("modelled" in note for note in told.notes)


def test_files_beside_it_tell_grid_sun_load_price_and_weather(written: Written) -> None:
    times = [f"2026-06-01T{hour:02d}:00Z" for hour in range(24)]
    for name, head, number in (
        ("grid.csv", "average_life_cycle_gCO2e_per_kWh", 300.0),
        ("sun.csv", "output", 0.5),
        ("load.csv", "kw", 20.0),
        ("price.csv", "eur", 90.0),
    ):
        lines = "".join(f"{time},{number + place}\n" for place, time in enumerate(times))
        written(name, f"time,{head}\n{lines}")
    lines = "".join(f"{time},{10 + place},{60}\n" for place, time in enumerate(times))
    written("weather.csv", f"time,dry_bulb_c,rel_hum_pct\n{lines}")
    file = written(
        "site.toml",
        """
[site]
intensity_file = "grid.csv"
start = 2026-06-01T06:00:00Z
hours = 12
load_file = "load.csv"
import_kw = 100
[solar]
kwp = 2
file = "sun.csv"
[price]
file = "price.csv"
column = "eur"
[cooling]
class = "recommended"
weather = "weather.csv"
""",
    )
    told = describe(file).site
    assert told.intensity.values[0] == 306
    assert told.intensity.start.hour == 6
    assert str(told.intensity.basis) == "average, life cycle"
    assert told.solar_w[0] == pytest.approx(2e3 * 6.5)
    assert told.load_w[0] == pytest.approx(26e3)
    assert told.price is not None
    assert told.price.values[0] == 96
    assert told.pue[-1] > told.pue[0] > 1  # hot and damp by the end
    assert told.import_w == 1e5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[roof]\n", "part called roof"),
        ("[solar]\nkwp = 1\n", "no site"),
        ("site = 3\n", "site is no table"),
        ("[site\n", "no TOML"),
        (SITE + "colour = 'green'\n", "field called colour"),
        (SITE + "pue = 'low'\n", "give a number|pue of site"),
        (SITE.replace("intensity = 400", ""), "nothing of its grid"),
        (SITE.replace("intensity = 400", "zone = 'Atlantis'"), "Atlantis"),
        (SITE.replace("intensity = 400", "intensity_file = 'none.csv'"), "cannot read"),
        (SITE.replace("hours = 24", ""), "lacks start or hours"),
        (SITE.replace("hours = 24", "hours = 0"), "no length of time"),
        (SITE.replace("hours = 24", "hours = 1.5"), "no whole number"),
        (SITE.replace("00Z", "00"), "no time zone"),
        (SITE.replace("load_kw = 10", ""), "what its IT equipment draws"),
        (SITE + "[solar]\nkwp = 5\n", "what the panels give"),
        (SITE + "latitude = 100\nlongitude = 0\n[solar]\nkwp = 5\n", "no place at latitude"),
        (SITE + "[solar]\nkwp = 5\nfile = 'sun.csv'\n", "cannot read"),
        (SITE + "[battery]\nkwh = 5\n", "battery lacks kw"),
        (SITE + "[battery]\nkwh = 5\nkw = 1\nround_trip = 2\n", "round_trip"),
        (SITE + "[cooling]\nclass = 'B7'\ndry_bulb_c = 20\nhumidity = 0.5\n", "called B7"),
        (SITE + "[cooling]\nclass = 'A1'\n", "no weather"),
        (
            SITE + "pue = 1.3\n[cooling]\nclass = 'A1'\ndry_bulb_c = 20\nhumidity = 0.5\n",
            "stated, and told by the weather",
        ),
        (SITE + "[price]\nweight = 3\n", "tells no price"),
        (SITE + "[water]\nwue = -1\n", "water cannot be"),
        (SITE + "[jobs.a]\nhours = 1\nkw = 1\n", "jobs.a lacks release"),
        ("jobs = 3\n" + SITE, "no table of jobs"),
        (
            SITE + "[jobs.a]\nhours = 1\nkw = 1\nrelease = 2026-06-01T00:00:00Z\n"
            "deadline = 2027-06-01T00:00:00Z\n",
            "longer signal",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(written: Written, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        describe(written("site.toml", text))


def test_sizing_needs_a_sun_and_a_known_aim(written: Written) -> None:
    with pytest.raises(UsageError, match="what panels would give"):
        describe(written("site.toml", SITE), sized=True)
    sunny = SITE + "latitude = 50\nlongitude = 0\n[size]\naim = 'fame'\n"
    with pytest.raises(UsageError, match="aim of size"):
        describe(written("site.toml", sunny), sized=True)


def test_real_weather_and_sun_of_a_desert(shared: Path, written: Written) -> None:
    """A summer week in Phoenix: its typical year as it lies, and real solar output of a city."""
    weather = shared / "data/grid/placement/weather_typical_year_us8_hourly.csv.gz"
    told = f"""
[site]
zone = "US-SW-AZPS"
start = 2026-07-01T00:00:00Z
hours = 168
load_kw = 100
utc_offset_h = -7
[solar]
kwp = 400
file = "{weather}"
irradiance = "ghi_wh_m2"
only = {{ station = "USA_AZ_Phoenix-Sky.Harbor" }}
[battery]
kwh = 500
kw = 250
[cooling]
class = "A1"
weather = "{weather}"
only = {{ station = "USA_AZ_Phoenix-Sky.Harbor" }}
[water]
stress = 10
"""
    found = account(describe(written("desert.toml", told)))
    assert found.ways["chiller"] > 0.5  # July
    assert found.saved["solar"] > 0.2 * found.without.value
    assert found.saved["battery"] > 0
    assert found.foreseen is not None
    assert 0.5 < found.foreseen < 1
    assert found.without.value - sum(found.saved.values()) == pytest.approx(found.grams.value)
    assert found.grams.low < found.grams.value < found.grams.high
    assert found.onsite.value > 10_000  # litres: about a litre per kWh of IT energy
    assert found.weighted is not None
    assert found.weighted.value == pytest.approx(10 * found.onsite.value)
    steps = found.steps
    assert np.sum(steps["solar_w"]) / 1e3 == pytest.approx(found.energy["solar"])


def test_real_solar_output_by_seconds(shared: Path, written: Written) -> None:
    sun = shared / "data/grid/vessim_solar_10cities_5min.csv.gz"
    told = SITE.replace("hours = 24", "hours = 600").replace(
        "load_kw", "step_min = 30\nload_kw"
    )  # fmt: skip
    city = f"[solar]\nkwp = 30\nfile = '{sun}'\ncolumn = 'Sydney'\n[battery]\nkwh = 60\nkw = 30\n"
    found = account(describe(written("sydney.toml", told + city)))
    assert found.energy["solar"] > 500
    assert found.saved["battery"] > 0
    assert found.energy["curtailed"] < found.energy["solar"]
