"""Share a reading among phases of work: prefill, decode, train step, eval, idle, or your own.

Two ways. Where every phase had a window, the counter was read at both ends of each, and nothing
needs to be shared: `by_windows`. Where there is one reading and a list of what ran when, it is
shared by time: `by_time`, along the meter's own curve where that was kept.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, weakest
from negawatt.core.protocols import Measured
from negawatt.meters.attribute.account import Account, Rest, Use, fitting, not_negative, nothing
from negawatt.meters.attribute.divide import divide

IDLE = "idle"  # a phase of this name is idle time


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """One stretch of one phase, on any clock that the whole account uses.

    Args:
        phase: Its name; "idle" is nobody's.
        start_s: When it began. [s]
        end_s: When it ended, not before. [s]

    Raises:
        UsageError: it ends before it began, or a time is not a number.
    """

    phase: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.start_s) or not math.isfinite(self.end_s):
            raise UsageError(f"{self.phase} has a time that is no number", fix="drop that span")
        if self.end_s < self.start_s:
            raise UsageError(
                f"{self.phase} ends at {self.end_s} s, before it began at {self.start_s} s",
                fix="take times from a clock that never runs backwards (time.perf_counter)",
            )


#: Readings of a counter over time: (when [s], energy so far [J]).
Curve = Sequence[tuple[float, float]]


def by_time(
    device: Estimate,
    spans: Sequence[PhaseSpan],
    *,
    period: tuple[float, float],
    curve: Curve = (),
    rest: Rest | None = None,
) -> Account:
    """Share one reading among phases by the time they took.

    Where several spans are open at once, each bears an equal part of that time. Without `curve` the
    device is taken to draw the same power throughout; with it, each moment has the energy that the
    meter saw then. Time with no span is idle. With `rest`, such time draws rest alone; what a
    `curve` shows above rest in it was somebody's work, and is unattributed.

    Args:
        device: What was read over `period`. [J]
        spans: What ran when, in any order.
        period: When the reading began and ended, on the clock of the spans. [s]
        curve: Readings in between, never decreasing, from before the period to after it.
        rest: What the device would have drawn anyway over `period`, and who bears it.

    Raises:
        UsageError: a span or the period reaches outside, or a curve runs backwards.
        NotConserved: rest is more than the device drew.

    >>> ten = Estimate.exact(10.0, unit="J", source="nvml:0", boundary="gpu:0")
    >>> spans = [PhaseSpan("prefill", 0.0, 2.0), PhaseSpan("decode", 1.0, 4.0)]
    >>> account = by_time(ten, spans, period=(0.0, 5.0))
    >>> {name: part.value for name, part in account.parts.items()}, account.idle.value
    ({'prefill': 3.0, 'decode': 5.0}, 2.0)
    """
    start_s, end_s = period
    PhaseSpan("the period", start_s, end_s)  # the same rules
    for span in spans:
        if not start_s <= span.start_s <= span.end_s <= end_s:
            raise UsageError(
                f"{span.phase} ({span.start_s} s to {span.end_s} s) reaches outside the reading "
                f"({start_s} s to {end_s} s)",
                fix="cut it at the ends of the reading, or read the meter for longer",
            )
    along, flags = _along(device, period, curve)
    weights: defaultdict[str, float] = defaultdict(float)
    weights.update((span.phase, 0.0) for span in spans)
    for first_s, last_s, phases in _stretches(spans, period):
        amount, count = along(first_s, last_s), phases.total()
        for phase, times in phases.items() if count else ():
            weights[phase] += amount * times / count
        weights[IDLE] += 0.0 if count else amount
    waiting = weights.pop(IDLE, 0.0)
    use = Use(weights, idle=waiting)
    if rest is not None and curve:
        use = Use(weights, unattributed=waiting)
    rule = "energy of open spans" if curve else "time of open spans"
    return divide(device, use, rule=rule, rest=rest, flags=flags)


def _stretches(
    spans: Sequence[PhaseSpan], period: tuple[float, float]
) -> Iterator[tuple[float, float, Counter[str]]]:
    """The period cut wherever a span begins or ends, with how many of each phase are open."""
    changes: defaultdict[float, list[tuple[str, int]]] = defaultdict(list)
    changes[period[0]], changes[period[1]] = [], []
    for span in spans:
        changes[span.start_s].append((span.phase, 1))
        changes[span.end_s].append((span.phase, -1))
    open_now: Counter[str] = Counter()
    for first_s, last_s in pairwise(sorted(changes)):
        for phase, change in changes[first_s]:
            open_now[phase] += change
        yield first_s, last_s, open_now


def _along(
    device: Estimate, period: tuple[float, float], curve: Curve
) -> tuple[Callable[[float, float], float], tuple[str, ...]]:
    """How much flowed between two moments, and a word if the curve and the reading disagree."""
    if not curve:
        return (lambda first_s, last_s: last_s - first_s), ()
    times, joules = [at for at, _ in curve], [so_far for _, so_far in curve]
    not_negative("a step of a curve", *(b - a for a, b in pairwise(times)))
    not_negative("a step of a curve", *(b - a for a, b in pairwise(joules)))
    if not times[0] <= period[0] <= period[1] <= times[-1]:
        raise UsageError(
            f"the curve ({times[0]} s to {times[-1]} s) does not cover the reading "
            f"({period[0]} s to {period[1]} s)",
            fix="keep a reading from before the first span and one from after the last",
        )

    def so_far(at: float) -> float:
        after = min(bisect_right(times, at), len(times) - 1)
        (t0, e0), (t1, e1) = curve[max(after - 1, 0)], curve[after]
        return e1 if t1 <= t0 else e0 + (e1 - e0) * min(1.0, (at - t0) / (t1 - t0))

    seen = so_far(period[1]) - so_far(period[0])
    slack = 0.01 * device.high
    words = f"curve {seen:.6g} {device.unit}, reading {device}; shared along the curve"
    agree = device.low - slack <= seen <= device.high + slack
    return (lambda first_s, last_s: so_far(last_s) - so_far(first_s)), () if agree else (words,)


def by_windows(
    whole: Measured, parts: Mapping[str, Measured], *, boundary: str | None = None
) -> Account:
    """The phases of a window from the windows inside it, each with readings of its own.

    Parts of parts (`part/inner`) are inside their part already and are left out. A part named
    "idle" is idle; what is in no part is unattributed, because nobody said what ran then.

    Args:
        whole: A window, or what it saw.
        parts: `Window.parts`, or windows of your own that do not overlap.
        boundary: One boundary of the window ("gpu:0"); everything known when None.

    Raises:
        UsageError: a part, or the whole, has no reading of the same boundary.
        NotConserved: the parts took more than the whole, as overlapping windows seem to.

    >>> from negawatt.meters import measure
    >>> with measure("request", meters=()) as m:
    ...     with measure("prefill", meters=()):
    ...         total = sum(range(20_000))
    >>> account = by_windows(m, m.parts)
    >>> list(account.parts), account.unattributed.value > 0
    (['prefill'], True)
    """
    total = _reading(whole, boundary)
    found = {name: _reading(part, boundary) for name, part in parts.items() if "/" not in name}
    for name, part in found.items():
        if part.boundary != total.boundary:
            raise UsageError(
                f"{name} holds {part.boundary!r}, and the whole {total.boundary!r}",
                fix="name a boundary that was read in both",
            )
    summed = math.fsum(part.value for part in found.values())
    fitting(
        summed,
        total.value,
        slack=0.0,
        what="phases, whole",
        unit=total.unit,
        fix="windows of several threads overlap: give their times to by_time instead",
    )
    left = max(0.0, total.value - summed)
    idle = found.pop(IDLE, nothing(total))
    inside = [*found.values(), idle]
    unattributed = replace(
        total,
        value=left,
        low=min(left, max(0.0, total.low - math.fsum(part.high for part in inside))),
        high=max(left, total.high - math.fsum(part.low for part in inside)),
        kind=weakest((total.kind, *(part.kind for part in inside))),
    )
    return Account(
        total=total, parts=found, idle=idle, unattributed=unattributed, rule="windows of their own"
    )


def _reading(measured: Measured, boundary: str | None) -> Estimate:
    if boundary is None:
        return measured.energy
    if boundary not in measured.energies:
        raise UsageError(
            f"{measured.name} has no reading of {boundary!r}",
            fix=f"name one of: {', '.join(measured.energies) or '(nothing was read)'}",
        )
    return measured.energies[boundary]
