from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Kind
from negawatt.core.quantities import Joules, Watts
from negawatt.meters import Instruments, Scope, Span, Window, measure
from negawatt.meters.integrate import Integrated


class Counter:
    """A counter that a test turns by hand."""

    def __init__(self, name: str, boundary: str, joules: float = 1000.0) -> None:
        self.name, self.boundary, self.joules = name, boundary, joules
        self.broken = False
        self.reads = 0

    def energy(self) -> Joules:
        self.reads += 1
        if self.broken:
            raise MeterUnavailable(f"{self.name} is gone", fix="plug it in")
        return Joules(self.joules)


def instruments(clock: Any, *meters: Any) -> Instruments:
    return Instruments(meters=meters, clock=clock, children=clock.children)


def test_a_window_knows_wall_cpu_and_children(clock: Any) -> None:
    with Window("work", instruments=instruments(clock)) as window:
        clock.advance(wall=4.0, cpu=3.0, children=2.0)
    assert window.wall_seconds.value == 4.0
    assert window.cpu_seconds.value == 5.0
    assert window.cpu_seconds.kind is Kind.MEASURED
    assert window.started_at == clock.date


def test_scope_children_leaves_this_process_out(clock: Any) -> None:
    window = Window("work", instruments=instruments(clock), scope=Scope.CHILDREN)
    with window:
        clock.advance(wall=4.0, cpu=3.0, children=2.0)
    assert window.cpu_seconds.value == 2.0
    assert "children" in window.cpu_seconds.boundary


def test_a_counter_that_covers_the_cpu_makes_energy_measured(clock: Any) -> None:
    package, dram = Counter("rapl:package-0", "package:0"), Counter("rapl:dram-0", "dram:0")
    with Window("work", instruments=instruments(clock, package, dram)) as window:
        clock.advance(wall=10.0, cpu=1.0)
        package.joules += 200.0
        dram.joules += 30.0
    assert window.energy.kind is Kind.MEASURED
    assert window.energy.value == pytest.approx(230.0)
    assert window.boundary == "package:0 + dram:0"
    assert window.energies["dram:0"].value == pytest.approx(30.0)
    assert window.energy.low < 230.0 < window.energy.high  # a counter has an error of its own


def test_without_counters_energy_is_a_modelled_band(clock: Any) -> None:
    with Window("work", instruments=instruments(clock)) as window:
        clock.advance(wall=10.0, cpu=5.0)
    assert window.energy.kind is Kind.MODELLED
    assert 0 < window.energy.low < window.energy.value < window.energy.high
    assert dict(window.energies) == {}


def test_a_measured_gpu_beside_an_unmeasured_cpu_is_their_sum_and_modelled(clock: Any) -> None:
    gpu = Counter("nvml:0", "gpu:0")
    with Window("work", instruments=instruments(clock, gpu)) as window:
        clock.advance(wall=10.0, cpu=5.0)
        gpu.joules += 900.0
    assert window.energy.kind is Kind.MODELLED
    assert window.energy.value == pytest.approx(900.0 + window.result.modelled.value)
    assert window.energies["gpu:0"].kind is Kind.MEASURED


def test_a_counter_that_fails_is_named_and_the_band_steps_in(clock: Any) -> None:
    package = Counter("rapl:package-0", "package:0")
    with Window("work", instruments=instruments(clock, package)) as window:
        clock.advance(wall=1.0, cpu=1.0)
        package.broken = True
    assert window.energy.kind is Kind.MODELLED
    assert window.energy.value > 0
    assert window.result.unread == ("rapl:package-0: rapl:package-0 is gone",)


def test_psys_and_package_are_both_shown_and_added_once(clock: Any) -> None:
    psys, package = Counter("x:psys", "psys"), Counter("rapl:package-0", "package:0")
    with Window("work", instruments=instruments(clock, psys, package)) as window:
        clock.advance(wall=1.0)
        psys.joules += 50.0
        package.joules += 40.0
    assert window.energy.value == pytest.approx(50.0)
    assert set(window.energies) == {"psys", "package:0"}


