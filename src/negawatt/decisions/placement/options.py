"""Who may read and who may write for each class of requests, and what that takes.

A server is as many devices as hold a model with the texts of its batch. Its batch is the largest that keeps the
class's pace, has room, and is filled by the requests that arrive; more at once never costs more joules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from negawatt.decisions.placement.records import Fleet, Machine, Model, RequestClass
from negawatt.energy.foretold import fewest, room
from negawatt.energy.precisions import kept_bytes, stored_bytes, weight_bits
from negawatt.energy.serving import Leg, Run, Served, serve

_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_CONTEXT_BITS = 16.0
#: Model, machine and devices of a server.
Place = tuple[str, str, int]
_ONE_TEXT = 1.02  # of the weights: with room for one text at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Reading or writing for one request on one machine.

    Args:
        machine: Which.
        devices: That make up a server there.
        batch: Requests at once.
        joules: Beyond the watts that the devices draw whatever they do. [J]
        busy_s: Of the server. [s]
        wait_s: Of the request: until the prompt is read, or between tokens. [s]
    """

    machine: Machine
    devices: int
    batch: int
    joules: float
    busy_s: float
    wait_s: float

    @property
    def place(self) -> tuple[str, int]:
        """Which servers: name of the machine, and devices of each."""
        return (self.machine.name, self.devices)

    @property
    def joules_with_static(self) -> float:
        """With the watts that the devices draw while they work at it. [J]"""
        watts = float(self.machine.profile.constants.static_w)
        return self.joules + self.devices * watts * self.busy_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to serve a class.

    Args:
        asked: The class.
        reading: Where prompts are read.
        writing: Where replies are written.
        sent_bytes: Of keys and values from one to the other. [B]
        sent_joules: For that. [J]
        first_s: Until the first token. [s]
    """

    asked: RequestClass
    reading: Stage
    writing: Stage
    sent_bytes: float
    sent_joules: float
    first_s: float

    @property
    def split(self) -> bool:
        """Whether one server reads and another writes."""
        return self.reading.place != self.writing.place


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a machine cannot serve a class.

    Args:
        asked: Name of the class.
        machine: Name of the machine.
        reason: Why.
    """

    asked: str
    machine: str
    reason: str


def options_of(fleet: Fleet) -> tuple[tuple[Option, ...], tuple[Refusal, ...]]:
    """All ways that keep what the classes ask for, and why others do not."""
    found: list[Option] = []
    refused: list[Refusal] = []
    rooms = _Rooms(fleet)
    models = {model.name: model for model in fleet.models}
    for asked in fleet.classes:
        readers: list[Stage] = []
        writers: list[Stage] = []
        for machine in fleet.machines:
            reading, writing, reasons = rooms.stages(asked, machine)
            readers += reading
            writers += writing
            refused += [Refusal(asked.name, machine.name, reason) for reason in reasons]
        found.extend(_pairs(fleet, models[asked.model], asked, readers, writers))
    return tuple(found), tuple(refused)


def _pairs(
    fleet: Fleet, model: Model, asked: RequestClass, readers: list[Stage], writers: list[Stage]
) -> Iterator[Option]:
    """Every reader with every writer that is soon enough."""
    kept = kept_bytes(model.anatomy, asked.prompt, _CONTEXT_BITS)
    for reading in readers:
        for writing in writers:
            apart = reading.place != writing.place
            sent = kept if apart else 0.0
            first = reading.wait_s + sent / fleet.link.bandwidth + writing.wait_s
            if first <= asked.first_s:
                yield Option(
                    asked=asked,
                    reading=reading,
                    writing=writing,
                    sent_bytes=sent,
                    sent_joules=sent * fleet.link.joules_per_byte,
                    first_s=first,
                )


