"""What circuits, memories and wafers cost, from published tables, in SI units and square millimetres.

Every constant is a number, or a column [draws, 1] of them when designs are to be judged under many
tables at once: it then broadcasts over designs [n].
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.factors import Factor
from negawatt.core.factors import table as published_elsewhere
from negawatt.meters.facts import table

#: A number or an array; complex where a derivative is taken.
Real = Any

#: Of multipliers, and the bits that a weight then has.
BITS: Mapping[str, int] = MappingProxyType({"bf16": 16, "fp8": 8, "int8": 8, "int4": 4})
PRECISIONS = tuple(BITS)
MEMORIES = ("hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6", "lpddr5")

#: Everything is told at this node and scaled from there. [nm]
HOME_NM = 7.0

#: Factors from the units of the table to those used here.
UNITS: Mapping[str, float] = MappingProxyType(
    {
        "pJ": 1e-12,
        "pJ/B": 1e-12,
        "pJ/B/sqrt(MB)": 1e-12,
        "um2": 1e-6,  # mm²
        "GB/s": 1e9,
        "GB": 1e9,
        "W/GB": 1e-9,  # W/B
        "kgCO2e/GB": 1e-9,  # kgCO2e/B
    }
)
#: These say how circuits are put together, or what a chip is bought with, and are no price.
_SHAPES = ("rate_", "holds_")


@dataclass(frozen=True, slots=True)
class Technology:
    """A table of constants.

    Args:
        constants: By name, as in `data/devices/technology.toml`, in J, B, s, mm², W and Hz.
        nodes: Properties of process nodes, by name, in the order of `nm`. [nodes], or
            [draws, nodes]
    """

    constants: Mapping[str, Real]
    nodes: Mapping[str, Any]

    def __getitem__(self, name: str) -> Real:
        """One constant."""
        return self.constants[name]

    def each(self, stem: str, names: tuple[str, ...], index: Any) -> Real:
        """Constants `stem_name` of designs that differ in the name. [n] or [draws, n]

        Args:
            stem: What is asked, such as "mac".
            names: Of what.
            index: Which of them each design has. [n]
        """
        columns = [np.atleast_1d(self.constants[f"{stem}_{name}"]) for name in names]
        return np.concatenate(columns, axis=-1)[..., index]

    def of_node(self, name: str, nm: Any) -> Any:
        """A property of the process nodes that designs have. [n]

        Raises:
            UsageError: a node that is not in the table.
        """
        known = self.nodes["nm"]
        place = np.searchsorted(known, nm)
        place = np.minimum(place, len(known) - 1)
        wrong = np.atleast_1d(known[place] != nm)
        if wrong.any():
            listed = ", ".join(f"{one:g}" for one in known)
            raise UsageError(
                f"nothing is known of a node of {np.atleast_1d(nm)[wrong][0]:g} nm",
                fix=f"name one of: {listed}",
            )
        return self.nodes[name][..., place]

    def smaller(self, nm: Any) -> Real:
        """Joules of a circuit over those at 7 nm. [n] or [draws, n]"""
        return (nm / HOME_NM) ** self["energy_exponent"]

    def voltage_for(self, frequency: Real) -> Real:
        """Least voltage, over the usual one, that carries a clock.

        >>> round(float(published().voltage_for(1.5e9)), 3)
        1.0
        """
        threshold = self["threshold"]
        wanted = threshold + (1.0 - threshold) * frequency / self["frequency"]
        return greater(wanted, LEAST_VOLTAGE)

    def changed(self, changes: Mapping[str, Real]) -> Technology:
        """With some constants replaced."""
        return replace(self, constants=MappingProxyType({**self.constants, **changes}))

    @property
    def prices(self) -> tuple[str, ...]:
        """Names of the constants that are uncertain: all but what memories are sold as."""
        return tuple(name for name in self.constants if not name.startswith(_SHAPES))


#: Below this share of the usual voltage memory cells lose what they hold.
LEAST_VOLTAGE = 0.65


def greater(one: Real, other: Real) -> Real:
    """The larger of two, by their real parts, so that complex steps pass through."""
    return np.where(np.real(one) >= np.real(other), one, other)


def smaller(one: Real, other: Real) -> Real:
    """The smaller of two, by their real parts."""
    return np.where(np.real(one) <= np.real(other), one, other)


def factors() -> Mapping[str, Factor]:
    """Every published constant with its interval, source and licence, by name."""
    return MappingProxyType({**table("technology"), "ram": published_elsewhere("embodied")["ram"]})


@cache
def chips() -> dict[str, Any]:
    """The tables of `data/devices/chips.toml`: nodes, chips and regressions."""
    place = files("negawatt") / "data" / "devices" / "chips.toml"
    return tomllib.loads(place.read_text(encoding="utf-8"))


def circuits() -> Technology:
    """The published constants, without the overhead that whole chips add."""
    rows = sorted(chips()["node"], key=lambda row: float(row["nm"]))
    nodes = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    constants = {
        name: factor.value * UNITS.get(factor.unit, 1.0) for name, factor in factors().items()
    }
    return Technology(MappingProxyType(constants), MappingProxyType(nodes))


def published() -> Technology:
    """The published constants with the overhead fitted to published chips."""
    from negawatt.energy.chips.overhead import overhead

    plain = circuits()
    return plain.changed({"overhead": overhead(plain).factor.value})
