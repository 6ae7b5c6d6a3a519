"""What an entry's figure is made of: factors that other entries may share, and its own part.

    figure = scale × (Σ factor × amount + own part)

A factor is uncertain and belongs to the machine or the grid: the band of a CPU, an
intensity. An amount is exact and belongs to the entry: its CPU time, its wall time. Two
entries that carry the same factor carry the same error of it, so that it cancels in
their ratio and acts on their difference only through the difference of the amounts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Self

from negawatt.core.estimate import Estimate
from negawatt.meters.band import Band, band_of
from negawatt.meters.cgroup import Limits
from negawatt.meters.facts import Identity, cpus
from negawatt.meters.machine import Machine

_BAND = re.compile(r"band for (\S+), ([\d.e+]+) threads, ([\d.e+]+) GB(?:; .+)?")
_TIMES = " × "
_ALIKE = 0.01  # a band's source names its memory with three digits


@dataclass(frozen=True, slots=True)
class Factor:
    """An uncertain number that several entries may share; equal means shared."""

    name: str
    low: float
    value: float
    high: float

    @classmethod
    def of(cls, name: str, estimate: Estimate) -> Self:
        """An estimate as a factor."""
        return cls(name, estimate.low, estimate.value, estimate.high)

    @property
    def is_exact(self) -> bool:
        """True when there is nothing uncertain about it."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Terms:
    """One figure, taken apart.

    Args:
        whole: The figure itself.
        amounts: How much of each factor is in it.
        own: Low, value and high of what no other entry shares.
        own_source: Where that part came from; empty when there is none.
        scale: What everything is multiplied with, None for one.
    """

    whole: Estimate
    amounts: Mapping[Factor, float]
    own: tuple[float, float, float]
    own_source: str = ""
    scale: Factor | None = None

    @classmethod
    def apart(cls, whole: Estimate) -> Self:
        """A figure that shares nothing with any other."""
        return cls(whole, {}, (whole.low, whole.value, whole.high), whole.source)

    @classmethod
    def mean(cls, parts: Sequence[Self], whole: Estimate) -> Self:
        """The mean of several; `whole` is that mean as an estimate. Needs at least one part."""
        count, scales = len(parts), {part.scale for part in parts}
        if len(scales) > 1:
            return cls.apart(whole)
        factors = dict.fromkeys(factor for part in parts for factor in part.amounts)
        low, value, high = (math.fsum(part.own[k] for part in parts) / count for k in range(3))
        return cls(
            whole=whole,
            amounts={
                factor: math.fsum(part.amounts.get(factor, 0.0) for part in parts) / count
                for factor in factors
            },
            own=(low, value, high),
            own_source="; ".join(dict.fromkeys(p.own_source for p in parts if p.own_source)),
            scale=scales.pop(),
        )


def terms_of(figures: Mapping[str, Estimate], key: str) -> Terms:
    """Take one figure of an entry apart, as far as its sources allow.

    Args:
        figures: What the entry holds and shows; keys of `totals.SHOWN`.
        key: Which of them.
    """
    whole = figures[key]
    if key == "energy":
        return _energy(figures)
    if key == "emissions" and "energy" in figures:
        scale = _scale(figures["energy"], whole)
        if scale is not None:
            return replace(_energy(figures), whole=whole, scale=scale)
    return Terms.apart(whole)


def _energy(figures: Mapping[str, Estimate]) -> Terms:
    """Joules of a window: what the band of its machine says, and what counters added."""
    whole = figures["energy"]
    band_source, _, rest = whole.source.partition(" + ")
    band = _band(band_source)
    cpu, wall = figures.get("cpu_seconds"), figures.get("wall_seconds")
    if band is None or cpu is None or wall is None or not (cpu.is_exact and wall.is_exact):
        return Terms.apart(whole)
    modelled = band.energy(cpu_seconds=cpu.value, wall_seconds=wall.value)
    own = (whole.low - modelled.low, whole.value - modelled.value, whole.high - modelled.high)
    if not rest:
        pairs = zip(own, (whole.low, whole.value, whole.high), strict=True)
        if any(abs(left) > _ALIKE * abs(end) for left, end in pairs):
            return Terms.apart(whole)  # the facts behind the band have changed since
        own = (0.0, 0.0, 0.0)
    elif not 0 <= own[0] <= own[1] <= own[2]:
        return Terms.apart(whole)
    amounts = {
        Factor.of(f"power at rest ({band_source})", band.rest): wall.value,
        Factor.of(f"joules per CPU-second ({band_source})", band.per_cpu_second): cpu.value,
    }
    return Terms(whole, amounts, own, rest)


@cache
def _band(source: str) -> Band | None:
    """The band that a source names, rebuilt from the published facts; None for other sources."""
    found = _BAND.fullmatch(source)
    facts = next((cpu for cpu in cpus() if found and cpu.key == found[1]), None)
    if found is None or facts is None:
        return None
    threads, memory = float(found[2]), round(float(found[3]) * 1e9)
    machine = Machine(
        cpu=Identity(), features=(), threads_present=math.ceil(threads), threads_usable=threads,
        memory_present=memory, memory_usable=memory, limits=Limits(), virtual=False, system="",
    )  # fmt: skip
    return replace(band_of(machine, facts), source=source)


def _scale(energy: Estimate, grams: Estimate) -> Factor | None:
    """Grams per joule of an entry: the intensity, times the PUE where there is one.

    The ends were multiplied end by end, so dividing them gives the ends of the scale back.
    """
    if energy.low <= 0 or not grams.source.startswith(energy.source + _TIMES):
        return None
    name = grams.source.removeprefix(energy.source + _TIMES)
    pairs = zip((grams.low, grams.value, grams.high), (energy.low, energy.value, energy.high),
                strict=True)  # fmt: skip
    low, value, high = (_rounded(gram / joule) for gram, joule in pairs)
    return Factor(name, low, value, high) if low <= value <= high else None


def _rounded(number: float) -> float:
    """Ten digits of it: what a division leaves in the last ones would hide that two are equal."""
    return float(f"{number:.10g}")
