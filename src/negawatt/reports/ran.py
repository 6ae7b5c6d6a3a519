"""Runs and the queue for people and for programs: when, why, what it took, what that saved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.text import Text

from negawatt.core.codec import encode
from negawatt.core.estimate import Estimate
from negawatt.reports.figures import UNKNOWN, plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.decisions.when import Schedule


class Saved(Protocol):
    """What was saved against starting at once, and of what that is made."""

    @property
    def actual(self) -> Estimate: ...  # noqa: D102
    @property
    def now(self) -> Estimate: ...  # noqa: D102
    @property
    def grams(self) -> Estimate: ...  # noqa: D102
    @property
    def share(self) -> Estimate | None: ...  # noqa: D102
    @property
    def time(self) -> Estimate: ...  # noqa: D102
    @property
    def restarts(self) -> Estimate: ...  # noqa: D102
    @property
    def waiting(self) -> Estimate: ...  # noqa: D102
    @property
    def mean_run(self) -> float: ...  # noqa: D102
    @property
    def mean_now(self) -> float: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def remarks(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An order and what became of it. Times are those of the signal, in UTC.

    Args:
        number: Of the order.
        name: For people.
        command: As a shell takes it.
        phase: Waiting, running, paused, done, ...
        zone: Whose electricity.
        provider: Whose intensities; empty for the built-in hours.
        runner: What ran it.
        release: From when on it might have run.
        deadline: By when it had to be done.
        stretches: From when to when it ran.
        planned: When it is to run.
        because: Why it stands as it does.
        fallback: Which weaker knowledge had to do.
        ended: When it ended.
        exit_status: Of the command.
        work_s: How long it ran, in the time of the signal. [s]
        wall_s: The same in real time. [s]
        resumes: How often it went on.
        attempts: How often it was begun.
        speed: How much faster than in reality time ran; 1 in the present.
        energy: What it took. [J]
        saving: What was saved; None where that is not known.
        saving_unknown: Why it is not.
        expected: What was hoped for when it was planned. [1]
        notes: What a reader should know.
    """

    number: int
    name: str
    command: str
    phase: str
    zone: str
    provider: str
    runner: str
    release: datetime
    deadline: datetime
    stretches: tuple[tuple[datetime, datetime], ...] = ()
    planned: tuple[tuple[datetime, datetime], ...] = ()
    because: str = ""
    fallback: str = ""
    ended: datetime | None = None
    exit_status: int | None = None
    work_s: float = 0.0
    wall_s: float = 0.0
    resumes: int = 0
    attempts: int = 1
    speed: float = 1.0
    energy: Estimate | None = None
    saving: Saved | None = None
    saving_unknown: str = ""
    expected: Estimate | None = None
    notes: tuple[str, ...] = ()

    @property
    def deadline_kept(self) -> bool | None:
        """True where it ended in time; None while it has not ended."""
        return None if self.ended is None else self.ended <= self.deadline


def mapping(ran: Ran) -> dict[str, Any]:
    """A run as plain JSON values."""
    return {**encode(ran), "deadline_kept": ran.deadline_kept}


def line(ran: Ran) -> str:
    """A run as one line of JSON."""
    return json.dumps(mapping(ran), ensure_ascii=False, allow_nan=False)


def show(ran: Ran, console: Console) -> None:
    """One run for people."""
    console = fitting(console)
    status = "" if ran.exit_status is None else f", exit status {ran.exit_status}"
    put(title(f"{ran.number}: {ran.name}, {ran.phase}{status}"), console)
    rows = [("ran" if ran.stretches else "runs", _times(ran.stretches or ran.planned))]
    if ran.because:
        rows.append(("because", ran.because))
    kept = {True: ", kept", False: ", MISSED", None: ""}[ran.deadline_kept]
    rows.append(("deadline", f"{_time(ran.deadline)}{kept}"))
    if ran.energy is not None:
        rows.append(("energy", str(ran.energy)))
    rows += _saved(ran)
    for label, text in rows:
        put(Text(f"  {label:<9} {text}"), console)
    remarks = ran.saving.remarks if ran.saving is not None else ()
    weaker = (f"weaker knowledge had to do: {ran.fallback}",) if ran.fallback else ()
    for note in dict.fromkeys((*ran.notes, *remarks, *weaker)):
        put(Text(f"  note: {note}"), console)


def _saved(ran: Ran) -> list[tuple[str, str]]:
    saving = ran.saving
    if saving is None:
        return [("saved", f"unknown: {ran.saving_unknown}")] if ran.stretches else []
    share = "" if saving.share is None else f"{saving.share.value:.1%} of "
    verb, saved = "saved" if saving.grams.value >= 0 else "lost", plain(abs(saving.grams.value))
    again, waiting = _signed(saving.restarts, -1), _signed(saving.waiting, -1)
    mean_now = plain(saving.mean_now)
    return [
        ("emitted", f"{plain(saving.actual.value)} g ({_ends(saving.actual)})"),
        (verb, f"{share}{plain(saving.now.value)} g against starting at once: {saved} g"),
        ("split", f"cleaner hours {_signed(saving.time)}, restarts {again}, waiting {waiting} g"),
        (
            "hours",
            f"{plain(saving.mean_run)} g/kWh as it ran, {mean_now} at once ({saving.source})",
        ),
    ]


def _ends(estimate: Estimate) -> str:
    return f"{plain(estimate.low, 2)} to {plain(estimate.high, 2)}, {estimate.kind}"


