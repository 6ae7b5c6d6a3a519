"""From what was asked of `negawatt engines` to what was found."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration
from negawatt import wiring

if TYPE_CHECKING:
    from negawatt.actions.optimize.engines import Comparison
    from negawatt.actions.optimize.order import Progress

_ANY_LOSS = 0.01  # an order has one; a comparison has no use for it


def engines(
    model: str,
    *,
    out: Path | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Comparison:
    """Let every installed engine run `model` in turns, and tell which one takes least.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        out: Folder for the engines' forms of the model; in the cache when None.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.workload": "512:128:1"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    asked = {name: None if value is None else str(value) for name, value in (flags or {}).items()}
    settings = configuration.load(asked)
    if settings.hub.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from negawatt.actions.optimize import stages
    from negawatt.actions.optimize.engines import compare, state_race
    from negawatt.actions.optimize.folder import claimed
    from negawatt.actions.optimize.order import Order, fingerprint
    from negawatt.models import origin

    name = re.sub(r"[^\w.-]+", "-", Path(model).name) or "model"
    place = out or settings.paths.cache / "engines" / f"{name}-{fingerprint(model)[:8]}"
    order = Order(
        model=model,
        max_loss=_ANY_LOSS,
        workload=settings.run.workload,
        out=place,
        seed=settings.run.seed,
        threads=settings.run.threads,
    )
    size = origin.weight_bytes(model)
    tools = wiring.tools(settings, progress, small=size is not None and size < wiring.LARGE)
    with claimed(place) as work:
        try:
            tools.workshop.change(tools.reference)
            source = tools.workshop.call(stages.prepared, tools, order, work)
            state_race(tools, source)
            return compare(order, tools, work, source)
        finally:
            tools.workshop.close()
