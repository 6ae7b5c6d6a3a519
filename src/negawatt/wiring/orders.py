"""From the words of a command line to an order, with everything checked that can be."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from negawatt.actions.run import asked, past
from negawatt.actions.run.orders import Order
from negawatt.actions.run.pace import Pace, wall
from negawatt.core import registry
from negawatt.core.errors import SignalUnavailable, StaleSignal, UsageError
from negawatt.core.grid import Topic
from negawatt.core.runners import Runner
from negawatt.wiring.grid import of_file

if TYPE_CHECKING:
    from negawatt.settings import Settings

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command line says of a job, as it was written.

    Args:
        argv: The program and its arguments.
        deadline: "2026-12-01T07:00", or "+12h".
        duration: "2h"; from the ledger's past runs when None.
        longest: At most.
        power: "150W".
        idle: Drawn while it waits.
        interruptible: It may be paused.
        checkpoint: A signal or a command that makes it write down what it needs, and exit.
        restart: What goes on from there.
        restart_cost: How long going on takes.
        min_run: It is not paused sooner.
        max_wait: It waits no longer altogether.
        zone: Whose electricity.
        provider: An address, or a file of intensities.
        at: A moment to replay from.
        speed: How much faster time runs then.
        name: For people.
        runner: Its name, with its options after a `?`.
        options: Those of the task.
    """

    argv: tuple[str, ...]
    deadline: str | None = None
    duration: str | None = None
    longest: str | None = None
    power: str | None = None
    idle: str | None = None
    interruptible: bool = False
    checkpoint: str | None = None
    restart: str | None = None
    restart_cost: str | None = None
    min_run: str | None = None
    max_wait: str | None = None
    zone: str | None = None
    provider: str | None = None
    at: str | None = None
    speed: float = 1.0
    name: str | None = None
    runner: str = "process"
    options: Mapping[str, str] = field(default_factory=dict)


def order_of(said: Asked, settings: Settings) -> tuple[Order, tuple[str, ...]]:
    """The order that a command line means, and what had to be assumed for it.

    Raises:
        UsageError: something cannot be taken; the message says what to write instead.
    """
    if not said.argv:
        raise UsageError("there is no command to run", fix="put it after --: negawatt run … -- CMD")
    zone = said.zone or settings.grid.zone or ""
    pace, release = _pace(said)
    if said.deadline is None and said.max_wait is None:
        raise UsageError("no deadline is given", fix="add one, such as --deadline +12h")
    notes: list[str] = []
    work_s, high_s, power_w = _size(said, settings, notes)
    wait_s = None if said.max_wait is None else asked.seconds(said.max_wait, "wait")
    if said.deadline is None:
        deadline = release + timedelta(seconds=(high_s or work_s) + (wait_s or 0.0))
    else:
        deadline, note = asked.moment(said.deadline, release)
        notes += [note] if note else []
    order = Order(
        name=said.name or Path(said.argv[0]).name,
        argv=said.argv,
        folder=Path.cwd(),
        release=release,
        deadline=deadline,
        work_s=work_s,
        work_high_s=high_s,
        power_w=power_w,
        zone=zone,
        provider=address(said.provider or settings.grid.providers or ""),
        interruptible=said.interruptible or said.checkpoint is not None,
        restart_s=0.0 if said.restart_cost is None else asked.seconds(said.restart_cost),
        min_run_s=0.0 if said.min_run is None else asked.seconds(said.min_run),
        idle_w=0.0 if said.idle is None else asked.watts(said.idle),
        max_wait_s=wait_s,
        runner=said.runner,
        options=_options(said),
        pace=pace,
    )
    if "pause" not in (can := runner_of(order, settings.paths.queue).can) and order.interruptible:
        raise UsageError(
            f"{order.runner} cannot pause a job (it can: {', '.join(can) or 'nothing of this kind'})",
            fix="leave --interruptible out, or choose another --runner",
        )
    _check_zone(order, settings)
    return order, tuple(notes)


