"""Small pure parts of the job: plans by name, text in pieces, where to look closer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.compress.assign import Room
from negawatt.compress.problem import Choice
from negawatt.core.errors import BudgetUnreachable, UsageError
from negawatt.core.records import Format, Layer
from negawatt.energy.units import units

_HAVEN_BITS = 8
_WIDE = Format(16)
_FAR = 2.5  # times the limit; what is cheaper than such a plan is not run
_NEAR = 0.12  # searched losses within this share of the limit need no closer look


def haven(formats: Sequence[Format]) -> Format:
    """The 8-bit form of an engine that every layer can fall back on, and that others are set beside.

    Raises:
        UsageError: the engine has none.

    >>> haven([Format(16), Format(8, symmetric=False), Format(8, 32), Format(4, 32)]).name
    'int8-g32-sym'
    """
    found = [fmt for fmt in formats if fmt.bits == _HAVEN_BITS]
    if not found:
        raise UsageError(
            "this runtime executes no 8-bit weights, which everything else is compared with",
            fix="choose another one, for example NEGAWATT_RUNTIME=openvino",
        )
    return min(found, key=lambda fmt: not fmt.symmetric)


def fitting(layer: Layer, fmt: Format, safe: Format) -> Format:
    """`fmt`, or the `safe` one where its groups do not divide the layer's rows, or 16 bits."""
    return next((one for one in (fmt, safe) if one.fits(layer.cols)), Format(16))


def uniform_plan(layers: tuple[Layer, ...], fmt: Format, safe: Format) -> dict[str, Format]:
    """One format everywhere but in the embedding, which costs no joules to keep at 8 bits."""
    return {
        layer.name: fitting(layer, safe if layer.kind == "embedding" else fmt, safe)
        for layer in layers
    }


def bargains(formats: Sequence[Format], layers: Sequence[Layer]) -> list[Format]:
    """The first format of each width below 8 bits, of those that fit most of the weights.

    >>> layers = [Layer("a", "linear", 8, 64), Layer("b", "linear", 8, 256)]
    >>> wide, narrow = Format(6, 16, nested=16), Format(4, 32)
    >>> [fmt.name for fmt in bargains([Format(8), wide, narrow, Format(4, 64)], layers)]
    ['int6-g16x16-sym', 'int4-g32-sym']
    >>> [fmt.name for fmt in bargains([Format(8), wide, narrow], layers[:1] * 9 + layers[1:])]
    ['int4-g32-sym']
    """
    weights = sum(layer.weights for layer in layers)
    found: dict[int, Format] = {}
    for fmt in formats:
        fitting = sum(layer.weights for layer in layers if fmt.fits(layer.cols))
        if fmt.bits < _HAVEN_BITS and 2 * fitting >= weights:
            found.setdefault(fmt.bits, fmt)
    return list(found.values())


def stored_bytes(plan: Mapping[str, Format], layers: Sequence[Layer], base_bytes: int) -> float:
    """Packed size of a model; what is in no matrix stays at 16 bits, shared codes count once. [B]

    Args:
        plan: Format of every layer; those it leaves out stay at 16 bits.
        layers: Of the model.
        base_bytes: Its size at 16 bits. [B]
    """
    fmt = {one.name: plan.get(one.name, _WIDE) for one in layers}
    shared = {one.name for one in layers if one.tied_to and fmt[one.name] == fmt[one.tied_to]}
    held = sum(fmt[one.name].bytes(one.rows, one.cols) for one in layers if one.name not in shared)
    return _beside(layers, base_bytes) + held


