"""A request to somebody else's model, by the published EcoLogits method.

Nobody outside can measure it: energy is modelled from the parameters that
work for a token, the accelerators that hold the model, and the time it takes.
What the maker does not publish is a range, and the range is carried to the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from types import MappingProxyType

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.core.factors import table
from negawatt.core.quantities import J_PER_KWH
from negawatt.ledger.footprint.operation import (
    GRAMS,
    expect,
    facility_energy,
    operational_emissions,
)
from negawatt.ledger.footprint.water import Water, water

BILLIONS = "1e9 parameters"
_GRAMS_PER_KG = 1000.0
_SOURCE = "EcoLogits method, 2025"


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters of a model, in billions: those that work for a token, and all of them."""

    active: Estimate
    total: Estimate

    def __post_init__(self) -> None:
        for estimate, name in ((self.active, "active"), (self.total, "total")):
            expect(estimate, BILLIONS, f"{name} parameters")
        if self.active.low <= 0 or self.active.high > self.total.high * (1 + 1e-9):
            raise UsageError(
                f"{self.active.high:g} active of {self.total.high:g} billion parameters"
                " describe no model",
                fix="give billions above 0, and not more active ones than there are in all",
            )


@dataclass(frozen=True, slots=True)
class Site:
    """Where the request was served. None is unknown: a band stands in, and says so."""

    intensity: Estimate  # [gCO2e/kWh]
    pue: Estimate | None = None
    wue: Estimate | None = None  # on site [L/kWh]
    wue_offsite: Estimate | None = None  # [L/kWh]


@dataclass(frozen=True, slots=True)
class Remote:
    """What a request took. Energy is at the building's meter."""

    energy: Estimate  # [J]
    usage: Estimate  # [gCO2e]
    embodied: Estimate  # [gCO2e]
    water: Water
    accelerators: Estimate  # that hold the model [1]
    latency: Estimate  # of generation [s]

    @property
    def emissions(self) -> Estimate:
        """Use and embodied share together. [gCO2e]"""
        return replace(self.usage + self.embodied, boundary="use and embodied share, no network")


@cache
def models() -> Mapping[str, Size]:
    """Every model whose parameters are in the table, by provider/model.

    >>> models()["mistralai/mistral-7b"].active.value
    7.3
    """
    factors = table("remote_models")
    found = {}
    for name in sorted({key.rpartition(" ")[0] for key in factors}):
        total = factors.get(f"{name} total") or factors[f"{name} active"]
        active = factors.get(f"{name} active", total)
        found[name] = Size(active.estimate(), total.estimate())
    return MappingProxyType(found)


def model(name: str) -> Size:
    """The parameters of a remote model.

    Raises:
        UsageError: it is not in the table; the message names those that are.

    >>> str(model("openai/gpt-4o").active)
    '88 1e9 parameters (44 to 132, assumed)'
    """
    known = models()
    if name.lower() not in known:
        raise UsageError(
            f"nothing is known of the size of {name!r}",
            fix="give a range of billions of parameters, for example --params 20:400, or name"
            f" one of: {', '.join(known)}",
        )
    return known[name.lower()]


def stated_size(low: float, high: float, active: tuple[float, float] | None = None) -> Size:
    """A size somebody states, as a range when it is not known; dense without `active`."""
    ends = [(low, high), active or (low, high)]
    total, working = (
        Estimate(
            value=(a + b) / 2, low=a, high=b, unit=BILLIONS, kind=Kind.ASSUMED, source="stated size"
        )
        for a, b in ends
    )
    return Size(working, total)


def batch_size() -> Estimate:
    """Requests served side by side: 64 as published, fewer in later editions. [requests]"""
    return table("ecologits")["batch"].estimate()


def remote_request(
    size: Size,
    *,
    tokens: int,
    site: Site,
    latency: float | None = None,
    batch: Estimate | None = None,
) -> Remote:
    """Energy, emissions, embodied share and water of one request.

    Args:
        size: Of the model.
        tokens: Written in the answer.
        site: Where it ran.
        latency: Measured from outside; generation took no longer. [s]
        batch: Requests side by side; `batch_size` when None. [requests]

    Raises:
        UsageError: there are no tokens, or the latency is not above 0.

    >>> from negawatt.ledger.footprint.intensity import world_intensity
    >>> answer = remote_request(model("openai/gpt-4o"), tokens=500, site=Site(world_intensity()))
    >>> answer.energy.low < answer.energy.value < answer.energy.high
    True
    """
    if tokens < 1 or (latency is not None and not latency > 0):
        raise UsageError(
            f"{tokens} tokens in {latency} s are no answer",
            fix="give the tokens written, at least 1, and the seconds it took, above 0",
        )
    beside = batch or batch_size()
    served = [_served(size.active.value, size.total.value, beside.value, tokens, latency)]
    served += [
        _served(active, total, side_by_side, tokens, latency)
        for (active, total), side_by_side in product(
            ((size.active.low, size.total.low), (size.active.high, size.total.high)),
            (beside.low, beside.high),
        )
    ]
    kind = weakest((Kind.MODELLED, size.active.kind, size.total.kind, beside.kind))
    source = f"{_SOURCE}; size: {size.active.source}"

    def spread(pick: str, unit: str) -> Estimate:
        numbers = [getattr(one, pick) for one in served]
        return Estimate(
            value=numbers[0], low=min(numbers), high=max(numbers), unit=unit, kind=kind,
            source=source, boundary="one request at the provider",
        )  # fmt: skip

    it_energy = spread("joules", "J")
    pue = site.pue or table("site")["pue"].estimate()
    return Remote(
        energy=facility_energy(it_energy, pue),
        usage=operational_emissions(it_energy, site.intensity, pue),
        embodied=replace(spread("embodied", GRAMS), boundary="manufacture of server and boards"),
        water=water(it_energy, pue=pue, onsite=site.wue, offsite=site.wue_offsite),
        accelerators=spread("accelerators", "1"),
        latency=spread("latency", "s"),
    )


@dataclass(frozen=True, slots=True)
class _Served:
    joules: float  # of the IT equipment
    embodied: float  # [gCO2e]
    accelerators: float
    latency: float  # [s]


def _served(active: float, total: float, batch: float, tokens: int, limit: float | None) -> _Served:
    """One evaluation of the method, at one size and one batch."""
    known = {name: factor.value for name, factor in table("ecologits").items()}
    seconds = tokens * (
        known["latency_alpha"] * active + known["latency_beta"] * batch + known["latency_gamma"]
    )
    seconds = seconds if limit is None else min(seconds, limit)
    gigabytes = known["memory_overhead"] * total * known["bits"] / 8
    boards = 2 ** math.ceil(math.log2(math.ceil(gigabytes / known["gpu_memory"])))
    board_wh = tokens * (
        known["energy_alpha"] * math.exp(known["energy_beta"] * batch) * active
        + known["energy_gamma"]
    )
    of_server = boards / known["server_gpus"]
    server_kwh = seconds / 3600 * known["server_power"] * of_server / batch
    made = of_server * known["server_embodied"] + boards * known["gpu_embodied"]
    return _Served(
        joules=(server_kwh + boards * board_wh / 1000) * J_PER_KWH,
        embodied=seconds / (batch * known["lifetime"]) * made * _GRAMS_PER_KG,
        accelerators=boards,
        latency=seconds,
    )
