"""A model with fewer channels, heads, blocks and tokens: how to prune, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.core.errors import UnsupportedArchitecture, UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.records import Layer, Quality
from negawatt.models.likeness import Likeness
from negawatt.models.per_byte import PerByte
from negawatt.models.source import ModelSource


@dataclass(frozen=True, slots=True)
class Cut:
    """What is to stay.

    Args:
        ffn: Share of the inner channels of every feed-forward part. [1]
        blocks: How many blocks; all when None.
        importance: Name of the rule that chooses channels and heads.
        heads: Share of the attention heads of every block. [1]
        vocabulary: A text file whose tokens stay, or how many tokens; all when None.
    """

    ffn: float = 1.0
    blocks: int | None = None
    importance: str = "wanda"
    heads: float = 1.0
    vocabulary: str | None = None

    def __post_init__(self) -> None:
        for value, what, flag in (
            (self.ffn, "channels", "--ffn 75%"),
            (self.heads, "heads", "--heads 67%"),
        ):
            if not 0 < value <= 1:
                raise UsageError(
                    f"{value:.4g} is no share of {what}",
                    fix=f"give what is to stay, between 0 and 100 %, for example {flag}",
                )
        if not self.weights and self.vocabulary is None:
            raise UsageError(
                "nothing is to be taken out",
                fix="say what is to stay, for example --ffn 75%, --heads 67%, --blocks 24 "
                "or --vocabulary my-corpus.txt",
            )

    @property
    def weights(self) -> bool:
        """Whether anything but the vocabulary is cut.

        >>> Cut(vocabulary="8000").weights, Cut(ffn=0.5).weights
        (False, True)
        """
        return self.ffn < 1 or self.heads < 1 or self.blocks is not None


def no_heads(name: str) -> UnsupportedArchitecture:
    """Why a model whose library works out the size of a head cannot have fewer."""
    return UnsupportedArchitecture(
        f"{name} has no head size of its own: it is the hidden size over the number of heads, "
        "so fewer heads would be wider ones",
        fix="leave --heads out, and take channels with --ffn or blocks with --blocks",
    )


def no_vocabulary(name: str) -> UnsupportedArchitecture:
    """Why the tokens of a model that multiplies by no head stay."""
    return UnsupportedArchitecture(
        f"{name} looks its tokens up and multiplies nothing by them: fewer save it no energy",
        fix="leave --vocabulary out, and take channels with --ffn or blocks with --blocks",
    )


def share_of(given: str | float, flag: str = "--ffn") -> float:
    """Read `75%` or `0.75`; raise `UsageError`.

    >>> share_of("75%"), share_of(0.5)
    (0.75, 0.5)
    """
    text = str(given).strip()
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise UsageError(
            f"{flag} {text!r} is no share", fix="write what is to stay as 75% or 0.75"
        ) from None
    return value / 100 if text.endswith("%") else value


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model."""

    blocks: int
    width: int  # inner channels of a feed-forward part
    parameters: int
    multiplications: int  # with weights of blocks, for a token that is read
    heads: int = 0  # that ask; 0 where it is not known
    vocabulary: int = 0  # tokens
    head: int = 0  # multiplications of the language model head, for a token that is written


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
    joules: float = 0.0  # of learning, at rest included; a counter's, or modelled [J]
    states: float = 0.0  # weight of hidden states beside answers


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
    raw: Quality | Likeness | PerByte  # before healing, paired with the base
    quality: Quality | Likeness | PerByte  # of what was written
    healing: Healing | None
    paces: tuple[Pace, ...]
    calibration_tokens: int
    seconds: float  # of pruning and healing, by the wall [s]
    cpu_seconds: Estimate  # of the same [s]
    energy: Estimate  # of the same [J]
    pays_back: float | None  # tokens until the CPU time is saved again; None when never
    peak_bytes: int  # held by the job's processes at most [B]
    notes: tuple[str, ...]
    folder: str  # below the one asked for
    pays_back_by: str = "reading"  # the phase those tokens go through


@dataclass(frozen=True, slots=True)
class Taken:
    """What `prune` did."""

    source: ModelSource
    gone: tuple[int, ...]
    base: Shape
    shape: Shape


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What `trim` did to a vocabulary."""

    source: ModelSource
    shape: Shape
    told: str  # how the corpus is encoded now, one sentence


def shape_of(
    layers: tuple[Layer, ...], blocks: int, width: int, parameters: int, heads: int = 0
) -> Shape:
    """The size of a model from its matrices.

    >>> shape_of((Layer("layers.0.up", "linear", 4, 8, 0), Layer("head", "head", 9, 8)), 1, 4, 0)
    Shape(blocks=1, width=4, parameters=0, multiplications=32, heads=0, vocabulary=0, head=72)
    """
    inside = sum(one.rows * one.cols for one in layers if one.block is not None)
    head = sum(one.rows * one.cols for one in layers if one.kind == "head")
    rows = next((one.rows for one in layers if one.kind == "embedding"), 0)
    return Shape(blocks, width, parameters, inside, heads, rows, head)
