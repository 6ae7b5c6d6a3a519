"""Savings that add up, latest starts that fit, and words that are read as they are meant."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hours_sample import HOUR, START, series
from hypothesis import given
from hypothesis import strategies as st

from negawatt.actions.run import asked
from negawatt.actions.run.orders import Order, Part, Phase, Progress
from negawatt.actions.run.saving import mean_over, realised
from negawatt.actions.run.steer import Limits, Need, last_safe, latest_starts, wish
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.when import Stretch


def order(**other: object) -> Order:
    given = {"name": "job", "argv": ("work",), "folder": Path(), "release": START,
             "deadline": START + 20 * HOUR, "work_s": 7200.0, **other}  # fmt: skip
    return Order(**given)  # type: ignore[arg-type]


def part(start: float, end: float, joules: float, **other: bool) -> Part:
    energy = Estimate(
        value=joules, low=joules / 2, high=joules * 2, unit="J", kind=Kind.MODELLED, source="x"
    )
    return Part(START + start * HOUR, START + end * HOUR, (end - start) * 3600, energy, **other)


positive = st.floats(1, 1e6)


@given(
    values=st.lists(st.floats(0, 1000), min_size=20, max_size=20),
    joules=st.tuples(positive, positive),
    idle=st.floats(0, 100),
    restart=st.floats(0, 600),
    lost=st.booleans(),
)
def test_the_split_adds_up(
    values: list[float], joules: tuple[float, float], idle: float, restart: float, lost: bool
) -> None:
    parts = (part(2, 3, joules[0], lost=lost), part(5, 6.5, joules[1]))
    progress = Progress(parts=parts, resumes=1)
    found = realised(order(idle_w=idle, restart_s=restart), progress, series(values))
    assert found is not None
    total = found.time.value - found.restarts.value - found.waiting.value
    assert total == pytest.approx(found.grams.value, abs=1e-6)
    assert found.now.value - found.actual.value == pytest.approx(found.grams.value, abs=1e-6)


@given(st.floats(1, 900), positive)
def test_a_flat_signal_saves_nothing(level: float, joules: float) -> None:
    found = realised(order(), Progress(parts=(part(7, 9, joules),)), series([level] * 20))
    assert found is not None
    assert found.share is not None
    assert found.share.value == pytest.approx(0, abs=1e-9)


def test_what_is_not_known_is_not_zero() -> None:
    gap = series([100.0] * 7 + [float("nan")] + [100.0] * 12)
    assert realised(order(), Progress(parts=(part(7, 9, 1),)), gap) is None
    nobody = Part(START, START + HOUR, 3600.0)
    assert realised(order(), Progress(parts=(nobody,)), series([1.0] * 20)) is None
    assert mean_over(gap, START - HOUR, START) is None


@given(
    st.lists(st.tuples(st.floats(1, 20), st.floats(0.1, 3), st.floats(1, 100)), max_size=8),
    st.integers(1, 3),
)
def test_at_their_latest_starts_all_fit(jobs: list[tuple[float, float, float]], slots: int) -> None:
    needs = [
        Need(number, START + by * HOUR, hours * 3600, power)
        for number, (by, hours, power) in enumerate(jobs)
    ]
    limits = Limits(slots, 150)
    starts = latest_starts(needs, limits)
    spans = [(starts[n.id], starts[n.id] + timedelta(seconds=n.seconds), n.power_w) for n in needs]
    for need, (_, end, _) in zip(needs, spans, strict=True):
        assert end <= need.latest + timedelta(microseconds=1)
    for moment, _, _ in spans:
        at_once = [one for one in spans if one[0] <= moment < one[1]]
        assert limits.holds(len(at_once), sum(one[2] for one in at_once))


def test_wishes_by_position() -> None:
    planned = Progress(planned_at=START, stretches=(Stretch(START + 3 * HOUR, START + 5 * HOUR),))
    assert not wish(order(), Progress(), START).run  # nobody has planned it
    assert not wish(order(), planned, START).run
    assert wish(order(), planned, START + 3 * HOUR).run
    late = last_safe(order(), planned)
    assert late + timedelta(hours=2) < START + 20 * HOUR
    assert wish(order(), planned, late).forced
    running = Progress(phase=Phase.RUNNING, planned_at=START, stretches=planned.stretches)
    assert wish(order(), running, START).firm  # may not be paused
    assert not wish(order(interruptible=True), running, START).run
    assert wish(order(interruptible=True, min_run_s=60), running, START).firm


@pytest.mark.parametrize("text", ["", "h", "2 weeks", "-2h", "1h2", "9999d", "2hh"])
def test_a_length_that_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        asked.seconds(text)


@pytest.mark.parametrize("text", ["", "0", "0W", "-5W", "many", "1e9"])
def test_a_power_that_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        asked.watts(text)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield None
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_clocks_that_are_set() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="set forward"):
        asked.moment("2026-03-29T02:30", now)
    found, note = asked.moment("2026-10-25T02:30", now)
    assert found == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the earlier is the safe one
    assert "twice" in note
    assert asked.moment("2026-07-01T12:00", now) == (datetime(2026, 7, 1, 10, tzinfo=UTC), "")
