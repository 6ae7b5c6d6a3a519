"""Operations and bytes of one step of a model: what a device has to do, whatever device it is.

    operations  = 2 · weights used · new tokens + 4 · heads · head size · context looked at
    weights     = values that the step touches · bits / 8, experts by how many are met
    context     = values kept of the text · tokens · bits / 8
    link        = what devices tell each other

All of it is plain arithmetic, so numbers, NumPy arrays and torch tensors may stand wherever a size
may vary, and gradients pass through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.energy.anatomy import Anatomy

Phase = Literal["prefill", "decode", "forward", "backward", "optimizer"]
Split = Literal["tensor", "expert", "data"]

#: A number, a NumPy array or a torch tensor.
Real = Any

_BYTE = 8.0  # bits
_FOREVER = 1e15  # tokens: no text is that long, and sums of it stay finite
_ACTIVATION_BYTES = 2.0
#: Values read and written per weight by Adam: weight, gradient and two moments in, three out.
_OPTIMIZER_VALUES = 7.0
_OPTIMIZER_OPERATIONS = 12.0  # per weight: moments, their corrections, a root, a division, a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One pass of a model over some new tokens.

    Args:
        phase: What is done.
        batch: Sequences at once.
        new: New tokens of each; 1 when writing.
        context: Tokens of each that are kept already.
        devices: That share the work.
        split: How: "tensor" cuts every matrix, "expert" spreads experts and repeats the rest,
            "data" repeats everything.
        weight_bits: Of stored weights; one number, or one per matrix of the anatomy. [bit]
        context_bits: Of what is kept of the text. [bit]
        keep: Share of each matrix that was not pruned away, one number or one per matrix. [1]
        keep_heads: Share of each layer's attention that was kept, one number or one per cache. [1]
    """

    phase: Phase = "decode"
    batch: Real = 1.0
    new: Real = 1.0
    context: Real = 0.0
    devices: int = 1
    split: Split = "tensor"
    weight_bits: Real = 16.0
    context_bits: Real = 16.0
    keep: Real = 1.0
    keep_heads: Real = 1.0

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise UsageError(f"{self.devices!r} devices cannot share work", fix="give 1 or more")
        for name, least in (("batch", 0.0), ("new", 0.0), ("context", -1e-12)):
            value = getattr(self, name)
            if isinstance(value, int | float) and not value > least:
                raise UsageError(
                    f"{name} is {value!r}", fix=f"give a {name} above {max(least, 0):g}"
                )

    @property
    def tokens(self) -> Real:
        """New tokens of all sequences."""
        return self.batch * self.new


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One step in a few sums, all that its time depends on; arrays stand for many steps at once.

    Args:
        operations: Of all matrices and looks at the context.
        weight_bytes: Of all matrices. [B]
        context_bytes: Of all layers. [B]
        link_bytes: Between devices. [B]
        layers: Of the model.
        expert_layers: Of these, the ones with experts.
        sequences: At once.
        devices: That share the work.
    """

    operations: Real
    weight_bytes: Real
    context_bytes: Real
    link_bytes: Real
    layers: Real
    expert_layers: Real
    sequences: Real
    devices: Real


@dataclass(frozen=True, slots=True)
class Work:
    """What one step asks of the devices together.

    Args:
        anatomy: Of what model; the matrices and caches below are its own, in order.
        step: Which step.
        operations: Of each matrix. [matrices]
        weight_bytes: Moved for each matrix. [B], [matrices]
        looked: Operations of each layer's look at its context. [caches]
        context_bytes: Moved by it. [B], [caches]
        link_bytes: Between devices. [B]
    """

    anatomy: Anatomy
    step: Step
    operations: Real
    weight_bytes: Real
    looked: Real
    context_bytes: Real
    link_bytes: Real

    @property
    def load(self) -> Load:
        """Its sums."""
        return Load(
            operations=self.operations.sum() + self.looked.sum(),
            weight_bytes=self.weight_bytes.sum(),
            context_bytes=self.context_bytes.sum(),
            link_bytes=self.link_bytes,
            layers=self.anatomy.layers,
            expert_layers=self.anatomy.expert_layers,
            sequences=self.step.batch,
            devices=self.step.devices,
        )


def work_of(anatomy: Anatomy, step: Step, xp: Any = np) -> Work:
    """Operations and bytes of one step.

    Args:
        anatomy: Of the model.
        step: What it is to do.
        xp: The library of arrays: NumPy, or torch where gradients are wanted.

    Raises:
        UsageError: an encoder is asked to write.

    >>> from negawatt.energy.configs import anatomy_of
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
    >>> float(work_of(model, Step(batch=2, context=9)).load.context_bytes)
    12800.0
    """
    if anatomy.family == "encoder" and step.phase == "decode":
        raise UsageError(
            f"{anatomy.name} is an encoder: it writes no tokens",
            fix="ask for the phase prefill, with the length of a text as new tokens",
        )
    model = _Columns(anatomy, xp)
    if step.phase == "optimizer":
        return _optimizer(anatomy, step, model)
    passes, tokens = _PASSES[step.phase], model.real(step.tokens)
    keep, bits = model.real(step.keep), model.real(step.weight_bits)
    touched = model.values * model.multiplied * _met(model, tokens) * _copies(model, step)
    moved = (touched + model.looked_up * tokens) * keep * bits / _BYTE
    gradients = passes.gradients * model.values * keep * _ACTIVATION_BYTES
    reach, kept = _context(model, step)
    heads, sequences = model.real(step.keep_heads), model.real(step.batch)
    return Work(
        anatomy=anatomy,
        step=step,
        operations=passes.operations * 2.0 * model.used * keep * tokens,
        weight_bytes=moved + gradients,
        looked=passes.operations * 2.0 * model.scored * heads * reach * sequences,
        context_bytes=passes.operations * kept * heads * sequences,
        link_bytes=passes.operations * _linked(anatomy, step),
    )


@dataclass(frozen=True, slots=True)
class _Passes:
    """How often a phase does what one reading does."""

    operations: float
    gradients: float  # written, of each weight


_PASSES: Mapping[str, _Passes] = MappingProxyType(
    {
        "prefill": _Passes(1.0, 0.0),
        "decode": _Passes(1.0, 0.0),
        "forward": _Passes(1.0, 0.0),
        # Two products for each of forward's: for the gradient of its input and of its weights.
        "backward": _Passes(2.0, 1.0),
    }
)


class _Columns:
    """The numbers of an anatomy as arrays of one library, in double precision."""

    def __init__(self, anatomy: Anatomy, xp: Any) -> None:
        self.anatomy, self.xp = anatomy, xp
        matrices, caches = anatomy.matrices, anatomy.caches
        self.values = self.real([one.values for one in matrices])
        self.used = self.real([one.used for one in matrices])
        self.looked_up = self.real([one.looked_up for one in matrices])
        self.multiplied = self.real([float(one.used > 0) for one in matrices])
        self.expert = self.real([float(one.role == "expert") for one in matrices])
        self.per_token = self.real([one.per_token for one in caches])
        self.state = self.real([one.state for one in caches])
        self.scored = self.real([one.scored for one in caches])
        self.window = self.real([min(one.window, _FOREVER) for one in caches])

    def real(self, value: Real) -> Real:
        """As an array; a tensor keeps its gradient."""
        if hasattr(value, "double"):
            return value.double()
        return self.xp.asarray(value, dtype=self.xp.float64)


def _met(model: _Columns, tokens: Real) -> Real:
    """Share of each matrix that some token of the step is sent to, on average. [matrices]"""
    anatomy = model.anatomy
    missed = (1.0 - anatomy.experts_used / anatomy.experts) ** tokens
    return 1.0 - model.expert * missed


def _copies(model: _Columns, step: Step) -> Real:
    """How many devices read each matrix for themselves. [matrices]"""
    if step.split == "tensor":
        return 1.0
    spread = model.expert if step.split == "expert" else 0.0 * model.expert
    return spread + (1.0 - spread) * step.devices


def _context(model: _Columns, step: Step) -> tuple[Real, Real]:
    """Pairs of a new and a kept token, and bytes moved, per sequence. [caches], twice"""
    xp, first, new = model.xp, model.real(step.context), model.real(step.new)
    bits = model.real(step.context_bits)
    if model.anatomy.family == "encoder":  # all look at all
        every = 1.0 + 0.0 * model.window
        return every * new * new, model.per_token * new * bits / _BYTE
    room = model.window - first
    free = xp.minimum(xp.maximum(room, 0.0 * room), new + 0.0 * room)  # see all before them
    pairs = free * first + free * (free + 1.0) / 2.0 + (new - free) * model.window
    pairs = xp.minimum(pairs, new * model.window)  # a part of a token sees no more than a whole one
    held = xp.minimum(model.window, first + new + 0.0 * model.window)
    rounds = new if step.phase == "decode" else 1.0
    kept = model.per_token * held + 2.0 * model.state * rounds
    return pairs, kept * bits / _BYTE


def _linked(anatomy: Anatomy, step: Step) -> Real:
    """Bytes that devices send each other, all of them together."""
    if step.devices == 1 or step.split == "data":
        return 0.0
    sent = step.tokens * anatomy.hidden * _ACTIVATION_BYTES
    if step.split == "tensor":  # two sums over all devices in each layer, passed round a ring
        return 2.0 * anatomy.layers * 2.0 * (step.devices - 1) * sent
    away = (step.devices - 1) / step.devices  # of the experts that a token is sent to
    return 2.0 * anatomy.expert_layers * anatomy.experts_used * away * sent


def _optimizer(anatomy: Anatomy, step: Step, model: _Columns) -> Work:
    """One update of every weight, in 32 bits."""
    values = model.values * model.real(step.keep)
    nothing = 0.0 * model.scored
    return Work(
        anatomy=anatomy,
        step=step,
        operations=_OPTIMIZER_OPERATIONS * values,
        weight_bytes=_OPTIMIZER_VALUES * 4.0 * values,
        looked=nothing,
        context_bytes=nothing,
        link_bytes=2.0 * (step.devices - 1) * values.sum() * _ACTIVATION_BYTES,
    )
