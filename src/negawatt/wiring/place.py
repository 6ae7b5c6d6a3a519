"""From what was asked of `negawatt place` to what was chosen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration

if TYPE_CHECKING:
    from negawatt.decisions.placement import Placement
    from negawatt.decisions.placement.records import Aim


def place(file: Path | str, aim: Aim = "carbon") -> Placement:
    """Choose which machines read and which write for whom, at least carbon or energy.

    Args:
        file: TOML with sites, machines, models and classes of requests; `negawatt place --example`
            shows one.
        aim: "carbon" counts grids and the making of machines, "energy" joules alone.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = configuration.load({})
    if settings.hub.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from negawatt.actions.place import read_fleet
    from negawatt.core.aside import stdout_aside
    from negawatt.decisions.placement import place as choose
    from negawatt.energy.catalogue import catalogue

    fleet = read_fleet(Path(file), catalogue(settings.paths.cache))
    with stdout_aside():  # the solver tells there of every solution that it repairs
        return choose(fleet, aim)


def example() -> str:
    """A file to begin with."""
    from negawatt.actions.place import example as shown

    return shown()
