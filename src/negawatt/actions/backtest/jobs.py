"""Jobs to try: one in every slot, at certain times, or those of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from negawatt.actions.backtest.lines import lines
from negawatt.actions.backtest.records import DAY_S, HOUR_S, Column, Jobs
from negawatt.actions.backtest.spans import Slack, slack_of, span_of
from negawatt.actions.backtest.studies.awhile import RULES, from_new_year, project
from negawatt.core.errors import UsageError
from negawatt.core.grid import utc
from negawatt.decisions.when.rows import needed
from negawatt.signals.series import Series

_UNITS = {"s": 1.0, "m": 60.0, "h": HOUR_S}
_A_DAY = Slack(fixed=timedelta(hours=24))
_EPSILON = 1e-9  # slots: a moment as near as this to a slot is its beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How jobs are to be made.

    Args:
        spec: "every 1h", "daily 01:00", "workdays 09:00-16:30", "lets-wait-awhile RULE" for the
            jobs of that study, or a file of CSV.
        duration: Of each, where no file says it.
        slack: How much later each may begin, where no file says it.
        power_w: That each draws. [W]
        unit: Of numbers in a file: "s", "m" or "h".
        begin: What the file's moment 0 is; the beginning of the signal when None.
    """

    spec: str = "every 1h"
    duration: timedelta = timedelta(hours=4)
    slack: Slack = _A_DAY
    power_w: float = 1000.0
    unit: str = "s"
    begin: datetime | None = None


def jobs(wanted: Wanted, series: Series) -> Jobs:
    """The jobs of a specification, in slots of a signal.

    A job that is released within a slot may begin with the next one, and one that must end within
    a slot ends with the one before.

    Raises:
        UsageError: the specification cannot be read, or no job fits into the signal.
    """
    path = Path(wanted.spec)
    if path.suffix in (".csv", ".gz"):
        return _laid(*_from_file(path, wanted, series), series, path.name)
    if wanted.spec.startswith("lets-wait-awhile"):
        return _laid(*_of_project(wanted, series), series, wanted.spec)
    release = _moments(wanted.spec, series)
    lasts = np.full(len(release), wanted.duration.total_seconds())
    power = np.full(len(release), wanted.power_w)
    due = release + lasts + wanted.slack.seconds(lasts)
    return _laid(release, lasts, due, power, series, wanted.spec)


def _of_project(wanted: Wanted, series: Series) -> tuple[Column, Column, Column, Column]:
    """The jobs of Let's Wait Awhile, in the first year that the signal sees begin."""
    rule = RULES.get(wanted.spec.removeprefix("lets-wait-awhile").strip())
    if rule is None:
        raise UsageError(
            f"jobs {wanted.spec!r} have no rule", fix=f"write one after it: {', '.join(RULES)}"
        )
    place, year = from_new_year(series)
    release, steps, _ = project(year)
    weekday = place.actual.start.weekday()
    due = np.array([rule(end, weekday) for end in (release + steps).tolist()])
    lead = (place.actual.start - series.start).total_seconds()
    slots = np.stack([release, steps, due]).astype(np.float64)
    seconds = place.actual.step_s * slots
    power = np.full(len(release), wanted.power_w)
    return lead + seconds[0], seconds[1], lead + seconds[2], power


