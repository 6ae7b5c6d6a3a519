"""How much more whole chips take than the sum of their circuits: the factor κ on dynamic energy.

    κ of a chip        = (power limit - standing power) / circuits and memory at their full rates
    κ of a regression  = joules of an operation or byte of the whole chip / the same of its circuits

Tables of circuits leave out control, wires, clocks of pipelines, losses of voltage regulators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.energy.chips.technology import Technology, chips

#: Memory beside an array through which a byte passes on its way, in and out. [MB]
_PASSED_MB = 4.0


@dataclass(frozen=True, slots=True)
class Clue:
    """What one published figure says of κ.

    Args:
        name: Of the chip, or of the regression.
        kind: "systolic", "gpu" or "regression".
        factor: It takes as many times what its circuits take. [1]
    """

    name: str
    kind: str
    factor: float


@dataclass(frozen=True, slots=True)
class Overhead:
    """The fitted κ and what it was fitted to.

    Args:
        factor: κ with the interval that 90 % of all clues lie in. [1]
        clues: One a published figure.
    """

    factor: Estimate
    clues: tuple[Clue, ...]


def overhead(technology: Technology, without: Sequence[str] = ()) -> Overhead:
    """Fit κ to the published chips.

    The value is the geometric mean over chips of the kind designed here, systolic arrays; the
    interval spans all kinds, as GPUs carry instructions and caches that these arrays do not.

    Args:
        technology: Constants of circuits.
        without: Names of chips to leave out.

    >>> from negawatt.energy.chips.technology import circuits
    >>> 1.5 < overhead(circuits()).factor.value < 2.5
    True
    """
    clues = tuple(clue for clue in _clues(technology) if clue.name not in without)
    alike = [math.log(clue.factor) for clue in clues if clue.kind == "systolic"]
    low, high = np.quantile([clue.factor for clue in clues], [0.05, 0.95])
    value = math.exp(sum(alike) / len(alike))
    return Overhead(
        Estimate(
            value=value,
            low=min(float(low), value),
            high=max(float(high), value),
            unit="1",
            kind=Kind.MODELLED,
            source=f"power of {len(alike)} published chips with systolic arrays over the sum of "
            f"their circuits; interval: 90 % of {len(clues)} chips and regressions",
            boundary="chip with its memory",
        ),
        clues,
    )


def _clues(technology: Technology) -> list[Clue]:
    known = chips()
    at_limit = [Clue(row["name"], row["kind"], _of_chip(row, technology)) for row in known["chip"]]
    fitted = [
        Clue(row["name"], "regression", _of_regression(row, technology))
        for row in known["regression"]
    ]
    return [*at_limit, *fitted]


def _of_chip(row: Mapping[str, Any], t: Technology) -> float:
    standing = (t["leakage"] + t["clocks"]) * row["die_mm2"]
    standing += t["standby"] * row["memory_gb"] * 1e9
    arithmetic = row["bf16_tflops"] * 1e12 / 2.0 * t["mac_bf16"] * t.smaller(row["nm"])
    memory = row["memory_gb_s"] * 1e9 * _byte_j(row, t)
    return float((row["power_w"] - standing) / (arithmetic + memory))


def _of_regression(row: Mapping[str, Any], t: Technology) -> float:
    if "operation_pj" in row:
        return float(2e-12 * row["operation_pj"] / (t["mac_bf16"] * t.smaller(row["nm"])))
    return float(1e-12 * row["byte_pj"] / _byte_j(row, t))


def _byte_j(row: Mapping[str, Any], t: Technology) -> Any:
    """From memory, into a block of SRAM and out of it. [J/B]"""
    block = (t["sram_least"] + t["sram_wire"] * math.sqrt(_PASSED_MB)) * t.smaller(row["nm"])
    return t[f"energy_{row['memory']}"] + 2.0 * block
