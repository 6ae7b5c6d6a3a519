"""Would another engine run a mixed plan on less work? From what is known before it is tried.

The search runs for one engine. What it learned of the model, how much each part is hurt by 8 and
by 4 bits, is the model's and not the engine's. So each engine, on each number of threads, is given
the plan that is cheapest for it and no more harmful than the one that was found. What it takes is
shared out by weights from its whole-model runs at 8 and at 4 bits: no product of it is timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Decision, Workload
from negawatt.decisions.engine import Run, choose_engine

_LEAST = 1e-12  # nat/token; harm below is none
_CLEAR = 0.97  # of the work of the engine that was searched: what whole-model runs can tell apart


@dataclass(frozen=True, slots=True)
class Part:
    """Layers that are decided together.

    Args:
        weights: Values in them.
        wide: What 8 bits do to the model. [nat/token]
        narrow: What 4 bits do to it. [nat/token]
    """

    weights: int
    wide: float
    narrow: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One engine on so many threads: whole models of two widths.

    Args:
        wide: Run with 8-bit weights.
        narrow: Run with 4-bit weights.
        coarser: Squared rounding error of its two formats over that of the formats that the
            harm of parts is known for: at 8 and at 4 bits. [1]
    """

    wide: Run
    narrow: Run
    coarser: tuple[float, float] = (1.0, 1.0)


def mixed(pair: Pair, parts: Sequence[Part], allowed: float, workload: Workload) -> Run | None:
    """The cheapest mixture for an engine that is no more harmful than `allowed`.

    Parts go to 4 bits in order of the work they save per harm, which is exact but for the last.

    Args:
        pair: The engine.
        parts: Of the model.
        allowed: Sum of the harm of all parts. [nat/token]
        workload: What it is to be cheap for.

    Returns:
        A run whose times are worked out, not measured; None when 8 bits alone do more harm.
    """
    wide, narrow = pair.coarser
    left = allowed - sum(part.wide * wide for part in parts)
    if left < -_LEAST:
        return None
    harm = [max(part.narrow * narrow - part.wide * wide, 0.0) for part in parts]
    order = sorted(range(len(parts)), key=lambda i: harm[i] / parts[i].weights)
    moved = 0
    pays = pair.narrow.cpu_s(workload) < pair.wide.cpu_s(workload)
    for i in order if pays else ():
        if harm[i] <= left + _LEAST:
            left -= harm[i]
            moved += parts[i].weights
    share = moved / sum(part.weights for part in parts)
    return replace(
        pair.wide,
        format=f"{share:.0%} in {pair.narrow.format}, the rest in {pair.wide.format}",
        prefill_cpu=_between(pair.wide.prefill_cpu, pair.narrow.prefill_cpu, share),
        decode_cpu=_between(pair.wide.decode_cpu, pair.narrow.decode_cpu, share),
        kl=allowed - left,
        size_bytes=round(
            pair.wide.size_bytes + share * (pair.narrow.size_bytes - pair.wide.size_bytes)
        ),
    )


def compare_rivals(
    searched: str, mixtures: Sequence[Run], workload: Workload, joules_per_cpu_s: float
) -> Decision | None:
    """Which engine would take least for a mixed plan, and from which prompts that changes.

    Args:
        searched: Name of the engine that plans were searched for.
        mixtures: From `mixed`, of engines and numbers of threads.
        workload: Whose prompt and reply count.
        joules_per_cpu_s: To say it in joules. [J/s]

    Returns:
        The engine to use as `choice`: another one than `searched` only where it would take
        clearly less. None where there is nothing to compare.
    """
    own = [run for run in mixtures if run.runtime == searched]
    if not own or len(own) == len(mixtures):
        return None
    best_of = _best_of_each(mixtures, workload)
    found = choose_engine(list(best_of.values()), workload)
    best = next(run for run in best_of.values() if run.name == found.choice)
    mine = best_of[searched]
    clear = best.cpu_s(workload) < _CLEAR * mine.cpu_s(workload)
    joules = {
        name: joules_per_cpu_s * run.cpu_s(workload) / workload.tokens
        for name, run in best_of.items()
    }
    told = ", ".join(f"{name} {value:.3g} J/token" for name, value in sorted(joules.items()))
    return Decision(
        choice=best.runtime if clear else searched,
        because=f"predicted for plans of equal harm: {told}; {best.name}: {found.because}",
        alternatives=tuple(name for name in best_of if name != best.runtime),
        facts=joules,
    )


def _best_of_each(mixtures: Sequence[Run], workload: Workload) -> Mapping[str, Run]:
    """The best number of threads of every engine."""
    best: dict[str, Run] = {}
    for run in mixtures:
        other = best.get(run.runtime)
        if other is None or run.cpu_s(workload) < other.cpu_s(workload):
            best[run.runtime] = run
    return best


def _between(wide: Estimate, narrow: Estimate, share: float) -> Estimate:
    """What lies so far from one to the other."""
    value, low, high = (
        (1 - share) * a + share * b
        for a, b in (
            (wide.value, narrow.value),
            (wide.low, narrow.low),
            (wide.high, narrow.high),
        )
    )
    return replace(
        wide,
        value=value,
        low=low,
        high=high,
        kind=Kind.MODELLED,
        source="between whole models of two widths, shared out by weights",
    )
