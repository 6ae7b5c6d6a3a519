"""The nouns that travel between rooms: workloads, formats, layers, variants, decisions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.levels import TABLES

#: An array of numbers from any library that speaks the array interface.
#: `core` imports the standard library only, so the shape is stated in prose.
Array = Any

Phase = Literal["prefill", "decode"]
LayerKind = Literal["linear", "embedding", "head"]

#: Types of models (`model_type` of a configuration) that read a text as a whole and write none.
ENCODERS = frozenset({"bert", "distilbert", "mpnet", "roberta", "xlm-roberta"})

_NAMED_WORKLOADS = {"chat": (128, 128, 1), "batch": (512, 64, 8)}


@dataclass(frozen=True, slots=True)
class Workload:
    """What one request asks of the model, and how many run side by side.

    >>> Workload.parse("512:128:4")
    Workload(prompt=512, generate=128, batch=4)
    >>> Workload.parse("chat").tokens
    256
    """

    prompt: int  # tokens read per request
    generate: int  # tokens written per request
    batch: int = 1  # requests at once

    def __post_init__(self) -> None:
        if min(self.prompt, self.generate, self.batch) < 1:
            raise UsageError(
                f"a workload needs whole numbers of at least 1, got {self.spec}",
                fix="use chat, batch or PROMPT:GEN:BATCH, for example 512:128:1",
            )

    @classmethod
    def parse(cls, text: str) -> Workload:
        """Read `chat`, `batch` or `PROMPT:GEN:BATCH`; raise `UsageError`."""
        if text in _NAMED_WORKLOADS:
            return cls(*_NAMED_WORKLOADS[text])
        if re.fullmatch(r"\d+:\d+:\d+", text):
            prompt, generate, batch = (int(part) for part in text.split(":"))
            return cls(prompt, generate, batch)
        raise UsageError(
            f"workload {text!r} is not understood",
            fix="use chat, batch or PROMPT:GEN:BATCH, for example 512:128:1",
        )

    @property
    def tokens(self) -> int:
        """Tokens read and written by one request."""
        return self.prompt + self.generate

    @property
    def spec(self) -> str:
        """The `PROMPT:GEN:BATCH` spelling."""
        return f"{self.prompt}:{self.generate}:{self.batch}"


@dataclass(frozen=True, slots=True, order=True)
class Format:
    """How one weight matrix is stored and multiplied.

    A quantised matrix keeps integer codes and, for each run of `group`
    neighbours along a row, one 16-bit scale (and a zero point, as wide as a
    code, unless symmetric). `group` 0 means one scale for the whole row. `levels`
    names a table of `negawatt.core.levels` where codes are no counts but indices.
    Where scales are `nested`, so many neighbouring groups keep one number of 16 bits between
    them, and each a signed multiple of it: of 8 bits, of 6 where levels are named. Asymmetric
    groups then have no zero point but a minimum, kept in the same way; both multiples have 6 bits.

    >>> Format(4, 64, symmetric=False).name
    'int4-g64-asym'
    >>> Format(4, 32, levels="nl").name
    'nl4-g32'
    >>> Format(6, 16, nested=16).name, Format(6, 16, nested=16).bits_per_weight(2048)
    ('int6-g16x16-sym', 6.5625)
    >>> [Format.parse(name).bits_per_weight(2048) for name in ("int4-g32x8-asym", "nl4-g32x8")]
    [4.5, 4.25]
    >>> Format.parse("int4-g64-asym").bits_per_weight(576)
    4.3125
    >>> Format.parse("bf16").bits_per_weight(576)
    16.0
    """

    bits: int
    group: int = 0
    symmetric: bool = True
    levels: str = ""
    nested: int = 0

    def __post_init__(self) -> None:
        if self.nested and not self.group:
            raise UsageError(
                "scales are nested over groups", fix="give a group, for example int6-g16x16-sym"
            )
        if self.levels and not (
            self.symmetric and len(TABLES.get(self.levels, ())) == 2**self.bits
        ):
            raise UsageError(
                f"there are no {self.bits}-bit levels named {self.levels!r}",
                fix=f"use {', '.join(_uneven())}, for example nl4-g32",
            )

    @property
    def name(self) -> str:
        """`bf16`, `int<bits>-<span>-sym|asym`, or `<levels><bits>-<span>`.

        A span is `row`, `g<group>`, or `g<group>x<nested>`.
        """
        if self.bits == 16:
            return "bf16"
        span = f"g{self.group}" if self.group else "row"
        span += f"x{self.nested}" if self.nested else ""
        if self.levels:
            return f"{self.levels}{self.bits}-{span}"
        return f"int{self.bits}-{span}-{'sym' if self.symmetric else 'asym'}"

    @classmethod
    def parse(cls, name: str) -> Format:
        """Read back a `name`; raise `UsageError`."""
        if name == "bf16":
            return cls(16)
        match = re.fullmatch(r"([a-z]+)(\d+)-(?:g(\d+)(?:x(\d+))?|row)(?:-(a?)sym)?", name)
        even = match is not None and match[1] == "int"
        if match is None or even != (match[5] is not None) or not (even or match[1] in TABLES):
            raise UsageError(
                f"weight format {name!r} is not understood",
                fix="use bf16, int<bits>-g<group>-sym|asym, for example int4-g64-asym, or nl4-g32",
            )
        return cls(
            int(match[2]),
            int(match[3] or 0),
            symmetric=not match[5],
            levels="" if even else match[1],
            nested=int(match[4] or 0),
        )

    @property
    def has_minimum(self) -> bool:
        """True when groups keep what their code 0 stands for, and not which code stands for 0."""
        return self.nested > 0 and not self.symmetric

    @property
    def most_multiples(self) -> int:
        """How many times the number it is nested in a scale is at most."""
        return 63 if self.has_minimum else 31 if self.levels else 127

    @property
    def middle(self) -> int:
        """The zero point of every group where none is stored."""
        return 0 if self.levels else 1 << (self.bits - 1)

    def bits_per_weight(self, cols: float) -> float:
        """Storage per weight, scales and zero points counted, for rows of `cols`. [bit]"""
        if self.bits == 16:
            return 16.0
        if self.nested:
            numbers, multiples = (2, 12) if self.has_minimum else (1, 6 if self.levels else 8)
            return self.bits + (multiples + 16 * numbers / self.nested) / self.group
        per_group = 16 + (0 if self.symmetric else self.bits)
        return self.bits + per_group / (self.group or cols)

    def bytes(self, rows: int, cols: int) -> float:
        """Storage of a whole matrix. [B]"""
        return rows * cols * self.bits_per_weight(cols) / 8

    def fits(self, cols: int) -> bool:
        """True when rows of `cols` split into whole groups, or whole sets of nested ones."""
        return self.group == 0 or cols % (self.group * (self.nested or 1)) == 0

    def __str__(self) -> str:
        return self.name


def _uneven() -> list[str]:
    """Names of formats with named levels, without their groups."""
    return [f"{name}{len(table).bit_length() - 1}" for name, table in TABLES.items()]


@dataclass(frozen=True, slots=True)
class Layer:
    """One weight matrix of a model: `rows` outputs, `cols` inputs.

    `name` is the parameter path without its final `.weight`. An embedding is
    read one row a token; a head and a linear layer are multiplied in full.
    `tied_to` names the layer whose weights this one shares in the source. `share` is
    that of the tokens which go through it: experts are sent but some. [1]
    """

    name: str
    kind: LayerKind
    rows: int
    cols: int
    block: int | None = None
    tied_to: str | None = None
    share: float = 1.0

    @property
    def weights(self) -> int:
        """Number of values."""
        return self.rows * self.cols


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedWeight:
    """Integer codes of one matrix with the scales that turn them back.

    `weight[r, c] = (level[r, c] - zero[r, g]) * scale[r, g]`, `g = c // group`, where a level
    is the code itself, or its entry in the table that the format names. Where the format has a
    minimum, `weight[r, c] = level[r, c] * scale[r, g] - zero[r, g]`.

    Args:
        format: Bits, group, symmetry and levels.
        codes: uint8, [rows, cols], values 0 .. 2**bits - 1.
        scale: float16, [rows, groups]; where nested, multiples of one power of two, 127 times
            at most, or 63 times beside a minimum.
        zero: uint8, [rows, groups]; the constant `format.middle` when symmetric. Where the
            format has a minimum, that with its sign turned: float16, nested like the scales.
    """

    format: Format
    codes: Array
    scale: Array
    zero: Array


@dataclass(frozen=True, slots=True)
class InputGrid:
    """The 256 levels that what enters a layer is rounded to, the same for every text.

    `code = clip(round(input / factor / scale) + zero, 0, 255)`, and the weights that meet the
    codes were multiplied by `factor`, column by column, before they were rounded.

    >>> grid = InputGrid(low=-1.0, high=3.0)
    >>> round(grid.scale, 5), grid.zero
    (0.01569, 64)

    Args:
        low: Least value that is kept; smaller ones become it. At most 0.
        high: Largest. Above `low`.
        factor: What channels are divided by first, [cols]; nothing when empty.
    """

    low: float
    high: float
    factor: tuple[float, ...] = ()

    @property
    def scale(self) -> float:
        """Distance of two levels."""
        return (self.high - self.low) / 255

    @property
    def zero(self) -> int:
        """The code of 0."""
        return round(-self.low / self.scale)


#: Layer name -> format. A layer that is absent stays as it was in the source.
Plan = Mapping[str, Format]


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a variant models held-out text, against its base.

    `loss` is the relative perplexity change, paired token by token with the
    base, so its interval is much narrower than that of either perplexity.
    """

    perplexity: Estimate  # [1]
    loss: Estimate  # perplexity / base perplexity - 1 [1]
    kl: Estimate  # mean KL(base || variant) [nat/token]
    top1: Estimate  # share of tokens with the same arg-max as the base [1]
    cloze: Estimate  # share of cloze items answered rightly [1]
    tokens: int  # scored tokens
    text: str  # which text


@dataclass(frozen=True, slots=True)
class Cost:
    """What running a variant took. CPU time is measured; joules say their own kind."""

    prefill_cpu: Estimate  # [s/token]
    decode_cpu: Estimate  # [s/token]
    prefill_energy: Estimate  # [J/token]
    decode_energy: Estimate  # [J/token]
    prefill_latency: Estimate  # wall time to the first token [s]
    decode_latency: Estimate  # wall time per token [s]
    memory_bytes: int  # weights held by the runtime [B]
    threads: int
    runtime: str  # name and version


@dataclass(frozen=True, slots=True)
class Variant:
    """A runnable form of a model, with what was measured on it."""

    name: str
    plan: Plan
    quality: Quality | None = None
    cost: Cost | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice with its reason and what it was chosen from."""

    choice: str
    because: str
    alternatives: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
