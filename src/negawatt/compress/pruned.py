"""A model with fewer channels and blocks: how to prune, doing it, and what came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.records import ENCODERS, Layer, Quality
from negawatt.models.likeness import Likeness
from negawatt.models.source import MARKER, ModelSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PROBES = 512  # tokens by which blocks are judged
_SHORT = 32  # tokens of a text that an encoder is mostly asked about: a sentence or two
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Cut:
    """What is to stay.

    Args:
        ffn: Share of the inner channels of every feed-forward part. [1]
        blocks: How many blocks; all when None.
        importance: Name of the rule that chooses channels.
    """

    ffn: float = 1.0
    blocks: int | None = None
    importance: str = "wanda"

    def __post_init__(self) -> None:
        if not 0 < self.ffn <= 1:
            raise UsageError(
                f"{self.ffn:.4g} is no share of channels",
                fix="give what is to stay, between 0 and 100 %, for example --ffn 75%",
            )
        if self.ffn == 1 and self.blocks is None:
            raise UsageError(
                "nothing is to be taken out",
                fix="say what is to stay, for example --ffn 75% or --blocks 24",
            )


def share_of(given: str | float) -> float:
    """Read `75%` or `0.75`; raise `UsageError`.

    >>> share_of("75%"), share_of(0.5)
    (0.75, 0.5)
    """
    text = str(given).strip()
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise UsageError(
            f"--ffn {text!r} is no share", fix="write what is to stay as 75% or 0.75"
        ) from None
    return value / 100 if text.endswith("%") else value


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model."""

    blocks: int
    width: int  # inner channels of a feed-forward part
    parameters: int
    multiplications: int  # with weights of blocks, for a token that is read


@dataclass(frozen=True, slots=True)
class Healing:
    """What learning from the base took and brought."""

    how: str  # `weights` or `lora`
    steps: int
    tokens: int  # read, those read again counted again
    before: float  # distance to the base on text not learned from [nat or 1]
    after: float
    kept: bool  # whether its outcome is what was written
    seconds: float = 0.0  # by the wall [s]


@dataclass(frozen=True, slots=True)
class Pace:
    """One phase in one engine, raced in turns against the base at 16 bits."""

    engine: str
    phase: str  # `reading` or `writing`
    base: Estimate  # CPU time [s/token]
    pruned: Estimate  # [s/token]
    ratio: Estimate  # pruned over base, paired [1]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken out of a model, and what that changed."""

    model: str
    architecture: str
    cut: Cut
    gone: tuple[int, ...]  # blocks
    base: Shape
    shape: Shape
    raw: Quality | Likeness  # before healing, paired with the base
    quality: Quality | Likeness  # of what was written
    healing: Healing | None
    paces: tuple[Pace, ...]
    calibration_tokens: int
    seconds: float  # of pruning and healing, by the wall [s]
    cpu_seconds: Estimate  # of the same [s]
    energy: Estimate  # of the same [J]
    pays_back: float | None  # tokens read until the CPU time is saved again; None when never
    peak_bytes: int  # held by the job's processes at most [B]
    notes: tuple[str, ...]
    folder: str  # below the one asked for


@dataclass(frozen=True, slots=True)
class Taken:
    """What `prune` did."""

    source: ModelSource
    gone: tuple[int, ...]
    base: Shape
    shape: Shape


def shape_of(layers: tuple[Layer, ...], blocks: int, width: int, parameters: int) -> Shape:
    """The size of a model from its matrices.

    >>> shape_of((Layer("layers.0.up", "linear", 4, 8, 0), Layer("head", "head", 9, 8)), 1, 4, 0)
    Shape(blocks=1, width=4, parameters=0, multiplications=32)
    """
    inside = sum(one.rows * one.cols for one in layers if one.block is not None)
    return Shape(blocks, width, parameters, inside)