def test_windows_inside_are_parts_added_up_by_name(clock: Any) -> None:
    tools = instruments(clock)
    with Window("job", instruments=tools) as job:
        for _ in range(3):
            with Window("load", instruments=tools):
                clock.advance(wall=1.0, cpu=0.5)
                with Window("read", instruments=tools):
                    clock.advance(wall=0.25, cpu=0.25)
        clock.advance(wall=1.0, cpu=1.0)
    assert set(job.parts) == {"load", "load/read"}
    assert job.parts["load"].windows == 3
    assert job.parts["load"].wall_s == pytest.approx(3.75)
    assert job.parts["load/read"].cpu_s == pytest.approx(0.75)
    assert job.parts["load"].energy.value < job.energy.value


def test_windows_side_by_side_are_not_parts_of_each_other(clock: Any) -> None:
    tools = instruments(clock)
    with Window("a", instruments=tools) as first:
        pass
    with Window("b", instruments=tools) as second:
        pass
    assert not first.parts
    assert not second.parts


def test_windows_that_overlap_without_nesting_do_not_catch_later_ones(clock: Any) -> None:
    tools = instruments(clock)
    first = Window("first", instruments=tools).start()
    second = Window("second", instruments=tools).start()
    first.stop()
    second.stop()
    with Window("later", instruments=tools):
        pass
    assert not first.parts  # it was closed before anything inside it was
    assert not second.parts


def test_another_thread_starts_outside_our_window(clock: Any) -> None:
    tools = instruments(clock)
    with Window("job", instruments=tools) as job:
        thread = threading.Thread(target=lambda: Window("aside", instruments=tools).start().stop())
        thread.start()
        thread.join()
    assert not job.parts


def test_a_window_closes_when_the_work_fails(clock: Any) -> None:
    tools = instruments(clock)
    job = Window("job", instruments=tools)

    def fail() -> None:
        clock.advance(wall=2.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), job:
        fail()
    assert job.wall_seconds.value == 2.0
    with Window("next", instruments=tools) as after:
        pass
    assert "next" not in job.parts
    assert after.result.name == "next"


def test_as_a_decorator_every_call_is_a_window(clock: Any) -> None:
    seen: list[Window] = []
    tools = instruments(clock)

    @Window("step", instruments=tools, then=seen.append)
    def step(seconds: float) -> float:
        """One step."""
        clock.advance(wall=seconds)
        return seconds * 2

    with Window("job", instruments=tools) as job:
        assert [step(1.0), step(2.0)] == [2.0, 4.0]
    assert step.__doc__ == "One step."
    assert [window.wall_seconds.value for window in seen] == [1.0, 2.0]
    assert job.parts["step"].wall_s == 3.0


def test_an_open_window_tells_what_it_has_so_far(clock: Any) -> None:
    window = Window("job", instruments=instruments(clock)).start()
    clock.advance(wall=1.0)
    assert window.wall_seconds.value == 1.0
    clock.advance(wall=1.0)
    assert window.stop().wall_seconds.value == 2.0
    clock.advance(wall=1.0)
    assert window.stop().wall_seconds.value == 2.0


