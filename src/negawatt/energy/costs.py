"""The measured cost table: what one matrix product costs on this machine.

Bits are not joules. Which format is cheap depends on the engine, the shape,
the number of rows multiplied at once and the threads, so it is measured, once
per machine, engine and version, and kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.codec import decode, encode
from negawatt.core.errors import UsageError
from negawatt.core.levels import gaps
from negawatt.core.protocols import Kernel, RunOptions, Runtime
from negawatt.core.records import Format

VERSION = 6  # of the procedure; tables of another one are measured again

_WEIGHT_BYTES = 16 * 2**20  # of 8-bit weights multiplied in one run
_CACHE_BYTES = 64 * 2**20  # rewritten before a timing, so that weights come from memory
_HELD_BYTES = 160 * 2**20  # of weights in products at once
_MOST_COPIES = 96
_ROUNDS = 5  # timings per product, interleaved over formats
_MOST_REPEATS = 8  # runs in a timing
_LEAST_S = 0.008  # CPU time a timing should at least take


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """Outputs and inputs of a matrix product."""

    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class CostRow:
    """CPU time of one product, median with the spread of its rounds. [s]"""

    shape: Shape
    format: Format
    threads: int
    tokens: int  # rows of the activation
    cpu_s: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CostTable:
    """Every product measured with one engine on one machine."""

    machine: str
    runtime: str  # name and version
    rows: tuple[CostRow, ...]
    version: int = VERSION

    def find(self, shape: Shape, fmt: Format, *, threads: int, tokens: int) -> CostRow:
        """The row measured for exactly this product; `KeyError` when there is none."""
        for row in self.rows:
            if (row.shape, row.format, row.threads, row.tokens) == (shape, fmt, threads, tokens):
                return row
        raise KeyError(f"{shape} {fmt} threads={threads} tokens={tokens} was not measured")

    def has(self, shape: Shape, fmt: Format, *, threads: int, tokens: int) -> bool:
        """True when `find` would succeed."""
        try:
            self.find(shape, fmt, threads=threads, tokens=tokens)
        except KeyError:
            return False
        return True

    def with_rows(self, rows: Iterable[CostRow]) -> CostTable:
        """The table with more rows; a product measured again replaces the old row."""
        merged = {(r.shape, r.format, r.threads, r.tokens): r for r in (*self.rows, *rows)}
        return CostTable(self.machine, self.runtime, tuple(merged.values()), self.version)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The products to measure: every shape in every format that fits it."""

    shapes: tuple[Shape, ...]
    formats: tuple[Format, ...]
    threads: int
    tokens: tuple[int, ...]  # rows of the activation: one per phase


def measure_costs(
    runtime: Runtime,
    wanted: Wanted,
    table: CostTable,
    *,
    clock: Clock | None = None,
    on_shape: Callable[[int, int], None] = lambda done, total: None,
) -> CostTable:
    """Time every wanted product that the table does not hold yet.

    All formats of a shape are timed in turn, round after round, so that a
    drift of the machine's speed falls on all of them alike. So a shape that lacks
    one of them, such as a format that is newer than the table, is timed anew in
    all that are known.

    Args:
        runtime: Whose kernels to time.
        wanted: What is needed.
        table: What is known; it is not changed.
        clock: Whose CPU clock to read; the machine's when None.
        on_shape: Told how many shapes of how many are done.

    Returns:
        The table with the new rows.
    """
    clock = clock or SystemClock()
    rows: list[CostRow] = []
    for done, shape in enumerate(wanted.shapes):
        for formats in _beside_each_other(shape, _to_time(runtime, shape, wanted, table)):
            rows += _time_shape(runtime, shape, formats, wanted, clock)
        on_shape(done + 1, len(wanted.shapes))
    return table.with_rows(rows)


def _to_time(runtime: Runtime, shape: Shape, wanted: Wanted, table: CostTable) -> list[Format]:
    """Every wanted format that fits and those known already; none when nothing is lacking."""
    fitting = [fmt for fmt in wanted.formats if fmt.fits(shape.cols)]
    if all(
        table.has(shape, fmt, threads=wanted.threads, tokens=tokens)
        for fmt in fitting
        for tokens in wanted.tokens
    ):
        return []
    known = {
        row.format for row in table.rows if (row.shape, row.threads) == (shape, wanted.threads)
    }
    return [*fitting, *(fmt for fmt in runtime.formats if fmt in known and fmt not in fitting)]


def _copies(shape: Shape) -> int:
    return max(1, min(_MOST_COPIES, math.ceil(_WEIGHT_BYTES / (shape.rows * shape.cols))))


def _beside_each_other(shape: Shape, formats: Sequence[Format]) -> list[list[Format]]:
    """Formats in groups whose products fit in memory together; a large head needs several."""
    groups: list[list[Format]] = []
    held = 0.0
    for fmt in formats:
        size = 2 * _copies(shape) * fmt.bytes(shape.rows, shape.cols)  # as given, and as packed
        if not groups or held + size > _HELD_BYTES:
            groups.append([])
            held = 0.0
        groups[-1].append(fmt)
        held += size
    return groups


