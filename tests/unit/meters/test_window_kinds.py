"""Windows around coroutines and generators, over forks, suspends, jumps and lost counters."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Kind
from negawatt.core.quantities import Joules
from negawatt.meters.instruments import Instruments, asleep
from negawatt.meters.window import Window, measure

NAP_S = 0.02


@dataclass
class Counter:
    boundary: str = "package:0"
    joules: float = 0.0
    broken: bool = False

    @property
    def name(self) -> str:
        return f"fake:{self.boundary}"

    def energy(self) -> Joules:
        if self.broken:
            raise MeterUnavailable("it is gone", fix="look for it")
        return Joules(self.joules)


def window(clock: Any, *meters: Counter, slept: list[float] | None = None) -> Window:
    nap = slept or [0.0]
    instruments = Instruments(
        meters=meters, clock=clock, children=clock.children, asleep=lambda: nap[0]
    )
    return Window("work", instruments=instruments)


def test_a_window_is_an_asynchronous_context_too() -> None:
    async def work() -> Window:
        async with measure("outer", meters=()) as outer, measure("inner", meters=()):
            await asyncio.sleep(NAP_S)
        return outer

    outer = asyncio.run(work())
    assert outer.closed
    assert outer.wall_seconds.value >= outer.parts["inner"].wall_s >= NAP_S


def test_tasks_side_by_side_are_parts_of_what_started_them_and_not_of_each_other() -> None:
    async def task(name: str) -> Window:
        async with measure(name, meters=()) as inner:
            await asyncio.sleep(NAP_S)
        return inner

    async def work() -> tuple[Window, list[Window]]:
        async with measure("all", meters=()) as outer:
            inner = await asyncio.gather(task("a"), task("b"))
        return outer, inner

    outer, inner = asyncio.run(work())
    assert set(outer.parts) == {"a", "b"}
    assert [one.parts for one in inner] == [{}, {}]


def test_a_coroutine_is_measured_until_it_returns() -> None:
    closed: list[Window] = []

    @measure("co", meters=(), then=closed.append)
    async def work(value: int) -> int:
        await asyncio.sleep(NAP_S)
        return value

    assert asyncio.run(work(3)) == 3
    assert asyncio.run(work(4)) == 4
    assert [one.wall_seconds.value >= NAP_S for one in closed] == [True, True]


def test_a_coroutine_that_fails_closes_its_window() -> None:
    closed: list[Window] = []

    @measure("co", meters=(), then=closed.append)
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(work())
    assert [one.closed for one in closed] == [True]


def test_a_generator_is_measured_from_its_first_item_to_its_end() -> None:
    closed: list[Window] = []

    @measure("gen", meters=(), then=closed.append)
    def items(end: int) -> Iterator[int]:
        for number in range(end):
            time.sleep(NAP_S)
            yield number

    assert list(items(2)) == [0, 1]
    assert closed[0].wall_seconds.value >= 2 * NAP_S
    broken_off = items(5)
    assert next(broken_off) == 0
    broken_off.close()  # type: ignore[attr-defined]
    assert len(closed) == 2


def test_an_asynchronous_generator_is_measured_too() -> None:
    closed: list[Window] = []

    @measure("agen", meters=(), then=closed.append)
    async def items() -> AsyncIterator[int]:
        for number in range(2):
            await asyncio.sleep(NAP_S)
            yield number

    async def read() -> list[int]:
        return [item async for item in items()]

    assert asyncio.run(read()) == [0, 1]
    assert closed[0].wall_seconds.value >= 2 * NAP_S


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forks with threads about
def test_a_forked_child_leaves_the_block_of_its_parent_in_peace() -> None:
    status = 0
    outer = measure("outer", meters=())
    try:
        with outer:
            child = os.fork()
            if child == 0:
                with measure("own", meters=()) as own:
                    sum(range(1000))
                status = 0 if own.around is None else 8
                raise KeyError("the child's own")  # noqa: TRY301  # as any work may
            _, ended = os.waitpid(child, 0)
    except KeyError:  # and not the UsageError of a window that is not its own
        os._exit(status)
    except UsageError:
        os._exit(9)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert outer.closed


def test_a_suspended_machine_is_a_gap_and_is_told(clock: Any) -> None:
    counter, slept = Counter(), [5.0]
    with window(clock, counter, slept=slept) as m:
        clock.advance(10.0, cpu=1.0)
        counter.joules = 300.0
        slept[0] = 65.0
    assert (m.energy.value, m.energy.kind) == (300.0, Kind.MODELLED)
    assert m.energy.low == 0.0
    assert any("suspended for 60 s" in word for word in m.result.unread)


def test_this_machine_tells_how_long_it_slept() -> None:
    assert asleep() > -1e-3  # two clocks, read one after the other


def test_a_counter_that_jumps_is_doubted_and_keeps_its_value(clock: Any) -> None:
    counter = Counter(joules=61.0)
    with window(clock, counter) as m:
        clock.advance(1.0)
        counter.joules += 262_086.33
    assert m.energy.value == pytest.approx(262_086.33)
    assert m.energy.kind is Kind.MODELLED
    assert m.energy.low == 0.0
    assert any("more than any device" in word for word in m.result.unread)


def test_a_machine_that_draws_a_lot_is_believed(clock: Any) -> None:
    counter = Counter("wall")
    with window(clock, counter) as m:
        clock.advance(2.0)
        counter.joules += 2 * 14_000.0
    assert m.energy.kind is Kind.MEASURED
    assert m.result.unread == ()


def test_half_a_machine_is_not_told_as_the_whole(clock: Any) -> None:
    here, gone = Counter("package:0"), Counter("package:1")
    with window(clock, here, gone) as m:
        clock.advance(1.0)
        here.joules += 50.0
        gone.broken = True
    assert m.energy.kind is Kind.MODELLED
    assert m.energy.boundary == "package:0, without package:1"
    assert m.energies["package:0"].kind is Kind.MEASURED
    both = m.result + replace(m.result, lost=())
    assert both.energy.boundary == "package:0, without package:1"


@pytest.mark.parametrize(("lost", "read"), [("wall", "package:0"), ("gpu:1", "wall")])
def test_what_lies_around_or_inside_what_was_read_is_not_missed(
    clock: Any, lost: str, read: str
) -> None:
    here, gone = Counter(read), Counter(lost)
    with window(clock, here, gone) as m:
        clock.advance(1.0)
        here.joules += 50.0
        gone.broken = True
    assert (m.energy.boundary, m.energy.kind) == (read, Kind.MEASURED)


def test_a_lost_gpu_is_missed_and_a_lost_package_has_the_band(clock: Any) -> None:
    package, gpu = Counter("package:0"), Counter("gpu:0")
    with window(clock, package, gpu) as m:
        clock.advance(1.0, cpu=1.0)
        package.broken = gpu.broken = True
    assert m.energy.boundary == "package+dram, visible share, without gpu:0"


@pytest.mark.parametrize("told", [float("nan"), float("inf"), "12", None])
def test_what_a_meter_of_somebody_else_does_never_ends_the_work(told: Any) -> None:
    class Broken(Counter):
        def energy(self) -> Joules:
            return Joules(told)

    with measure("work", meters=(Broken(),)) as m:
        done = True
    assert done
    assert m.energies == {}
    assert "it failed with" in m.result.unread[0]
