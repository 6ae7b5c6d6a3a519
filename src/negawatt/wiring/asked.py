"""What every verb does with what it was asked: settings, tools for the model, a folder to work in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Order, Progress, Tools
    from negawatt.models.source import ModelSource
    from negawatt.settings import Settings

#: Bytes of weights from which a model is worked on in processes apart.
LARGE = 64 * 2**20


def settings_of(flags: Mapping[str, object] | None) -> Settings:
    """Settings, with those that were asked for; hubs are left alone from here on if they say so.

    Args:
        flags: Settings by name, with values of any kind; None is not asked for.

    >>> settings_of({"run.threads": 2}).run.threads
    2
    """
    asked = {name: None if value is None else str(value) for name, value in (flags or {}).items()}
    settings = configuration.load(asked)
    if settings.hub.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return settings


def tools_for(model: str, settings: Settings, progress: Progress) -> Tools:
    """Tools for a model: where it is large or of unknown size, work is done in processes apart."""
    from negawatt import wiring
    from negawatt.models import origin

    size = origin.weight_bytes(model)
    return wiring.tools(settings, progress, small=size is not None and size < LARGE)


def forms_at(model: str, settings: Settings) -> Path:
    """Where the engines' forms of a model are kept when nobody names a folder."""
    from negawatt.actions.optimize.order import fingerprint

    name = re.sub(r"[^\w.-]+", "-", Path(model).name) or "model"
    return settings.paths.cache / "engines" / f"{name}-{fingerprint(model)[:8]}"


@contextmanager
def at_work(order: Order, tools: Tools) -> Iterator[tuple[Path, ModelSource]]:
    """A folder claimed for an order, and its model prepared there; workers end with the block."""
    from negawatt.actions.optimize import stages
    from negawatt.actions.optimize.folder import claimed

    with claimed(order.out) as work:
        try:
            tools.workshop.change(tools.reference)
            yield work, tools.workshop.call(stages.prepared, tools, order, work)
        finally:
            tools.workshop.close()
