"""Which inputs of an encoder are rounded to 8 bits, and which stay floats; plain values.

Layers that read one and the same value share an *inlet*: it is rounded for all of them or for
none. What rounding an inlet saves is timed in the engine, what it harms is foreseen to second
order, and an exact assignment chooses for one budget of time after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from negawatt.compress.problem import Problem, Sensitivity
from negawatt.core.estimate import Estimate
from negawatt.core.records import Format, InputGrid, Layer

#: How an option of the search says whether what enters is codes of 8 bits or floats.
CODES, FLOATS = Format(8), Format(16)
#: Trials that there always are.
ALL, NONE = "all inputs in 8 bits", "no input in 8 bits"
#: Standard errors above an estimate that nine in ten of the true values stay below, of 1.96.
_SURE = 1.2816 / 1.96


@dataclass(frozen=True, slots=True)
class Inlet:
    """What several layers read at once.

    Args:
        name: Of the first of these layers.
        layers: Names of all of them.
        kind: What is the same for its counterparts in other blocks.
    """

    name: str
    layers: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class InletChoice:
    """Why what enters some layers is rounded, or is not."""

    inlet: Inlet
    rounded: bool
    harm: float  # distance that rounding it alone is foreseen to add
    saves: Estimate  # CPU time that rounding it saves [s/text]
    because: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of inlets, tried.

    Args:
        name: Of the trial.
        rounded: Names of the inlets whose values are rounded.
        expected: CPU time of a text by the prices of the inlets. [s/text]
        distance: Of its answers to the original's, on text that is only chosen by.
        cpu: CPU time of a text; None until it was timed. [s/text]
        ratio: Over that of no rounded input, paired. [1]
        energy: Of a text. [J/text]
    """

    name: str
    rounded: tuple[str, ...]
    expected: float
    distance: Estimate
    cpu: Estimate | None = None
    ratio: Estimate | None = None
    energy: Estimate | None = None

    @property
    def sure(self) -> float:
        """What its distance stays below, nine times in ten."""
        one = self.distance
        return one.value + _SURE * max(0.0, one.high - one.value)


@dataclass(frozen=True, slots=True)
class Mix:
    """The search for inputs to round, and what was chosen."""

    engine: str  # that priced and timed it
    tokens: int  # of the texts timed
    max_distance: float  # asked for
    measure: str  # of the distance
    choice: str  # name of the trial chosen
    because: str
    inlets: tuple[InletChoice, ...]
    trials: tuple[Trial, ...]  # cheapest first


def inlets_of(layers: Sequence[Layer], grids: Mapping[str, InputGrid]) -> tuple[Inlet, ...]:
    """Layers with rounded inputs by what they read: neighbours of one block and one grid.

    >>> one, other = InputGrid(-1, 1), InputGrid(-1, 2)
    >>> layers = [Layer(f"layer.0.{name}", "linear", 8, 8, 0) for name in ("q", "k", "o")]
    >>> grids = {"layer.0.q": one, "layer.0.k": one, "layer.0.o": other}
    >>> [inlet.layers for inlet in inlets_of(layers, grids)]
    [('layer.0.q', 'layer.0.k'), ('layer.0.o',)]
    """
    given = [one for one in layers if one.name in grids]
    found = []
    for (block, _), some in groupby(given, key=lambda one: (one.block, grids[one.name])):
        names = tuple(one.name for one in some)
        found.append(Inlet(names[0], names, names[0].replace(f".{block}.", ".*.", 1)))
    return tuple(found)


def without(inlets: Sequence[Inlet], kind: str) -> tuple[str, ...]:
    """All inlets but those of one kind, by name."""
    return tuple(one.name for one in inlets if one.kind != kind)


def problem_of(
    inlets: Sequence[Inlet], scores: Sequence[Sequence[float]], saves: Mapping[str, float]
) -> Problem:
    """The search's problem: two options for each inlet, codes that harm and floats that cost.

    >>> inlets = [Inlet("a", ("a",), "k"), Inlet("b", ("b",), "k")]
    >>> found = problem_of(inlets, [[1.0, 3.0]], {"a": 2.0, "b": 2.0})
    >>> found.sensitivity.alone.tolist(), found.energy.tolist()
    ([0.5, 0.0, 4.5, 0.0], [0.0, 2.0, 0.0, 2.0])

    Args:
        inlets: To choose for; rounding each saves something.
        scores: Slopes of answers by gates, [samples, inlets].
        saves: How much, by inlet. [J/text]
    """
    harms = np.asarray(scores, dtype=np.float64)
    wide = np.zeros((len(harms), 2 * len(inlets)))
    wide[:, ::2] = harms
    options = tuple((one.name, fmt) for one in inlets for fmt in (CODES, FLOATS))
    costs = np.array([(0.0, saves[one.name]) for one in inlets], dtype=np.float64)
    return Problem(Sensitivity(options, wide), costs.ravel())


def reasons(
    inlets: Sequence[Inlet],
    best: Trial,
    harms: Mapping[str, float],
    saves: Mapping[str, Estimate],
) -> tuple[InletChoice, ...]:
    """Why each inlet is as it is: what it harms for what it saves, beside those that are rounded.

    Args:
        inlets: All of them.
        best: The trial chosen.
        harms: Distance that each alone is foreseen to add, by inlet.
        saves: CPU time that rounding each saves, by inlet. [s/text]
    """
    rates = {
        name: harm / saves[name].value for name, harm in harms.items() if saves[name].value > 0
    }
    worst = max((rates.get(name, 0.0) for name in best.rounded), default=0.0)
    found = []
    for one in inlets:
        harm, saved = harms[one.name], saves[one.name]
        told = f"rounding it saves {saved.value * 1e6:.3g} µs a text and adds {harm:.2g}"
        if saved.value <= 0:
            told = "rounding it saves no time in this engine"
        elif one.name not in best.rounded:
            beside = rates[one.name] / worst if worst else 0.0
            told += (
                f", {beside:.1f} times the harm for a second of the worst that is rounded"
                if beside > 1
                else "; the others saved the time asked for without it"
            )
        found.append(InletChoice(one, one.name in best.rounded, harm, saved, told))
    return tuple(found)
