"""What is told of a model on devices that it has not been run on: records only."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.core.estimate import Estimate
from negawatt.energy.foretold import Asked, Foretold
from negawatt.energy.training import Trained, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Requests on one device with one precision.

    Args:
        told: What they take.
        emissions: Of a million tokens written. [gCO2e]
    """

    told: Foretold
    emissions: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """A training on one device.

    Args:
        told: What it takes.
        emissions: Of all of it. [gCO2e]
    """

    told: Trained
    emissions: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What was asked, and what every device would take.

    Args:
        model: As the user named it.
        architecture: Of its configuration.
        parameters: Stored.
        active: That a token passes.
        writes: Whether it writes replies; an encoder's figures are of the tokens it reads.
        asked: Requests to answer.
        training: That was asked for instead.
        rows: Devices by precisions; empty for a training.
        trainings: One per device; empty for requests.
        intensity: Of the grid. [gCO2e/kWh]
        notes: What to know about them.
    """

    model: str
    architecture: str
    parameters: float
    active: float
    writes: bool
    asked: Asked
    training: Training | None
    rows: tuple[Row, ...]
    trainings: tuple[TrainingRow, ...]
    intensity: Estimate
    notes: tuple[str, ...]
