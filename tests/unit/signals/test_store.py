"""What is kept of providers: revisions, what was known then, and when to ask again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from negawatt.core.errors import OutputError, SignalUnavailable
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Reading, Signal, Status, Topic
from negawatt.signals.kept import CORRECTED, FORECAST, NEWEST, Kept
from negawatt.signals.store import FILE_NAME, FORECASTS_KEPT, Store

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def reading(hour: int, value: float, issued: datetime | None = None, **more: object) -> Reading:
    status = Status.MEASURED if issued is None else Status.FORECAST
    made = Reading("DE", Topic.CARBON, NOON + hour * HOUR, HOUR, value, GRAMS_PER_KWH, status, "it",
                   Basis(), issued)  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path, clock)


def values(readings: Sequence[Reading]) -> list[float]:
    return [one.value for one in readings]


def test_a_past_is_told_newest_or_as_it_was_known(store: Store, clock: Clock) -> None:
    store.keep("it", [reading(-2, 100), reading(-1, 200)])
    clock.now += 6 * HOUR
    store.keep("it", [reading(-2, 150), reading(-1, 200)])
    start, end = NOON - 3 * HOUR, NOON
    assert values(store.past("it", "DE", start, end)) == [150, 200]
    assert values(store.past("it", "DE", start, end, NOON + HOUR)) == [100, 200]
    assert values(store.past("it", "DE", start, end, NOON - HOUR)) == []
    assert store.past("another", "DE", start, end) == []
    assert store.past("it", "FR", start, end) == []


def test_what_the_provider_says_of_its_revisions_counts(store: Store) -> None:
    told = reading(-5, 100, None, issued_at=NOON - 4 * HOUR)
    store.keep("it", [told])
    store.keep("it", [replace(told, value=90.0, issued_at=NOON - HOUR)])
    window = (NOON - 6 * HOUR, NOON)
    assert values(store.past("it", "DE", *window, NOON - 2 * HOUR)) == [100]
    assert values(store.past("it", "DE", *window)) == [90]


def test_a_forecast_is_one_issue_and_the_newest_of_then(store: Store) -> None:
    for back, hours in ((4, 6), (2, 3)):
        issued = NOON - back * HOUR
        store.keep("it", [reading(hour, back, issued) for hour in range(hours)])
    window = (NOON, NOON + 24 * HOUR)
    assert values(store.ahead("it", "DE", *window, NOON)) == [2, 2, 2]
    assert values(store.ahead("it", "DE", *window, NOON - 3 * HOUR)) == [4] * 6
    assert store.ahead("it", "DE", *window, NOON - 5 * HOUR) == []
    # of hours that the newest does not reach, the one before is the newest
    assert values(store.ahead("it", "DE", NOON + 4 * HOUR, NOON + 24 * HOUR, NOON)) == [4, 4]


@given(
    st.lists(
        st.tuples(st.integers(-30, 0), st.integers(0, 5), st.integers(0, 9)),
        min_size=1,
        max_size=30,
    ),
    st.integers(-31, 1),
)
@effort(max_examples=25)
def test_nothing_is_known_before_it_was_said(told: list[tuple[int, int, int]], then: int) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), Clock())
        store.keep("it", [reading(hour, v, NOON + back * HOUR) for back, hour, v in told])
        moment = NOON + then * HOUR
        found = store.ahead("it", "DE", NOON, NOON + 6 * HOUR, moment)
        said = [back for back, _, _ in told if back <= then]
        assert bool(found) == bool(said)
        assert {one.issued_at for one in found} == ({NOON + max(said) * HOUR} if said else set())


def test_kinds_are_kept_apart(store: Store) -> None:
    marginal = replace(reading(-1, 500), basis=Basis(Signal.MARGINAL))
    price = replace(reading(-2, -5), topic=Topic.PRICE, unit="EUR/MWh", basis=None)
    store.keep("a", [reading(-1, 100)])
    store.keep("b", [marginal])
    store.keep("c", [price])
    window = (NOON - 3 * HOUR, NOON)
    assert store.past("a", "DE", *window)[0].basis == Basis()
    assert store.past("b", "DE", *window) == [marginal]
    assert store.past("c", "DE", *window) == [price]


def test_hours_do_not_lie_over_the_quarters_that_took_their_place(store: Store) -> None:
    quarter = timedelta(minutes=15)
    quarters = [
        replace(reading(-2, n), start=NOON - 2 * HOUR + n * quarter, step=quarter) for n in range(4)
    ]
    store.keep("it", [reading(-3, 7), *quarters])
    found = store.past("it", "DE", NOON - 3 * HOUR, NOON)
    assert values(found) == [7, 0, 1, 2, 3]


def test_old_forecasts_are_forgotten_and_pasts_are_not(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path, clock)
    store.keep("it", [reading(-1, 5), reading(1, 6, NOON)])
    clock.now += FORECASTS_KEPT + HOUR
    again = Store(tmp_path, clock)
    assert again.ahead("it", "DE", NOON, NOON + 3 * HOUR, clock.now) == []
    assert values(again.past("it", "DE", NOON - HOUR, NOON)) == [5]


def test_a_broken_file_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database, but long enough to be taken for one" * 99)
    store = Store(tmp_path, Clock())
    store.keep("it", [reading(-1, 1)])
    assert values(store.past("it", "DE", NOON - HOUR, NOON)) == [1]
    assert (tmp_path / "grid.broken").is_file()


def test_a_file_of_another_version_is_moved_aside(tmp_path: Path) -> None:
    Store(tmp_path, Clock()).keep("it", [reading(-1, 1)])
    Store(tmp_path, Clock()).keep("it", [reading(-2, 1)])  # the same version is gone on with
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        file.execute("PRAGMA user_version = 99")
    store = Store(tmp_path, Clock())
    assert store.past("it", "DE", NOON - 3 * HOUR, NOON) == []
    assert (tmp_path / "grid.broken").is_file()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Store(tmp_path / "file" / "cache")


WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Reading, Status, Topic
from negawatt.signals.store import Store
store, mine = Store(Path(sys.argv[1])), sys.argv[2]
noon, hour = datetime(2026, 3, 10, 12, tzinfo=UTC), timedelta(hours=1)
for n in range(20):
    store.keep(mine, [Reading("DE", Topic.CARBON, noon + n * hour, hour, n, GRAMS_PER_KWH,
                              Status.MEASURED, mine, Basis())])
    store.note(mine, "DE", ahead=False, start=noon, end=noon + n * hour)
"""


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name], stderr=subprocess.PIPE
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said
    store = Store(tmp_path)
    for name in ("a", "b"):
        assert values(store.past(name, "DE", NOON, NOON + 20 * HOUR)) == list(range(20))
        assert len(store.questions(name, "DE", ahead=False)) == 1


