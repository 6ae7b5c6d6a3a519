"""What was asked of a back-test, in the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from negawatt.actions.backtest import jobs as making
from negawatt.actions.backtest.engine import backtest
from negawatt.actions.backtest.lines import lines
from negawatt.actions.backtest.policies import NOISY, Choice, Shape, choices
from negawatt.actions.backtest.records import Place
from negawatt.actions.backtest.spans import part_of, slack_of, span_of
from negawatt.actions.backtest.studies import lets_wait_awhile, limits, nightly
from negawatt.actions.backtest.table import Reading, place, read, zones_of
from negawatt.core.errors import UsageError
from negawatt.core.grid import Accounting, Basis, Signal, utc
from negawatt.decisions.backtests import Awhile, Backtest, Limits, Nightly
from negawatt.signals.series import Series

STUDIES = ("lets-wait-awhile", "lets-wait-awhile-nightly", "limits")
_DEFAULT = ("persistence", "mean28", "own")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that may be asked for; texts as a person writes them.

    Args:
        file: A CSV of intensities, or FILE:ZONE.
        zone: Of the file, where it tells several.
        column: Of a file with a row for each zone and time.
        signal: "average" or "marginal".
        accounting: "life cycle" or "direct"; empty where it is not known.
        unit: "g", "kg" or "lb/MWh".
        naive_utc: Times without a zone are UTC.
        start: Leave out what lies before.
        end: Leave out what lies after.
        jobs: "every 1h", "daily 01:00", "workdays 09:00-16:30", or a file.
        duration: Of a job.
        slack: How much later it may begin, or "2x" its length.
        power_w: That it draws. [W]
        jobs_unit: Of numbers in a file of jobs.
        jobs_begin: What moment 0 of that file is.
        policies: Shapes.
        forecasts: What is known; the plain ways and our own when empty.
        forecast_column: The forecast on record.
        revision_step: Of columns f1, f2, ...
        noise: Of the noisy oracle, in percent; empty for none.
        seeds: Of it.
        replan: Beside each policy that plans, one that plans anew in every slot.
        threshold: Quantile below which it is low enough.
        places: Other files, or FILE:ZONE, where jobs may run.
        chosen_by: Another file, or FILE:ZONE, that slots are chosen by.
        chosen_unit: Of that file.
        efficiency: Joules over those of run now.
        variant: Joules over those of the first variant.
        zones: Of the limits study: names, or FILE:GROUP.
        rules: Of Let's Wait Awhile.
    """

    file: str
    zone: str | None = None
    column: str | None = None
    signal: str = "average"
    accounting: str = ""
    unit: str = "g"
    naive_utc: bool = False
    start: str | None = None
    end: str | None = None
    jobs: str = "every 1h"
    duration: str = "4h"
    slack: str = "24h"
    power_w: float = 1000.0
    jobs_unit: str = "s"
    jobs_begin: str | None = None
    policies: Sequence[str] = ("contiguous", "interruptible", "threshold")
    forecasts: Sequence[str] = ()
    forecast_column: str | None = None
    revision_step: str | None = None
    noise: str = ""
    seeds: int = 10
    replan: bool = False
    threshold: str = "30%"
    places: Sequence[str] = ()
    chosen_by: str | None = None
    chosen_unit: str = "g"
    efficiency: float = 1.0
    variant: float = 1.0
    zones: str | None = None
    rules: Sequence[str] = ("next-workday", "semi-weekly")


def ask(question: Question) -> Backtest:
    """Policies side by side, as a question asks.

    Raises:
        UsageError: it cannot be answered; the message says how to mend it.
    """
    home = _home(question)
    wanted = making.Wanted(
        spec=question.jobs,
        duration=span_of(question.duration),
        slack=slack_of(question.slack),
        power_w=question.power_w,
        unit=question.jobs_unit,
        begin=_moment(question.jobs_begin),
    )
    others = [_elsewhere(question, spec) for spec in question.places]
    return backtest(
        [home, *others],
        making.jobs(wanted, home.actual),
        _choices(question),
        efficiency=question.efficiency,
        variant=question.variant,
    )


def study(question: Question, name: str) -> Awhile | Nightly | Limits:
    """A published experiment on the file of a question.

    Raises:
        UsageError: there is no such study, or it does not fit the file.
    """
    noises = [part_of(question.noise)] if question.noise else [0.0, 0.05, 0.1]
    forecasts = [name for name in question.forecasts if name != NOISY]
    if name == "lets-wait-awhile":
        return lets_wait_awhile(
            _home(question).actual,
            rules=question.rules,
            noises=noises,
            seeds=question.seeds,
            forecasts=forecasts,
        )
    if name == "lets-wait-awhile-nightly":
        error = noises[0] if question.noise else 0.05
        return nightly(_home(question).actual, error=error, seeds=question.seeds)
    if name == "limits":
        slack = slack_of(question.slack)
        duration = span_of(question.duration)
        wait = slack.fixed + slack.times * duration
        return limits(_zones(question), duration, wait, forecasts)
    raise UsageError(f"there is no study {name!r}", fix=f"choose among {', '.join(STUDIES)}")


