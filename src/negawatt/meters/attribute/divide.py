"""Share one figure in proportion to use, with what a device draws at rest kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.meters.attribute.account import (
    ROUNDING,
    Account,
    NotConserved,
    Rest,
    Use,
    not_negative,
    nothing,
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """An account that is not yet added up."""

    parts: Mapping[str, Estimate]
    idle: Estimate
    unattributed: Estimate

    def __add__(self, other: _Rows) -> _Rows:
        none = nothing(self.idle)
        names = dict.fromkeys((*self.parts, *other.parts))
        return _Rows(
            {n: self.parts.get(n, none) + other.parts.get(n, none) for n in names},
            self.idle + other.idle,
            self.unattributed + other.unattributed,
        )


def divide(
    total: Estimate, use: Use, *, rule: str, rest: Rest | None = None, flags: tuple[str, ...] = ()
) -> Account:
    """Share `total` in proportion to `use`.

    A share of a measured figure is modelled: the sum was measured, the rule was chosen. Its
    interval holds that of the total and the blur of the use; how good the rule is, it cannot say.

    With `rest`, what is above rest is shared by use, idle use draws rest alone, and `rest.borne_by`
    says who bears the rest. Where nobody used the device, rest stays idle whoever is to bear it,
    and what is above rest is unattributed.

    Args:
        total: What to share. [J, or any unit]
        use: Who used how much.
        rule: What `use` counts: "CPU time".
        rest: What would have flowed anyway; in the shares when None. [the unit of `total`]
        flags: Carried into the account.

    Raises:
        UsageError: the total is negative, or the units differ.
        NotConserved: rest is more than the total, beyond both intervals.

    >>> ten = Estimate.exact(10.0, unit="J", source="rapl:package-0")
    >>> account = divide(ten, Use({"a": 3.0, "b": 1.0}, idle=1.0), rule="time")
    >>> {name: str(part) for name, part in account.parts.items()}, str(account.idle)
    ({'a': '6 J (modelled)', 'b': '2 J (modelled)'}, '2 J (modelled)')
    >>> still = Rest(Estimate.exact(4.0, unit="J", source="rapl:package-0"))
    >>> account = divide(ten, Use({"a": 3.0, "b": 1.0}), rule="time", rest=still)
    >>> account.parts["a"].value, account.idle.value
    (4.5, 4.0)
    """
    not_negative("what is shared", total.value)
    total = replace(total, low=max(0.0, total.low))
    if rest is None:
        return _close(total, _spread(total, use, rule), rule, flags)
    if rest.energy.unit != total.unit:
        raise UsageError(
            f"rest in {rest.energy.unit} cannot be taken from {total.unit}",
            fix="give the energy at rest over the same time, in the same unit",
        )
    busy = replace(use, idle=0.0)
    words = f"{rule}; {rest.words}"
    if rest.borne_by == "use" and busy.total > 0:
        return _close(total, _spread(total, busy, words), words, flags)
    still, above, more = _apart(total, rest.energy)
    rows = _spread(above, busy, words) + _spread(still, _bearers(rest, busy), words)
    return _close(total, rows, words, (*flags, *more))


def _close(total: Estimate, rows: _Rows, rule: str, flags: tuple[str, ...]) -> Account:
    return Account(
        total=total,
        parts=rows.parts,
        idle=rows.idle,
        unattributed=rows.unattributed,
        rule=rule,
        flags=flags,
    )


def _spread(amount: Estimate, use: Use, rule: str) -> _Rows:
    """Every share with its interval; all of it unattributed where there is no use at all."""
    if use.total <= 0:
        use = replace(use, unattributed=1.0, blur=0.0)
    whole = use.total
    known = replace(
        amount,
        kind=weakest((amount.kind, Kind.MODELLED)),
        source=f"{amount.source}, shared by {rule}",
    )

    def share(mine: float) -> Estimate:
        others = max(0.0, whole - mine)
        least, most = max(0.0, mine - use.blur), mine + use.blur
        # the smallest share: all of us too high and all others too low; the largest the reverse
        low = least / (least + others + use.blur) if least > 0 else 0.0
        high = most / (most + max(0.0, others - use.blur)) if most > 0 else 0.0
        part = mine / whole
        return replace(
            known,
            value=amount.value * part,
            low=amount.low * min(low, part),
            high=amount.high * max(high, part),
        )

    return _Rows(
        {name: share(mine) for name, mine in use.parts.items()},
        share(use.idle) if use.idle > 0 else nothing(known),
        share(use.unattributed),
    )


def _apart(total: Estimate, rest: Estimate) -> tuple[Estimate, Estimate, tuple[str, ...]]:
    """Rest, what is above it, and a word where rest is more than there was.

    Both values sum to the total. Their ends do not: what is above rest is a difference, and as
    uncertain as both.
    """
    both = f"rest {rest.value:.6g} {rest.unit}, total {total.value:.6g} {total.unit}"
    if rest.low > total.high * (1 + ROUNDING):
        raise NotConserved(
            f"a device draws more at rest than it drew ({both})",
            fix="measure rest again, on the same boundary and for the same time",
        )
    flags = (f"{both}; all of it is taken as rest",) if rest.value > total.value else ()
    value = min(rest.value, total.value)
    least = min(rest.low, total.low, value)  # what rests is no surer than what was read
    still = replace(rest, value=value, low=least, high=max(rest.high, value))
    above = replace(
        total,
        value=total.value - value,
        low=max(0.0, min(total.low - rest.high, total.value - value)),
        high=max(total.high - rest.low, total.value - value),
        kind=weakest((total.kind, rest.kind)),
        source=f"{total.source} above rest ({rest.source})",
    )
    return still, above, flags


def _bearers(rest: Rest, busy: Use) -> Use:
    """Rest as a use of its own: who bears how much of it."""
    if isinstance(rest.borne_by, Mapping):
        return Use(rest.borne_by)
    if rest.borne_by == "equal" and busy.parts:
        return Use(dict.fromkeys(busy.parts, 1.0))
    return Use({}, idle=1.0)
