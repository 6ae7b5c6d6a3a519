"""The factor of an inverse, made in the place of the matrix it is made from.

A Hessian of 28,672 inputs takes 6.6 GB in double precision, so no second one is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.linalg import lapack

if TYPE_CHECKING:
    from torch import Tensor


def inverse_factor(matrix: Tensor) -> Tensor | None:
    """The upper triangular factor U with U^T U = inverse of `matrix`; None where there is none.

    Args:
        matrix: float64 [n, n], symmetric and contiguous; it is overwritten.

    Returns:
        float32 [n, n].

    >>> found = inverse_factor(torch.tensor([[4.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    >>> found.diagonal().tolist()
    [0.5, 1.0]
    """
    work = matrix.numpy().T  # the layout that the library works in; the matrix is symmetric
    work, failed = lapack.dpotrf(work, lower=1, overwrite_a=1, clean=0)
    if not failed:
        work, failed = lapack.dpotri(work, lower=1, overwrite_c=1)
    if not failed:
        work, failed = lapack.dpotrf(work, lower=1, overwrite_a=1, clean=1)
    return None if failed else torch.from_numpy(work.T).float()
