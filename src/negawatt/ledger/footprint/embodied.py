"""The share of making the hardware that a piece of work has to carry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import Factor, table
from negawatt.ledger.footprint.operation import GRAMS, expect, total

SECONDS_PER_YEAR = 365 * 86_400  # as the published methods count it
_GRAMS_PER_KG = 1000.0
_SERVERS = ("server", "gpu-server", "cpu", "ram", "ssd", "hdd")  # live as long as the server


@dataclass(frozen=True, slots=True)
class Part:
    """Some amount of one kind of hardware: pieces, or gigabytes of memory and flash.

    >>> Part.parse("h100:8")
    Part(name='h100', amount=8.0)
    """

    name: str
    amount: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read NAME or NAME:AMOUNT.

        Raises:
            UsageError: not that form, or no such part; the message names them.
        """
        found = re.fullmatch(r"([A-Za-z0-9-]+)(?::(\d+(?:\.\d+)?))?", text.strip())
        if found is None:
            raise UsageError(
                f"{text!r} names no hardware", fix="write NAME:AMOUNT, for example h100:8"
            )
        part = cls(found[1].lower(), float(found[2] or 1))
        part.factor()
        return part

    def factor(self) -> Factor:
        """The published figure of one piece or gigabyte."""
        known = table("embodied")
        if self.name not in known or self.name.startswith("lifetime"):
            raise UsageError(
                f"nothing is known of making {self.name!r}",
                fix=f"name one of: {', '.join(parts())}",
            )
        return known[self.name]

    def made(self) -> Estimate:
        """What making all of it emitted. [gCO2e]"""
        return replace(
            self.factor().estimate().scaled(_GRAMS_PER_KG * self.amount, unit=GRAMS),
            boundary=f"manufacture of {self.amount:g} {self.unit}{self.name}",
        )

    @property
    def unit(self) -> str:
        """Words between amount and name: gigabytes of it, or pieces."""
        return "GB of " if self.factor().unit.endswith("/GB") else "× "

    def lifetime(self) -> Estimate:
        """How long such a part is used. [s]"""
        key = "lifetime_server" if self.name in _SERVERS else "lifetime_gpu"
        return table("embodied")[key].estimate().scaled(SECONDS_PER_YEAR, unit="s")


def parts() -> tuple[str, ...]:
    """Every kind of hardware with a published figure.

    >>> "h100" in parts() and "ram" in parts()
    True
    """
    return tuple(name for name in table("embodied") if not name.startswith("lifetime"))


def embodied_share(
    made: Estimate, *, period: Estimate, lifetime: Estimate, share: float = 1.0
) -> Estimate:
    """Time share times resource share of what making a thing emitted.

    The M term of ISO/IEC 21031: TE × (time reserved / lifetime) × (resources
    reserved / resources there are).

    Args:
        made: Emissions of making the whole thing. [gCO2e]
        period: How long it was reserved. [s]
        lifetime: How long it is used in all; above 0. [s]
        share: Of the thing that was reserved, 0 to 1. [1]

    Raises:
        UsageError: a unit or a share cannot be, or the period exceeds the lifetime.

    >>> ton = Estimate.exact(1e6, unit="gCO2e", source="maker")
    >>> hour, years = stated_seconds(3600), stated_seconds(4 * SECONDS_PER_YEAR)
    >>> round(embodied_share(ton, period=hour, lifetime=years).value, 9)
    28.538812785
    """
    expect(made, GRAMS, "embodied emissions")
    expect(period, "s", "period")
    expect(lifetime, "s", "lifetime")
    if not 0 <= share <= 1:
        raise UsageError(
            f"a share of {share:g} of a machine cannot be reserved",
            fix="give resources reserved over resources there are, from 0 to 1",
        )
    if lifetime.low <= 0 or period.low < 0 or period.value > lifetime.high:
        raise UsageError(
            f"{period.value:g} s is no part of a lifetime of {lifetime.high:g} s",
            fix="count one lifetime for each machine: more machines, or a shorter period",
        )
    inverse = Estimate(
        value=1 / lifetime.value,
        low=1 / lifetime.high,
        high=1 / lifetime.low,
        unit="1/s",
        kind=lifetime.kind,
        source=lifetime.source,
    )
    part = made.times(period.times(inverse, unit="1"), unit=GRAMS).scaled(share)
    return replace(part, boundary=made.boundary or "manufacture")


def hardware_share(
    held: Sequence[Part],
    *,
    period: Estimate,
    share: float = 1.0,
    lifetime: Estimate | None = None,
) -> Mapping[str, Estimate]:
    """The embodied share of every part that was held. [gCO2e]

    Args:
        held: What was reserved.
        period: How long. [s]
        share: Of all of it, where others used it at the same time. [1]
        lifetime: Of all of it; published lifetimes by kind of part when None. [s]

    >>> shares = hardware_share([Part("h100")], period=stated_seconds(3600))
    >>> f"{shares['h100'].low:.1f} to {shares['h100'].high:.1f}"
    '3.7 to 21.9'
    """
    found: dict[str, Estimate] = {}
    for part in held:
        one = embodied_share(
            part.made(), period=period, lifetime=lifetime or part.lifetime(), share=share
        )
        found[part.name] = found[part.name] + one if part.name in found else one
    return found


def together(shares: Mapping[str, Estimate]) -> Estimate | None:
    """The sum over parts; None when nothing was named, because that is not nothing. [gCO2e]"""
    if not shares:
        return None
    summed = total(tuple(shares.values()))
    return replace(summed, boundary=f"manufacture of {', '.join(shares)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """A virtual machine as the sci-embodied convention sees it."""

    vcpus: float = 1
    memory_gb: float = 16
    ssds: float = 0
    hdds: float = 0
    gpus: float = 0


def sci_embodied(period: Estimate, machine: Reserved | None = None, share: float = 1.0) -> Estimate:
    """Embodied share by the Impact Framework's sci-embodied convention.

    A baseline of 1000 kg for 1 vCPU and 16 GB, what each part beyond it adds,
    over four years. A convention many reports use; its figures are assumed and
    carry no spread, so prefer `hardware_share` where the hardware is known.

    Args:
        period: How long it was reserved. [s]
        machine: What was reserved; the baseline when None.
        share: Usage ratio, 0 to 1. [1]

    >>> sci_embodied(stated_seconds(3600), Reserved(vcpus=2)).value
    31.39269406392694
    """
    known, machine = table("sci_embodied"), machine or Reserved()
    grams = (
        known["baseline"].value
        + (machine.vcpus - 1) * known["vcpu"].value
        + (machine.memory_gb - 16) * known["memory"].value
        + machine.ssds * known["ssd"].value
        + machine.hdds * known["hdd"].value
        + machine.gpus * known["gpu"].value
    )
    if min(machine.vcpus, machine.memory_gb) <= 0 or grams < 0:
        raise UsageError("a machine needs processors and memory", fix="give both, above 0")
    source = known["baseline"].source
    made = Estimate.exact(
        grams, unit=GRAMS, source=source, boundary="manufacture of a server", kind=Kind.ASSUMED
    )
    years = known["lifespan"].estimate()
    return embodied_share(made, period=period, lifetime=replace(years, source=source), share=share)


def stated_seconds(seconds: float) -> Estimate:
    """A length of time somebody states. [s]"""
    return Estimate.exact(seconds, unit="s", source="stated time", kind=Kind.ASSUMED)