def _choices(question: Question) -> list[Choice]:
    forecasts = list(question.forecasts) or list(_DEFAULT)
    if not question.forecasts:
        forecasts += ["recorded", "recorded-day"] if question.forecast_column else []
        forecasts += ["revised"] if question.revision_step else []
        forecasts += ["perfect"] if question.chosen_by else []
    if question.noise and NOISY not in forecasts:
        forecasts.append(NOISY)
    shapes = []
    for name in question.policies:
        if name == "oracle":  # always there
            continue
        if name not in list(Shape):
            known = ", ".join(Shape)
            raise UsageError(f"there is no policy {name!r}", fix=f"choose among {known}")
        shapes.append(Shape(name))
    noise = part_of(question.noise or "0")
    if NOISY in forecasts and not noise:
        raise UsageError("a noisy oracle needs its noise", fix="say --noise 5%")
    limit = part_of(question.threshold)
    return choices(shapes, forecasts, noise, question.seeds, limit, replan=question.replan)


def _reading(question: Question) -> Reading:
    try:
        accounting = Accounting(question.accounting or Accounting.UNSTATED)
        basis = Basis(Signal(question.signal), accounting)
    except ValueError as error:
        raise UsageError(
            str(error), fix="write average or marginal, and life cycle or direct"
        ) from error
    return Reading(
        basis=basis,
        unit=question.unit,
        naive_utc=question.naive_utc,
        start=_moment(question.start),
        end=_moment(question.end),
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no moment", fix="write 2026-01-31 or a time in UTC"
        ) from error
    return utc(moment) if moment.tzinfo else utc(datetime.fromisoformat(f"{moment.isoformat()}Z"))


def named(spec: str) -> tuple[Path, str | None]:
    """A file and its zone, out of FILE or FILE:ZONE."""
    path = Path(spec)
    if path.exists() or ":" not in spec:
        return path, None
    file, _, zone = spec.rpartition(":")
    return Path(file), zone


def _home(question: Question) -> Place:
    path, zone = named(question.file)
    how = _reading(question)
    found = place(
        read(path, naive_utc=question.naive_utc),
        how,
        zone=question.zone or zone,
        column=question.column,
        recorded=question.forecast_column,
        revised_step=span_of(question.revision_step) if question.revision_step else None,
    )
    if question.chosen_by is None:
        return found
    other = Signal.AVERAGE if how.basis.signal is Signal.MARGINAL else Signal.MARGINAL
    by_path, by_zone = named(question.chosen_by)
    chooser = place(
        read(by_path, naive_utc=question.naive_utc),
        replace(how, basis=Basis(other), unit=question.chosen_unit),
        zone=by_zone,
    ).actual
    return together(replace(found, chooser=chooser))


def together(found: Place) -> Place:
    """A place and the signal it is chosen by, cut to the time and to the steps that both have.

    Raises:
        UsageError: they have none, or their steps do not fit.
    """
    chooser, actual = found.chooser, found.actual
    if chooser is None:
        return found
    step = max(chooser.step, actual.step)
    if found.recorded is not None and step != actual.step:
        raise UsageError(
            "a forecast on record cannot be told in longer steps",
            fix="give both signals in the same steps",
        )
    actual, chooser = actual.resampled(step), chooser.resampled(step)
    start, end = max(actual.start, chooser.start), min(actual.end, chooser.end)
    first = actual.place(start)
    actual, chooser = actual.window(start, end), chooser.window(start, end)
    part = slice(first, first + len(actual))
    return Place(
        actual,
        None if found.recorded is None else found.recorded[part],
        None,
        chooser,
    )


def _elsewhere(question: Question, spec: str) -> Place:
    path, zone = named(spec)
    path = path if path.exists() else named(question.file)[0]
    return place(
        read(path, naive_utc=question.naive_utc),
        _reading(question),
        zone=zone if zone is not None or Path(spec).exists() else spec,
        column=question.column,
    )


def _zones(question: Question) -> list[Series]:
    """The zones of a study: all of the file, those named, or those of a group in another file."""
    path, _ = named(question.file)
    table = read(path, naive_utc=question.naive_utc)
    known = zones_of(table)
    wanted = list(known)
    if question.zones:
        listed, group = named(question.zones)
        wanted = (
            _members(listed, group)
            if listed.exists() and group
            else [name.strip() for name in question.zones.split(",")]
        )
        if listed.exists():
            wanted = [name for name in wanted if name in known]
    how = _reading(question)
    return [place(table, how, zone=zone, column=question.column).actual for zone in wanted]


def _members(path: Path, group: str) -> list[str]:
    """Zones whose row has a 1 in a column of a CSV; the first column names them."""
    head, body = lines(path)
    if group not in head:
        raise UsageError(
            f"{path.name} has no group {group!r}", fix=f"choose among {', '.join(head)}"
        )
    at = head.index(group)
    found = [row[0] for row in body if row[at].strip() in ("1", "1.0")]
    if not found:
        raise UsageError(f"no zone of {path.name} belongs to {group!r}", fix="name another group")
    return found
