"""What flows into the layers of a model on some text, gathered block by block.

The text is carried through the model once: what leaves a block is kept for all windows
and enters the next one. So the work does not grow with the number of groups that the
layers are taken in, and no more than one group's statistics are held.

A value projection is fed one token at a time, but what it makes is used as attention mixes
it, and attention looks at some tokens, above all the first one, far more than at others. An
error made there is seen at every position. So the inputs of value projections count twice:
as they are, and as attention mixes them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from negawatt.core.records import ENCODERS
from negawatt.models.mapped import parts_of
from negawatt.models.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from negawatt.core.records import Layer
    from negawatt.models.mapped import Parts

_HELD = 96 * 2**20  # bytes of statistics held at a time, but for a block that takes more
_EVERY = 4  # windows of which one is looked at for how attention mixes
_VALUES = ".v_proj"
_ATTENTION_AXES = 4  # batch, head, query, key


def input_statistics(
    model: nn.Module | Parts,
    layers: Sequence[Layer],
    todo: Sequence[Layer],
    windows: NDArray[np.int64],
    place: Path | None = None,
) -> Iterator[tuple[list[Layer], Mapping[str, Tensor]]]:
    """Sums of outer products of the inputs of every layer in `todo`, a group at a time.

    Layers that are fed the very same tensor (q, k and v; gate and up) share one sum.
    Embeddings have none: their input is no vector. To those of a value projection its inputs
    as attention mixes them are added, at equal weight, where the model shows its attention.

    Args:
        model: The base, unchanged; an encoder is taken whole only.
        layers: All of it, in execution order.
        todo: Those of them that are asked for.
        windows: Calibration text, int64 [windows, positions].
        place: Folder for hidden states that do not fit into memory.

    Yields:
        Layers of `todo`, in order, and float32 [cols, cols] by layer name.
    """
    outside = [layer for layer in todo if layer.block is None]
    early = [layer for layer in outside if layer.kind == "embedding"]
    if early:
        yield early, {}
    late = [layer for layer in outside if layer.kind != "embedding"]
    inside = [layer for layer in todo if layer.block is not None]
    if not inside and not late:
        return
    parts, paths = parts_of(model), block_paths(layers)
    if not paths or _reads_whole(parts.model):
        for group in grouped([*inside, *late]):
            yield group, _whole(parts.model, group, windows)
        return
    texts = [torch.from_numpy(window)[None] for window in windows]
    with _shown_attention(parts.model), Walk(parts, paths, texts, place=place) as walk:
        for group in grouped(inside):
            yield group, _through(walk, group)
        if late:
            yield late, _beyond(walk, late)


@contextmanager
def _shown_attention(model: Any) -> Iterator[None]:
    """Have attention computed in a way that tells its weights, where the model can."""
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if before is None or not hasattr(model, "set_attn_implementation"):
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _reads_whole(model: Any) -> bool:
    """True for an encoder: its blocks are called in ways of their own, and it is small."""
    return getattr(getattr(model, "config", None), "model_type", "") in ENCODERS


def block_paths(layers: Sequence[Layer]) -> list[str]:
    """Paths of the blocks, in execution order: `model.layers.0`, `model.layers.1`, ..."""
    found: dict[str, None] = {}
    for layer in layers:
        if layer.block is not None:
            parts = layer.name.split(".")
            found[".".join(parts[: parts.index(str(layer.block)) + 1])] = None
    return list(found)


def grouped(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers of consecutive blocks whose statistics fit the memory allowance together."""
    groups: list[list[Layer]] = []
    held, last = 0, None  # layers outside blocks have none either
    sizes: dict[int | None, int] = {}
    for layer in layers:
        sizes[layer.block] = sizes.get(layer.block, 0) + 4 * layer.cols**2
    for layer in layers:
        if not groups or layer.block != last:
            last = layer.block
            if not groups or held + sizes[last] > _HELD:
                groups.append([])
                held = 0
            held += sizes[last]
        groups[-1].append(layer)
    return groups


