"""The `co2_eq_emissions` block in the front matter of a model card."""

from __future__ import annotations

import json
from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger.footprint import GRAMS
from negawatt.ledger.footprint.operation import expect
from negawatt.reports.standards.wording import sentence, significant

TRAINING_TYPES = ("pre-training", "fine-tuning")
_DIGITS = 4  # more would promise what no interval keeps


@dataclass(frozen=True, slots=True)
class Card:
    """What a model hub shows; the keys are those of Hugging Face."""

    emissions: float  # [gCO2e]
    source: str
    training_type: str
    geographical_location: str
    hardware_used: str
    remarks: tuple[str, ...]  # comments, for people


def card(
    grams: Estimate, *, training_type: str, location: str, hardware: str, market: Estimate | None
) -> Card:
    """Fill the block from location-based emissions of using the machine.

    The hub wants one number of grams; interval, kind and the market-based view
    stand beside it, in the source line and as comments.

    Args:
        grams: Location-based, operation only. [gCO2e]
        training_type: "pre-training" or "fine-tuning".
        location: Where it ran.
        hardware: What it ran on.
        market: The market-based view of the same electricity. [gCO2e]

    Raises:
        UsageError: another training type, or a figure that is not in grams.

    >>> told = card(
    ...     Estimate.exact(360, unit="gCO2e", source="meter"),
    ...     training_type="fine-tuning", location="DE (Germany)", hardware="8 × h100", market=None,
    ... )
    >>> print(text(told).splitlines()[1])
      emissions: 360.0
    """  # fmt: skip
    expect(grams, GRAMS, "emissions")
    if training_type not in TRAINING_TYPES:
        raise UsageError(
            f"{training_type!r} is no training type a model card knows",
            fix=f"give one of: {', '.join(TRAINING_TYPES)}",
        )
    remarks = [f"emissions of use, location-based: {sentence(grams)}"]
    if market is not None:
        remarks.append(f"market-based: {sentence(market)}")
    return Card(
        emissions=significant(grams.value, _DIGITS),
        source=f"negawatt, {grams.kind}, {sentence(grams)}: {grams.source}",
        training_type=training_type,
        geographical_location=location,
        hardware_used=hardware,
        remarks=tuple(remarks),
    )


def text(told: Card) -> str:
    """The block as YAML, to be pasted between the dashes at the top of the card.

    Texts are written in double quotes, as JSON writes them, which YAML reads.
    """
    fields = ("source", "training_type", "geographical_location", "hardware_used")
    lines = ["co2_eq_emissions:", f"  emissions: {told.emissions}"]
    lines += [f"  {f}: {json.dumps(getattr(told, f), ensure_ascii=False)}" for f in fields]
    lines += [f"  # {remark}" for remark in told.remarks]
    return "\n".join(lines) + "\n"
