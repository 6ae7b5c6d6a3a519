"""One figure and whom it belongs to: the parts, what was idle, what nobody can be charged with.

Three things hold for every account, and are checked when it is made:

- parts + idle + unattributed = total, to rounding;
- no part is negative;
- nothing is scaled to fit. Figures that contradict each other raise `NotConserved`, or stand in
  `flags` with both numbers where they agree within what their meters can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Estimate

ROUNDING = 1e-9  # of the total: what floating point may lose in a long sum [1]

#: Who bears what a device draws at rest: nobody ("idle"), its users in proportion to their use
#: ("use"), each of them alike ("equal"), or by weights of your own (cores reserved, rent paid).
Bearer = Literal["idle", "use", "equal"] | Mapping[str, float]


class NotConserved(MeterUnavailable):
    """The parts and the whole contradict each other, so what a part took is not known."""


def not_negative(what: str, *values: float) -> None:
    """Refuse numbers that no amount of time, work or energy can be.

    Raises:
        UsageError: one of them is negative, infinite or not a number.

    >>> not_negative("a duration", 0.0, 1.5)
    """
    wrong = [value for value in values if not (math.isfinite(value) and value >= 0)]
    if wrong:
        raise UsageError(
            f"{what} must be a number of at least 0, got {wrong[0]}",
            fix="drop the reading or find out why its counter ran backwards",
        )


def fitting(
    parts: float, whole: float, *, slack: float, what: str, fix: str, unit: str = "s"
) -> tuple[str, ...]:
    """Whether parts fit into a whole: no words, or a word with both figures when they just do.

    Args:
        parts: Sum of the parts. [`unit`]
        whole: What they are parts of. [`unit`]
        slack: By how much the two may differ for reasons of resolution. [`unit`]
        what: Names of both: "processes, machine".
        fix: What to do when they do not fit.
        unit: Of all three figures.

    Raises:
        NotConserved: the parts exceed the whole by more than `slack`.

    >>> fitting(3.0, 4.0, slack=0.1, what="processes, machine", fix="")
    ()
    >>> fitting(4.05, 4.0, slack=0.1, what="processes, machine", fix="")
    ('processes, machine: 4.05 s, 4 s; more, within 0.1 s of resolution',)
    """
    over = parts - whole
    if over <= ROUNDING * max(parts, whole):
        return ()
    words = f"{what}: {parts:.6g} {unit}, {whole:.6g} {unit}"
    if over > slack:
        raise NotConserved(f"parts exceed the whole ({words})", fix=fix)
    return (f"{words}; more, within {slack:.3g} {unit} of resolution",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A figure, shared out.

    Args:
        total: What was shared. [its unit]
        parts: What each phase, process, container or request bears. [the same]
        idle: What flowed while nobody used the device, or would have flowed anyway. [the same]
        unattributed: What was used by somebody who is not known. [the same]
        rule: How it was shared, in words.
        flags: What a reader should know: figures that only just agree, what was taken as given.

    Raises:
        NotConserved: parts, idle and unattributed do not sum to the total, or one is negative.
    """

    total: Estimate
    parts: Mapping[str, Estimate]
    idle: Estimate
    unattributed: Estimate
    rule: str
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))
        rows = (*self.parts.values(), self.idle, self.unattributed)
        units = {self.total.unit, *(row.unit for row in rows)}
        if len(units) > 1:
            raise UsageError(
                f"an account has one unit, got {', '.join(sorted(units))}",
                fix="bring every figure to the same unit",
            )
        summed, unit = math.fsum(row.value for row in rows), self.total.unit
        if min(row.value for row in rows) < 0:
            raise NotConserved("a part of an account is negative", fix="look at its readings")
        if abs(summed - self.total.value) > ROUNDING * max(summed, self.total.value):
            raise NotConserved(
                f"parts, idle and unattributed sum to {summed:.9g} {unit}, "
                f"and the total is {self.total.value:.9g} {unit}",
                fix="look for work that is counted twice, or left out",
            )

    def __add__(self, other: Account) -> Account:
        """Two stretches of time as one; parts of one name add."""
        names = dict.fromkeys((*self.parts, *other.parts))
        none = nothing(self.total)
        return Account(
            total=self.total + other.total,
            parts={n: self.parts.get(n, none) + other.parts.get(n, none) for n in names},
            idle=self.idle + other.idle,
            unattributed=self.unattributed + other.unattributed,
            rule=self.rule if other.rule == self.rule else f"{self.rule} + {other.rule}",
            flags=tuple(dict.fromkeys(self.flags + other.flags)),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, estimates included."""
        return {
            "total": self.total.to_json(),
            "parts": {name: part.to_json() for name, part in self.parts.items()},
            "idle": self.idle.to_json(),
            "unattributed": self.unattributed.to_json(),
            "rule": self.rule,
            "flags": list(self.flags),
        }


@dataclass(frozen=True, slots=True)
class Use:
    """How much each part used a device, in any one unit: seconds, bytes, percent.

    Args:
        parts: Use of each.
        idle: Use that nobody made: time in which the device waited.
        unattributed: Use that somebody made who is not known.
        blur: By how much each figure may be off, in the same unit.

    Raises:
        UsageError: a figure is negative or not a number.
    """

    parts: Mapping[str, float]
    idle: float = 0.0
    unattributed: float = 0.0
    blur: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        for name, amount in self.parts.items():
            not_negative(f"the use of {name!r}", amount)
        not_negative("use", self.idle, self.unattributed, self.blur)
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    @property
    def total(self) -> float:
        """All of it, in the unit of the parts."""
        return math.fsum((*self.parts.values(), self.idle, self.unattributed))


@dataclass(frozen=True, slots=True)
class Rest:
    """What a device would have drawn over the same time without any work, and who bears it.

    Args:
        energy: Power at rest times the time of the account. [J]
        borne_by: "idle", "use", "equal", or weights.

    Raises:
        UsageError: a weight is negative or not a number, or none is positive.
    """

    energy: Estimate
    borne_by: Bearer = "idle"

    def __post_init__(self) -> None:
        not_negative("energy at rest", self.energy.low)
        if isinstance(self.borne_by, Mapping) and Use(self.borne_by).total <= 0:
            raise UsageError("nobody bears the power at rest", fix='give weights, or "idle"')

    @property
    def words(self) -> str:
        """The rule, for people."""
        if isinstance(self.borne_by, Mapping):
            return "power at rest by given weights"
        return {
            "idle": "power at rest stays idle",
            "use": "power at rest borne in proportion to use",
            "equal": "power at rest borne by each alike",
        }[self.borne_by]


def nothing(like: Estimate) -> Estimate:
    """No energy at all, in the unit and boundary of another figure, and as sure as that."""
    return replace(like, value=0.0, low=0.0, high=0.0)
