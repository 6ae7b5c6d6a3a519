"""What every option costs: the measured table, formats worth searching, and the model made of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.optimize.plans import fitting, haven, room_for
from negawatt.actions.optimize.stages import products
from negawatt.actions.optimize.trials import INT8, Trial
from negawatt.compress.formats import local_bargains, shortlist
from negawatt.core.records import Format
from negawatt.energy import costs
from negawatt.energy.costs import CostTable, Shape, Wanted
from negawatt.energy.model import (
    PHASES,
    PREFILL_TOKENS,
    Calibration,
    EnergyModel,
    Observation,
    calibrate,
)
from negawatt.energy.units import Unit, units
from negawatt.models.source import ModelSource

_WIDE = 16  # bits
_FEWER = 0.05  # of the bytes of some layers, for which one more format is worth searching


@dataclass(frozen=True, slots=True)
class Prices:
    """What options of one model cost in the serving engine.

    Args:
        order: What the user asked for.
        tools: With the engine.
        source: The prepared model.
    """

    order: Order
    tools: Tools
    source: ModelSource

    def costs(self) -> tuple[CostTable, Wanted]:
        """The measured cost table, kept per machine, engine and version."""
        tools, batch = self.tools, self.order.workload.batch
        parts = [unit.layers for unit in units(products(self.source.layers))]
        apart = {Shape(layer.rows, layer.cols) for layers in parts for layer in layers}
        if not tools.runtime.joins:
            parts = [(layer,) for layers in parts for layer in layers]
        as_one = {Shape(sum(one.rows for one in layers), layers[0].cols) for layers in parts}
        wanted = Wanted(
            shapes=tuple(sorted(apart | as_one)),
            formats=tuple(tools.runtime.formats),
            threads=self.order.threads or 1,
            tokens=(batch, PREFILL_TOKENS),
        )
        name = f"{tools.runtime.name} {tools.runtime.version}"
        path = costs.kept_at(tools.cache, machine=tools.machine_id, runtime=name)
        return tools.workshop.call(stages.measure_table, tools, wanted, path), wanted

    def formats(self, table: CostTable, wanted: Wanted, journal: Journal) -> tuple[Format, ...]:
        """Formats worth searching: not dominated, and saving the most per error."""

        def pick() -> list[Format]:
            left = {*costs.undominated(table, wanted), self.haven}
            if not any(fmt.bits < 8 for fmt in left):  # uniform int4 is compared in any case
                left.update(wanted.formats)
            alive = [fmt for fmt in wanted.formats if fmt.bits < 16 and fmt in left]
            bare = self.model(table, {})
            taken = {fmt: self._by_width(bare, fmt) for fmt in alive}
            energy = {fmt: sum(found.values()) for fmt, found in taken.items()}
            error = self.tools.workshop.call(stages.rounding, self.tools, self.source, alive)
            kept = list(shortlist(self.haven, energy, error, most=self.order.effort.formats))
            local = {
                cols: {fmt: taken[fmt][cols] for fmt in alive if fmt.fits(cols)}
                for cols in sorted({layer.cols for layer in products(self.source.layers)})
            }
            kept += local_bargains(kept, local, error)
            return [*kept, *(() if self.order.max_size is None else self.small(wanted, kept))]

        return tuple(journal.step("formats", list[Format], pick))

    def _by_width(self, bare: EnergyModel, fmt: Format) -> dict[int, float]:
        """What the layers of each width of rows take in a format, or in the haven. [J/token]"""
        found: dict[int, float] = {}
        for layer in products(self.source.layers):
            option = (layer.name, fitting(layer, fmt, self.haven))
            found[layer.cols] = found.get(layer.cols, 0.0) + float(bare.option_energy([option])[0])
        return found

    def check_room(self, formats: Sequence[Format]) -> None:
        """A size that no plan keeps is refused before the long stages."""
        options = [(unit.name, fmt) for unit in self.units for fmt in unit.candidates(formats)]
        room_for(self.order.max_size, self.source.layers, self.source.bf16_bytes, options)

    def small(self, wanted: Wanted, kept: Sequence[Format]) -> list[Format]:
        """Formats that save the most bytes per error, beside those `kept` for their joules."""
        narrow = [fmt for fmt in wanted.formats if fmt.bits < _WIDE]
        layers = products(self.source.layers)

        def size(fmt: Format, cols: int) -> float:
            """Of the layers of one width, or of all of them for 0. [B]"""
            fitted = [(one, fitting(one, fmt, self.haven)) for one in layers]
            return sum(f.bytes(one.rows, one.cols) for one, f in fitted if cols in (0, one.cols))

        error = self.tools.workshop.call(stages.rounding, self.tools, self.source, narrow)
        whole = {fmt: size(fmt, 0) for fmt in narrow}
        found = [*kept, *shortlist(self.haven, whole, error, most=self.order.effort.formats)]
        local = {
            cols: {fmt: size(fmt, cols) for fmt in narrow if fmt.fits(cols)}
            for cols in sorted({one.cols for one in layers})
        }
        found += local_bargains(found, local, error, much=_FEWER)
        return [fmt for fmt in dict.fromkeys(found) if fmt not in kept]

    def calibrated(self, table: CostTable, uniform: list[Trial]) -> EnergyModel:
        """The table, calibrated on the whole models that have been run."""
        bare = self.model(table, {})
        fits: dict[str, Calibration] = {}
        int8 = next(trial for trial in uniform if trial.name == INT8)
        for phase in PHASES:
            scale = float(np.median(getattr(int8.laps, f"{phase}_cpu")))
            seen = []
            for trial in uniform:
                own = np.array(getattr(trial.laps, f"{phase}_cpu"))
                rival = np.array(getattr(trial.rival, f"{phase}_cpu"))
                # paired with int8, so that the machine's mood during one trial cancels
                paired = scale * float(np.median(own / rival)) if trial is not int8 else scale
                table_cpu = bare.table_cpu(trial.plan, phase, trial.joint)
                seen.append(Observation(table_cpu, paired))
            fits[phase] = calibrate(seen)
        return self.model(table, fits)

    def model(self, table: CostTable, fits: Mapping[str, Calibration]) -> EnergyModel:
        """The model that prices options; with no `fits`, by the table alone."""
        return EnergyModel(
            layers=self.source.layers,
            table=table,
            workload=self.order.workload,
            threads=self.order.threads or 1,
            joules_per_cpu_s=self.tools.joules_per_cpu_s,
            calibration=fits,
            joins=self.tools.runtime.joins,
        )

    @property
    def haven(self) -> Format:
        """The 8-bit form of the serving engine: the yardstick, and what layers fall back on."""
        return haven(self.tools.runtime.formats)

    @property
    def units(self) -> tuple[Unit, ...]:
        """Layers that are decided together."""
        return units(self.source.layers)