class _Rooms:
    """What every class takes on every machine, looked at once."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._models = {model.name: model for model in fleet.models}
        self._bits = {
            model.name: weight_bits(model.anatomy, model.precision) for model in fleet.models
        }
        self._seen: dict[tuple[str, str, int], tuple[Stage | None, Stage | None]] = {}

    def stages(
        self, asked: RequestClass, machine: Machine
    ) -> tuple[list[Stage], list[Stage], tuple[str, ...]]:
        """Reading and writing there, and why not.

        Either is done by the smallest server that is quick enough, or by that of the other, where nothing
        has to be sent.
        """
        sizes = self._sizes(self._models[asked.model], machine)
        if not sizes:
            return [], [], (f"{machine.count} devices do not hold {asked.model}",)
        both: dict[int, tuple[Stage | None, Stage | None]] = {}
        for devices in sizes:  # more than are needed for either cost more joules
            both[devices] = self._both(asked, machine, devices)
            if all(any(stages) for stages in zip(*both.values(), strict=True)):
                break
        read = [devices for devices, (reading, _) in both.items() if reading]
        write = [devices for devices, (_, writing) in both.items() if writing]
        wanted = {*read[:1], *write[:1]}
        reasons = []
        if not read:
            reasons.append(f"reading a prompt takes longer than {asked.first_s:g} s")
        if not write:
            reasons.append(f"a token takes longer than {asked.token_s:g} s, or has no room")
        readers = [reading for n in sorted(wanted) if (reading := both[n][0])]
        writers = [writing for n in sorted(wanted) if (writing := both[n][1])]
        return readers, writers, tuple(reasons)

    def _sizes(self, model: Model, machine: Machine) -> tuple[int, ...]:
        """Devices that a server may have there, fewest first."""
        needed = stored_bytes(model.anatomy, self._bits[model.name]) * _ONE_TEXT
        least = fewest(needed, room(machine.profile))
        if least > machine.count or least * room(machine.profile) < needed:
            return ()
        return tuple(least * factor for factor in (1, 2, 4, 8) if least * factor <= machine.count)

    def _both(
        self, asked: RequestClass, machine: Machine, devices: int
    ) -> tuple[Stage | None, Stage | None]:
        key = (asked.name, machine.name, devices)
        if key not in self._seen:
            self._seen[key] = (
                self._reading(asked, machine, devices),
                self._writing(asked, machine, devices),
            )
        return self._seen[key]

    def _reading(self, asked: RequestClass, machine: Machine, devices: int) -> Stage | None:
        run = self._run(asked, devices, 1)
        leg = self._served(asked, machine, run).reading
        seconds = float(leg.seconds)
        return _stage(machine, leg, run, seconds) if seconds <= asked.first_s else None

    def _writing(self, asked: RequestClass, machine: Machine, devices: int) -> Stage | None:
        """At the largest batch that does; the larger, the slower and the harder to fill."""
        model = self._models[asked.model]
        free = devices * room(machine.profile) - stored_bytes(model.anatomy, self._bits[model.name])
        text = kept_bytes(model.anatomy, asked.prompt + asked.written, _CONTEXT_BITS)
        batches = [batch for batch in _BATCHES if batch * text <= free]
        found: Stage | None = None
        low, high = 0, len(batches)
        while low < high:
            middle = (low + high) // 2
            batch = batches[middle]
            run = self._run(asked, devices, batch)
            leg = self._served(asked, machine, run).writing
            token = float(leg.seconds) / asked.written
            filled = batch == 1 or asked.rate * asked.written * token >= batch
            if token <= asked.token_s and filled:
                found, low = _stage(machine, leg, run, token), middle + 1
            else:
                high = middle
        return found

    def _run(self, asked: RequestClass, devices: int, batch: int) -> Run:
        return Run(
            batch=batch,
            prompt=asked.prompt,
            written=asked.written,
            devices=devices,
            weight_bits=self._bits[asked.model],
            context_bits=_CONTEXT_BITS,
        )

    def _served(self, asked: RequestClass, machine: Machine, run: Run) -> Served:
        anatomy = self._models[asked.model].anatomy
        return serve(anatomy, run, machine.profile.constants, batching="static")


def _stage(machine: Machine, leg: Leg, run: Run, wait: float) -> Stage:
    batch = int(run.batch)
    dynamic = float(leg.joules.total) - float(leg.joules.static)
    return Stage(
        machine=machine,
        devices=run.devices,
        batch=batch,
        joules=dynamic / batch,
        busy_s=float(leg.seconds) / batch,
        wait_s=wait,
    )


def servers_of(options: tuple[Option, ...]) -> Mapping[Place, tuple[Machine, int]]:
    """Machine and devices of a server, by model, machine and devices."""
    found: dict[Place, tuple[Machine, int]] = {}
    for option in options:
        for stage in (option.reading, option.writing):
            found[(option.asked.model, *stage.place)] = (stage.machine, stage.devices)
    return found
