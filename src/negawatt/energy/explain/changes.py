"""What a change would do to the joules of a token: slopes, and levers that somebody may pull."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from negawatt.core.estimate import Estimate
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.precisions import kept_bytes, stored_bytes, weight_bits
from negawatt.energy.profiles import DeviceProfile
from negawatt.energy.roofline import Point
from negawatt.energy.serving import Run, Served

Serve = Callable[[Run], Served]

_STEP = 1e-3  # of a logarithm, for slopes
_USABLE = 0.9  # of a device's memory
#: Voltage follows a change of frequency by half of it near the usual point. Assumed.
_FOLLOWS = 0.5


@dataclass(frozen=True, slots=True)
class Slope:
    """How much the joules of a token grow with something.

    Args:
        name: With what.
        percent: More joules a token for one percent more of it. [%]
        words: The same for people.
    """

    name: str
    percent: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One change that somebody may make.

    Args:
        name: What is done.
        words: The same with what it does.
        per_token: Joules of a token then. [J/token]
        share: Of the joules of a token now. [1]
        pace: Seconds of a reply's token then, over those now. [1]
        same_answers: Whether the model answers as before.
    """

    name: str
    words: str
    per_token: Estimate
    share: float
    pace: float
    same_answers: bool


def slopes(run: Run, serve: Serve) -> tuple[Slope, ...]:
    """One for each size that may vary, steepest first."""
    found = []
    for name, scaled in _SCALED.items():
        up, down = (
            float(serve(scaled(run, math.exp(sign * _STEP))).joules_per_token) for sign in (1, -1)
        )
        percent = math.log(up / down) / (2 * _STEP)
        verb = "costs" if percent > 0 else "saves"
        words = f"1 % more {name} {verb} {abs(percent):.2f} % of the joules of a token"
        found.append(Slope(name, percent, words))
    return tuple(sorted(found, key=lambda slope: -abs(slope.percent)))


def levers(anatomy: Anatomy, run: Run, serve: Serve, profile: DeviceProfile) -> tuple[Lever, ...]:
    """Changes that save, greatest saving first; those that memory forbids are left out."""
    now = serve(run)
    found = []
    for name, changed, same in _tried(anatomy, run):
        if not _fits(anatomy, changed, profile):
            continue
        then = serve(changed)
        share = float(then.joules_per_token) / float(now.joules_per_token)
        pace = float(then.writing.seconds / then.run.written) / float(
            now.writing.seconds / now.run.written
        )
        if share >= 1:
            continue
        found.append(
            Lever(
                name=name,
                words=_said(name, share, pace, profile.outside(then.load), same_answers=same),
                per_token=profile.joules(float(then.joules_per_token), then.load, unit="J/token"),
                share=share,
                pace=pace,
                same_answers=same,
            )
        )
    return tuple(sorted(found, key=lambda lever: lever.share))


def _tried(anatomy: Anatomy, run: Run) -> Iterator[tuple[str, Run, bool]]:
    """Name, changed run, and whether answers stay as they are."""
    batch = float(run.batch)
    for factor in (2, 4, 8):
        yield (
            f"{batch * factor:g} requests at once instead of {batch:g}",
            replace(run, batch=batch * factor),
            True,
        )
    mean = float(np.mean(run.weight_bits))
    for precision in ("fp8", "int4"):
        bits = weight_bits(anatomy, precision)
        if float(np.mean(bits)) < mean:
            yield (
                f"weights in {precision}",
                replace(run, weight_bits=np.minimum(bits, run.weight_bits)),
                False,
            )
    if float(run.context_bits) > 8:
        yield "keys and values in 8 bits", replace(run, context_bits=8.0), False
    if run.devices > 1:
        yield (
            f"{run.devices // 2} devices instead of {run.devices}",
            replace(run, devices=run.devices // 2),
            True,
        )
    for slower in (0.9, 0.75):
        point = Point(frequency=slower, voltage=1 - _FOLLOWS * (1 - slower))
        yield f"a clock of {slower:.0%} of the usual one", replace(run, point=point), True


def _fits(anatomy: Anatomy, run: Run, profile: DeviceProfile) -> bool:
    bits = np.broadcast_to(np.asarray(run.weight_bits, dtype=float), (len(anatomy.matrices),))
    text = kept_bytes(anatomy, float(run.prompt + run.written), float(run.context_bits))
    needed = stored_bytes(anatomy, bits) + float(run.batch) * text
    return bool(needed <= _USABLE * profile.sheet.memory_bytes * run.devices)


def _said(
    name: str, share: float, pace: float, beyond: tuple[str, ...], *, same_answers: bool
) -> str:
    said = f"{name}: {1 - share:.0%} fewer joules a token"
    if pace > 1.02:
        said += f", each reply {pace:.2g} times as slow"
    elif pace < 0.98:
        said += f", each reply in {pace:.0%} of the time"
    if not same_answers:
        said += "; answers change, so measure their quality"
    return said + ("; beyond what the device was calibrated on" if beyond else "")


def _bits(run: Run, factor: float) -> Run:
    return replace(run, weight_bits=np.asarray(run.weight_bits, dtype=float) * factor)


def _clock(run: Run, factor: float) -> Run:
    point = run.point
    voltage = point.voltage * factor**_FOLLOWS
    return replace(run, point=replace(point, frequency=point.frequency * factor, voltage=voltage))


_SCALED: dict[str, Callable[[Run, float], Run]] = {
    "requests at once": lambda run, f: replace(run, batch=run.batch * f),
    "bits of a weight": _bits,
    "bits of keys and values": lambda run, f: replace(run, context_bits=run.context_bits * f),
    "tokens read": lambda run, f: replace(run, prompt=run.prompt * f),
    "tokens written": lambda run, f: replace(run, written=run.written * f),
    "clock": _clock,
}
