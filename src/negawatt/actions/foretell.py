"""`negawatt predict --device`: read a configuration, foretell requests or a training on devices."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.actions.design import read_anatomy
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.catalogue import Catalogue
from negawatt.energy.foretold import Asked, Foretold, foretell
from negawatt.energy.outlook import Outlook, Row, TrainingRow
from negawatt.energy.training import Training, train
from negawatt.ledger.footprint.operation import operational_emissions

MILLION = 1e6  # tokens that emissions are told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One `negawatt predict --device`, as the user asked it.

    Args:
        model: A folder, hub id, .gguf file, `package:NAME`, or the path of a `config.json`.
        devices: By name.
        precisions: Of the weights; "bf16" when empty.
        asked: Requests to answer.
        training: To foretell instead of requests.
        intensity: Of the grid. [gCO2e/kWh]
        pue: Of the site; None leaves the building out. [1]
    """

    model: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...] = ("bf16",)
    asked: Asked
    training: Training | None = None
    intensity: Estimate
    pue: Estimate | None = None


def look_ahead(question: Question, known: Catalogue) -> Outlook:
    """What a model takes on devices that it has not been run on.

    Args:
        question: What was asked.
        known: Devices by name.

    Raises:
        ModelError: what was given is no configuration of a known family.
        UsageError: a device or a precision is not known, or a number is absurd.
    """
    if not question.devices:
        raise UsageError("no device was named", fix="name one, for example --device h100")
    profiles = [known.find(name) for name in question.devices]
    anatomy = read_anatomy(question.model)
    rows: tuple[Row, ...] = ()
    trainings: tuple[TrainingRow, ...] = ()
    if question.training is not None:
        told = [train(anatomy, question.training, profile) for profile in profiles]
        trainings = tuple(TrainingRow(told=t, emissions=_grams(t.joules, question)) for t in told)
    else:
        found = [
            foretell(anatomy, question.asked, profile, precision)
            for profile in profiles
            for precision in question.precisions or ("bf16",)
        ]
        rows = tuple(Row(told=one, emissions=_per_million(one, question)) for one in found)
    return Outlook(
        model=question.model,
        architecture=anatomy.architecture,
        parameters=anatomy.parameters,
        active=anatomy.active,
        writes=anatomy.family == "decoder",
        asked=question.asked,
        training=question.training,
        rows=rows,
        trainings=trainings,
        intensity=question.intensity,
        notes=_notes(anatomy, rows, trainings, question),
    )


def _grams(joules: Estimate, question: Question) -> Estimate:
    return operational_emissions(joules, question.intensity, question.pue)


def _per_million(told: Foretold, question: Question) -> Estimate:
    return _grams(told.per_token.scaled(MILLION, unit="J"), question)


def _notes(
    anatomy: Anatomy,
    rows: tuple[Row, ...],
    trainings: tuple[TrainingRow, ...],
    question: Question,
) -> tuple[str, ...]:
    notes = [
        "Joules of the devices alone: the host's processors, memory and fans come on top"
        + ("." if question.pue else ", and the building too.")
    ]
    notes.extend(_best([row.told for row in rows if row.told.fits]))
    for one in rows:
        told = one.told
        if not told.fits:
            notes.append(
                f"{told.device} with {told.precision} does not fit: it needs "
                f"{told.memory_bytes / 1e9:.3g} GB and {told.devices} have "
                f"{told.room_bytes / 1e9:.3g}; its figures are what it would take if it did."
            )
        if told.beyond:
            notes.append(
                f"{told.device} with {told.precision} is outside of its calibration "
                f"({'; '.join(told.beyond)}): the interval is that of a datasheet."
            )
    notes.extend(
        f"{told.devices} {told.device} do not hold weights, gradients and optimizer: "
        f"{told.memory_bytes / 1e9:.3g} GB."
        for told in (training.told for training in trainings)
        if not told.fits
    )
    if trainings:
        notes.append(
            "Rates are those that whole published trainings reached, stops included; activations "
            "that are computed twice and what other stages take are not counted."
        )
    if anatomy.expert_layers and rows:
        notes.append("Experts are taken to be met evenly; where they are not, fewer bytes move.")
    learnt = {(row.told.device, row.told.source) for row in rows}
    learnt |= {(row.told.device, row.told.source) for row in trainings}
    notes.extend(f"Constants of {device}: {source}." for device, source in sorted(learnt))
    return tuple(notes)


def _best(found: list[Foretold]) -> list[str]:
    """Which takes the fewest joules, if that is beyond doubt or not."""
    if len(found) < 2:
        return []
    first, second = sorted(found, key=lambda one: one.per_token.value)[:2]
    sure = first.per_token.high < second.per_token.low
    ways = [f"{one.device} with {one.precision}" for one in (first, second)]
    share = 1 - first.per_token.value / second.per_token.value
    doubt = "" if sure else ", though their intervals overlap"
    return [f"{ways[0]} takes the fewest joules a token: {share:.0%} less than {ways[1]}{doubt}."]
