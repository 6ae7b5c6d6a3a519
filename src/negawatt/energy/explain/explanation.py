"""All that is told of where the joules of a request go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.explain.changes import Lever, Slope, levers, slopes
from negawatt.energy.explain.leaves import Group, Leaf, grouped, leaves_of, total
from negawatt.energy.explain.words import because
from negawatt.energy.profiles import DeviceProfile
from negawatt.energy.serving import Run, Served, serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where the joules of a batch of requests go.

    Args:
        model: Which model.
        device: On what.
        devices: How many share it.
        per_token: Of everything, over the tokens written. [J/token]
        batch: Requests at once.
        prompt: Tokens read of each.
        written: Tokens written for each.
        leaves: The smallest parts, of the whole batch.
        levels: By where in the machine.
        phases: Reading and writing.
        operations: By what is done.
        layers: By layer.
        slopes: What one percent more of something does.
        levers: Changes that save, greatest saving first.
        because: What it comes to, in sentences.
        beyond: What lies outside of the device's calibration.
    """

    model: str
    device: str
    devices: int
    per_token: Estimate
    batch: float
    prompt: float
    written: float
    leaves: tuple[Leaf, ...]
    levels: tuple[Group, ...]
    phases: tuple[Group, ...]
    operations: tuple[Group, ...]
    layers: tuple[Group, ...]
    slopes: tuple[Slope, ...]
    levers: tuple[Lever, ...]
    because: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def joules(self) -> float:
        """Of the whole batch of requests. [J]"""
        return total(self.leaves)


def explain(anatomy: Anatomy, run: Run, profile: DeviceProfile) -> Explanation:
    """Where the joules of a batch of requests go, and what would make them fewer.

    Args:
        anatomy: Of the model.
        run: What is asked for.
        profile: Of the device.

    Raises:
        UsageError: an encoder is asked to write.

    >>> from negawatt.energy.catalogue import catalogue
    >>> from negawatt.energy.published import Totals, anatomy_from
    >>> sizes = Totals(parameters=8e9, active=8e9, layers=32, hidden=4096, heads=4096, kept=65536)
    >>> told = explain(anatomy_from("8B", sizes), Run(batch=8), catalogue().find("h100"))
    >>> told.levels[0].name
    'static watts'
    >>> told.levers[0].share < 0.5
    True
    """
    if anatomy.family == "encoder":
        raise UsageError(
            f"{anatomy.name} reads whole texts and writes none",
            fix="ask about a model that writes",
        )
    waits = tuple(profile.waits.values())

    def served_as(changed: Run) -> Served:
        return serve(
            anatomy,
            changed,
            profile.constants,
            batching=profile.origin.batching,
            wait_s=median(waits) if waits else 0.0,
        )

    served = served_as(run)
    leaves = leaves_of(served, profile.constants)
    if not math.isclose(total(leaves), float(served.joules), rel_tol=1e-9):
        raise ArithmeticError("parts and whole differ")
    levels, found = grouped(leaves, "level"), levers(anatomy, run, served_as, profile)
    return Explanation(
        model=anatomy.name,
        device=profile.name,
        devices=run.devices,
        per_token=profile.joules(float(served.joules_per_token), served.load, unit="J/token"),
        batch=float(run.batch),
        prompt=float(run.prompt),
        written=float(run.written),
        leaves=leaves,
        levels=levels,
        phases=grouped(leaves, "phase"),
        operations=grouped(leaves, "operation"),
        layers=grouped(leaves, "layer"),
        slopes=slopes(run, served_as),
        levers=found,
        because=because(run, levels, found),
        beyond=profile.outside(served.load),
    )
