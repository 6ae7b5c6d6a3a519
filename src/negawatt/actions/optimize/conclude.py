"""From trials to the outcome: points, front, choice and reasons. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from negawatt.actions.optimize.trials import INT8, Trial
from negawatt.compress.race import centre, ratio
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.outcome import LayerChoice, Part, Point
from negawatt.core.records import Cost, Decision, Format, Quality, Variant, Workload
from negawatt.decisions.losses import Reading, Weighed, weigh
from negawatt.decisions.which import Contender, choose, pareto
from negawatt.energy.model import EnergyModel, Joint

REFERENCE = "torch bf16"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything measured, ready to be judged."""

    trials: tuple[Trial, ...]  # uniform int8 among them
    reference: Quality  # of the reference engine on the test text
    reference_bytes: int
    workload: Workload
    threads: int
    joules_per_cpu_s: Estimate
    runtime: str
    reference_runtime: str
    max_loss: float
    predicted: Mapping[str, Estimate]  # J/token by trial name
    expected: Mapping[str, float]  # by the cost table alone, by trial name [J/token]
    stored: Mapping[str, float]  # packed size of the model, by trial name [B]
    max_size: int | None = None  # allowed [B]
    max_latency: float | None = None  # allowed for a written token [s]

    @property
    def losses(self) -> Mapping[str, Weighed]:
        """What every trial is taken to lose, by its name."""
        return weighed(self.trials)

    @property
    def int8(self) -> Trial:
        """The yardstick."""
        return next(trial for trial in self.trials if trial.name == INT8)


def weighed(trials: Sequence[Trial]) -> Mapping[str, Weighed]:
    """What every trial is taken to lose, judged on the selection text, by its name."""
    return weigh([Reading(t.name, t.selection.loss, t.selection.kl.value) for t in trials])


def decide(evidence: Evidence) -> Decision:
    """The cheapest trial inside the budget, judged on the selection text.

    Raises:
        BudgetUnreachable: none is.
    """
    losses = evidence.losses
    return choose(
        [
            Contender(
                name=trial.name,
                loss=losses[trial.name].sure,
                energy=relative_energy(trial, evidence),
                size=evidence.stored[trial.name],
                expected=evidence.expected[trial.name],
                latency=statistics.median(trial.laps.decode_wall),
            )
            for trial in evidence.trials
        ],
        max_loss=evidence.max_loss,
        max_size=evidence.max_size,
        max_latency=evidence.max_latency,
    )


def relative_energy(trial: Trial, evidence: Evidence) -> float:
    """Energy per token of the workload over that of uniform int8, by paired CPU time. [1]"""
    return _relative(trial, evidence).value


def _relative(trial: Trial, evidence: Evidence) -> Estimate:
    """The same with its interval: paired ratios of both phases, weighted by int8's own times."""
    if trial.name == INT8 or trial.rival is None:
        return _one("uniform int8 itself")
    phases = []
    for phase, tokens in (
        ("prefill", evidence.workload.prompt),
        ("decode", evidence.workload.generate),
    ):
        own = getattr(trial.laps, f"{phase}_cpu")
        rival = getattr(trial.rival, f"{phase}_cpu")
        base = tokens * statistics.median(getattr(evidence.int8.laps, f"{phase}_cpu"))
        phases.append((base, ratio(own, rival)))
    total = sum(base for base, _ in phases)
    first, second = (paired.scaled(base / total) for base, paired in phases)
    return first + second


def points(evidence: Evidence) -> tuple[Point, ...]:
    """Every trial and the reference, with the measured front marked on the test text."""
    contenders = [
        Contender(t.name, t.test.loss.value, relative_energy(t, evidence), float(t.size_bytes))
        for t in evidence.trials
    ]
    front = set(pareto(contenders))
    losses = evidence.losses
    found = [
        _point(trial, evidence, losses[trial.name], on_front=trial.name in front)
        for trial in evidence.trials
    ]
    return (_reference_point(evidence), *found)


def _point(trial: Trial, evidence: Evidence, taken: Weighed, *, on_front: bool) -> Point:
    int8 = evidence.int8
    vs_int8 = _one("uniform int8 itself")
    vs_reference = None
    if int8.rival is not None:
        base = ratio(int8.laps.decode_cpu, int8.rival.decode_cpu)
        vs_reference = base
        if trial.name != INT8 and trial.rival is not None:
            vs_int8 = ratio(trial.laps.decode_cpu, trial.rival.decode_cpu)
            vs_reference = vs_int8.times(base, unit="1")
    laps = trial.laps
    prefill = centre(laps.prefill_cpu, unit="s/token")
    decode = centre(laps.decode_cpu, unit="s/token")
    cost = _cost(prefill, decode, trial, evidence)
    return Point(
        role=trial.role,
        variant=Variant(trial.name, dict(trial.plan), trial.test, cost),
        size_bytes=trial.size_bytes,
        energy=_energy_beside_int8(trial, evidence),
        predicted_energy=evidence.predicted.get(trial.name),
        cpu_vs_reference=vs_reference,
        cpu_vs_int8=vs_int8,
        selection_loss=trial.selection.loss,
        on_front=on_front,
        meets_budget=taken.sure <= evidence.max_loss,
        expected_loss=taken.loss,
    )


