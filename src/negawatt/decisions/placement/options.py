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
from negawatt.energy.serving import Leg, Run, serve

_BATCHES = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
_CONTEXT_BITS = 16.0


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
        """Whether one machine reads and another writes."""
        return self.reading.machine.name != self.writing.machine.name


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
    models = {model.name: model for model in fleet.models}
    found: list[Option] = []
    refused: list[Refusal] = []
    sizes = {
        (model.name, machine.name): _server(model, machine, fleet)
        for model in fleet.models
        for machine in fleet.machines
    }
    for asked in fleet.classes:
        model = models[asked.model]
        readers, writers = [], []
        for machine in fleet.machines:
            devices = sizes[model.name, machine.name]
            stages = _stages(model, machine, asked, devices)
            if isinstance(stages, str):
                refused.append(Refusal(asked.name, machine.name, stages))
                continue
            reading, writing = stages
            if reading is not None:
                readers.append(reading)
            if writing is not None:
                writers.append(writing)
            refused += [
                Refusal(asked.name, machine.name, reason)
                for stage, reason in (
                    (reading, f"reading a prompt takes longer than {asked.first_s:g} s"),
                    (writing, f"a token takes longer than {asked.token_s:g} s"),
                )
                if stage is None
            ]
        found.extend(_pairs(fleet, model, asked, readers, writers))
    return tuple(found), tuple(refused)


def _pairs(
    fleet: Fleet, model: Model, asked: RequestClass, readers: list[Stage], writers: list[Stage]
) -> Iterator[Option]:
    """Every reader with every writer that is soon enough."""
    kept = kept_bytes(model.anatomy, asked.prompt, _CONTEXT_BITS)
    for reading in readers:
        for writing in writers:
            apart = reading.machine.name != writing.machine.name
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


def _server(model: Model, machine: Machine, fleet: Fleet) -> int | None:
    """Devices of a server: the fewest that keep the pace of all classes that more could keep."""
    bits = weight_bits(model.anatomy, model.precision)
    needed = stored_bytes(model.anatomy, bits) * 1.02  # room for one text at least
    least = fewest(needed, room(machine.profile))
    if least > machine.count or least * room(machine.profile) < needed:
        return None
    asked = [one for one in fleet.classes if one.model == model.name]
    best, kept = least, -1
    devices = least
    while devices <= machine.count:
        now = sum(
            not isinstance(stages, str) and None not in stages
            for stages in (_stages(model, machine, one, devices) for one in asked)
        )
        if now > kept:
            best, kept = devices, now
        if now == len(asked):
            break
        devices *= 2
    return best


def _stages(
    model: Model, machine: Machine, asked: RequestClass, devices: int | None
) -> tuple[Stage | None, Stage | None] | str:
    """Reading and writing there, None what is too slow, or why neither is possible."""
    if devices is None:
        return f"{machine.count} devices do not hold {model.name}"
    bits = weight_bits(model.anatomy, model.precision)
    free = devices * room(machine.profile) - stored_bytes(model.anatomy, bits)
    text = kept_bytes(model.anatomy, asked.prompt + asked.written, _CONTEXT_BITS)
    reading: Stage | None = None
    writing: Stage | None = None
    for batch in _BATCHES:
        if batch * text > free:
            continue
        run = Run(
            batch=batch,
            prompt=asked.prompt,
            written=asked.written,
            devices=devices,
            weight_bits=bits,
            context_bits=_CONTEXT_BITS,
        )
        served = serve(model.anatomy, run, machine.profile.constants, batching="static")
        token = float(served.writing.seconds) / asked.written
        filled = batch == 1 or asked.rate * asked.written * token >= batch
        if token <= asked.token_s and filled:
            writing = _stage(machine, served.writing, run, token)
            break
    alone = Run(
        batch=1, prompt=asked.prompt, written=asked.written, devices=devices, weight_bits=bits
    )
    leg = serve(model.anatomy, alone, machine.profile.constants, batching="static").reading
    if float(leg.seconds) <= asked.first_s:
        reading = _stage(machine, leg, alone, float(leg.seconds))
    return reading, writing


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


def servers_of(options: tuple[Option, ...]) -> Mapping[tuple[str, str], tuple[Machine, int]]:
    """Machine and devices of a server, by model and machine."""
    found: dict[tuple[str, str], tuple[Machine, int]] = {}
    for option in options:
        for stage in (option.reading, option.writing):
            key = (option.asked.model, stage.machine.name)
            found[key] = (stage.machine, stage.devices)
    return found
