"""Preparing the candidates: calibration text in, a filled weight bank out."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from negawatt.compress.bank import candidates
from negawatt.compress.inputs import input_statistics
from negawatt.compress.methods import USUAL, named
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import QuantisedWeight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from negawatt.compress.bank import WeightBank
    from negawatt.compress.methods import Rounder
    from negawatt.core.records import Format, Layer

_ROWS = 2048  # rows quantised at a time: rows do not depend on each other


def fill_bank(
    model: nn.Module,
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
        model: The base, unchanged.
        layers: In execution order.
        formats: Candidates; those that do not divide a layer's rows are skipped. By layer
            name where each is to have one of its own.
        windows: Calibration text, int64 [windows, positions].
        bank: Filled; finished candidates are kept, so a stopped run goes on.
        on_layer: Told how many layers of how many are done.
        method: Name of a quantiser; see `negawatt.compress.methods`.

    Raises:
        BrokenWeights: a layer holds values that are not finite, by name.
    """
    quantiser = named(method)

    def left(layer: Layer) -> list[Format]:
        own = [formats[layer.name]] if isinstance(formats, Mapping) else formats
        return [f for f in candidates(layer, tuple(own)) if not bank.has(layer.name, f)]

    todo = [layer for layer in layers if left(layer)]
    done = len(layers) - len(todo)
    on_layer(done, len(layers))
    for group, statistics in input_statistics(model, layers, todo, windows):

        def work(layer: Layer, known: Mapping[str, Tensor] = statistics) -> None:
            weight = cast("Tensor", model.get_submodule(layer.name).weight).detach()
            rounder = quantiser.prepare(known.get(layer.name))
            for fmt in left(layer):
                bank.put(layer.name, _quantise(layer, weight, rounder, fmt))

        # Column by column there is too little work to share among threads, so
        # each layer gets one thread and several layers run side by side.
        with _one_thread_each() as pool:
            for _ in pool.map(work, group):
                done += 1
                on_layer(done, len(layers))


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


def _quantise(layer: Layer, weight: Tensor, rounder: Rounder, fmt: Format) -> QuantisedWeight:
    try:
        parts = [
            rounder.quantise(weight[start : start + _ROWS], fmt)
            for start in range(0, layer.rows, _ROWS)
        ]
    except BrokenWeights as error:
        raise BrokenWeights(f"{layer.name}: {error.what}", fix=error.fix) from error
    return QuantisedWeight(
        format=fmt,
        codes=np.concatenate([part.codes for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
        zero=np.concatenate([part.zero for part in parts]),
    )