def _pace(said: Asked) -> tuple[Pace, datetime]:
    now = wall()
    if said.at is None:
        if said.speed != 1:
            raise UsageError(
                "a replay needs a moment to begin with", fix="add one: --at 2020-06-01T00:00Z"
            )
        return Pace(), now
    at, _ = asked.moment(said.at, now, "moment")
    return Pace(said.speed, now, at), at


def _size(
    said: Asked, settings: Settings, notes: list[str]
) -> tuple[float, float | None, float | None]:
    """How long it takes, at most, and at what power: as told, else as the ledger has it."""
    power = None if said.power is None else asked.watts(said.power)
    longest = None if said.longest is None else asked.seconds(said.longest)
    if said.duration is not None:
        work = asked.seconds(said.duration)
        if longest is not None and longest < work:
            raise UsageError(
                f"--longest {said.longest} is shorter than --duration {said.duration}",
                fix="give what it takes at most, or leave it out",
            )
        return work, longest, power
    found = _before(settings, shlex.join(said.argv))
    if found is None:
        raise UsageError(
            "nobody knows how long this command takes: the ledger holds no run of it",
            fix="say it: --duration 2h",
        )
    runs = f"{found.runs} earlier run{'s' if found.runs > 1 else ''}"
    notes.append(f"duration from {runs}: {found.usual_s:.4g} s, {found.longest_s:.4g} s at most")
    high = max(found.longest_s, longest or 0.0)
    return found.usual_s, high if high > found.usual_s else None, power or found.power_w


def _before(settings: Settings, command: str) -> past.Before | None:
    from negawatt.ledger import open_ledger

    place = settings.paths.ledger
    if isinstance(place, Path) and not place.is_file():
        return None
    with open_ledger(place, readonly=True) as ledger:
        return past.before(ledger.entries(), command)


def _options(said: Asked) -> dict[str, str]:
    made = dict(said.options)
    for name in ("checkpoint", "restart"):
        if (value := getattr(said, name)) is not None:
            made[name] = value
    return made


def address(provider: str) -> str:
    """The address of a provider; a path is that of a file."""
    return of_file(provider) if provider and "://" not in provider else provider


def _check_zone(order: Order, settings: Settings) -> None:
    """Say at once that a zone is unknown: nobody would see it later.

    A provider that is silent now may speak later, and is no reason to refuse.
    """
    from negawatt.wiring import grid

    if not order.zone:
        raise UsageError("no zone is named", fix="add --zone DE, or set NEGAWATT_ZONE")
    now = order.release if order.pace.replayed else None
    end = order.release + timedelta(hours=1)
    for source in grid.sources(settings, order.provider, Topic.CARBON, []):
        with suppress(SignalUnavailable, StaleSignal):
            source.past(order.zone, order.release - _DAY, order.release)
    ahead = grid.outlook(
        order.zone, order.release, end, settings=settings, provider=order.provider, now=now
    )
    if not ahead.known and not order.provider.strip():
        raise UsageError(
            f"nothing is known of the zone {order.zone}: {'; '.join(ahead.remarks)}",
            fix="name one such as DE or US-CAL-CISO, or a provider that knows it (--provider)",
        )


def runner_of(order: Order, queue: Path) -> Runner:
    """What runs an order: `NAME`, or `NAME?option=value&…`.

    Raises:
        UsageError: nobody brings a runner of that name, or it takes other options.
        RuntimeUnavailable: its library is not installed.
    """
    name, _, options = order.runner.partition("?")
    given = dict(parse_qsl(options))
    if name == "process" and not given:
        given = {"folder": str(tasks_of(queue))}
    runner: Runner = registry.build(registry.RUNNERS, name, **given)
    return runner


def tasks_of(queue: Path) -> Path:
    """Where tasks of this machine keep their state, and what they print."""
    return queue.with_name(f"{queue.name}.tasks")