def _moments(spec: str, series: Series) -> Column:
    """Releases, in seconds from the beginning of the signal."""
    total = len(series) * series.step_s
    words = spec.split()
    if len(words) == 2 and words[0] == "every":
        every = span_of(words[1]).total_seconds()
        return np.arange(0.0, total, every)
    if len(words) == 2 and words[0] in ("daily", "workdays"):
        first, _, last = words[1].partition("-")
        times = _clock(first), _clock(last or first)
        begin = series.start.replace(hour=0, minute=0, second=0, microsecond=0)
        lead = (series.start - begin).total_seconds()
        days = np.arange(int((total + lead) // DAY_S) + 1)
        if words[0] == "workdays":
            days = days[(days + begin.weekday()) % 7 < 5]
        of_day = np.arange(times[0], times[1] + 1.0, series.step_s)
        found = (days[:, None] * DAY_S + of_day - lead).reshape(-1)
        return np.asarray(found[(found >= 0) & (found < total)])
    raise UsageError(
        f"jobs {spec!r} are not understood",
        fix="write every 1h, daily 01:00, workdays 09:00-16:30, lets-wait-awhile RULE, or name a CSV",
    )


def _clock(text: str) -> float:
    try:
        moment = datetime.strptime(text, "%H:%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time of day", fix="write it as 09:00") from error
    return moment.hour * HOUR_S + moment.minute * 60.0


def _laid(
    release: Column, lasts: Column, due: Column, power: Column, series: Series, source: str
) -> Jobs:
    """Jobs in seconds from the beginning of the signal, into its slots."""
    step = series.step_s
    first = np.ceil(release / step - _EPSILON).astype(np.intp)
    steps = lasts / step
    last = np.floor(due / step + _EPSILON).astype(np.intp)
    last = np.maximum(last, first + needed(steps))  # what began late within a slot still ends
    fits = (first >= 0) & (last <= len(series))
    return Jobs(
        release=first[fits],
        steps=steps[fits],
        deadline=last[fits],
        power_w=power[fits],
        source=source,
        left_out=int((~fits).sum()),
    )


def _from_file(path: Path, wanted: Wanted, series: Series) -> tuple[Column, Column, Column, Column]:
    rows = _read(path)
    released = _one(rows, ("release", "arrival_time", "arrival", "submitted", "start"), path)
    lasting = _one(rows, ("duration", "length", "runtime"), path)
    if wanted.unit not in _UNITS:
        raise UsageError(f"{wanted.unit!r} is no unit of time", fix="choose among s, m, h")
    scale = _UNITS[wanted.unit]
    begin = utc(wanted.begin) if wanted.begin else series.start
    lead = (begin - series.start).total_seconds()
    release = np.array([_moment(cell, scale, lead, series, path) for cell in rows[released]])
    lasts = np.array([_length(cell, scale, path) for cell in rows[lasting]])
    wait = wanted.slack.seconds(lasts)
    if "slack" in rows:
        wait = np.array(
            [slack_of(cell).seconds(at) for cell, at in zip(rows["slack"], lasts, strict=True)]
        )
    due = release + lasts + wait
    if "deadline" in rows:
        due = np.array([_moment(cell, scale, lead, series, path) for cell in rows["deadline"]])
    power = np.full(len(release), wanted.power_w)
    if "power_w" in rows:
        power = np.array([_length(cell, 1.0, path) for cell in rows["power_w"]])
    elif "cpus" in rows:
        power = wanted.power_w * np.array([_length(cell, 1.0, path) for cell in rows["cpus"]])
    return release, lasts, due, power


def _read(path: Path) -> dict[str, Sequence[str]]:
    head, body = lines(path)
    return dict(zip(head, zip(*body, strict=True), strict=True))


def _one(rows: Mapping[str, Sequence[str]], names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in rows:
            return name
    raise UsageError(f"{path.name} has no column {names[0]}", fix=f"name one {' or '.join(names)}")


def _moment(cell: str, scale: float, lead: float, series: Series, path: Path) -> float:
    """A moment in seconds from the beginning of the signal."""
    try:
        return float(cell) * scale + lead
    except ValueError:
        pass
    try:
        return (utc(datetime.fromisoformat(cell)) - series.start).total_seconds()
    except ValueError as error:
        raise UsageError(
            f"{path.name}: {cell!r} is no moment", fix="write 2026-01-01T09:00Z, or a number"
        ) from error


def _length(cell: str, scale: float, path: Path) -> float:
    try:
        return float(cell) * scale
    except ValueError as error:
        raise UsageError(f"{path.name}: {cell!r} is no number", fix="mend that cell") from error