def test_a_window_measures_one_stretch_only(clock: Any) -> None:
    window = Window("job", instruments=instruments(clock))
    for ask in (lambda: window.energy, lambda: window.started_at, window.stop):
        with pytest.raises(UsageError, match="never opened"):
            ask()
    with window:
        pass
    with pytest.raises(UsageError, match="opened before"), window:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_window_does_not_survive_a_fork(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window("job", instruments=instruments(clock)).start()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(UsageError, match="another process"):
        window.stop()
    monkeypatch.undo()
    window.stop()


def test_a_gauge_is_sampled_while_the_window_is_open() -> None:
    sampled = threading.Event()

    class Gauge:
        name, boundary, limit = "nvml:0", "gpu:0", Watts(300.0)
        samples = 0

        def power(self) -> Watts:
            self.samples += 1
            if self.samples > 2:  # one at the start, the rest from the heartbeat
                sampled.set()
            return Watts(100.0)

    meter = Integrated(Gauge())
    meter.poll_every_s = 0.001
    with measure("work", meters=(meter,)) as window, measure("inside", meters=(meter,)):
        assert sampled.wait(10.0)
        beating = [t for t in threading.enumerate() if t.name == "negawatt-meter"]
    assert len(beating) == 1  # the window inside needs no heartbeat of its own
    assert window.energies["gpu:0"].value > 0
    assert "integrated" in window.energies["gpu:0"].source
    beating[0].join(10.0)
    assert not beating[0].is_alive()


def test_a_gauge_with_a_gap_is_modelled(clock: Any) -> None:
    class Gauge:
        name, boundary, limit = "nvml:0", "gpu:0", Watts(300.0)

        def power(self) -> Watts:
            return Watts(100.0)

    meter = Integrated(Gauge(), clock=clock)
    meter.poll_every_s = 3600.0  # nobody looks in between
    with Window("work", instruments=instruments(clock, meter)) as window:
        clock.advance(wall=60.0)
    reading = window.energies["gpu:0"]
    assert reading.kind is Kind.MODELLED
    assert (reading.low, reading.high >= 300.0 * 60.0) == (0.0, True)


def test_spans_add_what_both_have_and_say_what_is_lost(clock: Any) -> None:
    package, gpu = Counter("rapl:package-0", "package:0"), Counter("nvml:0", "gpu:0")
    tools = instruments(clock, package, gpu)
    spans: list[Span] = []
    for broken in (False, True):
        with Window("step", instruments=tools) as window:
            clock.advance(wall=1.0, cpu=1.0)
            package.joules += 10.0
            gpu.broken = broken
        spans.append(window.result)
    both = spans[0] + spans[1]
    assert both.energy.value == pytest.approx(20.0)
    assert both.boundary == "package:0, without gpu:0"
    assert any("nvml:0" in line for line in both.unread)
    assert both.windows == 2


def test_real_children_are_counted_once_they_were_waited_for() -> None:
    burn = "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass"
    with measure("child", meters=()) as window:
        subprocess.run([sys.executable, "-S", "-c", burn], check=True)
    assert window.cpu_seconds.value >= 0.05
    assert window.wall_seconds.value >= 0.05


def test_opening_and_closing_a_window_is_cheap(clock: Any) -> None:
    # No real-clock race: what costs is counted, not timed. `bench` times it.
    class Tally:
        calls = 0

    class Watched:
        def monotonic(self) -> float:
            Tally.calls += 1
            return 0.0

        cpu = monotonic

        def now(self) -> Any:
            Tally.calls += 1
            return clock.now()

    tools = Instruments(clock=Watched(), children=lambda: 0.0)
    Window("cheap", instruments=tools).start().stop()
    assert Tally.calls == 5  # two clocks at each end, the calendar once


def test_a_window_as_text_and_as_json(clock: Any) -> None:
    with Window("work", instruments=instruments(clock)) as window:
        clock.advance(wall=2.0, cpu=1.0)
    assert str(window.result).startswith("work: ")
    assert "1 CPU-s in 2 s" in str(window.result)
    plain = window.result.to_json()
    assert plain["energy"]["kind"] == "modelled"
    assert plain["cpu_seconds"]["value"] == 1.0


def test_a_counter_that_moves_in_steps_widens_its_interval_by_one(clock: Any) -> None:
    plug = Counter("plug:kitchen", "wall")
    plug.resolution_j = 60.0  # type: ignore[attr-defined]
    with Window("work", instruments=instruments(clock, plug)) as window:
        clock.advance(wall=1000.0)
    energy = window.energies["wall"]
    assert (energy.value, energy.low, energy.high) == (0.0, 0.0, pytest.approx(66.0))


def test_a_counter_that_began_anew_in_an_inner_window_is_unknown_in_the_outer(clock: Any) -> None:
    plug = Counter("plug:kitchen", "wall", joules=9000.0)
    with Window("work", instruments=instruments(clock, plug)) as window:
        clock.advance(wall=10.0)
        plug.joules = 30.0
    assert window.energies == {}
    assert window.result.unread == ("plug:kitchen: it was reset while the window was open",)
