"""A model on a device before it is run: joules, time and memory of requests, each with its interval. Pure.

    anatomy + profile + what is asked  ->  serve (energy.serving)  ->  estimates with the profile's band

Outside of what a device was calibrated on its profile knows no more than a datasheet does, so the band is
then that of a datasheet at least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

from negawatt.core.estimate import Estimate
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.catalogue import unseen_band
from negawatt.energy.left_out import Band
from negawatt.energy.precisions import kept_bytes, stored_bytes, weight_bits
from negawatt.energy.profiles import DeviceProfile
from negawatt.energy.roofline import Joules, joules_of, time_of
from negawatt.energy.serving import Run, serve
from negawatt.energy.workload import Load, work_of

_USABLE = 0.9  # of a device's memory; the rest is the engine's own
_MOST = 64  # devices that are looked at when nobody says how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Requests that a model is to answer.

    Args:
        batch: At once.
        prompt: Tokens read of each.
        written: Tokens written for each.
        context_bits: Of what is kept of the text. [bit]
        devices: That share the model; the fewest that hold it when None.
    """

    batch: float = 1.0
    prompt: float = 512.0
    written: float = 256.0
    context_bits: float = 16.0
    devices: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """One way to run a model, and what it takes.

    Args:
        device: On what.
        devices: How many share the model.
        precision: Of the weights.
        per_token: Of all devices, reading included, over the tokens written; for an encoder, which
            writes none, over those read. [J/token]
        per_request: Of all devices. [J]
        tokens_per_s: Written by all requests together, or read by an encoder. [1/s]
        first_s: From the arrival of a request to its first token, nobody waiting. [s]
        power: Mean of all devices. [W]
        memory_bytes: Of weights and texts, over all devices. [B]
        room_bytes: That the devices have for them. [B]
        parts: Share of the joules, by cause. [1]
        beyond: What lies outside of the device's calibration.
        source: Of the device's constants.
    """

    device: str
    devices: int
    precision: str
    per_token: Estimate
    per_request: Estimate
    tokens_per_s: Estimate
    first_s: Estimate
    power: Estimate
    memory_bytes: float
    room_bytes: float
    parts: dict[str, float]
    beyond: tuple[str, ...]
    source: str

    @property
    def fits(self) -> bool:
        """Whether memory is enough."""
        return self.memory_bytes <= self.room_bytes


