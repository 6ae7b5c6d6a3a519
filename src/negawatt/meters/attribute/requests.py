"""Share the energy of an engine that serves many requests at once, from one pass over its steps.

Under continuous batching a step reads the weights once for every sequence in it, multiplies them
with each new token, and reads the cache of each sequence. So the three costs are shared by three
keys: reading weights by sequence, tokens by tokens, cache by context. A step in time is shared by
the ratio of these costs, and its own measured time or energy says how much there is to share.

Two figures for each request answer two questions. Its *shared* energy is its fair part: these add
up to the whole. Its *marginal* energy is what the engine would have saved without it: the weights
are read for the others anyway, so these add up to less, and the rest is `common`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.meters.attribute.account import (
    Account,
    Rest,
    Use,
    fitting,
    not_negative,
    nothing,
)
from negawatt.meters.attribute.divide import divide


@dataclass(frozen=True, slots=True)
class SequenceWork:
    """What one step did for one sequence.

    Args:
        request: Whose it is; a request may have several sequences in a step.
        new_tokens: Tokens that went through the model: one in decode, a chunk in prefill. [token]
        context_tokens: Tokens of its cache that were read. [token]

    Raises:
        UsageError: a count is negative or not a number.
    """

    request: str
    new_tokens: float
    context_tokens: float

    def __post_init__(self) -> None:
        not_negative(f"tokens of {self.request}", self.new_tokens, self.context_tokens)


@dataclass(frozen=True, slots=True)
class EngineStep:
    """One pass of the engine.

    Args:
        amount: How long it took [s], or its own energy [J]; the same for all steps of an account.
        work: One entry a sequence; an engine that waited has none.

    Raises:
        UsageError: the amount is negative or not a number.
    """

    amount: float
    work: tuple[SequenceWork, ...] = ()

    def __post_init__(self) -> None:
        not_negative("time or energy of a step", self.amount)


@dataclass(frozen=True, slots=True)
class StepCosts:
    """How the three costs of a step compare, in any one unit; only their ratio matters.

    Args:
        weights: Reading every weight once, per step.
        token: One more token through the model.
        context: Reading one more token of cache.

    Raises:
        UsageError: a cost is negative or not a number, or none is positive.
    """

    weights: float
    token: float
    context: float

    def __post_init__(self) -> None:
        not_negative("a cost", self.weights, self.token, self.context)
        if self.weights + self.token + self.context <= 0:
            raise UsageError("a step that costs nothing cannot be shared", fix="give its costs")

    @classmethod
    def of_model(
        cls,
        *,
        weight_bytes: float,
        cache_bytes: float,
        operations: float,
        bytes_per_s: float,
        operations_per_s: float,
    ) -> StepCosts:
        """Costs as time on a device, from what a model moves and computes. [s]

        Args:
            weight_bytes: Weights read in a step. [B]
            cache_bytes: Keys and values of one token, all layers. [B/token]
            operations: Arithmetic of one token, about twice the weights. [1/token]
            bytes_per_s: Memory rate reached. [B/s]
            operations_per_s: Arithmetic rate reached. [1/s]

        Raises:
            UsageError: a rate is not positive.

        >>> StepCosts.of_model(
        ...     weight_bytes=16e9,
        ...     cache_bytes=128e3,
        ...     operations=16e9,
        ...     bytes_per_s=2e12,
        ...     operations_per_s=4e14,
        ... )
        StepCosts(weights=0.008, token=4e-05, context=6.4e-08)
        """
        if not (bytes_per_s > 0 and operations_per_s > 0):
            raise UsageError("a rate must be positive", fix="give what the device reaches")
        return cls(
            weight_bytes / bytes_per_s, operations / operations_per_s, cache_bytes / bytes_per_s
        )

    def own(self, work: SequenceWork) -> float:
        """What a sequence adds to a step that runs anyway, in the unit of the costs."""
        return self.token * work.new_tokens + self.context * work.context_tokens


@dataclass(frozen=True, slots=True)
class RequestAccount:
    """What each request of an engine took, two ways.

    Args:
        shared: Fair parts; they sum to the device with idle and unattributed.
        marginal: What would have been saved without each, the others as they were; at most its
            fair part above rest. [J]
        common: What the steps with work drew above all marginal parts. [J]
    """

    shared: Account
    marginal: Mapping[str, Estimate]
    common: Estimate


def by_request(
    device: Estimate,
    steps: Iterable[EngineStep],
    costs: StepCosts,
    *,
    period_s: float | None = None,
    per: Literal["s", "J"] = "s",
    rest: Rest | None = None,
) -> RequestAccount:
    """Share a reading among the requests that an engine served meanwhile, in one pass.

    Steps without work are unattributed: the engine ran for nobody. Time of the period outside every
    step is idle; so is energy outside every step where steps have their own. With `rest`, only what
    is above rest is shared, and `rest.borne_by` says who bears the rest.

    Args:
        device: What was read over the period. [J]
        steps: In any order; read once.
        costs: How a step's costs compare.
        period_s: Time of the reading; that of the steps alone when None. [s]
        per: What the amount of a step is: its time ("s") or its energy ("J").
        rest: What the device would have drawn anyway over the period.

    Raises:
        UsageError: a figure is negative or not a number.
        NotConserved: the steps took longer than the period, or more than the device.

    >>> hundred = Estimate.exact(100.0, unit="J", source="nvml:0", boundary="gpu:0")
    >>> both = (SequenceWork("a", 1, 100), SequenceWork("b", 1, 300))
    >>> steps = [EngineStep(0.5, both), EngineStep(0.25, both[:1]), EngineStep(0.25)]
    >>> account = by_request(hundred, steps, StepCosts(weights=8, token=1, context=0.01))
    >>> {name: round(part.value, 2) for name, part in account.shared.parts.items()}
    {'a': 46.43, 'b': 28.57}
    >>> {name: round(part.value, 2) for name, part in account.marginal.items()}
    {'a': 32.14, 'b': 14.29}
    >>> account.shared.unattributed.value, round(account.common.value, 2)
    (25.0, 28.57)
    """
    shared: defaultdict[str, float] = defaultdict(float)
    alone: defaultdict[str, float] = defaultdict(float)
    waited = 0.0
    for step in steps:
        parts = _of_step(step, costs)
        for request, (fair, saved) in parts.items():
            shared[request] += fair
            alone[request] += saved
        waited += 0.0 if parts else step.amount
    taken = math.fsum((*shared.values(), waited))
    whole, flags = _whole(device, taken, period_s, per)
    use = Use(shared, idle=max(0.0, whole - taken), unattributed=waited)
    rule = "weights by sequence, tokens by token, cache by context; steps by " + (
        "time" if per == "s" else "energy"
    )
    account = divide(device, use, rule=rule, rest=rest, flags=flags)
    # marginal parts are above rest, which would have flowed without any request
    above = account if rest is None else divide(device, use, rule=rule, rest=Rest(rest.energy))
    ratio = {n: alone[n] / shared[n] if shared[n] > 0 else 0.0 for n in shared}
    source = f"{device.source}, what a request adds to the steps it was in"
    marginal = {n: replace(above.parts[n].scaled(ratio[n]), source=source) for n in shared}
    common = replace(nothing(above.unattributed), source=f"{device.source}, what requests share")
    for name, part in above.parts.items():
        common = replace(common + part.scaled(1.0 - ratio[name]), source=common.source)
    return RequestAccount(account, MappingProxyType(marginal), common)


def _of_step(step: EngineStep, costs: StepCosts) -> dict[str, tuple[float, float]]:
    """Fair part and saving of each request in one step, in the unit of its amount."""
    if not step.work:
        return {}
    own: defaultdict[str, float] = defaultdict(float)
    sequences: defaultdict[str, int] = defaultdict(int)
    for work in step.work:
        own[work.request] += costs.own(work)
        sequences[work.request] += 1
    whole = costs.weights + math.fsum(own.values())
    # a step whose work costs nothing by these costs took its time all the same: by sequence
    weights, whole = (costs.weights, whole) if whole > 0 else (1.0, 1.0)
    last = len(own) == 1  # without it there would have been no step at all
    return {
        request: (
            step.amount * (weights * count / len(step.work) + own[request]) / whole,
            step.amount * (own[request] + (weights if last else 0.0)) / whole,
        )
        for request, count in sequences.items()
    }


def _whole(
    device: Estimate, taken: float, period_s: float | None, per: Literal["s", "J"]
) -> tuple[float, tuple[str, ...]]:
    """What the steps are parts of, and a word where they only just fit."""
    if per == "J":
        words = "steps, device"
        slack = device.high - device.value
        fix = "take the energy of steps and device from the same meter"
        flags = fitting(taken, device.value, slack=slack, what=words, unit="J", fix=fix)
        return max(device.value, taken), flags
    if period_s is None:
        return taken, ()
    not_negative("the period of a reading", period_s)
    fix = "steps must not overlap: one engine runs one at a time"
    return period_s, fitting(taken, period_s, slack=0.0, what="steps, period", fix=fix)
