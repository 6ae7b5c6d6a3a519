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
_RIDGE = 1e-4  # decides among coefficients that the products cannot tell apart


@dataclass(frozen=True, slots=True)
class Law:
    """CPU time of one product of any shape, in one format, at one number of rows in.

    Args:
        per_operation: A multiplication or an addition. [s]
        per_byte: A byte of weights or activations. [s/B]
        fixed: What a product costs however small it is. [s]
        scatter: Largest factor between the law and a product it was fitted to, 1 or more. [1]
        rows: Those products, of one format and one number of activation rows.
    """

    per_operation: float
    per_byte: float
    fixed: float
    scatter: float
    rows: tuple[CostRow, ...]

    def cpu_s(self, rows: float, cols: float) -> float:
        """CPU time of a product of `rows` outputs and `cols` inputs; whole or not. [s]"""
        price = np.array([self.per_operation, self.per_byte, self.fixed])
        return float(_features(rows, cols, self.rows[0].format, self.rows[0].tokens) @ price)

    def row(self, shape: Shape) -> CostRow:
        """An answer in the form of a measured row, its interval with it.

        The interval spans the answers of every law of this form that misses no measured
        product by more than this one does, widened by the same factor. It is narrow among
        the measured shapes and grows with the distance from them.
        """
        first = self.rows[0]
        wanted = _features(shape.rows, shape.cols, first.format, first.tokens)
        least, most = _range(_relative(self.rows), wanted, self.scatter)
        value = self.cpu_s(shape.rows, shape.cols)
        return CostRow(
            shape=shape,
            format=first.format,
            threads=first.threads,
            tokens=first.tokens,
            cpu_s=value,
            low=min(least, value) / self.scatter,
            high=max(most, value) * self.scatter,
        )


def fit(rows: Sequence[CostRow]) -> Law:
    """The law that a few measured products follow.

    Relative errors are what is kept small, so that small products count like large ones.

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
    relative = _relative(rows)
    price = _solve(relative)
    told = relative @ price  # over what was measured
    a, b, c = price.tolist()
    return Law(a, b, c, float(max(told.max(), (1 / told).max(), 1.0)), tuple(rows))


def _features(rows: float, cols: float, fmt: Format, tokens: int) -> NDArray[np.float64]:
    """Operations, bytes and one, of a product. float64, [3]"""
    stored = rows * cols * fmt.bits_per_weight(cols) / 8
    passed = _ACTIVATION_BYTES * tokens * (rows + cols)
    return np.array([2.0 * tokens * rows * cols, stored + passed, 1.0])


def _relative(rows: Sequence[CostRow]) -> NDArray[np.float64]:
    """Features of measured products over their time: times a price, 1 where it is right.

    Returns:
        float64, [rows, 3].
    """
    found = [_features(r.shape.rows, r.shape.cols, r.format, r.tokens) / r.cpu_s for r in rows]
    return np.array(found)


def _solve(relative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Non-negative prices with the least sum of squared relative errors. float64, [3]

    The matrices of one model share a side, and then products tell less than three prices.
    A trace of a ridge takes the smallest of the prices that fit.
    """
    from scipy.optimize import nnls

    scale = np.linalg.norm(relative, axis=0)  # columns differ by a factor of 1e9
    table = np.vstack([relative / scale, _RIDGE * np.eye(3)])
    found, _ = nnls(table, np.concatenate([np.ones(len(relative)), np.zeros(3)]))
    return np.asarray(found / scale, dtype=np.float64)


def _range(
    relative: NDArray[np.float64], wanted: NDArray[np.float64], scatter: float
) -> tuple[float, float]:
    """Least and greatest `wanted @ price` of all prices that fit as well as `scatter`. [s]"""
    from scipy.optimize import linprog

    scale = np.linalg.norm(relative, axis=0)
    table, aim = relative / scale, wanted / scale
    unit = float(aim.max())  # the solver wants numbers near 1
    slack = 1e-6
    sides = np.concatenate(
        [
            np.full(len(table), scatter + slack),
            np.full(len(table), slack - 1 / scatter),
        ]
    )
    ends = [
        sign * linprog(sign * aim / unit, np.vstack([table, -table]), sides, method="highs").fun
        for sign in (1, -1)
    ]
    return float(ends[0]) * unit, float(ends[1]) * unit
