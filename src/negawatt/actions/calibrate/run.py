"""Measure the windows of a plan, each kept when it is finished."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from negawatt.actions.calibrate.plan import STRIDE, Plan, Task
from negawatt.actions.calibrate.rig import Exercise, Rig
from negawatt.actions.calibrate.rows import Row
from negawatt.actions.journal import Journal
from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.meters.boundary import covers_cpu, kind_of, outermost
from negawatt.meters.facts import table
from negawatt.meters.instruments import Instruments
from negawatt.meters.span import Span
from negawatt.meters.window import Window

Progress = Callable[[str, float], None]

#: Spread of repeats from which something else was at work. [1]
STEADY = 0.1
_PATIENCE = 3  # times as many repeats as planned, where they differ
_WARM = 0.3  # of a window, run before it
_ENDS = 0.04  # of a window that the meter's two updates at its ends may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What windows are measured with.

    Args:
        rig: Engine and device.
        instruments: Counters and clocks.
        progress: Told what is measured, with the time left, and the share that is done.
        sleep: Does nothing for so many seconds.
    """

    rig: Rig
    instruments: Instruments
    progress: Progress = lambda stage, share: None
    sleep: Callable[[float], None] = time.sleep


def measured(plan: Plan, bench: Bench, journal: Journal) -> tuple[Row, ...]:
    """Every window of a plan; those in the journal are not measured again.

    Raises:
        MeterUnavailable: a GPU has no counter, or it stopped answering.
        OutputError: the journal cannot be written.
    """
    plan = replace(plan, seconds=max(plan.seconds, _least(bench)))
    rows: list[Row] = []
    clock, spent, fresh = bench.instruments.clock, 0.0, 0
    for done, task in enumerate(plan.tasks):
        each = spent / fresh if fresh else plan.lasts / len(plan.tasks)
        left = each * sum(not journal.has(_file(other)) for other in plan.tasks[done:])
        bench.progress(f"{task.name} ({left:.0f} s left)", done / len(plan.tasks))
        known, before = journal.has(_file(task)), clock.monotonic()
        rows.append(journal.step(_file(task), Row, lambda task=task: _row(task, plan, bench)))  # type: ignore[misc]
        if not known:
            spent, fresh = spent + clock.monotonic() - before, fresh + 1
    bench.progress("", 1.0)
    return tuple(rows)


def joules_of(span: Span, accelerator: int | None) -> Estimate:
    """Energy of the device alone. [J]

    A GPU is what its own counter says. A CPU is what its counters say, or the band where it has none;
    meters of a whole machine with GPUs in it are left to other uses.

    Raises:
        MeterUnavailable: the GPU has no counter; there is no band for one.
    """
    energies = span.energies
    if accelerator is not None:
        found = energies.get(f"gpu:{accelerator}")
        if found is None:
            raise MeterUnavailable(
                f"GPU {accelerator} has no counter that can be read"
                + "".join(f"; {why}" for why in span.unread),
                fix="pip install 'negawatt[nvml]', and see `negawatt doctor`",
            )
        return found
    own = {name: told for name, told in energies.items() if kind_of(name) in _OF_CPU}
    if not covers_cpu(own):
        return span.modelled
    parts = [own[name] for name in outermost(own)]
    return replace(
        parts[0],
        value=sum(part.value for part in parts),
        low=sum(part.low for part in parts),
        high=sum(part.high for part in parts),
        kind=weakest(part.kind for part in parts),
        source=" + ".join(part.source for part in parts),
        boundary=" + ".join(part.boundary for part in parts),
    )


_OF_CPU = frozenset({"package", "dram", "psys"})


def _least(bench: Bench) -> float:
    """So long that updates of the meter at both ends of a window matter little. [s]"""
    facts = table("meters")
    periods = [
        facts.get(f"{meter.name.partition(':')[0]}_period", facts["other_period"]).value
        for meter in bench.instruments.meters
        if _reads(meter.boundary, bench.rig.accelerator)
    ]
    return max(periods, default=0.0) / _ENDS


