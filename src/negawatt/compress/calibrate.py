"""Preparing the candidates: calibration text in, a filled weight bank out."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from negawatt.compress.bank import candidates
from negawatt.compress.inputs import input_statistics
from negawatt.compress.methods import USUAL, named
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import QuantisedWeight
from negawatt.models.mapped import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from negawatt.compress.bank import WeightBank
    from negawatt.compress.methods import Quantiser, Rounder
    from negawatt.core.records import Format, Layer
    from negawatt.models.mapped import Parts

_ROWS = 2048  # rows quantised at a time, at most: rows do not depend on each other
_VALUES = 2**22  # values quantised at a time, at most
_FEWEST = 64  # rows quantised at a time, at least
LARGE = 2**23  # values from which a layer is shared among threads


def fill_bank(
    model: nn.Module | Parts,
    layers: Sequence[Layer],
    formats: Sequence[Format] | Mapping[str, Format],
    windows: NDArray[np.int64],
    bank: WeightBank,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
    *,
    method: str = USUAL,
) -> None:
    """Write every candidate of every layer that the bank does not hold yet.

    The method is told what `windows` send into a layer, but for embeddings, whose input is
    no vector. The text is carried through the model once, and layers are taken in groups
    whose statistics fit in memory.

    Args:
        model: The base, unchanged: in memory, or mapped and then held a block at a time.
        layers: In execution order.
        formats: Candidates; those that do not divide a layer's rows are skipped. By layer
            name where each is to have one of its own.
        windows: Calibration text, int64 [windows, positions].
        bank: Filled; finished candidates are kept, so a stopped run goes on. Hidden states
            that do not fit into memory lie beside them meanwhile.
        on_layer: Told how many layers of how many are done.
        method: Name of a quantiser; see `negawatt.compress.methods`.

    Raises:
        BrokenWeights: a layer holds values that are not finite, or is fed such, by name.
    """
    work = _Work(parts_of(model), named(method), formats, bank)
    todo = [layer for layer in layers if work.left(layer)]
    done = len(layers) - len(todo)
    on_layer(done, len(layers))
    for group, known in input_statistics(model, layers, todo, windows, bank.folder):
        for _ in work.through(group, known):
            done += 1
            on_layer(done, len(layers))


class _Work:
    """Rounding layers whose inputs are known."""

    def __init__(
        self,
        parts: Parts,
        quantiser: Quantiser,
        formats: Sequence[Format] | Mapping[str, Format],
        bank: WeightBank,
    ) -> None:
        self._parts, self._quantiser = parts, quantiser
        self._formats, self._bank = formats, bank

    def left(self, layer: Layer) -> list[Format]:
        """Candidates that the bank lacks."""
        formats = self._formats
        own = [formats[layer.name]] if isinstance(formats, Mapping) else formats
        return [f for f in candidates(layer, tuple(own)) if not self._bank.has(layer.name, f)]

    def through(self, group: Sequence[Layer], known: Mapping[str, Tensor]) -> Iterator[Layer]:
        """Every layer that is done.

        Column by column there is too little work to share among threads. So small layers
        are taken side by side, each on one thread, and of large ones rows: what a method
        makes of the inputs of a large layer takes more memory than its weights.
        """
        large = [layer for layer in group if layer.rows * layer.cols >= LARGE]
        with _one_thread_each() as pool:
            small = (layer for layer in group if layer not in large)
            yield from pool.map(lambda layer: self._do(layer, known, map), small)
        for layer in large:
            with _one_thread_each() as pool:
                yield self._do(layer, known, pool.map)

    def _do(
        self, layer: Layer, known: Mapping[str, Tensor], spread: Callable[..., Iterator[Any]]
    ) -> Layer:
        with _naming(layer):
            inputs = known.get(layer.name)
            if inputs is not None and not bool(torch.isfinite(inputs.sum())):
                raise BrokenWeights(
                    "what the calibration text sends into it is not finite",
                    fix="leave this model at 16 bits, or look at the layers before this one: "
                    "their outputs are too large",
                )
            rounder = self._quantiser.prepare(inputs)
            for fmt in self.left(layer):
                self._bank.put(layer.name, self._rounded(layer, rounder, fmt, spread))
        return layer

    def _rounded(
        self, layer: Layer, rounder: Rounder, fmt: Format, spread: Callable[..., Iterator[Any]]
    ) -> QuantisedWeight:
        step = rows_at_once(layer.cols)

        def piece(start: int) -> tuple[int, QuantisedWeight]:
            weight = self._parts.rows(layer.name, start, min(start + step, layer.rows))
            return start, rounder.quantise(weight, fmt)

        groups = layer.cols // (fmt.group or layer.cols)
        codes = np.empty((layer.rows, layer.cols), np.uint8)
        scale = np.empty((layer.rows, groups), np.float16)
        zero = np.empty((layer.rows, groups), np.float16 if fmt.has_minimum else np.uint8)
        for start, part in spread(piece, range(0, layer.rows, step)):
            rows = slice(start, start + len(part.codes))
            codes[rows], scale[rows], zero[rows] = part.codes, part.scale, part.zero
        return QuantisedWeight(format=fmt, codes=codes, scale=scale, zero=zero)


def rows_at_once(cols: int) -> int:
    """How many rows of a layer are quantised at a time.

    >>> rows_at_once(576), rows_at_once(11008)
    (2048, 381)
    """
    return max(_FEWEST, min(_ROWS, _VALUES // cols))


@contextmanager
def _naming(layer: Layer) -> Iterator[None]:
    """Say of which layer a matrix is that cannot be used."""
    try:
        yield
    except BrokenWeights as error:
        raise BrokenWeights(f"{layer.name}: {error.what}", fix=error.fix) from error


@contextmanager
def _one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool as wide as the threads allowed, in which every operation uses one thread.

    The setting belongs to the thread that makes it, so each worker makes its own.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
