"""From what was asked of `negawatt explain` to what was found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration

if TYPE_CHECKING:
    from negawatt.energy.explain import Explanation
    from negawatt.energy.foretold import Asked


def explain(
    model: str, device: str, *, precision: str = "bf16", asked: Asked | None = None
) -> Explanation:
    """Tell where the joules of requests to `model` go on a device, from its configuration alone.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, `package:NAME`, or a `config.json`.
        device: By name, such as "h100"; see `negawatt.energy.catalogue`.
        precision: Of the weights, such as "fp8".
        asked: Requests to answer.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = configuration.load({})
    if settings.hub.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from negawatt.actions.explain import Question
    from negawatt.actions.explain import explain as run
    from negawatt.energy.catalogue import catalogue
    from negawatt.energy.foretold import Asked

    question = Question(model=model, device=device, precision=precision, asked=asked or Asked())
    return run(question, catalogue(settings.paths.cache))


def picture(found: Explanation, file: Path) -> None:
    """Write the flame graph as a page that needs nothing but itself.

    Raises:
        OutputError: it cannot be written.
    """
    from negawatt.reports.files import replace_all
    from negawatt.reports.flame import page

    replace_all({file: page(found)})


def samples(found: Explanation, file: Path) -> None:
    """Write the flame graph as a file for speedscope.

    Raises:
        OutputError: it cannot be written.
    """
    from negawatt.reports.files import replace_all
    from negawatt.reports.flame import speedscope

    replace_all({file: speedscope(found)})
