"""How well the band holds for servers it has not seen, and the coefficients it rests on.

Takes 72 published load curves (`data/devices/platforms.toml`), leaves out a platform, a CPU family
or a vendor at a time, fits on the others and predicts the ones left out:

- the curve: watts at every load from a server's own rest and full power;
- the line: watts at every load from its CPU and memory alone, as the product does;
- the interval: does it hold everything that was left out?

The coefficients fitted on all of them are those of `data/devices/band.toml`. Figures go to
`bench/results/band.json`.

    python bench/band.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.meters.facts import Platform, platforms, table

Watts = npt.NDArray[np.float64]  # one value a load
Rule = Callable[[Platform], str]

RESULTS = Path(__file__).parent / "results" / "band.json"
LOADS: Watts = np.arange(11) / 10
HALF = 5  # index of half load
HELD_OUT: dict[str, Rule] = {
    "platform": lambda each: f"{each.system} {each.cpu} {each.result} {each.watts}",
    "CPU family": lambda each: each.family,
    "vendor": lambda each: each.vendor,
}

#: What of the wall's power is neither package nor memory: low, middle and high share. Assumed.
OUTSIDE_AT_REST = (0.10, 0.35, 0.60)
OUTSIDE_AT_FULL = (0.10, 0.20, 0.33)

#: The usual ways to guess the power at a load [0 to 1] from full power, or from rest and full.
USUAL: dict[str, Callable[[float, float, float], float]] = {
    "full × load": lambda _, full, load: full * load,
    "full × (0.1 + 0.9 load³)": lambda _, full, load: full * (0.1 + 0.9 * load**3),
    "rest + (full - rest) × load": lambda rest, full, load: rest + (full - rest) * load,
    "rest + (full - rest) × load³": lambda rest, full, load: rest + (full - rest) * load**3,
}


def shape(platform: Platform) -> Watts:
    """Where each load lies between rest (0) and full power (1). Shape [11]."""
    watts: Watts = np.asarray(platform.watts, dtype=np.float64)
    above: Watts = (watts - watts[0]) / (watts[-1] - watts[0])
    return above


def inside(platform: Platform, outside_at_rest: float, outside_at_full: float) -> Watts:
    """Watts of package and memory at every load, if so much of the wall's is neither.

    What is outside grows from rest to full as the wall's power does, which leaves the shape of
    the curve as it is. Shape [11], W.
    """
    rest = platform.watts[0] * (1 - outside_at_rest)
    full = platform.watts[-1] * (1 - outside_at_full)
    return rest + (full - rest) * shape(platform)


def middle(platform: Platform) -> Watts:
    """Package and memory by the middle of the assumed shares. Shape [11], W."""
    return inside(platform, OUTSIDE_AT_REST[1], OUTSIDE_AT_FULL[1])


def corners(platform: Platform) -> list[Watts]:
    """Package and memory by every combination of the assumed ends."""
    ends = product(OUTSIDE_AT_REST[::2], OUTSIDE_AT_FULL[::2])
    return [inside(platform, rest, full) for rest, full in ends]


def slope(watts: Watts) -> float:
    """The line through rest that errs least over all loads, in watts. [W]"""
    return float(LOADS @ (watts - watts[0]) / (LOADS @ LOADS))


def prices(watts: Watts) -> Watts:
    """What load costs on average, from rest to each load. Shape [10], W for full load."""
    averages: Watts = (watts[1:] - watts[0]) / LOADS[1:]
    return averages


@dataclass(frozen=True, slots=True)
class Ends:
    """A coefficient: shares of thermal design power."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """Power of package and memory, from CPU and memory alone, as a line in load."""

    rest: Ends
    price: Ends
    full: Ends

    def value(self, platform: Platform) -> Watts:
        """Watts at every load. Shape [11]."""
        shares = self.rest.value + self.price.value * LOADS
        return shares * platform.design_watts + platform.memory_gb * table("memory")["dram"].value

    def holds(self, platform: Platform) -> bool:
        """True when all that may be true of the platform lies inside.

        That is: its power at rest and at every tenth of load, and the average price of load up to
        each of them, for each end of what may be outside package and memory.
        """
        design, dram = platform.design_watts, table("memory")["dram"]
        memory_low, memory_high = platform.memory_gb * dram.low, platform.memory_gb * dram.high
        low = (self.rest.low + self.price.low * LOADS) * design + memory_low
        high = (self.rest.high + self.price.high * LOADS) * design + memory_high
        high = np.minimum(high, self.full.high * design + memory_high)
        slack = 1e-9 * design
        return all(
            (low <= watts + slack).all()
            and (watts <= high + slack).all()
            and self.price.low * design <= prices(watts).min() + slack
            and prices(watts).max() <= self.price.high * design + slack
            for watts in corners(platform)
        )


def per_family(seen: Sequence[Platform], share: Callable[[Platform], float]) -> float:
    """The median over families of their medians: a family sold often counts once."""
    families = {each.family for each in seen}
    return median(
        median(share(each) for each in seen if each.family == family) for family in families
    )


def fit(seen: Sequence[Platform]) -> Line:
    """The line of those platforms; its ends are the widest of any of them."""
    dram = table("memory")["dram"]

    def ends(pick: Callable[[Watts], Watts], value: Callable[[Watts], float], gb: float) -> Ends:
        """Of shares of design power; `gb` is 1 where memory is part of it, else 0."""

        def shares(each: Platform, per_gb: float) -> list[Watts]:
            taken = gb * each.memory_gb * per_gb
            return [(pick(watts) - taken) / each.design_watts for watts in corners(each)]

        def share(each: Platform) -> float:
            return (value(middle(each)) - gb * each.memory_gb * dram.value) / each.design_watts

        # Upwards the memory is taken at its middle: a guest may have less of it than these had.
        low = min(float(np.min(shares(each, dram.low))) for each in seen)
        high = max(float(np.max(shares(each, dram.value))) for each in seen)
        return Ends(max(0.0, low), per_family(seen, share), high)

    return Line(
        rest=ends(lambda watts: watts[:1], lambda watts: float(watts[0]), 1.0),
        price=ends(prices, slope, 0.0),
        full=ends(lambda watts: watts[-1:], lambda watts: float(watts[-1]), 1.0),
    )


def with_design_power() -> tuple[Platform, ...]:
    """Platforms whose design power and memory could be read."""
    return tuple(each for each in platforms() if each.tdp_watts and each.memory_gb)


def errors_of_curve(rule: Rule) -> list[float]:
    """Relative errors at half load of the others' mean shape, rest and full power known."""
    known, found = platforms(), []
    for each in known:
        others = [shape(other)[HALF] for other in known if rule(other) != rule(each)]
        rest, full, true = each.watts[0], each.watts[-1], each.watts[HALF]
        found.append((rest + (full - rest) * median(others)) / true - 1)
    return found