def _reference_point(evidence: Evidence) -> Point:
    int8 = evidence.int8
    laps = int8.rival or int8.laps
    prefill = centre(laps.prefill_cpu, unit="s/token")
    decode = centre(laps.decode_cpu, unit="s/token")
    trial = Trial(
        REFERENCE,
        "reference",
        {},
        evidence.reference,
        evidence.reference,
        laps,
        None,
        evidence.reference_bytes,
    )
    cost = _cost(prefill, decode, trial, evidence)
    inverse = None if int8.rival is None else ratio(int8.rival.decode_cpu, int8.laps.decode_cpu)
    return Point(
        role="reference",
        variant=Variant(REFERENCE, {}, evidence.reference, cost),
        size_bytes=evidence.reference_bytes,
        energy=_workload_energy(cost, evidence.workload),
        predicted_energy=None,
        cpu_vs_reference=_one("the reference itself"),
        cpu_vs_int8=inverse,
        selection_loss=None,
        on_front=False,
        meets_budget=True,
    )


def _cost(prefill: Estimate, decode: Estimate, trial: Trial, evidence: Evidence) -> Cost:
    joules = evidence.joules_per_cpu_s
    laps = trial.laps
    name = evidence.reference_runtime if trial.role == "reference" else evidence.runtime
    return Cost(
        prefill_cpu=prefill,
        decode_cpu=decode,
        prefill_energy=prefill.times(joules, unit="J/token"),
        decode_energy=decode.times(joules, unit="J/token"),
        prefill_latency=centre(laps.prefill_wall, unit="s"),
        decode_latency=centre(laps.decode_wall, unit="s/token"),
        memory_bytes=trial.size_bytes,
        threads=evidence.threads,
        runtime=name,
    )


def _energy_beside_int8(trial: Trial, evidence: Evidence) -> Estimate:
    """Energy per token of the workload: that of uniform int8 times the paired ratio. [J/token]

    A trial's own timings hold the machine's mood during that trial; the ratio
    to a rival that took turns with it does not.
    """
    laps = evidence.int8.laps
    prefill = centre(laps.prefill_cpu, unit="s/token")
    decode = centre(laps.decode_cpu, unit="s/token")
    cost = _cost(prefill, decode, evidence.int8, evidence)
    int8 = _workload_energy(cost, evidence.workload)
    if trial.name == INT8:
        return int8
    return int8.times(_relative(trial, evidence), unit="J/token")


def _workload_energy(cost: Cost, workload: Workload) -> Estimate:
    prefill = cost.prefill_energy.scaled(workload.prompt / workload.tokens)
    return prefill + cost.decode_energy.scaled(workload.generate / workload.tokens)


def _one(source: str) -> Estimate:
    return Estimate.exact(1.0, unit="1", source=source, boundary="process", kind=Kind.MEASURED)


def layer_choices(
    model: EnergyModel,
    plan: Mapping[str, Format],
    sensitivity: Mapping[tuple[str, Format], float],
) -> tuple[LayerChoice, ...]:
    """Why every layer got its format: its harm and joules in each, and the runner-up.

    Args:
        model: Prices every option.
        plan: The chosen formats.
        sensitivity: Expected KL of each (unit, format) alone; the layers of a unit get
            shares of it by their weights. [nat/token]
    """
    found = []
    for unit in model.units:
        options = [fmt for name, fmt in sensitivity if name == unit.name]
        harm = {fmt: sensitivity[unit.name, fmt] for fmt in options}
        joules = {fmt: float(model.option_energy([(unit.name, fmt)])[0]) for fmt in options}
        chosen = plan[unit.name]
        others = [fmt for fmt in options if fmt != chosen]
        next_best = min(others, key=lambda f: abs(joules[f] - joules[chosen]), default=chosen)
        because = _because(chosen, next_best, harm, joules)
        if len(unit.layers) > 1:
            because += f"; decided for {len(unit.layers)} layers that are multiplied as one"
        for layer in unit.layers:
            share = layer.weights / sum(one.weights for one in unit.layers)
            found.append(
                LayerChoice(
                    layer=layer,
                    chosen=chosen.name,
                    sensitivity={fmt.name: share * harm[fmt] for fmt in options},
                    energy={fmt.name: share * joules[fmt] for fmt in options},
                    next_best=next_best.name,
                    because=because,
                )
            )
    return tuple(found)


def _because(
    chosen: Format, other: Format, harm: Mapping[Format, float], joules: Mapping[Format, float]
) -> str:
    if chosen not in harm or chosen == other:
        return "no other format fits this layer"
    saved = (joules[other] - joules[chosen]) * 1e3
    hurt = (harm[chosen] - harm[other]) * 1e3
    if saved > 0 and hurt > 0:
        return (
            f"saves {saved:.3g} mJ/token over {other} for {hurt:.3g} millinat of divergence, "
            "a good bargain beside the other layers"
        )
    if saved > 0:
        return f"cheaper than {other} by {saved:.3g} mJ/token and no more harmful"
    return (
        f"{other} would save {-saved:.3g} mJ/token but add {-hurt:.3g} millinat of divergence: "
        "other layers give those joules at less harm"
    )


def parts(model: EnergyModel, plan: Mapping[str, Format], joint: Joint = ()) -> tuple[Part, ...]:
    """Where a plan's joules go, by the energy model; the parts sum to its total."""
    total = model.energy(plan, joint)
    split = model.parts(plan, joint)
    whole = math.fsum(split.values())
    return tuple(
        Part(name=name, energy=total.scaled(joules / whole)) for name, joules in split.items()
    )
