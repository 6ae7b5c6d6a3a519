"""What a report says about an outcome, worked out once for every form it is shown in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from negawatt.core.errors import UsageError
from negawatt.core.outcome import Outcome, Point
from negawatt.core.records import Format
from negawatt.reports.figures import UNKNOWN, Figure, Sources, Style, amount, plain

AGAINST_REFERENCE = "CPU time per decoded token, against the reference"
AGAINST_INT8 = "CPU time per decoded token, against uniform int8"
ROLES = ("reference", "base", "uniform", "searched")


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of the front, every figure formatted."""

    name: str
    role: str
    chosen: bool
    on_front: bool
    meets_budget: bool
    bits: str  # mean bits per weight, scales counted
    size: str
    perplexity: Figure | None
    loss: Figure | None
    selection_loss: Figure | None
    expected_loss: Figure | None
    kl: Figure | None
    top1: Figure | None
    cloze: Figure | None
    energy: Figure
    prefill_energy: Figure | None
    decode_energy: Figure | None
    prefill_cpu: Figure | None
    decode_cpu: Figure | None
    first_token: Figure | None
    decode_latency: Figure | None
    versus_reference: Figure | None
    versus_int8: Figure | None
    predicted: Figure | None
    deviation: str  # predicted over measured, minus one
    memory: str
    threads: str
    runtime: str
    notes: tuple[str, ...]

    @property
    def flags(self) -> str:
        """The row's standing in words, for readers who do not see marks."""
        words = [
            "chosen" if self.chosen else "",
            "on the front" if self.on_front else "",
            "" if self.meets_budget else "over the quality budget",
        ]
        return ", ".join(filter(None, words))


def chosen(outcome: Outcome) -> Point:
    """The point the decision names.

    Raises:
        UsageError: the outcome holds no such point, so it is not whole.
    """
    for point in outcome.points:
        if point.variant.name == outcome.decision.choice:
            return point
    raise UsageError(
        f"the decision names {outcome.decision.choice!r}, and no such variant was measured",
        fix="the report file is not whole: run `negawatt optimize` again",
    )


def ordered(outcome: Outcome) -> tuple[Point, ...]:
    """Reference and base first, then dearest to cheapest."""
    return tuple(
        sorted(outcome.points, key=lambda p: (min(ROLES.index(p.role), 2), -p.energy.value))
    )


def rows(outcome: Outcome, sources: Sources) -> tuple[Row, ...]:
    """Every variant as a row, in the order of `ordered`."""
    choice = chosen(outcome)
    return tuple(
        _row(point, sources, chosen=point is choice, bits=_mean_bits(outcome, point))
        for point in ordered(outcome)
    )


def _row(point: Point, sources: Sources, *, chosen: bool, bits: str) -> Row:
    cost = point.variant.cost
    return Row(
        name=point.variant.name,
        role=point.role,
        chosen=chosen,
        on_front=point.on_front,
        meets_budget=point.meets_budget,
        bits=bits,
        size=amount(point.size_bytes, "B"),
        deviation=_deviation(point),
        memory=amount(cost.memory_bytes, "B") if cost else UNKNOWN,
        threads=str(cost.threads) if cost else UNKNOWN,
        runtime=cost.runtime if cost else UNKNOWN,
        notes=point.variant.notes,
        **_figures(point, sources),
    )


def _figures(point: Point, sources: Sources) -> dict[str, Any]:
    """Field of `Row` -> its figure, None where nothing was measured."""
    quality, cost = point.variant.quality, point.variant.cost
    milli = 1000.0  # nats, seconds: shown in thousandths
    table: tuple[tuple[str, object, str, str, float, Style], ...] = (
        ("perplexity", quality, "perplexity", "perplexity", 1, "number"),
        ("loss", quality, "loss", "perplexity loss", 1, "change"),
        ("kl", quality, "kl", "KL to the base", milli, "number"),
        ("top1", quality, "top1", "top-1 agreement", 1, "percent"),
        ("cloze", quality, "cloze", "cloze accuracy", 1, "percent"),
        ("prefill_energy", cost, "prefill_energy", "prefill energy", 1, "number"),
        ("decode_energy", cost, "decode_energy", "decode energy", 1, "number"),
        ("prefill_cpu", cost, "prefill_cpu", "prefill CPU time", milli, "number"),
        ("decode_cpu", cost, "decode_cpu", "decode CPU time", milli, "number"),
        ("first_token", cost, "prefill_latency", "time to the first token", milli, "number"),
        ("decode_latency", cost, "decode_latency", "time per token", milli, "number"),
        ("energy", point, "energy", "energy per token", 1, "number"),
        ("predicted", point, "predicted_energy", "predicted energy per token", 1, "number"),
        ("selection_loss", point, "selection_loss", "loss on the selection text", 1, "change"),
        ("expected_loss", point, "expected_loss", "loss to expect", 1, "change"),
        ("versus_reference", point, "cpu_vs_reference", AGAINST_REFERENCE, 1, "number"),
        ("versus_int8", point, "cpu_vs_int8", AGAINST_INT8, 1, "number"),
    )
    return {
        field: None
        if (estimate := getattr(record, attribute, None)) is None
        else sources.figure(estimate, name, scale=scale, style=style)
        for field, record, attribute, name, scale, style in table
    }


def _deviation(point: Point) -> str:
    if point.predicted_energy is None or not point.energy.value:
        return UNKNOWN
    return f"{100 * (point.predicted_energy.value / point.energy.value - 1):+.1f} %"


def _mean_bits(outcome: Outcome, point: Point) -> str:
    """Mean bits per weight over the layers the search looked at, scales counted."""
    layers = [choice.layer for choice in outcome.layers]
    weights = sum(layer.weights for layer in layers)
    if not weights:
        return UNKNOWN
    unchanged = Format(16)
    bits = sum(
        layer.weights * point.variant.plan.get(layer.name, unchanged).bits_per_weight(layer.cols)
        for layer in layers
    )
    return plain(bits / weights)