def foretell(
    anatomy: Anatomy, asked: Asked, profile: DeviceProfile, precision: str = "bf16"
) -> Foretold:
    """What requests to a model take on a device.

    Args:
        anatomy: Of the model.
        asked: What is asked for.
        profile: Of the device.
        precision: Of the weights, such as "bf16", "fp8" or "int4".

    Raises:
        UsageError: the precision is unknown, or a number is absurd.

    >>> from negawatt.energy.catalogue import catalogue
    >>> from negawatt.energy.published import Totals, anatomy_from
    >>> sizes = Totals(parameters=8e9, active=8e9, layers=32, hidden=4096, heads=4096, kept=65536)
    >>> model, h100 = anatomy_from("8B", sizes), catalogue().find("h100")
    >>> alone, many = (foretell(model, Asked(batch=b), h100).per_token for b in (8, 64))
    >>> many.value < alone.value / 3
    True
    """
    bits = weight_bits(anatomy, precision)
    reads = anatomy.family == "encoder"  # keeps nothing of the text
    text = 0.0 if reads else kept_bytes(anatomy, asked.prompt + asked.written, asked.context_bits)
    needed = stored_bytes(anatomy, bits) + asked.batch * text
    one = room(profile)
    devices = asked.devices or fewest(needed, one)
    run = Run(
        batch=asked.batch,
        prompt=asked.prompt,
        written=asked.written,
        devices=devices,
        weight_bits=bits,
        context_bits=asked.context_bits,
    )
    taken = _read(anatomy, run, profile) if reads else _served(anatomy, run, profile)
    beyond = profile.outside(taken.load)
    if reads and profile.windows:
        beyond = (*beyond, "texts read whole, calibrated on writing")
    told = widened(profile, taken.load) if beyond else profile
    factor = told.band_of(taken.load).seconds
    return Foretold(
        device=profile.name,
        devices=devices,
        precision=precision.strip().lower(),
        per_token=told.joules(taken.joules / taken.tokens, taken.load, unit="J/token"),
        per_request=told.joules(taken.joules / asked.batch, taken.load),
        tokens_per_s=told.seconds(taken.tokens / taken.seconds, taken.load, unit="1/s"),
        first_s=told.seconds(taken.first_s, taken.load),
        power=_power(taken.joules / taken.seconds, factor, told, devices),
        memory_bytes=needed,
        room_bytes=one * devices,
        parts=_parts(taken.legs),
        beyond=beyond,
        source=f"{profile.origin.engine}; {profile.origin.source}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What a batch takes: joules, seconds, and the tokens that they are told of."""

    joules: float
    seconds: float
    first_s: float
    tokens: float
    load: Load
    legs: tuple[Joules, ...]


def _served(anatomy: Anatomy, run: Run, profile: DeviceProfile) -> _Taken:
    """Read and written, told of the tokens written."""
    waits = tuple(profile.waits.values())
    served = serve(
        anatomy,
        run,
        profile.constants,
        batching=profile.origin.batching,
        wait_s=median(waits) if waits else 0.0,
    )
    return _Taken(
        joules=float(served.joules),
        seconds=float(served.seconds),
        first_s=float(served.first_s),
        tokens=run.batch * run.written,
        load=served.load,
        legs=(served.reading.joules, served.writing.joules),
    )


def _read(anatomy: Anatomy, run: Run, profile: DeviceProfile) -> _Taken:
    """Read whole and at once, told of the tokens read."""
    work = work_of(anatomy, run.reading)
    seconds = float(time_of(work.load, profile.constants).total)
    joules = joules_of(work, profile.constants, time=seconds)
    return _Taken(
        joules=float(joules.total),
        seconds=seconds,
        first_s=seconds,
        tokens=run.batch * run.prompt,
        load=work.load,
        legs=(joules,),
    )


def room(profile: DeviceProfile) -> float:
    """Bytes of a device that weights and texts may fill."""
    return profile.sheet.memory_bytes * _USABLE


def fewest(needed: float, room: float) -> int:
    """Devices, a power of two, that hold so many bytes; the most there are when none do.

    >>> fewest(140e9, 72e9), fewest(1e9, 72e9)
    (2, 1)
    """
    count = 1
    while count * room < needed and count < _MOST:
        count *= 2
    return count


def widened(profile: DeviceProfile, load: Load) -> DeviceProfile:
    """The profile with a band as wide as a datasheet's, if its own is narrower."""
    own, other = profile.band_of(load), unseen_band()
    band = Band(
        share=other.share,
        joules=max(own.joules, other.joules),
        seconds=max(own.seconds, other.seconds),
    )
    return replace(profile, band=band, expert_band=None)


def _parts(legs: tuple[Joules, ...]) -> dict[str, float]:
    """Share of the joules by cause; together 1. [1]"""
    found = {
        "static watts": sum(float(leg.static) for leg in legs),
        "moving weights": sum(float(leg.weights.sum()) for leg in legs),
        "moving context": sum(float(leg.context.sum()) for leg in legs),
        "arithmetic": sum(float(leg.operations.sum() + leg.looked.sum()) for leg in legs),
        "between devices": sum(float(leg.links) for leg in legs),
    }
    whole = sum(found.values())
    return {name: joules / whole for name, joules in found.items()}


def _power(value: float, factor: float, profile: DeviceProfile, devices: int) -> Estimate:
    """Mean power; no device draws more than its greatest for long, nor less than at rest. [W]"""
    most = profile.sheet.power_w * devices
    least = (profile.sheet.idle_w or 0.0) * devices
    return Estimate(
        value=value,
        low=min(value, max(least, value / factor)),
        high=max(value, min(most, value * factor)),
        unit="W",
        kind=profile.kind,
        source=f"energy model of {profile.name}",
        boundary=profile.origin.boundary,
    )
