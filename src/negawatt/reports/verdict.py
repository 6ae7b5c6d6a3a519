"""What was gained and how sure that is, in sentences that the intervals support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from negawatt.core.estimate import Estimate
from negawatt.core.outcome import Outcome, Point
from negawatt.reports.figures import Figure, Sources, amount, listing
from negawatt.reports.view import AGAINST_INT8, AGAINST_REFERENCE, chosen


@dataclass(frozen=True, slots=True)
class Claim:
    """One of the headline's figures, and how sure it is."""

    label: str
    figure: Figure
    unit: str
    sure: str


def claims(outcome: Outcome, sources: Sources) -> tuple[Claim, ...]:
    """What was gained, in four figures at most."""
    point = chosen(outcome)
    made: list[Claim] = []
    against: Sequence[tuple[str, Estimate | None]] = (
        (AGAINST_REFERENCE, point.cpu_vs_reference),
        (AGAINST_INT8, point.cpu_vs_int8),
    )
    for label, ratio in against:
        if ratio is not None:
            figure = sources.figure(ratio, label)
            made.append(Claim(label, figure, "×", sureness(ratio)))
    if point.variant.quality is not None:
        loss = point.variant.quality.loss
        figure = sources.figure(loss, "perplexity loss", style="change")
        made.append(
            Claim("perplexity, against the base", figure, "%", within(loss, outcome.facts.max_loss))
        )
    figure = sources.figure(point.energy, "energy per token")
    made.append(Claim("energy, mean of the workload", figure, "J/token", _joules_word(point)))
    return tuple(made)


def sureness(ratio: Estimate) -> str:
    """What an interval says about being less or more than one.

    >>> from negawatt.core.estimate import Kind
    >>> def r(low, value, high):
    ...     return Estimate(
    ...         value=value, low=low, high=high, unit="1", kind=Kind.MEASURED, source="s"
    ...     )
    >>> sureness(r(0.8, 0.9, 0.95)), sureness(r(0.9, 0.99, 1.1)), sureness(r(1.1, 1.2, 1.3))
    ('less, over its whole interval', 'no difference shown', 'more, over its whole interval')
    """
    if ratio.high < 1:
        return "less, over its whole interval"
    return "more, over its whole interval" if ratio.low > 1 else "no difference shown"


def within(loss: Estimate, budget: float) -> str:
    """Where a loss and its interval lie against the budget."""
    allowed = f"{100 * budget:g} %"
    if loss.high <= budget:
        return f"the whole interval is within the budget of {allowed}"
    if loss.value <= budget:
        return f"the best estimate is within the budget of {allowed}, its interval reaches beyond"
    return f"over the budget of {allowed}"


def _joules_word(point: Point) -> str:
    kind = point.energy.kind
    return (
        "read from a counter" if kind == "measured" else f"{kind}, not simply read from a counter"
    )


def headline(outcome: Outcome) -> str:
    """What was gained, in one sentence that its intervals support."""
    point = chosen(outcome)
    size = f"{amount(point.size_bytes, 'B')} of weights"
    ratios = ((point.cpu_vs_reference, "the reference"), (point.cpu_vs_int8, "uniform int8"))
    gains = [_gain(ratio, rival) for ratio, rival in ratios if ratio is not None]
    words = (
        f"CPU time per decoded token is {listing(gains)}" if gains else "CPU time was not compared"
    )
    sentence = f"{point.variant.name}: {words}"
    if point.variant.quality is not None:
        loss = point.variant.quality.loss.value
        sentence += f", at {abs(100 * loss):.2g} % {'higher' if loss >= 0 else 'lower'} perplexity"
    return f"{sentence}, in {size}."


def _gain(ratio: Estimate, rival: str) -> str:
    if sureness(ratio) == "no difference shown":
        return f"not shown to differ from {rival}"
    change = abs(100 * (ratio.value - 1))
    return f"{change:.0f} % {'below' if ratio.value < 1 else 'above'} {rival}"


def certainties(outcome: Outcome) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is certain and what is not, each a sentence."""
    point = chosen(outcome)
    sure: list[str] = []
    unsure: list[str] = []
    for rival, ratio in (
        ("the reference", point.cpu_vs_reference),
        ("uniform int8", point.cpu_vs_int8),
    ):
        if ratio is not None:
            place = unsure if sureness(ratio) == "no difference shown" else sure
            place.append(
                f"CPU time against {rival}: {ratio.value:.3f} × ({ratio.low:.3f} to"
                f" {ratio.high:.3f}, {ratio.kind}), paired in one interleaved run."
            )
    failed = [check.name for check in outcome.checks if not check.passed]
    if failed:
        unsure.append(f"Checks that did not pass: {', '.join(failed)}.")
    if point.variant.quality is not None:
        loss = point.variant.quality.loss
        place = sure if loss.high <= outcome.facts.max_loss else unsure
        place.append(
            f"Perplexity on a text that was not used to choose: {within(loss, outcome.facts.max_loss)}."
        )
    if point.energy.kind != "measured":
        ratio_width = point.energy.high / point.energy.low if point.energy.low > 0 else None
        span = f", and its ends are {ratio_width:.1f} × apart" if ratio_width else ""
        unsure.append(f"Joules are {point.energy.kind} ({point.energy.source}){span}.")
    return tuple(sure), tuple(unsure)
