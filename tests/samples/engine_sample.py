"""An engine whose products take the time they are told to, on a clock that only they move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, Layer

#: CPU time of one product by rows, columns, format and rows of the activation. [s]
Price = Callable[[int, int, Format, int], float]

BF16, INT8, INT4 = Format(16), Format(8), Format(4, 64, symmetric=False)


class HandClock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.cpu_s

    def cpu(self) -> float:
        return self.cpu_s

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class PricedKernel:
    """Moves the clock by the price of every copy."""

    clock: HandClock
    price: Callable[[int], float]
    copies: int

    def run(self, rows_in: int) -> None:
        self.clock.cpu_s += self.price(rows_in) * self.copies


@dataclass
class PricedRuntime:
    """An engine for cost tables alone: nothing can be converted or opened."""

    price: Price
    clock: HandClock = field(default_factory=HandClock)
    formats: Sequence[Format] = (BF16, INT8, INT4)
    joins: bool = True
    caches: dict[Any, Any] = field(default_factory=dict)  # no choice
    name: str = "priced"
    version: str = "1.0"
    built: list[tuple[int, int, Format, int, RunOptions]] = field(default_factory=list)

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        self.built.append((rows, cols, fmt, copies, options))
        return PricedKernel(self.clock, lambda tokens: self.price(rows, cols, fmt, tokens), copies)

    def convert(self, model: Path, out: Path) -> None:
        raise NotImplementedError

    def compress(
        self, converted: Path, weights: Any, out: Path, *, joint: Sequence[Sequence[str]] = ()
    ) -> None:
        raise NotImplementedError

    def open(self, artifact: Path, options: RunOptions) -> Session:
        raise NotImplementedError


def lawful(rows: int, cols: int, fmt: Format, tokens: int) -> float:
    """A price that the fitted law can tell without error. [s]"""
    stored = fmt.bytes(rows, cols) + 2 * tokens * (rows + cols)
    return 1e-11 * 2 * tokens * rows * cols + 2e-10 * stored + 3e-6


def decoder(
    *, width: int = 128, ffn: int = 384, keys: int = 64, blocks: int = 2, words: int = 1024
) -> tuple[Layer, ...]:
    """The weight matrices of a decoder with a tied head."""
    parts = (
        ("self_attn.q_proj", width, width), ("self_attn.k_proj", keys, width),
        ("self_attn.v_proj", keys, width), ("self_attn.o_proj", width, width),
        ("mlp.gate_proj", ffn, width), ("mlp.up_proj", ffn, width), ("mlp.down_proj", width, ffn),
    )  # fmt: skip
    inside = [
        Layer(f"model.layers.{b}.{name}", "linear", rows, cols, b)
        for b in range(blocks)
        for name, rows, cols in parts
    ]
    embedding = Layer("model.embed_tokens", "embedding", words, width)
    head = Layer("lm_head", "head", words, width, tied_to=embedding.name)
    return (embedding, *inside, head)
