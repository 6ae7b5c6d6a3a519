"""Time and joules of a step on a device: a smooth roofline, and power for what moves and what waits.

    t = (t_mem^q + t_cmp^q)^(1/q) + layers · τ_layer + batch · τ_sequence
        + [devices > 1] · layers · τ_link + expert layers · τ_expert
    E = devices · P0 · t + e_weights · W + e_context · K + e_operations · F + e_link · C

The exponent q is finite, so that there is a slope everywhere; every constant is positive, being the
exponential of what is fitted. Frequency scales compute time by f0/f and every dynamic term by
(V/V0)². Plain arithmetic: numbers, NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.energy.workload import Load, Real, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What a device with an engine takes, one positive number each.

    Args:
        bandwidth: Bytes that truly arrive from memory. [B/s]
        rate: Operations that are truly done in 16 bits. [1/s]
        layer_s: Of each layer, however small: launches and waits. [s]
        sequence_s: Of each sequence in a step: sampling and bookkeeping. [s]
        link_s: Of each layer when devices wait for each other. [s]
        expert_s: More of each layer with experts. [s]
        sharpness: q above; the larger, the harder the corner. [1]
        static_w: Of each device while a step lasts, beyond what the terms below take. [W]
        weight_j: Of a byte of weights. [J/B]
        context_j: Of a byte of context. [J/B]
        operation_j: Of an operation in 16 bits. [J]
        link_j: Of a byte between devices. [J/B]
    """

    bandwidth: Real
    rate: Real
    layer_s: Real
    sequence_s: Real
    link_s: Real
    expert_s: Real
    sharpness: Real
    static_w: Real
    weight_j: Real
    context_j: Real
    operation_j: Real
    link_j: Real

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """In the order of a vector of them."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def exp(cls, logs: Real, xp: Any = np) -> Constants:
        """From a vector of logarithms, in the order of `names`."""
        return cls(**dict(zip(cls.names(), xp.exp(logs), strict=True)))

    def logs(self) -> np.ndarray[Any, Any]:
        """The vector that `exp` reads. float64, [constants]

        Raises:
            UsageError: a constant is not above nought.
        """
        values = np.array([float(getattr(self, name)) for name in self.names()])
        for name, value in zip(self.names(), values, strict=True):
            if not (value > 0 and np.isfinite(value)):
                raise UsageError(f"{name} is {value!r}", fix=f"give a {name} above nought")
        return np.asarray(np.log(values))

    def changed(self, changes: Mapping[str, Real]) -> Constants:
        """With some of them replaced."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a device is run.

    Args:
        frequency: Over the one it was calibrated at. [1]
        voltage: Over the one it was calibrated at. [1]
        speedup: Operations a second over those in 16 bits, for the precision in use. [1]
        cheapness: Joules of an operation over those in 16 bits. [1]
    """

    frequency: Real = 1.0
    voltage: Real = 1.0
    speedup: Real = 1.0
    cheapness: Real = 1.0


USUAL = Point()
_INSTANT = 1e-30  # shorter than anything, so that a step without work has a time too [s]


@dataclass(frozen=True, slots=True)
class Times:
    """Where the time of a step goes. [s]"""

    memory: Real
    compute: Real
    together: Real  # of both, which overlap
    layers: Real
    sequences: Real
    links: Real
    experts: Real

    @property
    def total(self) -> Real:
        """Of the step. [s]"""
        return self.together + self.layers + self.sequences + self.links + self.experts


@dataclass(frozen=True, slots=True)
class Joules:
    """Where the energy of a step goes; the parts are all there is. [J]

    Args:
        static: Of all devices while the step lasted.
        weights: Moved for each matrix. [matrices]
        operations: Done for each matrix. [matrices]
        context: Moved for each layer's look at the text. [caches]
        looked: Operations of that look. [caches]
        links: Between devices.
    """

    static: Real
    weights: Real
    operations: Real
    context: Real
    looked: Real
    links: Real

    @property
    def total(self) -> Real:
        """Of the step. [J]"""
        matrices = self.weights.sum() + self.operations.sum()
        return self.static + matrices + self.context.sum() + self.looked.sum() + self.links


def time_of(load: Load, device: Constants, point: Point = USUAL) -> Times:
    """How long a step takes, term by term.

    >>> from negawatt.energy.configs import anatomy_of
    >>> from negawatt.energy.workload import Step, work_of
    >>> model = anatomy_of(
    ...     {
    ...         "model_type": "llama",
    ...         "hidden_size": 64,
    ...         "num_hidden_layers": 5,
    ...         "num_attention_heads": 8,
    ...         "num_key_value_heads": 4,
    ...         "intermediate_size": 172,
    ...         "vocab_size": 512,
    ...         "tie_word_embeddings": True,
    ...     }
    ... )
    >>> plain = Constants(
    ...     bandwidth=1e9,
    ...     rate=1e12,
    ...     layer_s=1e-6,
    ...     sequence_s=1e-6,
    ...     link_s=1e-6,
    ...     expert_s=1e-6,
    ...     sharpness=4.0,
    ...     static_w=10.0,
    ...     weight_j=1e-10,
    ...     context_j=1e-10,
    ...     operation_j=1e-12,
    ...     link_j=1e-10,
    ... )
    >>> times = time_of(work_of(model, Step(batch=1, context=9)).load, plain)
    >>> bool(times.together >= times.memory >= times.compute)
    True
    """
    many = load.devices > 1  # counts as 1 in a product
    memory = (load.weight_bytes + load.context_bytes) / (load.devices * device.bandwidth)
    rate = load.devices * device.rate * point.speedup * point.frequency
    compute = load.operations / rate
    return Times(
        memory=memory,
        compute=compute,
        together=_norm(memory, compute, device.sharpness),
        layers=load.layers * device.layer_s,
        sequences=load.sequences * device.sequence_s,
        links=many * (load.layers * device.link_s),
        experts=load.expert_layers * device.expert_s,
    )


def joules_of(work: Work, device: Constants, point: Point = USUAL, time: Real = None) -> Joules:
    """How much a step takes, part by part.

    Args:
        work: Of the step.
        device: What the device takes.
        point: Where it is run.
        time: Of the step, where it is known; predicted when None. [s]
    """
    lasted = time_of(work.load, device, point).total if time is None else time
    dynamic = point.voltage**2
    operation = device.operation_j * point.cheapness * dynamic
    return Joules(
        static=work.step.devices * device.static_w * lasted,
        weights=device.weight_j * dynamic * work.weight_bytes,
        operations=operation * work.operations,
        context=device.context_j * dynamic * work.context_bytes,
        looked=operation * work.looked,
        links=device.link_j * dynamic * work.link_bytes,
    )


def _norm(one: Real, other: Real, q: Real) -> Real:
    """(one^q + other^q)^(1/q), safe for numbers far from 1."""
    largest = one + other + _INSTANT
    return largest * ((one / largest) ** q + (other / largest) ** q) ** (1.0 / q)