def room_for(
    limit: int | None,
    layers: Sequence[Layer],
    base_bytes: int,
    options: Sequence[tuple[str, Format]],
) -> Room | None:
    """What a limit on the packed size leaves for the layers that are searched over.

    Head and embedding that share their weights have to take one format then, and are kept once.

    Args:
        limit: On the whole model; none when None. [B]
        layers: Of the model.
        base_bytes: Its size at 16 bits. [B]
        options: Unit and format, those of one unit in a run.

    Raises:
        BudgetUnreachable: not even the narrowest formats are small enough.
    """
    if limit is None:
        return None
    parts = {unit.name: unit for unit in units(layers)}
    searched = {name for unit, _ in options for name in parts[unit].names}
    head = {one.tied_to: one.name for one in layers if one.tied_to and one.name in searched}
    size = np.array(
        [
            sum(fmt.bytes(one.rows, one.cols) for one in parts[unit].layers if one.name not in head)
            for unit, fmt in options
        ]
    )
    fixed = [one for one in layers if one.name not in searched and one.name not in head]
    left = limit - _beside(layers, base_bytes)
    left -= sum(_WIDE.bytes(one.rows, one.cols) for one in fixed)
    names = [unit for unit, _ in options]
    runs = {name: slice(names.index(name), names.index(name) + names.count(name)) for name in names}
    least = sum(float(size[run].min()) for run in runs.values())
    if least > left:
        raise BudgetUnreachable(
            f"the smallest plan takes {(least + limit - left) / 1e6:.4g} MB, "
            f"more than the {limit / 1e6:.4g} MB allowed",
            fix=f"allow --max-size {1.001 * (least + limit - left) / 1e6:.4g}MB",
        )
    pairs = tuple((runs[a], runs[b]) for a, b in head.items() if a in runs and b in runs)
    return Room(size, left, pairs)


def shares_of(shares: Sequence[float], room: Room | None) -> tuple[float, ...]:
    """Where to search between the cheapest plan and the dearest.

    Where bytes are scarce, the best plan that they can hold comes first, whatever it spends.

    >>> shares_of((0.8, 0.6), None), shares_of((0.8, 0.6), Room(np.ones(2), 1.0))
    ((0.8, 0.6), (1.0, 0.8, 0.6))
    """
    return tuple(shares) if room is None else (1.0, *shares)


def _beside(layers: Sequence[Layer], base_bytes: int) -> float:
    """What is in no matrix. [B]"""
    wide = sum(_WIDE.bytes(one.rows, one.cols) for one in layers if not one.tied_to)
    return base_bytes - wide


def frozen(plan: Mapping[str, Format]) -> tuple[Any, ...]:
    """A plan as a value that can be compared and digested."""
    return tuple(sorted((name, fmt.name) for name, fmt in plan.items()))


def pieces(windows: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Windows cut into runs of `length` tokens, or left as they are when they are shorter."""
    length = min(length, windows.shape[1])
    usable = windows.shape[1] // length * length
    return np.ascontiguousarray(windows[:, :usable].reshape(-1, length))


def next_budget(
    known: list[tuple[Choice, float]], limit: float, least: float, start: tuple[float, float]
) -> tuple[Choice, float] | None:
    """Where to look closer: a budget between the last allowed plan and the first refused one.

    Args:
        known: Choices with the loss each was found to have.
        limit: Allowed loss. [1]
        least: Energy of the cheapest plan there is.
        start: Energy and loss of uniform int8, from where the search sets out.

    Returns:
        The choice whose prices to use and the budget, or None when the front is close enough.
    """
    allowed = [(c, loss) for c, loss in known if loss <= limit]
    refused = [(c, loss) for c, loss in known if loss > limit]
    if not known:
        return None
    cheap, cheap_loss = min(refused, key=lambda pair: -pair[0].energy, default=(None, math.inf))
    best, best_loss = min(allowed, key=lambda pair: pair[0].energy, default=(None, 0.0))
    if best is not None and best_loss > limit * (1 - _NEAR):
        return None
    if cheap is None and best is not None:  # everything is allowed: go lower
        return best, least + 0.5 * (best.energy - least)
    if cheap is None or (best is None and start[1] > limit):
        return None
    top_energy, top_loss = start if best is None else (best.energy, best_loss)
    top_loss = max(top_loss, 0.0)
    # Loss grows roughly with the square of the energy given up.
    reach = math.sqrt(max(limit - top_loss, 0.0) / max(cheap_loss - top_loss, 1e-9))
    reach = min(max(0.9 * reach, 0.2), 0.75)  # short of it: a plan just above the limit is no use
    budget = top_energy - reach * (top_energy - cheap.energy)
    return cheap, budget


def hopeless(known: list[tuple[Choice, float]], choice: Choice, limit: float) -> bool:
    """True when a plan that takes no less energy has lost far more than is allowed."""
    return any(one.energy >= choice.energy and loss > _FAR * limit for one, loss in known)


def divergence(base: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean KL(base || other) over positions of two sets of logits. [nat/token]

    >>> logits = np.zeros((1, 2, 4), np.float32)
    >>> divergence(logits, logits + 3.0)
    0.0
    """
    p, q = (_log_softmax(x.astype(np.float64)) for x in (base, other))
    return float(np.sum(np.exp(p) * (p - q), axis=-1).mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