def _reads(boundary: str, accelerator: int | None) -> bool:
    if accelerator is None:
        return kind_of(boundary) in _OF_CPU
    return boundary == f"gpu:{accelerator}"


def _file(task: Task) -> str:
    return task.name.replace(",", "").replace(" ", "-")


def _row(task: Task, plan: Plan, bench: Bench) -> Row:
    run, steps, rounds = _ready(task, plan.seconds, bench)
    spans: list[Span] = []
    while len(spans) < plan.repeats or (
        _spread(_steadiest(spans, plan.repeats)) > STEADY and len(spans) < _PATIENCE * plan.repeats
    ):
        with Window(task.name, instruments=bench.instruments) as window:
            run(rounds)
        spans.append(window.result)
    kept = _steadiest(spans, plan.repeats)
    return _told(task, kept, rounds * steps, bench.rig.accelerator)


def _steadiest(spans: Sequence[Span], count: int) -> list[Span]:
    """The quickest of them: whatever else is at work on a machine makes windows longer."""
    return sorted(spans, key=lambda span: span.wall_s)[:count]


def _spread(spans: Sequence[Span]) -> float:
    """Greatest time less least, over the mean. [1]"""
    times = [span.wall_s for span in spans]
    return (max(times) - min(times)) / fmean(times)


def _ready(task: Task, seconds: float, bench: Bench) -> tuple[Callable[[int], object], int, int]:
    """The work of a task, warm, the steps of a round and how many rounds fill a window."""
    if task.what == "rest":
        return lambda rounds: bench.sleep(rounds * seconds), 1, 1
    (run, steps), clock = _built(task, bench.rig), bench.instruments.clock
    run(1)  # the first loads kernels and picks among them
    rounds = 1
    while True:  # twice as many until a good part of a window has gone by
        before = clock.monotonic()
        run(rounds)
        took = clock.monotonic() - before
        if took >= _WARM * seconds:
            return run, steps, max(1, math.ceil(rounds * seconds / took))
        rounds *= 2


def _built(task: Task, rig: Rig) -> Exercise:
    if task.what == "product":
        return rig.product(task.edge, task.dtype)
    if task.what == "copy":
        return rig.copy(task.copied)
    if task.shape is None:
        raise UsageError(f"{task.name} names no model", fix="report this as a bug")
    if task.what == "decode":
        return rig.decode(task.shape.config, task.batch, task.tokens, STRIDE)
    return rig.prefill(task.shape.config, task.batch, task.tokens)


def _told(task: Task, spans: Sequence[Span], steps: int, accelerator: int | None) -> Row:
    joules = _mean([joules_of(span, accelerator) for span in spans]).scaled(1 / steps)
    if not joules.value > 0:
        raise MeterUnavailable(
            f"{joules.source} counted nothing while {task.name} was measured",
            fix="see `negawatt doctor`; where a counter stands still, hide it from this process",
        )
    return Row(
        task=task,
        seconds=fmean(span.wall_s for span in spans) / steps,
        joules=joules,
        cpu_seconds=fmean(span.cpu_s for span in spans) / steps,
        spread=_spread(spans),
        steps=steps * len(spans),
        lasted=sum(span.wall_s for span in spans),
    )


def _mean(runs: Sequence[Estimate]) -> Estimate:
    """Ends averaged: what the meter may be off by is the same in each; the fit sees what differs."""
    return replace(
        runs[0],
        value=fmean(run.value for run in runs),
        low=fmean(run.low for run in runs),
        high=fmean(run.high for run in runs),
        kind=weakest(run.kind for run in runs),
        period_s=None,
    )


def counted(rows: Sequence[Row]) -> bool:
    """True when a counter measured the joules of all rows."""
    return all(row.joules.kind is Kind.MEASURED for row in rows)