# ------------------------------------------------------------ asking no more than needed


class Provider:
    """Tells hours whose value is the hour it was asked in; may be out."""

    name, topic, basis = "it", Topic.CARBON, Basis()

    def __init__(self, clock: Clock) -> None:
        self.clock, self.out, self.asked = clock, False, list[tuple[datetime, datetime]]()
        self.keeps = False
        self.shows = 10**6 * HOUR  # how far back

    def value(self) -> float:
        return (self.clock.now - NOON) / HOUR

    def past(self, zone: str, start: datetime, end: datetime) -> list[Reading]:
        if self.out:
            raise SignalUnavailable("it is out", fix="wait")
        self.asked.append((start, end))
        start = max(start, self.clock.now - self.shows)
        hours = range((start - NOON) // HOUR, (min(end, self.clock.now) - NOON) // HOUR)
        return [reading(hour, self.value()) for hour in hours]

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> list[Reading]:
        if self.out or (as_of is not None and not self.keeps):
            raise SignalUnavailable("it is out", fix="wait")
        self.asked.append((start, end))
        issued = as_of or self.clock.now
        return [reading(hour, self.value(), issued) for hour in range(24)]


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
def kept(provider: Provider, store: Store, clock: Clock) -> Kept:
    return Kept(provider, store, "it://", clock)


def test_a_past_that_was_told_lately_is_not_asked_for_again(
    kept: Kept, provider: Provider, clock: Clock
) -> None:
    week = 7 * 24 * HOUR
    first = kept.past("DE", NOON - week, NOON)
    assert len(first) == 7 * 24
    assert values(kept.past("DE", NOON - week, NOON)) == values(first)
    assert len(kept.past("DE", NOON - 5 * HOUR, NOON)) == 5
    assert len(provider.asked) == 1
    clock.now += NEWEST + HOUR
    later = kept.past("DE", NOON - week, clock.now)
    # what is new is asked for, and with it what may have been corrected
    assert provider.asked[1] == (NOON - CORRECTED, clock.now)
    assert len(later) == 7 * 24 + 1
    assert later[0].value == first[0].value
    assert later[-1].value > first[-1].value


def test_a_past_that_is_long_over_is_asked_for_once(
    kept: Kept, provider: Provider, clock: Clock
) -> None:
    old = (NOON - 40 * 24 * HOUR, NOON - 30 * 24 * HOUR)
    kept.past("DE", *old)
    clock.now += 300 * 24 * HOUR
    assert len(kept.past("DE", *old)) == 240
    assert len(provider.asked) == 1
    assert len(kept.past("DE", old[0] - HOUR, old[1])) == 241  # an hour more is asked for
    assert len(provider.asked) == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(1, 60), st.integers(0, 90)),
        min_size=2,
        max_size=6,
    )
)
@effort(max_examples=25)
def test_the_cache_never_loses_an_hour(asked: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    with TemporaryDirectory() as folder:
        kept = Kept(Provider(clock), Store(Path(folder), clock), "it://", clock)
        for back, hours, wait in asked:
            clock.now += wait * HOUR
            start = NOON - back * HOUR
            end = min(start + hours * HOUR, clock.now)
            if start < end:
                told = kept.past("DE", start, end)
                assert [one.start for one in told] == [
                    start + n * HOUR for n in range((end - start) // HOUR)
                ]


def test_who_is_out_is_stood_in_for_by_what_he_said(
    kept: Kept, provider: Provider, clock: Clock
) -> None:
    provider.out = True
    with pytest.raises(SignalUnavailable):
        kept.past("DE", NOON - HOUR, NOON)
    provider.out = False
    kept.past("DE", NOON - 10 * HOUR, NOON)
    provider.out, clock.now = True, NOON + 5 * HOUR
    assert len(kept.past("DE", NOON - 10 * HOUR, clock.now)) == 10


def test_a_plan_that_shows_the_last_day_alone_fills_the_cache_day_by_day(
    kept: Kept, provider: Provider, clock: Clock
) -> None:
    provider.shows = 24 * HOUR
    week = 7 * 24 * HOUR
    assert len(kept.past("DE", clock.now - week, clock.now)) == 24
    asked = len(provider.asked)
    kept.past("DE", clock.now - week, clock.now)
    assert len(provider.asked) == asked  # not again so soon
    for _ in range(3):
        clock.now += 20 * HOUR
        kept.past("DE", clock.now - week, clock.now)
    assert len(kept.past("DE", clock.now - week, clock.now)) == 24 + 3 * 20
    provider.shows = week  # a better plan
    clock.now += HOUR
    assert len(kept.past("DE", clock.now - week, clock.now)) == 7 * 24


def test_a_forecast_is_fetched_again_when_there_may_be_a_newer(
    kept: Kept, provider: Provider, clock: Clock
) -> None:
    window = (NOON, NOON + 24 * HOUR)
    kept.ahead("DE", *window)
    clock.now += FORECAST / 2
    assert kept.ahead("DE", *window)[0].issued_at == NOON
    clock.now += FORECAST
    assert kept.ahead("DE", *window)[0].issued_at == clock.now
    assert len(provider.asked) == 2
    provider.out, clock.now = True, clock.now + 2 * HOUR
    with pytest.raises(SignalUnavailable):
        kept.ahead("DE", *window)
    assert kept.remembered("DE", *window, as_of=clock.now)[0].issued_at == clock.now - 2 * HOUR


def test_what_was_known_then_is_the_providers_or_the_kept(
    kept: Kept, provider: Provider, clock: Clock
) -> None:
    window = (NOON, NOON + 24 * HOUR)
    kept.ahead("DE", *window)
    clock.now += 5 * HOUR
    kept.ahead("DE", *window)
    assert kept.ahead("DE", *window, as_of=NOON + HOUR)[0].issued_at == NOON
    with pytest.raises(SignalUnavailable):
        kept.ahead("DE", *window, as_of=NOON - HOUR)
    provider.keeps = True
    assert kept.ahead("DE", *window, as_of=NOON + HOUR)[0].issued_at == NOON + HOUR


def test_without_a_cache_the_provider_is_asked_each_time(provider: Provider, clock: Clock) -> None:
    bare = Kept(provider, None, "it://", clock)
    for _ in range(2):
        bare.past("DE", NOON - HOUR, NOON)
        bare.ahead("DE", NOON, NOON + HOUR)
    assert len(provider.asked) == 4
    assert bare.remembered("DE", NOON, NOON + HOUR, as_of=NOON) == ()


def test_a_cache_that_breaks_is_no_reason_to_stop(
    kept: Kept, store: Store, provider: Provider
) -> None:
    store.path.unlink()
    store.path.mkdir()
    assert kept.past("DE", NOON - HOUR, NOON)
    assert kept.ahead("DE", NOON, NOON + HOUR)
    assert (kept.name, kept.topic, kept.basis) == ("it", Topic.CARBON, Basis())