def errors_of_line(rule: Rule, load: int = HALF) -> list[float]:
    """Relative errors of the others' line, CPU and memory known. [1]"""
    known = with_design_power()
    return [
        float(fit([o for o in known if rule(o) != rule(e)]).value(e)[load] / middle(e)[load]) - 1
        for e in known
    ]


def coverage(rule: Rule) -> float:
    """Share of held-out platforms that lie wholly in the interval of the others. [1]"""
    known = with_design_power()
    held = [fit([o for o in known if rule(o) != rule(e)]).holds(e) for e in known]
    return fmean(held)


def errors_of_usual(guess: Callable[[float, float, float], float]) -> list[float]:
    """Relative errors at half load of a usual guess, given the true rest and full power."""
    return [
        guess(each.watts[0], each.watts[-1], 0.5) / each.watts[HALF] - 1 for each in platforms()
    ]


def summary(errors: Sequence[float]) -> dict[str, float]:
    """Bias and mean absolute error, rounded for reading."""
    return {
        "bias": round(fmean(errors), 4),
        "median": round(median(errors), 4),
        "mean_absolute_error": round(fmean(abs(error) for error in errors), 4),
    }


def measure() -> dict[str, Any]:
    """Every figure, as plain values."""
    line = fit(with_design_power())
    return {
        "platforms": len(platforms()),
        "platforms_with_design_power": len(with_design_power()),
        "families": len({each.family for each in platforms()}),
        "vendors": len({each.vendor for each in platforms()}),
        "years": [min(e.year for e in platforms()), max(e.year for e in platforms())],
        "shape": [
            round(float(value), 3) for value in np.median([*map(shape, platforms())], axis=0)
        ],
        "half_load_usual": {name: summary(errors_of_usual(g)) for name, g in USUAL.items()},
        "half_load_curve": {n: summary(errors_of_curve(rule)) for n, rule in HELD_OUT.items()},
        "half_load_line": {n: summary(errors_of_line(rule)) for n, rule in HELD_OUT.items()},
        "rest_line": {n: summary(errors_of_line(rule, 0)) for n, rule in HELD_OUT.items()},
        "full_load_line": {n: summary(errors_of_line(rule, 10)) for n, rule in HELD_OUT.items()},
        "coverage": {name: round(coverage(rule), 4) for name, rule in HELD_OUT.items()},
        "coverage_stated": table("band")["coverage"].value,
        "coefficients": {
            name: [round(end, 4) for end in (ends.low, ends.value, ends.high)]
            for name, ends in (("rest", line.rest), ("price", line.price), ("full", line.full))
        },
    }


if __name__ == "__main__":
    figures = measure()
    RESULTS.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2, ensure_ascii=False))
