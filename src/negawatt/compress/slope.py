"""The energy gradient on any device: how joules of a token change with the bits and the size of each matrix.

Bits of a format are found by a table where they run (`energy.costs`); for a device that is elsewhere the smooth law
takes its place, and torch differentiates it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from negawatt.energy.anatomy import Anatomy
from negawatt.energy.profiles import DeviceProfile
from negawatt.energy.serving import Run, serve

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slope:
    """Joules of a token, and how they change.

    Args:
        joules: Of a token written, reading included. [J/token]
        bits: For one bit more of each matrix's weights. [J/token/bit], [matrices]
        keep: For keeping all of a matrix instead of nothing, at the rate of now. [J/token], [matrices]
        keep_heads: The same of each layer's attention. [J/token], [caches]
    """

    joules: float
    bits: Floats
    keep: Floats
    keep_heads: Floats


def slope(anatomy: Anatomy, run: Run, profile: DeviceProfile) -> Slope:
    """The gradient of the joules of a token.

    Args:
        anatomy: Of the model; its matrices and caches are in the order of the result.
        run: What is asked for, at what bits and with how much kept.
        profile: Of the device.

    Raises:
        UsageError: an encoder is asked to write.

    >>> from negawatt.energy.catalogue import catalogue
    >>> from negawatt.energy.published import Totals, anatomy_from
    >>> sizes = Totals(parameters=8e9, active=8e9, layers=32, hidden=4096, heads=4096, kept=65536)
    >>> told = slope(anatomy_from("8B", sizes), Run(batch=8), catalogue().find("h100"))
    >>> bool((told.bits > 0).all() and (told.keep > 0).all())
    True
    """
    bits = _leaf(run.weight_bits, len(anatomy.matrices))
    keep = _leaf(run.keep, len(anatomy.matrices))
    heads = _leaf(run.keep_heads, len(anatomy.caches))
    waits = tuple(profile.waits.values())
    served = serve(
        anatomy,
        replace(run, weight_bits=bits, keep=keep, keep_heads=heads),
        profile.constants,
        batching=profile.origin.batching,
        wait_s=median(waits) if waits else 0.0,
        xp=torch,
    )
    joules = served.joules_per_token
    found = torch.autograd.grad(joules, (bits, keep, heads))
    return Slope(float(joules.detach()), *(one.numpy() for one in found))


def _leaf(value: object, count: int) -> torch.Tensor:
    """One number for each, that is differentiated by. float64, [count]"""
    whole = np.broadcast_to(np.asarray(value, dtype=np.float64), (count,)).copy()
    return torch.from_numpy(whole).requires_grad_()
