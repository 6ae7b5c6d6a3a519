"""From rows or windows to a profile: constants, what they miss on models left out, the band."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from negawatt.actions.calibrate.plan import KERNELS, USUAL_DTYPE
from negawatt.actions.calibrate.rows import Row
from negawatt.core.errors import UsageError
from negawatt.energy.devices import Datasheet
from negawatt.energy.fitting import Windows, fit
from negawatt.energy.left_out import Band, Errors, left_out, width
from negawatt.energy.profiles import DeviceProfile, Origin, calibrated

SHARE = 0.9  # of models to come that the band is to hold
FEW = 10  # models below which a band for 90 % rests on Student's factor more than on models
_LEAST = 2  # models, of which one can be left out


@dataclass(frozen=True, slots=True)
class Missed:
    """How far predictions were off on a model that was left out.

    Args:
        joules: Mean relative error of an energy, before running. [1]
        seconds: The same of a time. [1]
        windows: How many there were.
    """

    joules: float
    seconds: float
    windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a calibration found.

    Args:
        profile: Of the device, as it is kept.
        missed: By model, each left out in turn.
        rows: Measured windows; none when a table was fitted.
        speeds: Products in other number formats: operations a second over those in 16 bits. [1]
        cheapness: The same for joules of an operation. [1]
        law_band: What the errors on left-out models alone ask for, without the meter's own. [1]
        meter_factor: How far the meter itself may be off. [1]
        notes: What to know before trusting it.
        versions: Of what decides the figures.
        kept: Where the profile was written; empty until it is.
    """

    profile: DeviceProfile
    missed: Mapping[str, Missed]
    rows: tuple[Row, ...]
    speeds: Mapping[str, float]
    cheapness: Mapping[str, float]
    law_band: float
    meter_factor: float
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    kept: str = ""

    @property
    def error(self) -> float:
        """Mean relative error of joules on left-out models, all windows alike. [1]"""
        return _mean([(one.joules, one.windows) for one in self.missed.values()])

    @property
    def time_error(self) -> float:
        """The same of times. [1]"""
        return _mean([(one.seconds, one.windows) for one in self.missed.values()])


def fitted(
    windows: Windows,
    sheet: Datasheet,
    origin: Origin,
    *,
    meter_factor: float = 1.0,
    versions: Mapping[str, str] | None = None,
) -> Calibration:
    """Fit, leave out each model in turn, and put together what was found.

    Products and copies reach what the device can, models what their engine makes of it. So they take
    part in the fit only where models that are left out are then foretold no worse.

    Args:
        windows: Of several models, and of kernels perhaps.
        sheet: Where the fit starts.
        origin: Of the windows.
        meter_factor: How far the meter itself may be off; widens the band of joules. [1]
        versions: Of what decides the figures.

    Raises:
        UsageError: there are fewer than two models.
    """
    models = windows.where(np.array(windows.groups) != KERNELS)
    count = len(set(models.groups))
    if count < _LEAST:
        raise UsageError(
            f"windows of {count} models cannot tell how far predictions for another are off",
            fix="give windows of two models or more, better ten",
        )
    chosen, errors = models, left_out(models, sheet.usual)
    notes: list[str] = []
    if len(models) < len(windows):
        with_kernels = _of_models(left_out(windows, sheet.usual))
        better = _size(with_kernels) <= _size(errors)
        chosen, errors = (windows, with_kernels) if better else (models, errors)
        notes.append(_on_kernels(taken=better))
    found = fit(chosen, sheet.usual)
    dense, experts = _bands(errors, models)
    profile = calibrated(found, models, sheet, _widened(dense, meter_factor), origin)
    if experts is not None:
        profile = replace(profile, expert_band=_widened(experts, meter_factor))
    return Calibration(
        profile=replace(profile, windows=len(chosen)),
        missed=_missed(errors),
        rows=(),
        speeds={},
        cheapness={},
        law_band=dense.joules,
        meter_factor=meter_factor,
        notes=(*notes, *_on_models(count, meter_factor)),
        versions=dict(versions or {}),
    )


def beside(rows: Sequence[Row]) -> tuple[dict[str, float], dict[str, float]]:
    """Speed and joules of products in other formats, over those in 16 bits. [1], [1]"""
    products = {row.task.dtype: row for row in rows if row.task.what == "product"}
    usual = products[USUAL_DTYPE]
    speeds = {
        name: usual.seconds / row.seconds for name, row in products.items() if row is not usual
    }
    joules = {
        name: row.joules.value / usual.joules.value
        for name, row in products.items()
        if row is not usual
    }
    return speeds, joules


def factor_of(rows: Sequence[Row]) -> float:
    """How far the meter may be off in the worst window of a model: its interval's far end. [1]"""
    factors = []
    for row in (row for row in rows if row.task.shape is not None):
        low, value, high = row.joules.low, row.joules.value, row.joules.high
        factors.append(max(high / value, value / low if low > 0 else math.inf))
    finite = [factor for factor in factors if math.isfinite(factor)]
    if len(finite) < len(factors) or not finite:
        raise UsageError(
            "a meter may have counted nothing at all in one of the windows",
            fix="use a meter that is read more often, or leave out --quick",
        )
    return max(finite)


def _of_models(errors: Errors) -> Errors:
    return errors.where(np.array(errors.groups) != KERNELS)


def _size(errors: Errors) -> float:
    return float(np.mean(np.abs(np.concatenate([errors.joules, errors.seconds]))))


def _bands(errors: Errors, models: Windows) -> tuple[Band, Band | None]:
    """For dense models and for models with experts; one for both where either is too few."""
    experts = np.asarray(models.load.expert_layers) > 0
    kinds = [errors.where(~experts), errors.where(experts)]
    if all(len(set(kind.groups)) >= _LEAST for kind in kinds):
        return _band(kinds[0]), _band(kinds[1])
    return _band(errors), None


def _band(errors: Errors) -> Band:
    """As `Errors.band`, for two models too."""
    joules, seconds = (
        math.exp(width(each, errors.groups, SHARE)) for each in (errors.joules, errors.seconds)
    )
    return Band(share=SHARE, joules=joules, seconds=seconds)


def _widened(band: Band, factor: float) -> Band:
    return replace(band, joules=band.joules * factor)


def _missed(errors: Errors) -> dict[str, Missed]:
    groups = np.array(errors.groups)
    found = {}
    for group in dict.fromkeys(errors.groups):
        here = groups == group
        joules, seconds = (
            float(np.mean(np.abs(np.exp(each[here]) - 1)))
            for each in (errors.joules, errors.seconds)
        )
        found[group] = Missed(joules, seconds, int(here.sum()))
    return found


def _mean(values: Sequence[tuple[float, int]]) -> float:
    return sum(value * count for value, count in values) / sum(count for _, count in values)


def _on_kernels(*, taken: bool) -> str:
    if taken:
        return "Products and copies took part in the fit beside the models."
    return (
        "Products and copies were kept out of the fit: this engine reaches less than they do, and "
        "with them models that are left out are foretold worse. They tell where the fit starts."
    )


def _on_models(count: int, meter_factor: float) -> list[str]:
    notes = []
    if count < FEW:
        notes.append(
            f"{count} models are few for a band that is to hold for {SHARE:.0%} of models to come: "
            f"it is their errors widened by Student's factor, and was not tried on others."
        )
    if meter_factor > 1.0:
        notes.append(
            f"The band of joules is the law's times {meter_factor:.2f}, by which the meter itself "
            f"may be off."
        )
    return notes