def _time_shape(
    runtime: Runtime, shape: Shape, formats: Sequence[Format], wanted: Wanted, clock: Clock
) -> list[CostRow]:
    options = RunOptions(threads=wanted.threads)
    copies = _copies(shape)
    kernels = {
        fmt: runtime.kernel(shape.rows, shape.cols, fmt, copies=copies, options=options)
        for fmt in formats
    }
    rows = []
    # A clock moved by hand times nothing real, so there is no cache to empty.
    real = isinstance(clock, SystemClock)
    cold = np.zeros(_CACHE_BYTES // 8 if real else 0, dtype=np.int64)
    for tokens in wanted.tokens:
        repeats = {fmt: _repeats(kernel, tokens, clock) for fmt, kernel in kernels.items()}
        times: dict[Format, list[float]] = {fmt: [] for fmt in formats}
        for _ in range(_ROUNDS):
            for fmt, kernel in kernels.items():
                spent = sum(_cold_run(kernel, tokens, cold, clock) for _ in range(repeats[fmt]))
                times[fmt].append(spent / repeats[fmt] / kernel.copies)
        rows += [
            CostRow(
                shape=shape,
                format=fmt,
                threads=wanted.threads,
                tokens=tokens,
                cpu_s=statistics.median(found),
                low=min(found),
                high=max(found),
            )
            for fmt, found in times.items()
        ]
    return rows


def _cold_run(kernel: Kernel, tokens: int, cold: NDArray[np.int64], clock: Clock) -> float:
    """CPU time of one run whose weights are in no cache, as in a model larger than it. [s]"""
    np.add(cold, 1, out=cold)
    start = clock.cpu()
    kernel.run(tokens)
    return clock.cpu() - start


def _repeats(kernel: Kernel, tokens: int, clock: Clock) -> int:
    """How often to run a kernel so that a timing is long enough; warms it up too."""
    kernel.run(tokens)
    start = clock.cpu()
    kernel.run(tokens)
    once = max(clock.cpu() - start, 1e-6)
    return max(1, min(_MOST_REPEATS, math.ceil(_LEAST_S / once)))


def kept_at(cache: Path, *, machine: str, runtime: str, what: str = "costs") -> Path:
    """Where a figure of one machine and engine is kept in the cache folder.

    Args:
        cache: The cache folder.
        machine: Which machine.
        runtime: Name and version of the engine.
        what: Which figures: "costs" or "calibrations".

    >>> kept_at(Path("cache"), machine="m", runtime="engine 1.0").as_posix()
    'cache/costs-dce28ee05d414c24.json'
    """
    digest = hashlib.sha256(json.dumps([machine, runtime]).encode()).hexdigest()
    return cache / f"{what}-{digest[:16]}.json"


def load_table(path: Path, *, machine: str, runtime: str) -> CostTable:
    """Read a kept table; an absent one, or one of another machine or engine, is empty."""
    empty = CostTable(machine=machine, runtime=runtime, rows=())
    try:
        table = decode(CostTable, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return empty  # nothing is lost: the table is measured again
    same = (table.machine, table.runtime, table.version) == (machine, runtime, VERSION)
    return table if same else empty


def save_table(path: Path, table: CostTable) -> None:
    """Keep a table; the file is replaced in one step.

    Raises:
        UsageError: the cache folder cannot be written.
    """
    keep(path, table)


def keep(path: Path, record: object) -> None:
    """Write a record into the cache; the file is replaced in one step.

    Raises:
        UsageError: the cache folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(encode(record)), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            fix="choose another cache folder with NEGAWATT_CACHE",
        ) from error


def undominated(table: CostTable, wanted: Wanted, *, margin: float = 0.02) -> tuple[Format, ...]:
    """Drop every format that another beats on cost without storing anything more coarsely.

    Args:
        table: Holds every wanted product.
        wanted: Over which shapes and phases a format must be beaten.
        margin: Costs closer than this share count as equal. [1]

    Returns:
        The formats left, in their given order.
    """
    return tuple(
        fmt
        for fmt in wanted.formats
        if not any(
            other != fmt
            and _at_least_as_fine(other, fmt)
            and _never_dearer(table, wanted, other, fmt, margin)
            for other in wanted.formats
        )
    )


def _at_least_as_fine(a: Format, b: Format) -> bool:
    span_a, span_b = a.group or math.inf, b.group or math.inf
    finer = a.bits >= b.bits
    if a.levels != b.levels:  # uneven levels are fine in one place and coarse in another
        finer = gaps(a.bits, a.levels)[1] <= gaps(b.bits, b.levels)[0]
    return finer and span_a <= span_b and (not a.symmetric or b.symmetric)


def _never_dearer(table: CostTable, wanted: Wanted, a: Format, b: Format, margin: float) -> bool:
    shapes = [shape for shape in wanted.shapes if b.fits(shape.cols)]
    if any(not a.fits(shape.cols) for shape in shapes):
        return False
    products = [(shape, tokens) for shape in shapes for tokens in wanted.tokens]
    return all(
        table.find(shape, a, threads=wanted.threads, tokens=tokens).cpu_s
        <= table.find(shape, b, threads=wanted.threads, tokens=tokens).cpu_s * (1 + margin)
        for shape, tokens in products
    )
