"""Joules per token of a model that has not been run: shapes in, intervals out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Format, Layer, Phase, Plan, Workload
from negawatt.energy.calibrations import Carried
from negawatt.energy.costs import CostRow, CostTable, Shape
from negawatt.energy.law import LEAST_SHAPES, Law, fit
from negawatt.energy.model import PHASES, PREFILL_TOKENS, Calibration, EnergyModel

#: Figures that hold everything the process does, or the products alone.
WHOLE, PRODUCTS = "process", "matrix products"

End = Literal["low", "cpu_s", "high"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is asked about, without its weights.

    Args:
        model: As the user named it.
        architecture: Class name, such as `LlamaForCausalLM`.
        parameters: Values, shared ones counted once.
        layers: Weight matrices in execution order.
    """

    model: str
    architecture: str
    parameters: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a machine and an engine.

    Args:
        table: Measured products.
        threads: Which rows of the table to use.
        joules_per_cpu_s: What a CPU-second costs. [J/s]
        carried: What whole models taught; the products alone are told when None.
    """

    table: CostTable
    threads: int
    joules_per_cpu_s: Estimate
    carried: Carried | None = None


class Product(NamedTuple):
    """One matrix product that a prediction needs."""

    shape: Shape
    format: Format
    tokens: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """A model with all of its weights in one format."""

    format: str
    prefill_cpu: Estimate  # [s/token]
    decode_cpu: Estimate  # [s/token]
    prefill_energy: Estimate  # [J/token]
    decode_energy: Estimate  # [J/token]
    energy: Estimate  # of the workload, prefill and decode together [J/token]
    weights_bytes: Estimate  # [B]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model will cost, in every format asked for.

    Args:
        subject: The model.
        workload: What it is run for.
        runtime: Name and version of the engine.
        threads: Of the engine.
        forecasts: One per format, in the order asked for.
        measured: Products taken from the cost table.
        by_law: Products that the law stands in for.
        notes: What the reader should know, each one sentence.
    """

    subject: Subject
    workload: Workload
    runtime: str
    threads: int
    forecasts: tuple[Forecast, ...]
    measured: int
    by_law: int
    notes: tuple[str, ...]


def uniform_plan(layers: Iterable[Layer], fmt: Format) -> dict[str, Format]:
    """One format everywhere it fits; 8 bits where it does not, and in a narrow embedding.

    >>> layers = [Layer("embed", "embedding", 96, 64), Layer("q", "linear", 64, 48, 0)]
    >>> {name: fmt.name for name, fmt in uniform_plan(layers, Format(4, 32)).items()}
    {'embed': 'int8-row-sym', 'q': 'int8-row-sym'}
    """
    wide = fmt.bits == Format(16).bits
    return {
        layer.name: fmt
        if wide or (layer.kind != "embedding" and fmt.fits(layer.cols))
        else Format(8)
        for layer in layers
    }


def products(
    layers: Sequence[Layer], formats: Iterable[Format], workload: Workload
) -> tuple[Product, ...]:
    """Every product that the formats need, smallest matrix first.

    A head is multiplied for the last position of a prompt only.
    """
    found: set[Product] = set()
    for fmt in formats:
        plan = uniform_plan(layers, fmt)
        for layer in layers:
            if layer.kind == "embedding":
                continue
            shape = Shape(layer.rows, layer.cols)
            found.add(Product(shape, plan[layer.name], workload.batch))
            if layer.kind == "linear":
                found.add(Product(shape, plan[layer.name], PREFILL_TOKENS))
    return tuple(
        sorted(found, key=lambda p: (p.shape.rows * p.shape.cols, p.shape, p.format, p.tokens))
    )


def has(table: CostTable, product: Product, threads: int) -> bool:
    """True when the table holds a product."""
    return table.has(product.shape, product.format, threads=threads, tokens=product.tokens)


def unanswerable(table: CostTable, wanted: Iterable[Product], threads: int) -> tuple[Product, ...]:
    """Products that are neither in the table nor within reach of a law fitted to it."""
    return tuple(
        product
        for product in wanted
        if not has(table, product, threads)
        and len({row.shape for row in _alike(table, product, threads)}) < LEAST_SHAPES
    )


def completed(table: CostTable, wanted: Iterable[Product], threads: int) -> CostTable:
    """The table with every wanted product, the missing ones by law.

    Raises:
        UsageError: the table holds too little to fit one.
    """
    laws: dict[tuple[Format, int], Law] = {}
    rows = []
    for product in wanted:
        if has(table, product, threads):
            continue
        kind = product.format, product.tokens
        if kind not in laws:
            laws[kind] = fit(_alike(table, product, threads))
        rows.append(laws[kind].row(product.shape))
    return table.with_rows(rows)


