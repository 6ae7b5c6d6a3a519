"""Rules for which channels stay: by size, by what they carry, by what the others cannot replace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.quantise import finite

if TYPE_CHECKING:
    from torch import Tensor

_DAMPING = 0.01  # of the mean diagonal
_STRIDE = 32  # channels that go before the others are judged anew


class Magnitude:
    """Columns of the largest norm; what they are fed does not count."""

    name = "magnitude"

    def choose(self, weight: Tensor, inputs: Tensor, keep: int) -> Tensor:
        """See `Importance.choose`."""
        del inputs
        return _largest(weight.double().square().sum(0), keep)


class Wanda:
    """Norm of the column times that of what it is fed (Sun et al. 2024, arXiv 2306.11695)."""

    name = "wanda"

    def choose(self, weight: Tensor, inputs: Tensor, keep: int) -> Tensor:
        """See `Importance.choose`."""
        return _largest(weight.double().square().sum(0) * inputs.double().diagonal(), keep)


class SecondOrder:
    """What the other channels, fitted anew, cannot make up for.

    The rule of the optimal brain surgeon for whole columns, a few at a time (Hassibi and Stork
    1993; for matrices of language models Frantar and Alistarh 2023, arXiv 2301.00774).
    """

    name = "second-order"

    def choose(self, weight: Tensor, inputs: Tensor, keep: int) -> Tensor:
        """See `Importance.choose`."""
        inverse = torch.linalg.inv(damped(inputs))
        columns, alive = weight.double(), torch.arange(weight.shape[1])
        while len(alive) > keep:
            lost = columns.square().sum(0) / inverse.diagonal()
            order = torch.argsort(lost, stable=True)
            going = order[: min(_STRIDE, len(alive) - keep)]
            staying = order[len(going) :].sort().values
            pivot = inverse[going][:, going]
            columns = columns - torch.linalg.solve(pivot, columns[:, going].T).T @ inverse[going]
            inverse = inverse - inverse[:, going] @ torch.linalg.solve(pivot, inverse[going])
            columns, alive = columns[:, staying], alive[staying]
            inverse = inverse[staying][:, staying]
        return alive


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


def _largest(score: Tensor, keep: int) -> Tensor:
    return torch.argsort(score, descending=True, stable=True)[:keep].sort().values