def _signed(estimate: Estimate, sign: int = 1) -> str:
    value = sign * estimate.value
    return "0" if not value else f"{'+' if value > 0 else '-'}{plain(abs(value))}"


def _times(stretches: Sequence[tuple[datetime, datetime]]) -> str:
    if not stretches:
        return UNKNOWN
    joined = [list(stretches[0])]
    for start, end in stretches[1:]:
        if (start - joined[-1][1]).total_seconds() <= 1:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    shown = [f"{_time(start)} to {_time(end)}" for start, end in joined[:4]]
    more = f" and {len(joined) - 4} more" if len(joined) > 4 else ""
    return f"{', '.join(shown)}{more} UTC"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def show_events(events: Sequence[Mapping[str, Any]], output: Path | None, console: Console) -> None:
    """What happened to a run, in order."""
    console = fitting(console)
    put(title("What happened"), console)
    for event in events:
        rest = {key: value for key, value in event.items() if key not in {"at", "what"}}
        told = "" if not rest else ": " + ", ".join(f"{k} {_short(v)}" for k, v in rest.items())
        put(Text(f"  {event['at'][:19]} {event['what']}{told}"), console)
    if output is not None and output.exists():
        put(Text(f"  it prints to {output}"), console)


def _short(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{one['start'][:16]} to {one['end'][:16]}" for one in value)
    return str(value)


def show_list(found: Sequence[Ran], console: Console) -> None:
    """Many runs, a line each."""
    console = fitting(console)
    if not found:
        put(Text("nothing is in the queue"), console)
        return
    table = ruled(console)
    for head, justify in (("", "right"), ("job", "left"), ("", "left"), ("zone", "left"),
                          ("deadline", "left"), ("runs", "left"), ("energy J", "right"),
                          ("saved", "right")):  # fmt: skip
        table.add_column(head, justify="right" if justify == "right" else "left")
    for one in found:
        times = one.stretches or one.planned
        first = f"{_time(times[0][0])}{' …' if len(times) > 1 else ''}" if times else UNKNOWN
        table.add_row(
            str(one.number), one.name, one.phase, one.zone, _time(one.deadline), first,
            UNKNOWN if one.energy is None else plain(one.energy.value), _share(one),
        )  # fmt: skip
    put(table, console)
    for one in found:
        for note in one.notes:
            put(Text(f"- {one.number}: {note}"), console)


def _share(ran: Ran) -> str:
    if ran.saving is None or ran.saving.share is None:
        return UNKNOWN
    return f"{ran.saving.share.value:.1%}"


def report_mapping(found: Sequence[Ran]) -> dict[str, Any]:
    """The queue as a whole: sums over the runs whose figures are all known."""
    known = [one.saving for one in found if one.saving is not None]
    sums: dict[str, float] = {
        name: sum(float(getattr(one, name).value) for one in known)
        for name in ("now", "actual", "grams", "time", "restarts", "waiting")
    }
    return {
        "orders": [mapping(one) for one in found],
        "counted": len(known),
        "not_counted": [
            {"number": one.number, "because": one.saving_unknown}
            for one in found
            if one.saving is None
        ],
        "unit": "gCO2e",
        "sums": sums,
        "share": sums["grams"] / sums["now"] if sums["now"] > 0 else None,
        "deadlines_missed": [one.number for one in found if one.deadline_kept is False],
    }


def show_report(found: Sequence[Ran], console: Console) -> None:
    """What a queue has saved, for people."""
    show_list(found, console)
    console, told = fitting(console), report_mapping(found)
    sums = told["sums"]
    put(title("Against starting everything at once"), console)
    if told["share"] is None:
        put(Text("nothing has run of which everything is known"), console)
    else:
        shown = {name: plain(abs(value)) for name, value in sums.items()}
        verb = "saved" if sums["grams"] >= 0 else "lost"
        put(Text(f"{told['share']:.1%} of {shown['now']} g: {shown['grams']} g {verb},"
                 f" {shown['actual']} g emitted"), console)  # fmt: skip
        less = "" if sums["time"] >= 0 else "-"
        put(Text(f"- cleaner hours: {less}{shown['time']} g"), console)
        put(Text(f"- restarts, and work that was lost: -{shown['restarts']} g"), console)
        put(Text(f"- waiting: -{shown['waiting']} g"), console)
    missed = told["deadlines_missed"]
    who = f"by job {', '.join(map(str, missed))}" if missed else "none"
    put(Text(f"- deadlines missed: {who}"), console)
    for one in told["not_counted"]:
        put(Text(f"- {one['number']} is not in it: {one['because']}"), console)
    for remark in dict.fromkeys(r for one in found if one.saving for r in one.saving.remarks):
        put(Text(f"- {remark}"), console)


def show_plan(plan: Schedule, notes: Sequence[str], console: Console, *, power_known: bool) -> None:
    """When something would run, for people."""
    console = fitting(console)
    put(title(f"{plan.job.name} in {plan.zone} would run"), console)
    put(Text(f"  {_times([(one.start, one.end) for one in plan.stretches])}"), console)
    put(Text(f"  because {plan.because}"), console)
    share = plan.saving
    put(Text(f"  expected saving: {share.value:.1%} ({share.low:.1%} to {share.high:.1%},"
             f" {share.kind}) against running now"), console)  # fmt: skip
    if power_known:
        put(Text(f"  expected emissions: {plain(plan.grams.value)} g, {plain(plan.now.value)} g"
                 " when run now"), console)  # fmt: skip
    for note in (*notes, *plan.would_change, *([plan.fallback] if plan.fallback else [])):
        put(Text(f"  note: {note}"), console)