def prune(
    source: ModelSource,
    cut: Cut,
    windows: NDArray[np.int64],
    out: Path,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> Taken:
    """Take channels and blocks out of a prepared model and write what is left into `out`.

    Blocks go first; what the channels of the blocks that stay carry is seen without them.

    Args:
        source: Left as it is.
        cut: What stays.
        windows: Calibration text, int64 [windows, positions].
        out: Made when everything is done.
        on_layer: Told how many blocks of how many are done.

    Raises:
        UnsupportedArchitecture: the model has parts of no known form.
        BrokenWeights: weights or what flows through them are not finite.
        UsageError: that many blocks cannot stay.
    """
    import torch

    from negawatt.compress.pruning import named, surgery
    from negawatt.compress.pruning.answers import answering

    rule = named(cut.importance)
    model, layers = opened(source.folder), source.layers
    way = answering(model, source.folder)
    parts, total = surgery.feeds(model), len(surgery.blocks_of(model))
    probe = torch.from_numpy(windows[: max(1, _PROBES // windows.shape[1])])
    with torch.no_grad():
        wanted = way.said(model, probe)
    gone = surgery.dispensable(
        model,
        0 if cut.blocks is None else total - cut.blocks,
        lambda: float(way.apart(way.said(model, probe), wanted)),
    )
    if not way.keyed:
        windows = shorter(windows, _SHORT)
    base = shape_of(layers, total, parts[0].width, source.parameters)
    surgery.without(model, gone)
    parts = surgery.feeds(model)
    width = surgery.width_for(cut.ffn, parts[0].width)
    if width < parts[0].width:
        _narrowed(model, parts, rule, (width, windows), on_layer)
        surgery.told_width(model, width)
    made = write(source, model, out)
    shape = shape_of(made.layers, total - len(gone), width, made.parameters)
    return Taken(made, tuple(gone), base, shape)


def shorter(windows: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Windows cut into shorter ones, each between the marks of the long one.

    >>> import numpy as np
    >>> shorter(np.array([[1, 10, 11, 12, 13, 14, 2]]), 4).tolist()
    [[1, 10, 11, 2], [1, 12, 13, 2]]
    """
    import numpy as np

    if windows.shape[1] <= length:
        return windows
    body = length - 2
    count = (windows.shape[1] - 2) // body
    inner = windows[:, 1 : 1 + count * body].reshape(-1, body)
    first, last = (np.repeat(windows[:, at], count)[:, None] for at in (0, -1))
    return np.concatenate([first, inner, last], axis=1)


def _narrowed(
    model: Any,
    parts: list[Any],
    rule: Any,
    asked: tuple[int, NDArray[np.int64]],
    on_layer: Callable[[int, int], None],
) -> None:
    """Choose channels in every part from what the whole model sends there, and leave those."""
    from negawatt.compress.inputs import input_statistics
    from negawatt.compress.pruning import surgery
    from negawatt.compress.pruning.importances import refitted

    width, windows = asked
    places = {}
    for part in parts:
        rows, cols = model.get_submodule(part.reader).weight.shape
        places[part.reader] = Layer(part.reader, "linear", rows, cols, part.block)
    by_reader = {part.reader: part for part in parts}
    done = 0
    todo = list(places.values())
    for group, sums in input_statistics(model, todo, todo, windows):
        for layer in group:
            weight = model.get_submodule(layer.name).weight.detach().float()
            inputs = sums[layer.name]
            kept = rule.choose(weight, inputs, width)
            columns = refitted(weight, inputs, kept)
            surgery.narrow(model, by_reader[layer.name], kept, columns)
            done += 1
            on_layer(done, len(parts))


def opened(folder: Path) -> Any:
    """The prepared model in `folder`, decoder or encoder, in float32."""
    import torch

    from negawatt.models.encoder import load_encoder
    from negawatt.models.load import load_reference

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") in ENCODERS:
        return load_encoder(folder, config)
    return load_reference(folder, torch.float32)


def write(source: ModelSource, model: Any, out: Path) -> ModelSource:
    """The model as a folder of the same form as `source`, whole or not at all."""
    from negawatt.compress.transformed import decoder_written
    from negawatt.models.encoder import layers_of
    from negawatt.models.quiet import quiet

    changes = _changes(source.folder, model.config.to_dict())
    if model.config.model_type not in ENCODERS:
        return decoder_written(source, model, out, changes)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source.folder, partial, ignore=shutil.ignore_patterns(_WEIGHTS, MARKER))
    with quiet():
        model.save_pretrained(partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    parameters = sum(one.numel() for one in model.parameters())
    return replace(
        source,
        folder=out,
        layers=layers_of(model),
        parameters=parameters,
        bf16_bytes=2 * parameters,
    )


def _changes(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a configuration that are no longer what the folder says."""
    from negawatt.compress.pruning.surgery import SIZES

    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {key: config[key] for key in SIZES if key in config and told.get(key) != config[key]}
