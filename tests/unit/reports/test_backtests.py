"""A back-test in words and pictures says what was found."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.backtests import Awhile, AwhileRow, Backtest, Limits, Means, Nightly, Score
from negawatt.reports.backtested import show
from negawatt.reports.backtests import page
from negawatt.reports.plots import backtests as drawing
from negawatt.reports.plots.studies import of_study
from negawatt.reports.studies import page as study_page
from negawatt.reports.studies import percent


def score(policy: str, shape: str, forecast: str, saving: float, missed: int = 0) -> Score:
    return Score(
        policy=policy,
        shape=shape,
        forecast=forecast,
        intensity=300 * (1 - saving),
        saving=Estimate(
            value=saving,
            low=saving - 0.01,
            high=saving + 0.02,
            unit="1",
            kind=Kind.MODELLED,
            source="bootstrap over days",
        ),
        regret=0.2 - saving,
        kept=saving / 0.2,
        missed=missed,
        blind=0,
        delay_h=7.25,
    )


@pytest.fixture
def found() -> Backtest:
    scores = (
        score("now", "now", "", 0.0),
        score("contiguous, <b>mean28</b>", "contiguous", "mean28", 0.125, missed=3),
        score("contiguous, oracle", "contiguous", "oracle", 0.2),
        score("interruptible, oracle", "interruptible", "oracle", 0.22),
    )
    parts = {"efficiency": 0.0, "time": 0.1, "place": 0.0, "variant": 0.3}
    return Backtest(
        zone="DE",
        basis="average, direct",
        unit="gCO2e/kWh",
        source="ci.csv",
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2026, 1, 3, tzinfo=UTC),
        step_s=1800.0,
        jobs=40,
        left_out=2,
        jobs_from="every 1h",
        duration_h=4.0,
        slack_h=20.0,
        kwh=160.0,
        scores=scores,
        parts={one.policy: parts for one in scores},
        whole={one.policy: 0.4 for one in scores},
        daily={one.policy: (one.saving.value, 0.1) for one in scores},
        days=("2026-01-01", "2026-01-02"),
        notes=("run now is the same job",),
    )


def said(found: object) -> str:
    screen = io.StringIO()
    show(found, Console(file=screen))  # type: ignore[arg-type]
    return screen.getvalue()


def test_every_policy_has_its_line(found: Backtest) -> None:
    lines = said(found).splitlines()
    mean = next(line for line in lines if "mean28" in line)
    assert mean.split()[-7:] == ["262", "12.50", "11.5…14.5", "62.5", "7.50", "7.2", "3"]
    assert next(line for line in lines if line.startswith("run now")).count("—") == 2
    assert any(line.split()[-5:] == ["0.00", "10.00", "0.00", "30.00", "40.00"] for line in lines)


def test_pictures_stand_where_the_figures_are(found: Backtest) -> None:
    drawn = drawing.of_backtest(found)
    assert list(drawn) == ["saving", "parts", "days"]
    points, oracles = drawn["saving"].traces
    assert points["x"] == [0.0, 12.5]
    assert oracles["error_x"]["array"] == pytest.approx([2.0, 2.0])
    assert [sum(trace["x"][at] for trace in drawn["parts"].traces) for at in range(4)] == (
        pytest.approx([40.0] * 4)
    )
    oracle, best = drawn["days"].traces
    assert (oracle["name"], best["y"]) == ("contiguous, oracle", [12.5, 10.0])
    for plot in drawn.values():
        assert len(plot.alt) > 40
        json.dumps({"data": plot.traces, "layout": plot.layout}, allow_nan=False)


def test_the_page_holds_all_and_takes_names_literally(found: Backtest) -> None:
    text = page(found)
    assert "contiguous, &lt;b&gt;mean28&lt;/b&gt;" in text
    assert "<b>mean28" not in text
    for plot in ("saving", "parts", "days"):
        assert f'data-plot="{plot}"' in text
    assert "run now is the same job" in text


def test_studies_are_told_with_what_was_published() -> None:
    row = AwhileRow(
        rule="next-workday", shape="contiguous", forecast="noisy-oracle", error=0.05, seeds=10,
        published=0.0591, saving=0.0582, low=0.05, high=0.07, spread=0.001, late=12.4, grams=1e6,
    )  # fmt: skip
    past = AwhileRow(
        rule="next-workday", shape="contiguous", forecast="mean28", error=0.0, seeds=1,
        published=None, saving=0.02, low=0.01, high=0.03, spread=None, late=0.0, grams=1e6,
    )  # fmt: skip
    study = Awhile(
        zone="DE", year=2020, jobs=3387, workdays=262, mean=316.7,
        shiftable={"next-workday": 0.8}, slack_h={"next-workday": 15.6}, rows=(row, past),
    )  # fmt: skip
    told = said(study)
    assert [trace["name"] for trace in of_study(study).traces] == ["truth ± 5 %", "mean28"]
    assert "5.91" in study_page(study)
    lines = [line.split() for line in told.splitlines()]
    assert ["next-workday", "contiguous", "±", "5", "%", "5.91", "12", "5.82", "5.0…7.0"] in lines
    assert ["next-workday", "contiguous", "mean28", "—", "—", "2.00", "1.0…3.0"] in lines
    nights = Nightly(
        zone="DE", year=2020, error=0.05, windows_h=(0.0, 8.0), intensity=(305.3, 270.2),
        saving=(0.0, 0.115), published=(0.0, 0.117), nights=(365, 364),
    )  # fmt: skip
    night = said(nights)
    assert of_study(nights).traces[0]["y"] == [305.3, 270.2]
    assert ["8", "270.20", "11.50", "11.70", "364"] in [line.split() for line in night.splitlines()]


def test_limits_are_told_to_four_digits() -> None:
    means = Means(published=0.155897, low=0.15, high=0.16, pooled=0.1558, zones=0.175, grams=57.4)
    study = Limits(
        zones=("DE", "SE"), left_out=("XK",), hours=1.0, slack_h=24.0, starts=8759, mean=368.0,
        deferral=means, interruption=means, foreseen={"mean28": means}, lowest="SE",
        one_move_g=352.47589, any_move_g=353.5, one_move=0.95, any_move=0.96, both=0.97,
        by_zone={"DE": (400.0, 0.2, 0.01), "SE": (20.0, 0.1, 0.02)},
    )  # fmt: skip
    told = said(study)
    assert [trace["y"] for trace in of_study(study).traces] == [[20.0, 10.0], [1.0, 2.0]]
    assert "SE: 20 g/kWh, 10.0 % and 2.0 %" in of_study(study).alt
    assert "15.5897" in told
    assert "352.4759" in told
    assert "deferral, mean28" in told
    assert "left out, with gaps: XK" in told


def test_a_tiny_share_below_nothing_is_nothing() -> None:
    assert percent(-1e-9) == "0.00"