def _through(walk: Walk, group: Sequence[Layer]) -> Mapping[str, Tensor]:
    """Go on to behind the blocks of `group`, and gather what its layers are fed."""
    stop = walk.paths.index(_path_of(group[-1])) + 1
    with _watched(walk.parts.model, group) as sums:
        while walk.at < stop:
            walk.step(sums.turn)
    return sums.result()


def _beyond(walk: Walk, late: Sequence[Layer]) -> Mapping[str, Tensor]:
    """Go on to the end, and gather what layers behind all blocks are fed."""
    while walk.at < len(walk.paths):
        walk.step()
    with _watched(walk.parts.model, late) as sums:
        walk.show(late[-1].name)
    return sums.result()


def _whole(
    model: nn.Module, layers: Sequence[Layer], windows: NDArray[np.int64]
) -> Mapping[str, Tensor]:
    """Run the whole model, and gather what these layers are fed."""
    named = {} if _reads_whole(model) else {"use_cache": False}
    with _watched(model, layers) as sums, torch.no_grad():
        for window in windows:
            model(input_ids=torch.from_numpy(window)[None], **named)
    return sums.result()


def _path_of(layer: Layer) -> str:
    return block_paths([layer])[0]


@contextmanager
def _watched(model: nn.Module, layers: Sequence[Layer]) -> Iterator[InputSums]:
    """Add up what these layers are fed while the block runs."""
    sums = InputSums()
    handles = [
        model.get_submodule(layer.name).register_forward_pre_hook(sums.hook(layer.name))
        for layer in layers
    ]
    handles += [
        model.get_submodule(layer.name.rpartition(".")[0]).register_forward_hook(
            sums.mixer(layer.name)
        )
        for layer in layers
        if layer.name.endswith(_VALUES)
    ]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


class InputSums:
    """Sums of outer products of the inputs of some layers, float32 [cols, cols]."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._seen: tuple[Tensor, str] | None = None
        self._owner: dict[str, str] = {}
        self._values: dict[str, Tensor] = {}  # what value projections were fed just now
        self._mixed: dict[str, Tensor] = {}
        self.mixes = False  # whether to look at how attention mixes

    def turn(self, number: int) -> None:
        """Told which window comes next."""
        self.mixes = number % _EVERY == 0

    def hook(self, name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        """To be called with what a layer is fed."""

        def add(_: Any, args: tuple[Any, ...]) -> None:
            self._add(name, args[0])
            if self.mixes and name.endswith(_VALUES):
                self._values[name] = args[0]

        return add

    def mixer(self, name: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
        """To be called with what an attention gives back, for its value projection."""

        def mix(_: Any, __: tuple[Any, ...], out: Any) -> None:
            given = self._values.pop(name, None)
            weights: Any = out[1] if isinstance(out, tuple) and len(out) > 1 else None
            if given is None or weights is None or weights.ndim != _ATTENTION_AXES:
                return
            for x, heads in zip(given.float(), weights.float(), strict=True):
                for head in heads:  # one at a time: all together are large
                    seen = head @ x
                    if name in self._mixed:
                        self._mixed[name].addmm_(seen.T, seen)
                    else:
                        self._mixed[name] = seen.T @ seen

        return mix

    def _add(self, name: str, given: Tensor) -> None:
        if self._seen is not None and self._seen[0] is given:
            self._owner[name] = self._seen[1]
            return
        self._seen = (given, name)
        self._owner[name] = name
        x = given.reshape(-1, given.shape[-1]).float()
        if name in self._sums:
            self._sums[name].addmm_(x.T, x)
        else:
            self._sums[name] = x.T @ x

    def result(self) -> dict[str, Tensor]:
        """By layer name; layers fed alike share one tensor."""
        found = {name: self._sums[owner] for name, owner in self._owner.items()}
        for name, mixed in self._mixed.items():
            plain = found[name]
            level = plain.diagonal().mean() / mixed.diagonal().mean().clamp_min(1e-30)
            found[name] = plain + mixed * level
        return found
