"""A model cut into runs of layers over unlike devices in a row: the cut of fewest joules, exactly. Pure.

    f[d][i] = least joules of the first i layers on the first d devices
            = min over j of f[d-1][j] + joules of layers j..i on device d + sending what comes before

A device may be left out. A stage may not take longer than a limit, and its layers must fit; what is asked is a limit
of one stage, because a pipeline is as fast as its slowest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What each layer takes on each device, devices in their order.

    Args:
        joules: Of each layer. [J], [devices, layers]
        seconds: Of each layer. [s], [devices, layers]
        stored: Of each layer: weights, and the text that is kept. [B], [layers]
        room: Of each device. [B], [devices]
        send_joules: Of handing a step's values on to another device. [J]
        send_s: The same. [s]
        on_joules: Of each device that takes part, whatever it does, in a step. [J], [devices]
    """

    joules: Floats
    seconds: Floats
    stored: Floats
    room: Floats
    send_joules: float
    send_s: float
    on_joules: Floats

    def __post_init__(self) -> None:
        devices, layers = np.shape(self.joules)
        for name, shape in (
            ("seconds", (devices, layers)),
            ("stored", (layers,)),
            ("room", (devices,)),
            ("on_joules", (devices,)),
        ):
            if np.shape(getattr(self, name)) != shape:
                raise UsageError(
                    f"{name} has the shape {np.shape(getattr(self, name))}", fix=f"give {shape}"
                )
        for name in ("joules", "seconds", "stored", "room", "on_joules"):
            if not (np.isfinite(getattr(self, name)).all() and (getattr(self, name) >= 0).all()):
                raise UsageError(f"{name} has a value below nought", fix="give nought or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which layers go where.

    Args:
        ends: First layer of each device, and the number of layers last; equal ends are left out.
        joules: Of a step. [J]
        slowest_s: Of its slowest stage. [s]
    """

    ends: tuple[int, ...]
    joules: float
    slowest_s: float

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """First layer and first one after, of each device."""
        return tuple(pairwise(self.ends))


def cut(chain: Chain, slowest_s: float = float("inf")) -> Cut | None:
    """The cut of fewest joules whose slowest stage keeps a limit; None when there is none.

    Args:
        chain: What layers take.
        slowest_s: That a stage may take at most. [s]

    >>> two = Chain(
    ...     joules=np.array([[1.0, 1.0], [3.0, 0.5]]),
    ...     seconds=np.ones((2, 2)),
    ...     stored=np.ones(2),
    ...     room=np.array([9.0, 9.0]),
    ...     send_joules=0.1,
    ...     send_s=0.0,
    ...     on_joules=np.zeros(2),
    ... )
    >>> cut(two).ends
    (0, 1, 2)
    """
    devices, layers = chain.joules.shape
    cost = [_stages(chain, device, slowest_s) for device in range(devices)]
    best = np.full(layers + 1, np.inf)
    best[0] = 0.0
    came: list[NDArray[np.intp]] = []
    for device in range(devices):
        reached = best[:, None] + cost[device]  # from j to i; staying at i costs nothing
        came.append(np.argmin(reached, axis=0))
        best = np.min(reached, axis=0)
    if not np.isfinite(best[layers]):
        return None
    ends = [layers]
    for device in reversed(range(devices)):
        ends.append(int(came[device][ends[-1]]))
    return _told(chain, tuple(reversed(ends)), float(best[layers]))


def quickest(chain: Chain) -> Cut | None:
    """The cut whose slowest stage is as quick as can be, of fewest joules among those; None when nothing fits.

    Every limit worth trying is the time of some run of layers on some device, so these are searched
    by halves.
    """
    times = sorted({float(t) for d in range(len(chain.room)) for t in _lengths(chain, d)})
    if not times or cut(chain, times[-1]) is None:
        return None
    low, high = 0, len(times) - 1
    while low < high:
        middle = (low + high) // 2
        if cut(chain, times[middle]) is None:
            low = middle + 1
        else:
            high = middle
    return cut(chain, times[low])


def _stages(chain: Chain, device: int, limit: float) -> Floats:
    """Joules of layers j to i on a device, infinite where they do not fit. [layers + 1, layers + 1]"""
    joules, seconds, stored = (
        np.concatenate([[0.0], np.cumsum(values)])
        for values in (chain.joules[device], chain.seconds[device], chain.stored)
    )
    count = len(joules)
    first, after = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    sent = first > 0
    taken = joules[after] - joules[first] + chain.on_joules[device] + sent * chain.send_joules
    lasts = seconds[after] - seconds[first] + sent * chain.send_s
    # Sums of differences stray by a rounding; a limit that is met exactly is met.
    allowed = lasts <= limit * (1 + 1e-12)
    allowed &= stored[after] - stored[first] <= chain.room[device] * (1 + 1e-12)
    return np.where(first == after, 0.0, np.where((after > first) & allowed, taken, np.inf))


def _lengths(chain: Chain, device: int) -> Floats:
    """Seconds of every run of layers there, with what is sent before it."""
    seconds = np.concatenate([[0.0], np.cumsum(chain.seconds[device])])
    first, after = np.triu_indices(len(seconds), k=1)
    return np.asarray(seconds[after] - seconds[first] + (first > 0) * chain.send_s)


def _told(chain: Chain, ends: tuple[int, ...], joules: float) -> Cut:
    slowest = max(
        float(chain.seconds[device, first:after].sum()) + (first > 0) * chain.send_s
        for device, (first, after) in enumerate(pairwise(ends))
        if after > first
    )
    return Cut(ends=ends, joules=joules, slowest_s=slowest)
