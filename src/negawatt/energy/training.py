"""What a training takes: forward, backward and optimizer steps over so many tokens. Pure.

    steps = tokens / (sequences · length)
    E     = steps · (forward + backward + optimizer), each by the law of energy.roofline

Serving hardly tells how fast a device multiplies large matrices for weeks, so the rate is what whole
published trainings reached (`data/devices/training.toml`), and its spread is in the interval.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.devices import known_datasheets
from negawatt.energy.profiles import DeviceProfile
from negawatt.energy.roofline import joules_of, time_of
from negawatt.energy.workload import Phase, Step, work_of

#: Weight, gradient and both moments of Adam, with a copy of the weight in 32 bits. [B] each
BYTES_PER_WEIGHT = 16.0

_PHASES: tuple[Phase, ...] = ("forward", "backward", "optimizer")
_OPERATIONS = 6.0  # of a weight and token: 2 forward, 4 backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training, data-parallel.

    Args:
        tokens: In all.
        devices: That share it.
        length: Tokens of a sequence.
        sequences: Of a step, on all devices together; four a device when None.
    """

    tokens: float
    devices: int = 8
    length: int = 4096
    sequences: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "devices", "length", "sequences"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e18:
                raise UsageError(
                    f"{name} is {value!r}", fix=f"give a number of {name} above nought"
                )

    @property
    def at_once(self) -> float:
        """Sequences of a step."""
        return self.sequences or 4.0 * self.devices

    @property
    def steps(self) -> float:
        """Updates of the weights."""
        return self.tokens / (self.at_once * self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training takes.

    Args:
        device: On what.
        devices: How many.
        joules: Of all devices. [J]
        seconds: From start to end. [s]
        operations: Of all devices.
        parts: Share of the joules by phase. [1]
        memory_bytes: Of weights, gradients and optimizer, over all devices; activations come on top. [B]
        room_bytes: That the devices have. [B]
        source: Of the device's constants and of the rate.
    """

    device: str
    devices: int
    joules: Estimate
    seconds: Estimate
    operations: float
    parts: dict[str, float]
    memory_bytes: float
    room_bytes: float
    source: str

    @property
    def fits(self) -> bool:
        """Whether memory is enough, activations apart."""
        return self.memory_bytes <= self.room_bytes


@cache
def utilisation() -> Estimate:
    """Share of the datasheet's rate that whole trainings reach, and where nine in ten lie. [1]

    >>> told = utilisation()
    >>> 0.2 < told.value < 0.5 and told.low < 0.2
    True
    """
    runs = tomllib.loads(_text())["runs"]
    sheets = known_datasheets()
    logs = [
        math.log(
            _OPERATIONS
            * run["parameters"]
            * 1e9
            * run["tokens"]
            * 1e12
            / (run["hours"] * 1e3 * 3600.0 * sheets[run["device"]].rate)
        )
        for run in runs
    ]
    middle = sum(logs) / len(logs)
    spread = math.sqrt(sum((one - middle) ** 2 for one in logs) / (len(logs) - 1))
    factor = math.exp(_student(len(logs)) * spread * math.sqrt(1 + 1 / len(logs)))
    value = math.exp(middle)
    return Estimate(
        value=value,
        low=value / factor,
        high=min(1.0, value * factor),
        unit="1",
        kind=Kind.MODELLED,
        source=f"{len(runs)} published trainings of {runs[0]['model']} to {runs[-1]['model']}",
        boundary="whole device hours",
    )


def train(anatomy: Anatomy, training: Training, profile: DeviceProfile) -> Trained:
    """What a training takes on a device.

    Args:
        anatomy: Of the model.
        training: How much.
        profile: Of the device.

    >>> from negawatt.energy.catalogue import catalogue
    >>> from negawatt.energy.published import Totals, anatomy_from
    >>> sizes = Totals(parameters=7e9, active=7e9, layers=32, hidden=4096, heads=4096, kept=65536)
    >>> told = train(
    ...     anatomy_from("7B", sizes),
    ...     Training(tokens=2e12, devices=1024),
    ...     catalogue().find("A100-SXM4-80GB"),
    ... )
    >>> told.joules.low < 184_320 * 3600 * 400 < told.joules.high  # the published hours at 400 W
    True
    """
    share = utilisation()
    middle, slow, quick = (
        _taken(anatomy, training, profile, reached)
        for reached in (share.value, share.low, share.high)
    )
    joules, seconds = sum(middle.joules.values()), middle.seconds
    band = profile.band
    origin = profile.origin
    source = f"energy model of {profile.name} ({origin.source}); {share.source}"
    return Trained(
        device=profile.name,
        devices=training.devices,
        joules=Estimate(
            value=joules,
            low=min(joules, sum(quick.joules.values())) / band.joules,
            high=max(joules, sum(slow.joules.values())) * band.joules,
            unit="J",
            kind=profile.kind,
            source=source,
            boundary=origin.boundary,
        ),
        # The spread of whole trainings holds what else differs between them.
        seconds=Estimate(
            value=seconds,
            low=min(seconds, quick.seconds),
            high=max(seconds, slow.seconds),
            unit="s",
            kind=profile.kind,
            source=source,
            boundary=origin.boundary,
        ),
        operations=middle.operations,
        parts={name: part / joules for name, part in middle.joules.items()},
        memory_bytes=BYTES_PER_WEIGHT * anatomy.parameters,
        room_bytes=profile.sheet.memory_bytes * training.devices,
        source=source,
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    joules: dict[str, float]
    seconds: float
    operations: float


def _taken(anatomy: Anatomy, training: Training, profile: DeviceProfile, reached: float) -> _Taken:
    """All steps, with a device that reaches so much of its datasheet's rate."""
    constants = replace(profile.constants, rate=profile.sheet.rate * reached)
    joules: dict[str, float] = {}
    seconds, operations = 0.0, 0.0
    for phase in _PHASES:
        step = Step(
            phase=phase,
            batch=training.at_once,
            new=training.length,
            devices=training.devices,
            split="data",
        )
        work = work_of(anatomy, step)
        lasts = float(time_of(work.load, constants).total)
        # Sampling and bookkeeping of a server are no part of training.
        lasts -= float(time_of(work.load, constants).sequences)
        joules[phase] = training.steps * float(joules_of(work, constants, time=lasts).total)
        seconds += training.steps * lasts
        operations += training.steps * float(work.load.operations)
    return _Taken(joules, seconds, operations)


def _student(count: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.95, count - 1))


def _text() -> str:
    file = files("negawatt") / "data" / "devices" / "training.toml"
    return file.read_text(encoding="utf-8")
