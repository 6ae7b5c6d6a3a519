"""Which formats are worth searching over, from their measured cost and their rounding error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from negawatt.core.records import Format, Layer

_SAMPLED_LAYERS = 6
_SAMPLED_ROWS = 256
_COARSE = 1.6  # times the error of the finest format as wide
_EQUAL = 0.02  # relative difference of energies that timings do not tell apart
_MUCH = 0.1  # of what some layers take, for which one more format is worth searching


def rounding_error(
    model: Path, layers: Sequence[Layer], formats: Sequence[Format]
) -> dict[Format, float]:
    """Mean squared rounding error of each format, relative to the weights, on a few layers.

    Formats that fit no layer are left out.

    Args:
        model: A prepared folder.
        layers: To sample from.
        formats: Quantised ones.
    """
    from safetensors import safe_open

    from negawatt.compress.quantise import dequantise, round_to_nearest

    found: dict[Format, list[float]] = {}
    with safe_open(model / "model.safetensors", framework="pt") as file:
        for fmt in formats:
            for layer in _sampled(layers, fmt):
                weight = file.get_slice(f"{layer.name}.weight")[:_SAMPLED_ROWS].float()
                error = dequantise(round_to_nearest(weight, fmt)) - weight
                relative = float(error.square().mean() / weight.square().mean())
                found.setdefault(fmt, []).append(relative)
    return {fmt: sum(errors) / len(errors) for fmt, errors in found.items()}


def _sampled(layers: Sequence[Layer], fmt: Format) -> Sequence[Layer]:
    """A few of the layers that a format fits, from all over the model."""
    fitting = [layer for layer in layers if layer.kind == "linear" and fmt.fits(layer.cols)]
    return fitting[:: max(1, len(fitting) // _SAMPLED_LAYERS)]


def shortlist(
    haven: Format, energy: Mapping[Format, float], error: Mapping[Format, float], *, most: int
) -> tuple[Format, ...]:
    """A safe haven, and the formats that save the most energy beside it per error.

    A format that another one beats in error, at no more energy, is none of them.

    Args:
        haven: Kept in any case.
        energy: Of the whole model in each format. [J/token]
        error: From `rounding_error`.
        most: How many to keep, the haven included.

    Returns:
        Widest first. A narrower format is always among them when there is one.

    >>> from negawatt.core.records import Format
    >>> a, b, c = Format(8), Format(4, 32), Format(4, 128)
    >>> kept = shortlist(a, {a: 10.0, b: 7.0, c: 6.0}, {a: 1e-4, b: 0.01, c: 0.02}, most=2)
    >>> [fmt.name for fmt in kept]
    ['int8-row-sym', 'int4-g32-sym']
    """
    known = [fmt for fmt in energy if fmt in error]
    below = [fmt for fmt in known if fmt.bits < haven.bits]
    narrow = [fmt for fmt in below if energy[fmt] < energy[haven]]
    if below and not narrow:  # it is compared all the same: the table may be wrong about it
        narrow = [min(below, key=energy.__getitem__)]
    # Within a small loss budget few layers bear a format much coarser than the finest of its width.
    finest = {fmt.bits: min(error[f] for f in narrow if f.bits == fmt.bits) for fmt in narrow}
    narrow = [fmt for fmt in narrow if error[fmt] <= _COARSE * finest[fmt.bits]]
    narrow = [
        fmt
        for fmt in narrow
        if not any(
            error[other] < error[fmt] and energy[other] <= energy[fmt] * (1 + _EQUAL)
            for other in narrow
        )
    ]
    narrow.sort(key=lambda fmt: (energy[haven] - energy[fmt]) / error[fmt], reverse=True)
    return (haven, *narrow[: most - 1])


def local_bargains(
    kept: Sequence[Format],
    cost: Mapping[int, Mapping[Format, float]],
    error: Mapping[Format, float],
    *,
    much: float = _MUCH,
) -> list[Format]:
    """Formats that fit some layers only, and are much cheaper there than all that are kept.

    What `shortlist` weighs is the whole model, where a format of few layers saves little.

    Args:
        kept: By `shortlist`.
        cost: Of the layers of each width of rows, in each format that divides it. [J/token or B]
        error: From `rounding_error`.
        much: How much cheaper is much, as a share.

    >>> from negawatt.core.records import Format
    >>> a, b, c = Format(8), Format(4, 32), Format(4, 32, symmetric=False, nested=8)
    >>> energy = {576: {a: 10.0, b: 7.0}, 1536: {a: 3.0, b: 2.0, c: 1.5}}
    >>> [fmt.name for fmt in local_bargains([a, b], energy, {a: 1e-4, b: 0.01, c: 0.011})]
    ['int4-g32x8-asym']
    """
    found: list[Format] = []
    for costs in cost.values():
        known = {fmt: one for fmt, one in costs.items() if fmt in error}
        least = min((known[fmt] for fmt in kept if fmt in known), default=0.0)
        fine = [
            fmt
            for fmt in known
            if known[fmt] < least * (1 - much)
            and all(error[fmt] <= _COARSE * error[one] for one in known if one.bits == fmt.bits)
        ]
        best = min(fine, key=costs.__getitem__, default=None)
        if best is not None and best not in (*kept, *found):
            found.append(best)
    return found
