"""Rules for which channels stay: by size, by what they carry, by what the loss would feel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.quantise import finite

if TYPE_CHECKING:
    from torch import Tensor

    from negawatt.compress.pruning import Evidence

_DAMPING = 0.01  # of the mean diagonal
_STRIDE = 32  # channels that go before the others are judged anew


class Magnitude:
    """Columns of the largest norm; what they are fed does not count."""

    name = "magnitude"
    slopes = False

    def choose(self, seen: Evidence, keep: int, group: int = 1) -> Tensor:
        """See `Importance.choose`."""
        return _largest(seen.weight.double().square().sum(0), keep, group)


class Wanda:
    """Norm of the column times that of what it is fed (Sun et al. 2024, arXiv 2306.11695)."""

    name = "wanda"
    slopes = False

    def choose(self, seen: Evidence, keep: int, group: int = 1) -> Tensor:
        """See `Importance.choose`."""
        size = seen.weight.double().square().sum(0)
        return _largest(size * seen.inputs.double().diagonal(), keep, group)


class Gradient:
    """What the loss would feel, to first order, squared and averaged over texts.

    For a gate before the channel that is closed from 1 to 0 (Molchanov et al. 2019, arXiv
    1906.10771), which is the sum of weight times gradient down its column.
    """

    name = "gradient"
    slopes = True

    def choose(self, seen: Evidence, keep: int, group: int = 1) -> Tensor:
        """See `Importance.choose`."""
        if seen.slopes is None:
            raise ValueError("the gradient is needed to judge by it")
        texts = seen.slopes.double()
        together = texts.reshape(len(texts), -1, group).sum(-1)
        return _ranked(finite(together.square().mean(0)), keep // group, group)


class SecondOrder:
    """What the other channels, fitted anew, cannot make up for.

    The rule of the optimal brain surgeon for whole columns, a few at a time (Hassibi and Stork
    1993; for matrices of language models Frantar and Alistarh 2023, arXiv 2301.00774).
    """

    name = "second-order"
    slopes = False

    def choose(self, seen: Evidence, keep: int, group: int = 1) -> Tensor:
        """See `Importance.choose`."""
        inverse, columns = torch.linalg.inv(damped(seen.inputs)), seen.weight.double()
        alive = torch.arange(columns.shape[1]).reshape(-1, group)
        while len(alive) * group > keep:
            lost = _irreplaceable(columns, inverse, group)
            order = torch.argsort(lost, stable=True)
            count = min(max(1, _STRIDE // group), len(alive) - keep // group)
            places = torch.arange(columns.shape[1]).reshape(-1, group)
            going = places[order[:count]].flatten()
            rest = order[count:].sort().values
            staying = places[rest].flatten()
            pivot = inverse[going][:, going]
            columns = columns - torch.linalg.solve(pivot, columns[:, going].T).T @ inverse[going]
            inverse = inverse - inverse[:, going] @ torch.linalg.solve(pivot, inverse[going])
            columns, alive = columns[:, staying], alive[rest]
            inverse = inverse[staying][:, staying]
        return alive.flatten()


def _irreplaceable(columns: Tensor, inverse: Tensor, group: int) -> Tensor:
    """Error of the outputs, [groups], when a group goes and all others are fitted anew."""
    if group == 1:
        return columns.square().sum(0) / inverse.diagonal()
    rows, count = columns.shape[0], columns.shape[1] // group
    own = torch.arange(count)
    pivots = inverse.reshape(count, group, count, group)[own, :, own, :]
    parts = columns.reshape(rows, count, group).permute(1, 2, 0)
    lost: Tensor = (parts * torch.linalg.solve(pivots, parts)).sum((1, 2))
    return lost


def damped(inputs: Tensor) -> Tensor:
    """The sums with a little of their mean added to the diagonal, so that they can be inverted.

    Raises:
        BrokenWeights: they hold values that are not finite.
    """
    wide = finite(inputs).double()
    level = wide.diagonal().mean() * _DAMPING
    return wide + torch.eye(len(wide), dtype=wide.dtype) * (level if level > 0 else 1.0)


def refitted(weight: Tensor, inputs: Tensor, kept: Tensor) -> Tensor:
    """Columns that stay, changed so that the outputs are as near as can be to what they were.

    Args:
        weight: float32, [rows, cols].
        inputs: float32, [cols, cols], the sum of outer products of what it is fed.
        kept: int64 [keep], ascending.

    Returns:
        float32, [rows, keep]: the damped least squares.

    >>> weight = torch.tensor([[1.0, 2.0]])
    >>> twins = torch.ones(2, 2)  # both channels always carry the same
    >>> [[round(x, 1) for x in row] for row in refitted(weight, twins, torch.tensor([0])).tolist()]
    [[3.0]]
    """
    if len(kept) == weight.shape[1]:
        return weight
    wide = damped(inputs)
    right = wide[kept] @ weight.double().T
    columns: Tensor = torch.linalg.solve(wide[kept][:, kept], right).T
    return columns.to(weight.dtype).contiguous()


def _largest(score: Tensor, keep: int, group: int) -> Tensor:
    """Columns of the groups with the largest sums."""
    return _ranked(score.reshape(-1, group).sum(-1), keep // group, group)


def _ranked(score: Tensor, count: int, group: int) -> Tensor:
    best = torch.argsort(score, descending=True, stable=True)[:count].sort().values
    return torch.arange(len(score) * group).reshape(-1, group)[best].flatten()
