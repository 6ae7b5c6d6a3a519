from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules
from negawatt.meters import Instruments, Window
from negawatt.meters.pulse import Pulse

PATIENCE_S = 10.0  # for what must happen; what must not happen is given a moment


class Counter:
    """Counts its reads, and says when there is another one."""

    name, boundary = "test:0", "gpu:0"

    def __init__(self, period_s: float | None = 0.001) -> None:
        self.poll_every_s = period_s
        self.read = threading.Event()
        self.fail: Callable[[], object] = lambda: None

    def energy(self) -> Joules:
        self.read.set()
        self.fail()
        return Joules(1.0)

    def is_read_again(self, within_s: float = PATIENCE_S) -> bool:
        self.read.clear()
        return self.read.wait(within_s)


def beating() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "negawatt-meter"]


def test_a_meter_that_asks_for_nothing_gets_no_thread() -> None:
    pulse = Pulse([Counter(None)])
    pulse.start()
    assert beating() == []
    pulse.stop()


def test_windows_share_a_heartbeat_that_ends_with_the_last_of_them() -> None:
    meter = Counter()
    tools = Instruments(meters=(meter,))
    first, second = Window("first", instruments=tools), Window("second", instruments=tools)
    first.start()
    second.start()
    (thread,) = beating()
    first.stop()
    assert meter.is_read_again()  # the second is still open, though it was opened inside
    assert thread.is_alive()
    second.stop()
    assert not thread.is_alive()
    assert not meter.is_read_again(within_s=0.01)


def test_a_window_inside_another_has_its_own_meters_read() -> None:
    outer, inner = Counter(), Counter()
    with (
        Window("outer", instruments=Instruments(meters=(outer,))),
        Window("inner", instruments=Instruments(meters=(inner,))),
    ):
        assert outer.is_read_again()
        assert inner.is_read_again()
    assert beating() == []


def test_windows_one_after_another_share_a_thread_that_lingers_and_reads_nothing_between() -> None:
    meter = Counter()
    pulse = Pulse([meter], linger_s=60.0)
    pulse.start()
    (thread,) = beating()
    pulse.stop()
    assert thread.is_alive()
    assert not meter.is_read_again(within_s=0.01)
    pulse.start()
    assert beating() == [thread]
    assert meter.is_read_again()
    (beat,) = pulse._beats
    beat._linger_s = 0.0  # the last window of all
    pulse.stop()
    assert not thread.is_alive()


def test_a_thread_that_lingers_ends_and_the_next_window_starts_another() -> None:
    meter = Counter()
    pulse = Pulse([meter], linger_s=0.01)
    pulse.start()
    (thread,) = beating()
    pulse.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    pulse.start()
    assert meter.is_read_again()
    pulse.stop()
    for left in beating():
        left.join(PATIENCE_S)


def test_a_forked_child_begins_anew_even_if_a_read_was_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter = Counter()
    pulse = Pulse([meter])
    (beat,) = pulse._beats
    beat._lock.acquire()  # as a fork in the middle of a read leaves it, for ever
    monkeypatch.setattr(os, "getpid", lambda: -1)
    pulse.start()
    assert meter.is_read_again()
    pulse.stop()
    assert beating() == []


def test_a_sample_that_fails_is_followed_by_another() -> None:
    meter = Counter()

    def fail() -> None:
        raise MeterUnavailable("busy", fix="ask again")

    meter.fail = fail
    pulse = Pulse([meter])
    pulse.start()
    assert meter.is_read_again()
    assert meter.is_read_again()
    pulse.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_a_meter_does_not_leave_later_windows_unread() -> None:
    meter = Counter()

    def break_down() -> None:
        raise ZeroDivisionError

    meter.fail = break_down
    pulse = Pulse([meter], linger_s=60.0)
    pulse.start()
    (thread,) = beating()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    meter.fail = lambda: None
    pulse.start()
    assert meter.is_read_again()
    (beat,) = pulse._beats
    beat._linger_s = 0.0
    pulse.stop()
    pulse.stop()
    assert beating() == []
