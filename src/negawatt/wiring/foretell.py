"""From what was asked of `negawatt predict --device` to what is foretold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from negawatt import settings as configuration

if TYPE_CHECKING:
    from negawatt.core.estimate import Estimate
    from negawatt.core.quantities import GramsPerKWh
    from negawatt.energy.foretold import Asked
    from negawatt.energy.outlook import Outlook
    from negawatt.energy.training import Training


def foretell(
    model: str,
    devices: Sequence[str],
    *,
    precisions: Sequence[str] = (),
    asked: Asked | None = None,
    training: Training | None = None,
    grid: str | None = None,
    pue: float | None = None,
) -> Outlook:
    """Tell what `model` takes on devices that need not be here, from its configuration alone.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, `package:NAME`, or a `config.json`.
        devices: By name, such as "h100"; see `negawatt.energy.catalogue`.
        precisions: Of the weights, such as "fp8"; "bf16" when empty.
        asked: Requests to answer.
        training: To foretell instead of requests.
        grid: A zone such as "DE", or gCO2e per kWh; the setting, or a world-wide range, when None.
        pue: Of the site; the building is left out when None. [1]

    Returns:
        A row per device and precision, each figure with its interval.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = configuration.load({})
    if settings.hub.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from negawatt.actions.foretell import Question, look_ahead
    from negawatt.energy.catalogue import catalogue
    from negawatt.energy.foretold import Asked
    from negawatt.ledger.footprint.operation import stated_pue

    question = Question(
        model=model,
        devices=tuple(devices),
        precisions=tuple(precisions) or ("bf16",),
        asked=asked or Asked(),
        training=training,
        intensity=_intensity(grid, settings.carbon.intensity),
        pue=None if pue is None else stated_pue(pue),
    )
    return look_ahead(question, catalogue(settings.paths.cache))


def _intensity(grid: str | None, usual: GramsPerKWh | None) -> Estimate:
    """Of a zone, of a number, of the setting, or of the world. [gCO2e/kWh]"""
    from negawatt.core.quantities import GramsPerKWh as Grams
    from negawatt.ledger.footprint.intensity import of_zone, stated_intensity, world_intensity

    if grid is not None:
        number = grid.removeprefix("-").replace(".", "", 1).isdigit()
        return stated_intensity(Grams(float(grid))) if number else of_zone(grid).estimate
    return world_intensity() if usual is None else stated_intensity(usual)
