"""Policies tried on what happened: run now, every policy asked for, and the oracles.

The jobs, the slots and the score are the same for all, so that differences are paired. What a
policy knows comes from its belief; what it is scored by is what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from negawatt.actions.backtest.beliefs import Belief
from negawatt.actions.backtest.paired import intervals, mean_by_day
from negawatt.actions.backtest.policies import INTERRUPTING, ORACLE, Choice, Shape
from negawatt.actions.backtest.records import HOUR_S, Counts, Jobs, Place
from negawatt.actions.backtest.running import Outcome, energy, run, whole
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.backtests import Backtest, Score
from negawatt.decisions.shares import shapley

_NOTHING = 1e-9  # a saving below is none
PARTS = ("efficiency", "time", "place", "variant")


def backtest(
    places: Sequence[Place],
    jobs: Jobs,
    policies: Sequence[Choice],
    *,
    efficiency: float = 1.0,
    variant: float = 1.0,
    resamples: int = 2000,
) -> Backtest:
    """Try policies side by side on the same jobs.

    Args:
        places: Where the jobs are released, then where else they may run.
        jobs: In slots of the first place's signal.
        policies: Besides run now and both oracles, which are always there.
        efficiency: Joules for the same work done better, over those of run now. [1]
        variant: Joules of another variant for the same work, over those of the first. [1]
        resamples: Of the bootstrap over days, with a fixed seed.

    Raises:
        UsageError: signals differ in kind or in time, a job does not fit, a policy needs what
            is not there.
    """
    _alike(places)
    if not (efficiency > 0 and variant > 0):
        raise UsageError(
            "joules of another variant or way are not above 0",
            fix="give them over those of run now: 0.8 for a fifth less",
        )
    jobs = whole(places, jobs)
    known: dict[tuple[int, str], Belief] = {}
    found = {one: run(places, jobs, one, known) for one in _all(policies)}
    now = next(iter(found.values()))
    days = _days(places[0], jobs)
    told = intervals(days, now.grams, [each.grams for each in found.values()], resamples)
    scores = tuple(
        _score(choice, outcome, found, ends, jobs, places[0])
        for (choice, outcome), ends in zip(found.items(), told, strict=True)
    )
    parts, whole_saving = {}, {}
    for choice, outcome in found.items():
        parts[choice.name], whole_saving[choice.name] = split(now, outcome, efficiency, variant)
    home = places[0]
    labels, daily = mean_by_day(days, now.grams, {c.name: o.grams for c, o in found.items()})
    step_h = home.actual.step_s / HOUR_S
    return Backtest(
        zone=home.name,
        basis=str(home.actual.basis),
        unit=home.actual.unit,
        source=home.actual.source,
        start=home.actual.start,
        end=home.actual.end,
        step_s=home.actual.step_s,
        jobs=len(jobs),
        left_out=jobs.left_out,
        jobs_from=jobs.source,
        duration_h=float(jobs.steps.mean()) * step_h,
        slack_h=float((jobs.room - jobs.steps).mean()) * step_h,
        kwh=float(energy(jobs, home).sum()),
        scores=scores,
        parts=parts,
        whole=whole_saving,
        places=tuple(place.name for place in places[1:]),
        chosen_by="" if home.chooser is None else f"{home.chooser.source} ({home.chooser.basis})",
        daily=daily,
        days=tuple(
            (home.actual.start + timedelta(days=int(day))).strftime("%Y-%m-%d") for day in labels
        ),
        notes=_notes(home, jobs, places),
    )


def _all(policies: Sequence[Choice]) -> list[Choice]:
    oracles = [Choice(Shape.CONTIGUOUS, ORACLE), Choice(Shape.INTERRUPTIBLE, ORACLE)]
    return list(dict.fromkeys([Choice(Shape.NOW), *policies, *oracles]))


def _alike(places: Sequence[Place]) -> None:
    first = places[0].actual
    for place in places:
        first.same_signal(place.actual)
        for other in (place.actual, place.chosen_by):
            if (other.start, other.step, len(other)) != (first.start, first.step, len(first)):
                raise UsageError(
                    f"{other.source} ({other.zone}) tells {other.start:%Y-%m-%d %H:%M} to"
                    f" {other.end:%Y-%m-%d %H:%M} UTC in steps of {other.step}, {first.source}"
                    f" ({first.zone}) {first.start:%Y-%m-%d %H:%M} to {first.end:%Y-%m-%d %H:%M}"
                    f" in steps of {first.step}",
                    fix="cut both to the same time: --from and --to",
                )


def split(
    now: Outcome, done: Outcome, efficiency: float, variant: float
) -> tuple[dict[str, float], float]:
    """Shares of efficiency, time, place and variant in a saving, by Shapley, and their sum. [1]"""
    base = float(now.grams.sum())
    grams = {
        frozenset[str](): base,
        frozenset({"time"}): float(done.waited.sum()),
        frozenset({"place"}): float(done.elsewhere.sum()),
        frozenset({"time", "place"}): float(done.grams.sum()),
    }

    def saved(made: frozenset[str]) -> float:
        joules = (efficiency if "efficiency" in made else 1.0) * (
            variant if "variant" in made else 1.0
        )
        return 1.0 - joules * grams[made & {"time", "place"}] / base

    return shapley(PARTS, saved), saved(frozenset(PARTS))


def _score(
    choice: Choice,
    done: Outcome,
    found: dict[Choice, Outcome],
    ends: tuple[float, float],
    jobs: Jobs,
    home: Place,
) -> Score:
    base = float(next(iter(found.values())).grams.sum())
    shape = Shape.INTERRUPTIBLE if choice.shape in INTERRUPTING else Shape.CONTIGUOUS
    oracle = 1.0 - float(found[Choice(shape, ORACLE)].grams.sum()) / base
    saving = 1.0 - float(done.grams.sum()) / base
    return Score(
        policy=choice.name,
        shape=str(choice.shape),
        forecast=choice.forecast,
        intensity=float(done.grams.sum() / energy(jobs, home).sum()),
        saving=Estimate(
            value=saving,
            low=min(ends[0], saving),
            high=max(ends[1], saving),
            unit="1",
            kind=Kind.MODELLED,
            source="bootstrap over days, paired, 95 %",
        ),
        regret=oracle - saving,
        kept=saving / oracle if oracle > _NOTHING else None,
        missed=round(float(done.missed.sum())),
        blind=round(float(done.blind.sum())),
        delay_h=float(done.delay.mean()) * home.actual.step_s / HOUR_S,
        spread=float(np.std(1.0 - done.seeds / base, ddof=1)) if len(done.seeds) > 1 else None,
        moved=float(done.moved.mean()),
    )


def _days(home: Place, jobs: Jobs) -> Counts:
    return jobs.release // home.slots_a_day


def _notes(home: Place, jobs: Jobs, places: Sequence[Place]) -> tuple[str, ...]:
    found = ["run now is the same job in the same zone, begun when it was released"]
    if jobs.left_out:
        found.append(
            f"{jobs.left_out} jobs were left out: their windows reach beyond the signal or a gap"
        )
    if home.chooser is not None:
        found.append(
            f"slots were chosen by {home.chooser.basis}, and scored by {home.actual.basis}: the"
            " two are never added"
        )
    if len(places) > 1:
        found.append("moving was taken to cost nothing: no data sent, no other machine")
    return tuple(found)
