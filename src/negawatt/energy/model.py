"""The energy model: joules per token as a differentiable function of every layer's format.

    E(g) = J/CPU-s · (rest + κ · Σ_layers Σ_formats g · c)

`c` comes from the measured cost table, `g` are gates (one-hot for a plan), and
`rest` (attention, norms, the runtime itself) and κ are fitted to whole models
that were run. In the gates the model is linear, so its gradient is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Format, Layer, Phase, Plan, Workload
from negawatt.energy.costs import CostTable, Shape
from negawatt.energy.units import Unit, units

PHASES: tuple[Phase, Phase] = ("prefill", "decode")

#: Rows of activation that the prefill column of a table is measured at.
PREFILL_TOKENS = 128

_WIDE = 16  # bits: weights kept as they were are not merged

#: Groups of layer names that an artifact multiplies as one.
Joint = tuple[tuple[str, ...], ...]

Group = Literal["attention", "ffn", "head", "embedding", "other", "rest"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What whole-model runs add to the table, for one phase.

    CPU-seconds per token of a plan are `rest + kappa * table`; `spread` is the
    largest relative error of the runs it was fitted to.
    """

    rest: float  # [s/token]
    kappa: float  # [1]
    spread: float  # [1]


@dataclass(frozen=True, slots=True)
class Observation:
    """One whole-model run: CPU-seconds per token and what the table says of its layers."""

    table: float  # [s/token]
    measured: float  # [s/token]


