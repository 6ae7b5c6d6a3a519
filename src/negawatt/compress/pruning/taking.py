"""Take blocks, heads and channels out of a prepared model, in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from negawatt.compress.inputs import input_statistics
from negawatt.compress.pruned import Cut, Taken, shape_of
from negawatt.compress.pruning import Evidence, Importance, named, surgery
from negawatt.compress.pruning.answers import Answering, answering
from negawatt.compress.pruning.folder import opened, write
from negawatt.compress.pruning.importances import refitted
from negawatt.compress.pruning.slopes import gate_slopes
from negawatt.core.records import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from negawatt.models.source import ModelSource

_PROBES = 512  # tokens by which blocks are judged
_SHORT = 32  # tokens of a text that an encoder is mostly asked about: a sentence or two

#: Told how many steps of how many are done.
OnStep = Callable[[int, int], None]


def prune(
    source: ModelSource,
    cut: Cut,
    windows: NDArray[np.int64],
    out: Path,
    on_layer: OnStep = lambda done, total: None,
) -> Taken:
    """Take blocks, heads and channels out and write what is left into `out`.

    Blocks go first, then heads, then channels: what each of these carries is seen without what
    went before. The vocabulary is left as it is.

    Args:
        source: Left as it is.
        cut: What stays.
        windows: Calibration text, int64 [windows, positions].
        out: Made when everything is done.
        on_layer: Told how many blocks of how many are done.

    Raises:
        UnsupportedArchitecture: the model has parts of no known form.
        BrokenWeights: weights or what flows through them are not finite.
        UsageError: that many blocks or heads cannot stay.
    """
    rule = named(cut.importance)
    model = opened(source.folder)
    way = answering(model, source.folder)
    parts, total = surgery.feeds(model), len(surgery.blocks_of(model))
    base = shape_of(
        source.layers, total, parts[0].width, source.parameters, surgery.heads_of(model)
    )
    heads = surgery.attentions(model) if cut.heads < 1 else []
    groups = surgery.groups_for(cut.heads, heads[0]) if heads else 0
    gone = _blocks_gone(model, way, total, cut, windows)
    texts = windows if way.keyed else shorter(windows, _SHORT)
    thin = _Thinning(model, way, rule, texts, on_layer)
    if heads:
        thin.out(surgery.attentions(model), groups * heads[0].group)
        surgery.told_heads(model, groups)
    width = surgery.width_for(cut.ffn, parts[0].width)
    if width < parts[0].width:
        thin.out(surgery.feeds(model), width)
        surgery.told_width(model, width)
    made = write(source, model, out)
    kept = surgery.heads_of(model)
    shape = shape_of(made.layers, total - len(gone), width, made.parameters, kept)
    return Taken(made, tuple(gone), base, shape)


def _blocks_gone(
    model: Any, way: Answering, total: int, cut: Cut, windows: NDArray[np.int64]
) -> list[int]:
    """Take blocks out; returns which."""
    probe = torch.from_numpy(windows[: max(1, _PROBES // windows.shape[1])])
    with torch.no_grad():
        wanted = way.said(model, probe)
    gone = surgery.dispensable(
        model,
        0 if cut.blocks is None else total - cut.blocks,
        lambda: float(way.apart(way.said(model, probe), wanted)),
    )
    surgery.without(model, gone)
    return gone


def shorter(windows: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Windows cut into shorter ones, each between the marks of the long one.

    >>> import numpy as np
    >>> shorter(np.array([[1, 10, 11, 12, 13, 14, 2]]), 4).tolist()
    [[1, 10, 11, 2], [1, 12, 13, 2]]
    """
    if windows.shape[1] <= length:
        return windows
    body = length - 2
    count = (windows.shape[1] - 2) // body
    inner = windows[:, 1 : 1 + count * body].reshape(-1, body)
    first, last = (np.repeat(windows[:, at], count)[:, None] for at in (0, -1))
    return np.concatenate([first, inner, last], axis=1)


@dataclass(frozen=True, slots=True)
class _Thinning:
    """A model whose channels go by one rule, seen on one text."""

    model: Any
    way: Answering
    rule: Importance
    windows: NDArray[np.int64]
    on_layer: OnStep

    def out(self, parts: list[surgery.Part], width: int) -> None:
        """Choose `width` channels in every part from what the whole model sends there."""
        model, by_reader = self.model, {part.reader: part for part in parts}
        slopes = {}
        if self.rule.slopes:
            slopes = gate_slopes(model, self.way, list(by_reader), self.windows)
        todo = []
        for part in parts:
            rows, cols = model.get_submodule(part.reader).weight.shape
            todo.append(Layer(part.reader, "linear", rows, cols, part.block))
        done = 0
        for group, sums in input_statistics(model, todo, todo, self.windows):
            for layer in group:
                part, inputs = by_reader[layer.name], sums[layer.name]
                weight = model.get_submodule(layer.name).weight.detach().float()
                seen = Evidence(weight, inputs, slopes.get(layer.name))
                kept = self.rule.choose(seen, width, part.group)
                surgery.narrow(model, part, kept, refitted(weight, inputs, kept))
                done += 1
                self.on_layer(done, len(parts))
