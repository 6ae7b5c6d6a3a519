from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable

import pytest

from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules
from negawatt.meters import Instruments, Window, measure
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


def all_have_ended() -> bool:
    for thread in beating():
        thread.join(PATIENCE_S)
    return not beating()


def test_a_meter_that_asks_for_nothing_gets_no_thread() -> None:
    pulse = Pulse([Counter(None)])
    pulse.start()
    assert beating() == []
    pulse.stop()


def test_windows_share_a_heartbeat_that_ends_after_the_last_of_them() -> None:
    meter = Counter()
    first, second = (Window(name, instruments=Instruments(meters=(meter,))) for name in "ab")
    first.start()
    second.start()
    (thread,) = beating()
    first.stop()
    assert meter.is_read_again()  # the second is still open, though it was opened inside
    assert thread.is_alive()
    second.stop()
    thread.join(PATIENCE_S)
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
    assert all_have_ended()


def test_windows_one_after_another_share_a_thread_that_reads_nothing_between() -> None:
    meter = Counter(0.2)
    threads = set()
    for _ in range(20):
        with measure("short", meters=(meter,)):
            threads.update(beating())
        meter.read.clear()
    assert len(threads) < 20  # one, unless this machine stalls for a period
    assert not meter.read.is_set()
    assert all_have_ended()


def test_a_window_after_the_thread_has_ended_starts_another() -> None:
    meter = Counter()
    pulse = Pulse([meter])
    for _ in range(2):
        pulse.start()
        assert meter.is_read_again()
        pulse.stop()
        assert all_have_ended()


def test_a_thread_is_slow_to_read_but_not_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negawatt.meters.pulse.LINGER_S", 0.01)
    pulse = Pulse([Counter(3600.0)])
    pulse.start()
    (thread,) = beating()
    pulse.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_nothing_is_kept_of_a_meter_that_nobody_reads() -> None:
    meter = Counter()
    with measure("work", meters=(meter,)):
        assert meter.is_read_again()
    assert all_have_ended()
    kept = weakref.ref(meter)
    del meter
    gc.collect()
    assert kept() is None


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
    assert all_have_ended()


@pytest.mark.parametrize("error", [MeterUnavailable("busy", fix="ask again"), ZeroDivisionError()])
def test_a_sample_that_fails_is_followed_by_another(error: Exception) -> None:
    meter = Counter()

    def fail() -> None:
        raise error

    meter.fail = fail
    pulse = Pulse([meter])
    pulse.start()
    assert meter.is_read_again()
    assert meter.is_read_again()
    pulse.stop()
    assert all_have_ended()
