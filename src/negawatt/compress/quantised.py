"""One method over a whole model: how to round, and what came of it; plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from negawatt.compress.mixed import Mix
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.records import Format, Layer, Quality
from negawatt.models.likeness import Likeness

WIDE, HAVEN = Format(16), Format(8)
_LEAST = 16  # weights that share a scale

#: How products read what enters them: as floats, as codes of 8 bits, or as found by a search.
Activations = Literal["float", "int8", "mixed"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to round.

    Args:
        format: Of the linear layers.
        method: Name of a quantiser.
        transforms: Names of transforms that go before, in order.
        head: Format of head and embedding.
        activations: What enters the linear layers inside the blocks.
        max_distance: Of the answers to the original's, where a search chooses what to round.
    """

    format: Format
    method: str
    transforms: tuple[str, ...] = ()
    head: Format = HAVEN
    activations: Activations = "float"
    max_distance: float | None = None

    def __post_init__(self) -> None:
        if (self.activations == "mixed") != (self.max_distance is not None):
            raise UsageError(
                "mixed activations and a largest distance belong together",
                fix="give both, for example --activations mixed --max-distance 0.002",
            )
        if self.max_distance is not None and not self.max_distance > 0:
            raise UsageError(
                f"a distance of {self.max_distance} leaves nothing to choose",
                fix="give a small number above 0, for example --max-distance 0.002",
            )
        for fmt in (self.format, self.head):
            if fmt.bits != WIDE.bits and not 2 <= fmt.bits <= 8:
                raise UsageError(
                    f"{fmt} has {fmt.bits} bits a weight",
                    fix="choose 2 to 8 bits, for example int4-g32-sym, or bf16 for the head",
                )
        if self.format == WIDE:
            raise UsageError(
                "bf16 leaves the linear layers as they are",
                fix="choose a format of 2 to 8 bits, for example int4-g32-sym",
            )


@dataclass(frozen=True, slots=True)
class Operations:
    """What reading one text takes, whatever the engine."""

    tokens: int  # of the text
    multiplications: int  # of all products, attention included
    narrow: float  # share of them with weights of 8 bits or fewer [1]
    integer: float  # share of them that multiply codes with codes [1]
    float32_bytes: int  # of the original's weights [B]


@dataclass(frozen=True, slots=True)
class Speed:
    """Reading with an engine, raced in turns against the same engine with the weights as they were.

    An engine that multiplies no 16-bit numbers has one form of them, and both times are of it.
    """

    engine: str
    tokens: int  # of the text
    wide: Estimate  # CPU time with 16-bit weights, in the number format the engine likes [s/text]
    float32: Estimate  # of the same weights, computed in float32 [s/text]
    narrow: Estimate  # of the artifact [s/text]
    ratio: Estimate  # narrow over wide, paired [1]
    float32_ratio: Estimate  # narrow over float32, paired [1]


@dataclass(frozen=True, slots=True)
class Quantised:
    """What one method made of a model."""

    model: str
    architecture: str
    recipe: Recipe
    formats: Mapping[str, str]  # layer -> name of the format it got
    bits_per_weight: float  # scales, zero points and what stays at 16 bits counted [bit]
    size_bytes: float  # packed, shared matrices once [B]
    base_bytes: int  # at 16 bits [B]
    quality: Quality | Likeness  # of a decoder or an encoder, paired with the base
    calibration_tokens: int
    seconds: float  # of transforming and rounding, by the wall [s]
    cpu_seconds: Estimate  # of the same [s]
    energy: Estimate  # of the same [J]
    peak_bytes: int  # held by the job's processes at most [B]
    notes: tuple[str, ...]
    artifacts: Mapping[str, str]  # kind -> folder below the one asked for
    operations: Operations | None = None  # of reading one text, beside float32
    speeds: tuple[Speed, ...] = ()  # of engines that got an artifact
    stated_bytes: int | None = None  # said beforehand: what the model adds to libraries [B]
    added_bytes: int | None = None  # measured: what it did add, until it was graded [B]
    served: Mapping[str, Likeness] = field(default_factory=dict)  # engine -> what its artifact says
    mix: Mix | None = None  # the search for inputs to round, where there was one


def fitted(fmt: Format, cols: int) -> Format:
    """`fmt` where its groups divide rows of `cols`, else the same with groups halved until they do.

    Groups of fewer than 16 would cost more than they save; 8 bits a row come in their place.

    >>> fitted(Format(4, 128), 576).name, fitted(Format(4, 128), 640).name
    ('int4-g64-sym', 'int4-g128-sym')
    >>> fitted(Format(4, 128), 172).name
    'int8-row-sym'
    """
    group = fmt.group
    while group >= _LEAST and not replace(fmt, group=group).fits(cols):
        group //= 2
    if fmt.group and group < _LEAST:
        return HAVEN
    return replace(fmt, group=group)


def plan_of(
    recipe: Recipe, layers: tuple[Layer, ...], executed: Sequence[Sequence[Format]] = ()
) -> dict[str, Format]:
    """The format of every layer.

    Args:
        recipe: What was asked for.
        layers: Of the model.
        executed: Formats of each engine that is to run it. What takes the place of a format that
            does not fit is one that all of them execute: the same in smaller groups, 8 bits, or
            16 at last.

    >>> layers = (Layer("narrow", "linear", 8, 96), Layer("wide", "linear", 8, 512))
    >>> engine = [Format(16), Format(8, 32), Format(6, 16, nested=16)]
    >>> recipe = Recipe(Format(6, 16, nested=16), "rtn")
    >>> [fmt.name for fmt in plan_of(recipe, layers, [engine]).values()]
    ['int8-g32-sym', 'int6-g16x16-sym']
    """
    plan = {}
    for layer in layers:
        asked = recipe.format if layer.kind == "linear" else recipe.head
        plan[layer.name] = asked if asked == WIDE else _stand_in(asked, layer.cols, executed)
    return plan


def _stand_in(asked: Format, cols: int, executed: Sequence[Sequence[Format]]) -> Format:
    """`asked` where it fits, else the nearest that does and that all engines execute."""
    found = fitted(asked, cols)
    if found == asked:
        return asked
    eight = [fmt for fmt in (executed[0] if executed else ()) if fmt.bits == HAVEN.bits]
    for one in (found, *eight):
        if one.fits(cols) and all(one in formats for formats in executed):
            return one
    return WIDE