def calibrate(observations: Sequence[Observation]) -> Calibration:
    """Fit `rest` and κ to whole-model runs by least squares, both kept physical.

    With one run, κ stays 1 and the rest takes the difference.

    >>> fit = calibrate([Observation(1.0, 3.0), Observation(2.0, 5.0)])
    >>> round(fit.rest, 6), round(fit.kappa, 6), round(fit.spread, 6)
    (1.0, 2.0, 0.0)
    """
    table = np.array([o.table for o in observations])
    measured = np.array([o.measured for o in observations])
    kappa = 1.0
    if len(observations) > 1 and np.ptp(table) > 0:
        kappa = float(np.cov(table, measured, bias=True)[0, 1] / np.var(table))
    # Timings of whole models are noisy: a slope outside this range is the noise's, not the work's.
    kappa = min(max(kappa, 0.5), 2.0)
    rest = max(0.0, float(measured.mean() - kappa * table.mean()))
    error = np.abs(rest + kappa * table - measured) / measured
    return Calibration(rest=rest, kappa=kappa, spread=float(error.max()))


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """CPU-seconds and joules per token of any plan of one model, for one workload.

    Args:
        layers: The model's weight matrices.
        table: Measured products, holding every shape used.
        workload: Shares of prefill and decode, and the batch.
        threads: Which rows of the table to use.
        joules_per_cpu_s: What a CPU-second costs. [J/s]
        calibration: Per phase; the table alone when absent.
        joins: Whether the engine multiplies layers as one where that is cheaper.
    """

    layers: tuple[Layer, ...]
    table: CostTable
    workload: Workload
    threads: int
    joules_per_cpu_s: Estimate
    calibration: Mapping[str, Calibration]
    joins: bool = True

    @property
    def units(self) -> tuple[Unit, ...]:
        """Layers that may be multiplied as one, in execution order."""
        return units(self.layers)

    def layer_cpu(self, layer: Layer, fmt: Format, phase: Phase) -> float:
        """CPU time of one layer per token of a phase, by the table alone. [s/token]"""
        batch = self.workload.batch
        if layer.kind == "embedding":
            return self._copy_cpu(layer, fmt)
        shape = Shape(layer.rows, layer.cols)
        if phase == "decode":
            # An expert costs nothing in a step in which no sequence is sent to it; while a
            # prompt is read some position always is.
            wanted = 1 - (1 - layer.share) ** batch
            return wanted * self._product(shape, fmt, batch) / batch
        if layer.kind == "head":  # only the last position of a prompt needs logits
            return self._product(shape, fmt, batch) / (batch * self.workload.prompt)
        return self._product(shape, fmt, PREFILL_TOKENS) / PREFILL_TOKENS

    def unit_cpu(self, unit: Unit, fmt: Format, phase: Phase) -> float:
        """CPU time of layers multiplied as one, per token, by the table alone. [s/token]"""
        first = unit.layers[0]
        whole = replace(first, rows=sum(layer.rows for layer in unit.layers))
        return self.layer_cpu(whole, fmt, phase)

    def joint(self, plan: Plan) -> Joint:
        """Names of the layers that a plan lets an engine multiply as one, where that is cheaper."""
        return tuple(
            unit.names
            for unit in self.units
            if len({plan[name] for name in unit.names}) == 1
            and self._pays_jointly(unit, plan[unit.name])
        )

    def cpu(self, plan: Plan, phase: Phase, joint: Joint = ()) -> float:
        """CPU time per token of a phase, rest and κ included. [s/token]"""
        fit = self.calibration.get(phase, Calibration(0.0, 1.0, 0.0))
        return fit.rest + fit.kappa * self.table_cpu(plan, phase, joint)

    def table_cpu(self, plan: Plan, phase: Phase, joint: Joint = ()) -> float:
        """Sum over layers, by the table alone; those named in `joint` as one product. [s/token]"""
        return sum(self._products_cpu(plan, phase, joint).values())

    def energy(self, plan: Plan, joint: Joint = ()) -> Estimate:
        """Energy per token of the workload, prefill and decode together. [J/token]

        The interval joins that of a CPU-second with the calibration's spread.
        """
        cpu = sum(self._share(phase) * self.cpu(plan, phase, joint) for phase in PHASES)
        spread = max((fit.spread for fit in self.calibration.values()), default=0.0)
        work = Estimate(
            value=cpu,
            low=cpu * (1 - min(spread, 0.9)),
            high=cpu * (1 + spread),
            unit="s/token",
            kind=Kind.MODELLED,
            source="energy model",
            boundary="process",
        )
        return self.joules_per_cpu_s.times(work, unit="J/token")

    def option_energy(self, options: Sequence[tuple[str, Format]]) -> NDArray[np.float64]:
        """Energy of each (unit, format) pair: the exact gradient of E in the gates.

        Args:
            options: Names of units (or of single layers) with a format each.

        Returns:
            float64, [options]. [J/token]
        """
        known = {layer.name: Unit((layer,)) for layer in self.layers}
        known |= {unit.name: unit for unit in self.units}
        return np.array([self._option(known[name], fmt) for name, fmt in options])

    def parts(self, plan: Plan, joint: Joint = ()) -> dict[str, float]:
        """Energy of a plan by part of the model; the parts sum to the whole. [J/token]"""
        parts = dict.fromkeys(("attention", "ffn", "head", "embedding", "other", "rest"), 0.0)
        groups = {layer.name: group_of(layer) for layer in self.layers}
        for phase in PHASES:
            fit = self.calibration.get(phase, Calibration(0.0, 1.0, 0.0))
            weight = self._share(phase) * self.joules_per_cpu_s.value
            for name, cpu in self._products_cpu(plan, phase, joint).items():
                parts[groups[name]] += weight * fit.kappa * cpu
            parts["rest"] += weight * fit.rest
        return {name: joules for name, joules in parts.items() if joules > 0}

    def _products_cpu(self, plan: Plan, phase: Phase, joint: Joint) -> dict[str, float]:
        """Time of every product, under the name of its first layer. [s/token]"""
        merged = {names[0]: names for names in joint}
        inside = {name for names in joint for name in names}
        by_name = {layer.name: layer for layer in self.layers}
        found = {}
        for layer in self.layers:
            if layer.name in merged:
                unit = Unit(tuple(by_name[name] for name in merged[layer.name]))
                found[layer.name] = self.unit_cpu(unit, plan[layer.name], phase)
            elif layer.name not in inside:
                found[layer.name] = self.layer_cpu(layer, plan[layer.name], phase)
        return found

    def _pays_jointly(self, unit: Unit, fmt: Format) -> bool:
        """True when the table knows the joint product, and it costs less than its parts."""
        if not self.joins or len(unit.layers) == 1 or fmt.bits >= _WIDE:
            return False
        try:
            whole, apart = self._unit_work(unit, fmt, whole=True), self._unit_work(unit, fmt)
        except UsageError:  # the joint shape was not measured
            return False
        return whole < apart

    def _unit_work(self, unit: Unit, fmt: Format, *, whole: bool = False) -> float:
        """CPU time of a unit per token of the workload, as one or apart. [s/token]"""
        total = 0.0
        for phase in PHASES:
            fit = self.calibration.get(phase, Calibration(0.0, 1.0, 0.0))
            cpu = (
                self.unit_cpu(unit, fmt, phase)
                if whole
                else sum(self.layer_cpu(layer, fmt, phase) for layer in unit.layers)
            )
            total += self._share(phase) * fit.kappa * cpu
        return total

    def _option(self, unit: Unit, fmt: Format) -> float:
        whole = self._pays_jointly(unit, fmt)
        return self._unit_work(unit, fmt, whole=whole) * self.joules_per_cpu_s.value

    def _share(self, phase: Phase) -> float:
        """Share of a request's tokens that belong to a phase. [1]"""
        own = self.workload.prompt if phase == "prefill" else self.workload.generate
        return own / self.workload.tokens

    def _product(self, shape: Shape, fmt: Format, tokens: int) -> float:
        try:
            return self.table.find(shape, fmt, threads=self.threads, tokens=tokens).cpu_s
        except KeyError as error:
            raise UsageError(
                f"the cost table has no row for {error.args[0]}",
                fix="measure the costs of this model first",
            ) from error

    def _copy_cpu(self, layer: Layer, fmt: Format) -> float:
        """Reading one row of an embedding, at the time per byte of the table's fastest product."""
        per_byte = min(
            row.cpu_s / row.format.bytes(row.shape.rows, row.shape.cols)
            for row in self.table.rows
            if row.tokens <= self.workload.batch and row.threads == self.threads
        )
        return fmt.bytes(1, layer.cols) * per_byte


def group_of(layer: Layer) -> Group:
    """Which part of a decoder a layer belongs to, by its kind and its path."""
    if layer.kind != "linear":
        return layer.kind
    if ".self_attn." in layer.name or ".attention." in layer.name:
        return "attention"
    if (
        ".mlp." in layer.name
        or ".feed_forward." in layer.name
        or layer.name.endswith((".fc1", ".fc2"))
    ):
        return "ffn"
    return "other"
