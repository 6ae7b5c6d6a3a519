"""The primitives for other schedulers: asked by anybody, at any time, they keep the deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hours_sample import HOUR, START, Planner
from run_world import Clocks

import negawatt
from negawatt.actions.run.orders import Order
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.wiring import wait
from negawatt.wiring.wait import Clean

DAY = [500.0, 400, 100, 300, 50, 60, 600, 700, 800, 900, 900, 900]


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def question(clocks: Clocks, planner: Planner, hours: float = 2) -> Clean:
    order = Order(
        name="work", argv=("work",), folder=Path(), release=START, deadline=START + 10 * HOUR,
        work_s=hours * 3600,
    )  # fmt: skip
    return Clean(order, planner, clocks.now)


def test_a_sensor_says_yes_at_the_planned_start(clocks: Clocks) -> None:
    ask = question(clocks, Planner(DAY))
    answers = []
    for _ in range(10):
        answers.append(ask())
        clocks.sleep(3600)
    assert answers.index(True) == 4


def test_a_sensor_says_yes_while_there_is_still_time(clocks: Clocks) -> None:
    worse = Planner([900.0 - hour for hour in range(12)])  # it gets cleaner and cleaner
    ask = question(clocks, worse)
    while not ask():
        clocks.sleep(300)
    assert clocks.wall + timedelta(hours=2) <= START + 10 * HOUR
    clocks.sleep(3600)
    assert ask()


def test_without_forecasts_it_says_yes(clocks: Clocks) -> None:
    planner = Planner(DAY)
    planner.broken = SignalUnavailable("gone", fix="wait")
    assert question(clocks, planner)()


def test_waiting_ends_at_the_planned_start(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "planned", lambda order, settings: Planner(DAY))
    found = negawatt.wait_for_clean(
        "DE", duration="2h", deadline="+10h", sleep=clocks.sleep, now=clocks.now
    )
    assert found == START + 4 * HOUR


def test_the_built_in_hours_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(datetime(2026, 6, 1, tzinfo=UTC))
    found = negawatt.wait_for_clean(
        "DE", duration="2h", deadline="2026-06-01T20:00Z", sleep=clocks.sleep, now=clocks.now
    )
    assert 8 <= found.hour <= 14  # when the sun shines on Germany


@pytest.mark.parametrize(
    "bad",
    [{"deadline": "+1h"}, {"duration": "two"}, {"deadline": "2020-01-01T00:00Z"}, {"poll_s": 0}],
)
def test_what_cannot_be_is_refused(bad: dict[str, object]) -> None:
    given = {"duration": "2h", "deadline": "+10h", **bad}
    with pytest.raises(UsageError):
        negawatt.wait_for_clean("DE", **given)  # type: ignore[arg-type]
