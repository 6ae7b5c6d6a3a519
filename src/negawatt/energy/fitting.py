"""From measured windows to the constants of a device: joules by NNLS, times by the smooth law.

Joules are linear in their five prices once the time of a step is known, so these are found first, by
non-negative least squares on relative errors; a datasheet's prices stand in as further rows, each as
wide as it is uncertain, and windows that do not fit weigh less (Huber). The law of time is fitted
next, on logarithms, to times and, where joules are known, to the joules that its times lead to.

A server may keep its devices waiting at every step, whatever the model: for its own work, or that of its
clients. So a kind of run ("chat", say) may have a waiting time of its own, which is found with the rest.

What the windows do not tell keeps the datasheet's value, and its name is in `unidentified`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.energy.priors import priors
from negawatt.energy.roofline import Constants, time_of
from negawatt.energy.workload import Load

Floats = NDArray[np.float64]

_PRICES = ("static_w", "weight_j", "context_j", "operation_j", "link_j")
_TIMES = tuple(name for name in Constants.names() if name not in _PRICES)
_JOULES_OFF, _TIME_OFF = 0.07, 0.15  # what the law itself may be off by
_HUBER = 1.5  # of these, from which a window weighs less
_ROUNDS = 15  # of weighing anew
_WAIT_S, _WAIT_WIDTH = 1e-3, 2.0  # of a kind of run at first [s], and how far off in the logarithm
_TOLD = 0.7  # of its width, above which a constant was not told by the windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Measured steps, as arrays of one length.

    Args:
        load: What each step asked for; arrays.
        joules: Of each step. [J], [windows]
        seconds: Of each step. [s], [windows]
        groups: Of what model each is; a group weighs by the root of its windows.
        kinds: Of run, with a waiting time each; empty when all are of one, without waiting.
    """

    load: Load
    joules: Floats
    seconds: Floats
    groups: tuple[str, ...]
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, values in (("joules", self.joules), ("seconds", self.seconds)):
            if not (np.isfinite(values) & (values > 0)).all():
                raise UsageError(
                    f"a window has no {name} above nought",
                    fix="leave out windows that were not measured to their end",
                )

    def __len__(self) -> int:
        return len(self.groups)

    def where(self, chosen: NDArray[np.bool_]) -> Windows:
        """Some of them."""
        load = Load(**{name: getattr(self.load, name)[chosen] for name in Load.__slots__})
        places = np.flatnonzero(chosen)
        return Windows(
            load=load,
            joules=self.joules[chosen],
            seconds=self.seconds[chosen],
            groups=tuple(self.groups[i] for i in places),
            kinds=tuple(self.kinds[i] for i in places) if self.kinds else (),
        )

    @property
    def weights(self) -> Floats:
        """Of each window; their squares have a mean of 1. [windows]"""
        count = Counter(self.groups)
        plain = np.array([1 / np.sqrt(count[group]) for group in self.groups])
        return np.asarray(plain / np.sqrt(np.mean(plain**2)))


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants of a device, and how well windows tell them.

    Args:
        constants: The fitted ones.
        scatter: Standard error of the logarithm of each, by name. [1]
        unidentified: Those that the windows left where the datasheet had them.
        waits: Waiting time of each kind of run. [s]
    """

    constants: Constants
    scatter: dict[str, float]
    unidentified: tuple[str, ...]
    waits: Mapping[str, float]

    def seconds(self, load: Load, kinds: Sequence[str] = ()) -> Floats:
        """Of each step, with the waiting time of its kind; a kind that was not met waits not. [s]"""
        waited = np.array([self.waits.get(kind, 0.0) for kind in kinds]) if kinds else 0.0
        return np.asarray(time_of(load, self.constants).total + waited)

    def joules(
        self, load: Load, kinds: Sequence[str] = (), seconds: Floats | None = None
    ) -> Floats:
        """Of each step, its time predicted unless it is known. [J]"""
        lasted = self.seconds(load, kinds) if seconds is None else seconds
        prices = np.array([getattr(self.constants, name) for name in _PRICES])
        return np.asarray(_amounts(load, lasted) @ prices)


def fit(windows: Windows, start: Constants) -> Fit:
    """Find the constants of a device.

    Args:
        windows: One or more.
        start: What its datasheet leads one to expect.

    Raises:
        UsageError: there are no windows.
    """
    if not len(windows):
        raise UsageError("there is nothing to fit", fix="measure at least one window")
    prices, price_scatter = _fit_prices(windows, start)
    priced = start.changed(dict(zip(_PRICES, prices.tolist(), strict=True)))
    found, waits, time_scatter = _fit_times(windows, priced)
    scatter = dict(zip((*_PRICES, *_TIMES), [*price_scatter, *time_scatter], strict=True))
    widths = _widths(Constants.names())
    untold = tuple(
        name
        for name, width in zip(Constants.names(), widths, strict=True)
        if scatter[name] > _TOLD * width
    )
    return Fit(found, scatter, untold, waits)


def _widths(names: Sequence[str]) -> Floats:
    """How far the expected value of each constant may be off, in the logarithm."""
    return np.array([priors()[name].width for name in names])


def _amounts(load: Load, seconds: Floats) -> Floats:
    """What each price is multiplied with. float64, [windows, prices]"""
    columns = (
        load.devices * seconds,
        load.weight_bytes,
        load.context_bytes,
        load.operations,
        load.link_bytes,
    )
    return np.stack([np.broadcast_to(column, np.shape(seconds)) for column in columns], axis=-1)


def _fit_prices(windows: Windows, start: Constants) -> tuple[Floats, list[float]]:
    """Prices and the standard errors of their logarithms."""
    from scipy.optimize import nnls

    usual = np.array([getattr(start, name) for name in _PRICES])
    widths = _widths(_PRICES)
    relative = _amounts(windows.load, windows.seconds) * usual / windows.joules[:, None]
    weights, trust = windows.weights, np.ones(len(windows))
    table = aim = found = np.ones(0)
    for _ in range(_ROUNDS):
        each = weights * np.sqrt(trust) / _JOULES_OFF
        table = np.vstack([relative * each[:, None], np.diag(1 / widths)])
        aim = np.concatenate([each, 1 / widths])
        found, _ = nnls(table, aim)
        off = np.abs(relative @ found - 1) / _JOULES_OFF
        trust = 1 / np.maximum(1.0, off / _HUBER)
    found = np.maximum(found, 1e-3)  # nothing is free: a price of nought has no logarithm
    errors = np.sqrt(np.diag(np.linalg.inv(table.T @ table))) / found
    return found * usual, [float(error) for error in errors]


def _fit_times(
    windows: Windows, start: Constants
) -> tuple[Constants, dict[str, float], list[float]]:
    """All constants, waiting times, and the standard errors of the logarithms of those of time."""
    from scipy.optimize import least_squares

    places = [Constants.names().index(name) for name in _TIMES]
    count = len(places)
    usual, prices = start.logs(), np.array([getattr(start, name) for name in _PRICES])
    kinds, kind = np.unique(np.array(windows.kinds, dtype=str), return_inverse=True)
    begin = np.concatenate([usual[places], np.full(len(kinds), np.log(_WAIT_S))])
    widths = np.concatenate([_widths(_TIMES), np.full(len(kinds), _WAIT_WIDTH)])
    weights = windows.weights

    def built(logs: Floats) -> Constants:
        whole = usual.copy()
        whole[places] = logs[:count]
        return Constants.exp(whole)

    def errors(logs: Floats) -> Floats:
        waited = np.exp(logs[count:])[kind] if len(kinds) else 0.0
        seconds = np.asarray(time_of(windows.load, built(logs)).total + waited)
        joules = _amounts(windows.load, seconds) @ prices
        return np.concatenate(
            [
                weights * np.log(seconds / windows.seconds) / _TIME_OFF,
                weights * np.log(joules / windows.joules) / _JOULES_OFF,
                (logs - begin) / widths,
            ]
        )

    # A corner duller than q = 1 would take longer than one after the other.
    least = np.full(len(begin), -np.inf)
    least[_TIMES.index("sharpness")] = 0.0
    bounds: Any = (least, np.inf)
    solved: Any = least_squares(errors, begin, bounds=bounds, loss="soft_l1", f_scale=_HUBER)
    covariance = np.linalg.inv(solved.jac.T @ solved.jac)
    waits = dict(zip(map(str, kinds), np.exp(solved.x[count:]).tolist(), strict=True))
    scatter = np.sqrt(np.diag(covariance))[:count]
    return built(solved.x), waits, [float(error) for error in scatter]
