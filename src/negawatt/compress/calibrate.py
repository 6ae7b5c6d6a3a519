"""Preparing the candidates: calibration text in, a filled weight bank out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from negawatt.compress.bank import candidates
from negawatt.compress.quantise import SecondOrder, round_to_nearest
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import QuantisedWeight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from negawatt.compress.bank import WeightBank
    from negawatt.core.records import Format, Layer

_HESSIANS_AT_ONCE = 96 * 2**20  # bytes of input statistics held at a time
_ROWS = 2048  # rows quantised at a time: rows do not depend on each other


def fill_bank(
    model: nn.Module,
    layers: Sequence[Layer],
    formats: Sequence[Format],
    windows: NDArray[np.int64],
    bank: WeightBank,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write every candidate of every layer that the bank does not hold yet.

    Rounding is corrected with the Hessian of the layer's inputs on `windows`,
    but for embeddings, whose input is no vector; layers are taken in groups whose statistics fit in memory, and
    the text is run once per group.

    Args:
        model: The base, unchanged.
        layers: In execution order.
        formats: Candidates; those that do not divide a layer's rows are skipped.
        windows: Calibration text, int64 [windows, positions].
        bank: Filled; finished candidates are kept, so a stopped run goes on.
        on_layer: Told how many layers of how many are done.

    Raises:
        BrokenWeights: a layer holds values that are not finite, by name.
    """
    todo = [layer for layer in layers if _missing(layer, formats, bank)]
    done = len(layers) - len(todo)
    on_layer(done, len(layers))
    for group in _grouped(todo):
        statistics = _input_statistics(model, group, windows)

        def work(layer: Layer, known: Mapping[str, Tensor] = statistics) -> None:
            weight = cast("Tensor", model.get_submodule(layer.name).weight).detach()
            hessian = known.get(layer.name)
            inputs = None if hessian is None else SecondOrder(hessian)
            for fmt in _missing(layer, formats, bank):
                bank.put(layer.name, _quantise(layer, weight, inputs, fmt))

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


def _missing(layer: Layer, formats: Sequence[Format], bank: WeightBank) -> list[Format]:
    return [f for f in candidates(layer, tuple(formats)) if not bank.has(layer.name, f)]


def _quantise(
    layer: Layer, weight: Tensor, inputs: SecondOrder | None, fmt: Format
) -> QuantisedWeight:
    round_rows = round_to_nearest if inputs is None else inputs.quantise
    try:
        parts = [
            round_rows(weight[start : start + _ROWS], fmt) for start in range(0, layer.rows, _ROWS)
        ]
    except BrokenWeights as error:
        raise BrokenWeights(f"{layer.name}: {error.what}", fix=error.fix) from error
    return QuantisedWeight(
        format=fmt,
        codes=np.concatenate([part.codes for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
        zero=np.concatenate([part.zero for part in parts]),
    )


def _grouped(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Consecutive layers whose Hessians fit the memory allowance together."""
    groups: list[list[Layer]] = []
    held = 0
    for layer in layers:
        size = 0 if layer.kind == "embedding" else 4 * layer.cols**2
        if not groups or held + size > _HESSIANS_AT_ONCE:
            groups.append([])
            held = 0
        groups[-1].append(layer)
        held += size
    return groups


class _Enough(Exception):
    """Raised in a hook once the last layer of a group has seen its input."""


class _InputSums:
    """Sums of outer products of the inputs of some layers, float32 [cols, cols].

    Layers that are fed the very same tensor (q, k and v; gate and up) share one sum.
    """

    def __init__(self, last: str) -> None:
        self.sums: dict[str, Tensor] = {}
        self._last = last
        self._seen: tuple[Tensor, str] | None = None
        self._owner: dict[str, str] = {}

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def add(_: nn.Module, args: tuple[Any, ...]) -> None:
            self._add(name, args[0])
            if name == self._last:
                raise _Enough

        return add

    def _add(self, name: str, given: Tensor) -> None:
        if self._seen is not None and self._seen[0] is given:
            self._owner[name] = self._seen[1]
            return
        self._seen = (given, name)
        self._owner[name] = name
        x = given.reshape(-1, given.shape[-1]).float()
        if name in self.sums:
            self.sums[name].addmm_(x.T, x)
        else:
            self.sums[name] = x.T @ x

    def result(self) -> dict[str, Tensor]:
        return {name: self.sums[owner] for name, owner in self._owner.items()}


def _input_statistics(
    model: nn.Module, group: Sequence[Layer], windows: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Run the text through the model as far as the group's last layer."""
    watched = [layer.name for layer in group if layer.kind != "embedding"]
    if not watched:
        return {}
    sums = _InputSums(watched[-1])
    handles = [
        model.get_submodule(name).register_forward_pre_hook(sums.hook(name)) for name in watched
    ]
    try:
        for window in windows:
            try:
                with torch.no_grad():
                    model(input_ids=torch.from_numpy(window)[None], use_cache=False)
            except _Enough:
                continue
    finally:
        for handle in handles:
            handle.remove()
    return sums.result()
