"""Let's Wait Awhile (Wiesner et al., Middleware 2021), scenario II: the training jobs of one project.

Jobs are released on workdays between 9:00 and 16:30 and run from 4 h to 89.5 h. Two rules set the
deadline: the next working morning if a job would end at night or on a weekend, or the next Monday
or Thursday morning. The scheduler sees what happened, with Gaussian noise.

The published simulation lets a job use the slot that begins at its deadline, so that it may end one
slot late; run now has that slot too, and takes the better of two starts. Both are done here on
request, and by default the figure with deadlines kept stands beside the published one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from negawatt.actions.backtest.beliefs import Belief
from negawatt.actions.backtest.paired import intervals
from negawatt.actions.backtest.policies import NOISY, ORACLE, Choice, Shape
from negawatt.actions.backtest.records import Counts, Jobs, Place
from negawatt.actions.backtest.running import run, whole
from negawatt.core.errors import UsageError
from negawatt.decisions.backtests import Awhile, AwhileRow
from negawatt.signals.series import Series

SLOT = timedelta(minutes=30)
A_DAY = 48  # slots
JOBS = 3387
_FIRST, _AFTER = 18, 34  # slots of the day in which a job may begin: 9:00 to 16:30
_SHORTEST, _BEYOND = 8, 180  # lengths in slots: 4 h to 89.5 h
_NINE, _FIVE = 18, 34  # o'clock, in slots


def project(year: int = 2020, count: int = JOBS, seed: int = 0) -> tuple[Counts, Counts, int]:
    """The jobs: the slot each is released in, counted from New Year, its slots, and the workdays.

    >>> release, steps, workdays = project()
    >>> workdays, len(release), int(release[0]), int(steps.min()), int(steps.max())
    (262, 3387, 19, 8, 179)
    """
    rng = np.random.default_rng(seed)
    first = datetime(year, 1, 1, tzinfo=UTC)
    length = (datetime(year + 1, 1, 1, tzinfo=UTC) - first).days
    workdays = [day for day in range(length) if (first.weekday() + day) % 7 < 5]
    per_day = dict(
        zip(
            workdays,
            rng.multinomial(count, [1 / len(workdays)] * len(workdays)).tolist(),
            strict=True,
        )
    )
    release: list[int] = []
    for day in range(length):
        # a day without a job is drawn too, as in the original: it moves no later draw
        starts = np.sort(rng.choice(range(_FIRST, _AFTER), size=per_day.get(day, 0)))
        release += [day * A_DAY + int(start) for start in starts]
    steps = rng.choice(range(_SHORTEST, _BEYOND), size=count)
    return np.array(release, dtype=np.intp), np.asarray(steps, dtype=np.intp), len(workdays)


def next_workday(end: int, weekday: int) -> int:
    """Deadline of a job that, run now, ends with slot `end`: it may wait for a working morning.

    As in the original, what ends on Friday evening is due on Saturday at nine.

    Args:
        end: In slots from the midnight that begins a day of `weekday`.
        weekday: Of that day; Monday is 0.
    """
    day, time = divmod(end, A_DAY)
    today = (weekday + day) % 7
    if today == 5:
        return (day + 2) * A_DAY + _NINE
    if today == 6 or time > _FIVE:
        return (day + 1) * A_DAY + _NINE
    return day * A_DAY + _NINE if time < _NINE else end


def semi_weekly(end: int, weekday: int) -> int:
    """Deadline at nine on the next Monday or Thursday, whichever comes first."""
    day, time = divmod(end, A_DAY)
    today = (weekday + day) % 7
    late = time > _NINE
    to_thursday = (today == 0 and late) or today in (1, 2) or (today == 3 and not late)
    wait = (10 - today) % 7 if to_thursday else (7 - today) % 7
    return (day + wait) * A_DAY + _NINE


def next_monday(end: int, weekday: int) -> int:
    """Deadline at nine on the next Monday."""
    day, time = divmod(end, A_DAY)
    today = (weekday + day) % 7
    wait = 0 if today == 0 and time <= _NINE else 7 - today
    return (day + wait) * A_DAY + _NINE


RULES: dict[str, Callable[[int, int], int]] = {
    "next-workday": next_workday,
    "semi-weekly": semi_weekly,
    "next-monday": next_monday,
}


def lets_wait_awhile(
    series: Series,
    *,
    rules: Sequence[str] = ("next-workday", "semi-weekly"),
    noises: Sequence[float] = (0.0, 0.05, 0.1),
    seeds: int = 10,
    forecasts: Sequence[str] = (),
    count: int = JOBS,
    seed: int = 0,
) -> Awhile:
    """The study on a signal: every rule, in one piece and interrupted, by every noise.

    Args:
        series: With the year's first slot; noise is drawn from there to its end, as published.
        rules: Of the deadline; see `RULES`.
        noises: Deviation over the mean. [1]
        seeds: For each noise above 0.
        forecasts: Others, made of the past alone, to set beside: "mean28", "own", ...
        count: How many jobs.
        seed: They are drawn with.

    Raises:
        UsageError: there is no such rule, or the signal does not hold a year's beginning.
    """
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        raise UsageError(f"there is no rule {unknown[0]!r}", fix=f"choose among {', '.join(RULES)}")
    place, year = from_new_year(series)
    release, steps, workdays = project(year, count, seed)
    weekday = datetime(year, 1, 1, tzinfo=UTC).weekday()
    found: list[AwhileRow] = []
    shiftable, slack = {}, {}
    for rule in rules:
        ends = (release + steps).tolist()
        deadline = np.array([RULES[rule](end, weekday) for end in ends], dtype=np.intp)
        jobs = Jobs(
            release=release,
            steps=steps.astype(np.float64),
            deadline=deadline,
            power_w=np.full(count, 1e3),
            source="Let's Wait Awhile",
        )
        jobs = whole([place], jobs)
        shiftable[rule] = float((jobs.room > jobs.steps).mean())
        slack[rule] = float((jobs.room - jobs.steps).mean()) / 2
        worked_out: dict[tuple[int, str], Belief] = {}
        for shape in (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE):
            known = [Choice(shape, NOISY, noise, seeds if noise else 1) for noise in noises]
            others = [Choice(shape, name) for name in forecasts]
            found += [_row(place, jobs, rule, choice, worked_out) for choice in (*known, *others)]
    return Awhile(
        zone=series.zone,
        year=year,
        jobs=len(jobs),
        workdays=workdays,
        mean=float(np.nanmean(place.actual.values)),
        shiftable=shiftable,
        slack_h=slack,
        rows=tuple(found),
        notes=(
            "published: a job may end one slot after its deadline, and run now may begin one late",
            "saving: no job ends after its deadline, and run now begins when it is released",
        ),
    )


def from_new_year(series: Series) -> tuple[Place, int]:
    """The signal in half-hours, the slot of the first New Year, and which.

    Noise is drawn for slots from New Year on only, and its deviation is of their mean: what lies
    before is cut off.

    Raises:
        UsageError: no year begins in it, or its steps are neither parts nor multiples of half an
            hour.
    """
    series = series.resampled(SLOT)
    year = series.start.year if series.start == _new_year(series.start.year) else None
    year = series.start.year + 1 if year is None else year
    begin = series.place(_new_year(year))
    if not 0 <= begin < len(series):
        raise UsageError(
            f"{series.source} tells {series.zone} from {series.start:%Y-%m-%d} to"
            f" {series.end:%Y-%m-%d}, without a 1 January",
            fix="give a whole year",
        )
    return Place(series.window(_new_year(year), series.end)), year


def _new_year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def _row(
    place: Place,
    jobs: Jobs,
    rule: str,
    choice: Choice,
    worked_out: dict[tuple[int, str], Belief],
) -> AwhileRow:
    strict_now = run([place], jobs, Choice(Shape.NOW))
    strict = run([place], jobs, choice, worked_out)
    base = float(strict_now.grams.sum())
    ends = intervals(jobs.release // A_DAY, strict_now.grams, [strict.grams], 1000)[0]
    by_paper = _published(place, jobs, choice) if choice.forecast == NOISY else None
    several = len(strict.seeds) > 1
    saving = 1.0 - float(strict.grams.sum()) / base
    return AwhileRow(
        rule=rule,
        shape=str(choice.shape),
        forecast=choice.forecast,
        error=choice.error,
        seeds=choice.seeds,
        published=None if by_paper is None else by_paper[0],
        saving=saving,
        low=ends[0],
        high=ends[1],
        spread=float(np.std(1.0 - strict.seeds / base, ddof=1)) if several else None,
        late=0.0 if by_paper is None else by_paper[1],
        grams=float(strict.grams.sum()) if by_paper is None else by_paper[2],
    )


def _published(place: Place, jobs: Jobs, choice: Choice) -> tuple[float, float, float]:
    """Saving, jobs that end late, and grams, when every row is one slot longer than it may be."""
    jobs = replace(whole([place], replace(jobs, grace=1)), grace=0)
    shortest = replace(jobs, deadline=jobs.release + jobs.steps.astype(np.intp), grace=1)
    now = run([place], shortest, Choice(Shape.CONTIGUOUS, ORACLE))
    done = run([place], replace(jobs, grace=1), choice)
    grams = float(done.grams.sum())
    return 1.0 - grams / float(now.grams.sum()), float(done.missed.sum()), grams
