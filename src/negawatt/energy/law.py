"""A law for products that nobody measured: CPU time as a smooth function of the shape.

    cpu_s = a * operations + b * bytes + c,    a, b, c >= 0

fitted per format and number of activation rows to the products of a cost table.
With coefficients that are never negative it grows with both sides of a matrix
and has a gradient everywhere, so it may stand wherever the table does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.records import Format
from negawatt.energy.costs import CostRow, Shape

#: Shapes below which three coefficients say nothing.
LEAST_SHAPES = 3

_ACTIVATION_BYTES = 2  # engines pass activations on in 16 bits


@dataclass(frozen=True, slots=True)
class Law:
    """CPU time of one product of any shape, in one format, at one number of rows in.

    Args:
        format: Of the weights.
        tokens: Rows of the activation.
        per_operation: A multiplication or an addition. [s]
        per_byte: A byte of weights or activations. [s/B]
        fixed: What a product costs however small it is. [s]
        low: Lower end of an answer, as a share of it. [1]
        high: Upper end of an answer, as a share of it. [1]
    """

    format: Format
    tokens: int
    per_operation: float
    per_byte: float
    fixed: float
    low: float
    high: float

    def cpu_s(self, rows: float, cols: float) -> float:
        """CPU time of a product of `rows` outputs and `cols` inputs; whole or not. [s]"""
        weights = np.array([self.per_operation, self.per_byte, self.fixed])
        return float(_features(rows, cols, self.format, self.tokens) @ weights)

    def row(self, shape: Shape, *, threads: int) -> CostRow:
        """An answer in the form of a measured row, its interval with it."""
        cpu_s = self.cpu_s(shape.rows, shape.cols)
        return CostRow(
            shape=shape,
            format=self.format,
            threads=threads,
            tokens=self.tokens,
            cpu_s=cpu_s,
            low=cpu_s * self.low,
            high=cpu_s * self.high,
        )


def fit(rows: Sequence[CostRow]) -> Law:
    """The law that a few measured products follow.

    Relative errors are what is kept small, so that small products count like
    large ones. The interval comes from leaving each product out in turn: the
    worst that the law then missed it by, to either side. The largest and the
    smallest product are among them, so it knows what reaching further costs.

    Args:
        rows: Of one format, number of activation rows and number of threads.

    Raises:
        UsageError: fewer than `LEAST_SHAPES` shapes.
    """
    if len({row.shape for row in rows}) < LEAST_SHAPES:
        raise UsageError(
            f"{len(rows)} measured products are too few to tell what others cost",
            fix="let the costs of this model be measured",
        )
    fmt, tokens = rows[0].format, rows[0].tokens
    table = np.array([_features(r.shape.rows, r.shape.cols, fmt, tokens) for r in rows])
    measured = np.array([row.cpu_s for row in rows])
    missed = [1.0]
    for i in range(len(rows)):
        others = np.arange(len(rows)) != i
        guess = table[i] @ _solve(table[others], measured[others])
        missed.append(float(measured[i] / guess))
    a, b, c = _solve(table, measured)
    return Law(fmt, tokens, float(a), float(b), float(c), min(missed), max(missed))


def _features(rows: float, cols: float, fmt: Format, tokens: int) -> NDArray[np.float64]:
    """Operations, bytes and one, of a product. float64, [3]"""
    if fmt.bits == Format(16).bits:
        stored = 2.0 * rows * cols
    else:  # codes, then scales and zero points of every group
        per_group = 16 + (0 if fmt.symmetric else fmt.bits)
        groups = cols / fmt.group if fmt.group else 1.0
        stored = rows * (cols * fmt.bits + groups * per_group) / 8
    passed = _ACTIVATION_BYTES * tokens * (rows + cols)
    return np.array([2.0 * tokens * rows * cols, stored + passed, 1.0])


def _solve(table: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Non-negative coefficients with the least sum of squared relative errors. float64, [3]"""
    from scipy.optimize import nnls

    relative = table / measured[:, None]
    scale = np.linalg.norm(relative, axis=0)  # columns differ by a factor of 1e9
    found, _ = nnls(relative / scale, np.ones(len(measured)))
    return np.asarray(found / scale, dtype=np.float64)