def forecast(subject: Subject, fmt: Format, workload: Workload, profile: Profile) -> Forecast:
    """What a token of `subject` costs with its weights in `fmt`.

    Raises:
        UsageError: the profile's table says too little about such products.
    """
    wanted = products(subject.layers, [fmt], workload)
    table = completed(profile.table, wanted, profile.threads)
    plan = uniform_plan(subject.layers, fmt)
    ends = {end: _model(subject, table, workload, profile, end) for end in _ENDS}
    by_law = sum(not has(profile.table, product, profile.threads) for product in wanted)
    source = _source(profile, len(wanted) - by_law, by_law)
    cpu = {phase: _cpu(ends, plan, phase, profile.carried, source) for phase in PHASES}
    prefill, decode = (
        cpu[phase].times(profile.joules_per_cpu_s, unit="J/token") for phase in PHASES
    )
    share = workload.prompt / workload.tokens
    return Forecast(
        format=fmt.name,
        prefill_cpu=cpu["prefill"],
        decode_cpu=cpu["decode"],
        prefill_energy=prefill,
        decode_energy=decode,
        energy=prefill.scaled(share) + decode.scaled(1 - share),
        weights_bytes=_weights(subject, plan),
    )


_ENDS: tuple[End, End, End] = ("low", "cpu_s", "high")


def _alike(table: CostTable, product: Product, threads: int) -> list[CostRow]:
    kind = product.format, product.tokens, threads
    return [row for row in table.rows if (row.format, row.tokens, row.threads) == kind]


def _model(
    subject: Subject, table: CostTable, workload: Workload, profile: Profile, end: End
) -> EnergyModel:
    """The energy model with every product at one end of its interval."""
    rows = tuple(replace(row, cpu_s=getattr(row, end)) for row in table.rows)
    return EnergyModel(
        layers=subject.layers,
        table=replace(table, rows=rows),
        workload=workload,
        threads=profile.threads,
        joules_per_cpu_s=profile.joules_per_cpu_s,
        calibration={},
    )


def _cpu(
    ends: Mapping[End, EnergyModel],
    plan: Plan,
    phase: Phase,
    carried: Carried | None,
    source: str,
) -> Estimate:
    """CPU time per token of a phase; the calibration's spread widens what the ends span."""
    low, value, high = (ends[end].table_cpu(plan, phase) for end in _ENDS)
    fit_, rest = Calibration(0.0, 1.0, 0.0), (0.0, 0.0)
    if carried is not None:
        fit_, rest = carried.fits[phase], carried.rest[phase]
    return Estimate(
        value=fit_.rest + fit_.kappa * value,
        low=(rest[0] + fit_.kappa * low) * (1 - min(fit_.spread, 0.9)),
        high=(rest[1] + fit_.kappa * high) * (1 + fit_.spread),
        unit="s/token",
        kind=Kind.MODELLED,
        source=source,
        boundary=PRODUCTS if carried is None else WHOLE,
    )


def _source(profile: Profile, measured: int, by_law: int) -> str:
    parts = [f"energy model: {measured} products measured with {profile.table.runtime}"]
    if by_law:
        parts.append(f"{by_law} by a law fitted to it")
    if profile.carried is not None:
        whose = "this shape" if profile.carried.exact else "another model or workload"
        parts.append(f"the rest by runs of {whose}")
    return ", ".join(parts)


def _weights(subject: Subject, plan: Plan) -> Estimate:
    """Weights as stored; a head tied to an embedding is shared while both are 16 bits wide."""
    shared = {
        layer.name
        for layer in subject.layers
        if layer.tied_to and plan[layer.name] == plan[layer.tied_to] == Format(16)
    }
    matrices = sum(
        plan[layer.name].bytes(layer.rows, layer.cols)
        for layer in subject.layers
        if layer.name not in shared
    )
    own = sum(layer.weights for layer in subject.layers if not layer.tied_to)
    vectors = 2 * max(0, subject.parameters - own)  # norms and biases stay at 16 bits
    return Estimate.exact(
        matrices + vectors,
        unit="B",
        source="shapes and formats",
        boundary="weights",
        kind=Kind.MODELLED,
    )


def refuse_unknown(wanted: Iterable[Format], known: Sequence[Format], runtime: str) -> None:
    """Raise `UsageError` for a format that an engine does not execute."""
    for fmt in wanted:
        if fmt not in known:
            raise UsageError(
                f"{runtime} does not execute {fmt}",
                fix=f"choose among: {', '.join(f.name for f in known)}",
            )
