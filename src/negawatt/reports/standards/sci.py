"""Software Carbon Intensity: ISO/IEC 21031:2024, and its edition for AI."""

from __future__ import annotations

from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger.footprint import GRAMS
from negawatt.ledger.footprint.operation import expect
from negawatt.reports.standards.wording import sentence

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Sci:
    """(O + M) per R. Offsets and market instruments have no place in it."""

    operational: Estimate  # O [gCO2e]
    embodied: Estimate  # M [gCO2e]
    units: float  # R
    unit: str  # what R counts: "token", "request"
    score: Estimate  # [gCO2e/unit]


@dataclass(frozen=True, slots=True)
class SciForAi:
    """What a million served tokens emit: serving, and their part of the training."""

    serving: Estimate  # [gCO2e/1e6 tokens]
    training: Estimate | None  # None: not stated, which is not zero [gCO2e/1e6 tokens]

    @property
    def total(self) -> Estimate:
        """Both together where both are known; else serving alone, and its boundary says so."""
        if self.training is None:
            return replace(self.serving, boundary="serving alone, training unknown")
        return replace(self.serving + self.training, boundary="serving and amortised training")


def sci(operational: Estimate, embodied: Estimate | None, *, units: float, unit: str) -> Sci:
    """The score of ISO/IEC 21031:2024: ((E × I) + M) per R.

    Args:
        operational: O = E × I, location-based. [gCO2e]
        embodied: M, the share of making the hardware. [gCO2e]
        units: R, how much of the functional unit was delivered; above 0.
        unit: What R counts, in the singular.

    Raises:
        UsageError: M is unknown, there are no units, or something is not in grams.

    >>> grams = Estimate.exact(300, unit="gCO2e", source="example")
    >>> sci(grams, grams.scaled(0.5), units=90, unit="request").score.value
    5.0
    """
    if embodied is None:
        raise UsageError(
            "the SCI score needs the embodied share, and it is unknown",
            fix="name the hardware and how long it was held: --hardware h100:8 --hours 24",
        )
    expect(operational, GRAMS, "operational emissions")
    expect(embodied, GRAMS, "embodied emissions")
    score = (operational + embodied).scaled(1 / _above_0(units, unit), unit=f"{GRAMS}/{unit}")
    boundary = f"{operational.boundary}; {embodied.boundary}".strip("; ")
    return Sci(operational, embodied, units, unit, replace(score, boundary=boundary))


def sci_for_ai(
    serving: Estimate,
    *,
    tokens: float,
    training: Estimate | None = None,
    lifetime_tokens: float | None = None,
) -> SciForAi:
    """SCI for AI per million tokens, the training spread over all tokens it will serve.

    Args:
        serving: O + M of serving over a period. [gCO2e]
        tokens: Served in that period.
        training: O + M of training, once. [gCO2e]
        lifetime_tokens: Served until the model is retired; needed with `training`.

    Raises:
        UsageError: no tokens, or a training without the tokens that carry it.

    >>> week = Estimate.exact(6_500_000, unit="gCO2e", source="operator")
    >>> sci_for_ai(week, tokens=50e9).total.value
    130.0
    """
    expect(serving, GRAMS, "emissions of serving")
    per = f"{GRAMS}/1e6 tokens"
    served = serving.scaled(MILLION / _above_0(tokens, "token"), unit=per)
    if training is None:
        return SciForAi(served, None)
    expect(training, GRAMS, "emissions of training")
    if lifetime_tokens is None or lifetime_tokens < tokens:
        raise UsageError(
            "the training has to be spread over the tokens of the model's whole life",
            fix="give the tokens served until it is retired, not fewer than those of the period",
        )
    share = training.scaled(MILLION / lifetime_tokens, unit=per)
    return SciForAi(served, share)


def text(told: Sci | SciForAi) -> str:
    """The score and what went into it, one figure a line."""
    if isinstance(told, SciForAi):
        score = told.total
        parts = {"serving": told.serving, "training": told.training}
    else:
        score = told.score
        parts = {"O, operational": told.operational, "M, embodied": told.embodied}
    name = "SCI for AI" if isinstance(told, SciForAi) else "SCI"
    lines = [f"{name}: {sentence(score)}"]
    lines += [f"{part}: {sentence(value)}" for part, value in parts.items()]
    if isinstance(told, Sci):
        lines.append(f"R: {told.units:g} × {told.unit}")
    lines += [f"source of {part}: {v.source}" for part, v in parts.items() if v is not None]
    lines.append(f"boundary: {score.boundary}")
    return "\n".join(lines) + "\n"


def _above_0(units: float, unit: str) -> float:
    if not units > 0:
        raise UsageError(
            f"a score per {unit} needs some of them, got {units:g}",
            fix="say how many were delivered, for example --units 1000000",
        )
    return units
