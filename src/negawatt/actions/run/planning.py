"""When an order is planned anew, and which plans are taken up."""

from __future__ import annotations

from datetime import datetime, timedelta

from negawatt.actions.run.orders import Phase
from negawatt.actions.run.stint import Stint
from negawatt.core.errors import NegawattError, UsageError
from negawatt.decisions.when import Schedule

#: In the time of the signal: providers renew their forecasts about that often.
AGAIN = timedelta(minutes=30)

_WORTH = 0.02  # less is within what forecasts change from one to the next


def due(stint: Stint, now: datetime) -> bool:
    """True when there is something to decide anew, and the plan is not the newest."""
    progress, order = stint.entry.progress, stint.order
    began = progress.phase is not Phase.WAITING
    if progress.forced or (began and not order.interruptible):
        return False
    if progress.planned_at is None or now - progress.planned_at >= AGAIN:
        return True
    return not began and bool(progress.stretches) and progress.stretches[-1].end <= now


def plan(stint: Stint, now: datetime) -> None:
    """Ask the planner, and take up what it says; whatever goes wrong there, the work goes on."""
    progress, order = stint.entry.progress, stint.order
    try:
        job = order.job(now, max(stint.left_s, 1.0))
    except UsageError:
        stint.keep("no room", forced=True, planned_at=now, because="there is no room left to wait")
        return
    try:
        schedule = stint.means.plan(order)(job, now)
    except Exception as error:  # noqa: BLE001  # a provider may come from anyone; work waits for none
        what = (
            error.what if isinstance(error, NegawattError) else f"{type(error).__name__}: {error}"
        )
        if progress.fallback != what or progress.planned_at is None:
            kept = "the plan before it holds" if progress.stretches else "it runs as soon as it can"
            note = f"no new plan ({what}): {kept}"
            stint.keep("no plan", planned_at=now, fallback=what, notes=progress.noted(note))
        else:
            stint.keep(planned_at=now)
        return
    if not worth(stint, schedule, now):
        stint.keep(planned_at=now)
        return
    changed = _starts(schedule) != _starts_of(stint)
    # what comes true was decided earlier: "at once" says nothing then, why it was waited for does
    comes_true = schedule.start <= now + timedelta(seconds=1) or not changed
    because = progress.because if comes_true and progress.because else schedule.because
    stint.keep(
        "planned" if changed else "",
        stretches=schedule.stretches,
        planned_at=now,
        because=because,
        fallback=schedule.fallback,
        expected=progress.expected or schedule.saving,
        body={"stretches": schedule.stretches, "because": schedule.because} if changed else {},
    )


def worth(stint: Stint, schedule: Schedule, now: datetime) -> bool:
    """False for a plan that would stop what runs, or is to run now, and save too little by it."""
    progress = stint.entry.progress
    its_time = any(one.start <= now < one.end for one in progress.stretches)
    if not its_time and progress.phase is not Phase.RUNNING:
        return True
    if schedule.start <= now + timedelta(seconds=1):
        return True
    cost = stint.order.restart_s / schedule.job.work_s if progress.phase is Phase.RUNNING else 0.0
    return schedule.saving.value > max(cost, _WORTH)


def _starts(schedule: Schedule) -> tuple[datetime, ...]:
    return tuple(one.start for one in schedule.stretches)


def _starts_of(stint: Stint) -> tuple[datetime, ...]:
    return tuple(one.start for one in stint.entry.progress.stretches)
