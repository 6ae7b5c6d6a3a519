"""What every key-value cache loses, takes and holds, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.core.estimate import Estimate
    from negawatt.core.records import Decision
    from negawatt.decisions.cache import CacheReading


class _Comparison(Protocol):
    """Of one engine."""

    @property
    def runtime(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def tokens(self) -> int: ...

    @property
    def readings(self) -> Sequence[CacheReading]: ...

    @property
    def decision(self) -> Decision: ...


class _Caches(Protocol):
    """Of all engines."""

    @property
    def comparisons(self) -> Sequence[_Comparison]: ...

    @property
    def refused(self) -> Mapping[str, str]: ...

    @property
    def text(self) -> str: ...


def show(found: _Caches, console: Console) -> None:
    """The comparison for people.

    Args:
        found: Of `negawatt cache`.
        console: Where to.
    """
    console = fitting(console)
    for one in found.comparisons:
        threads = f"{one.threads} thread{'s' * (one.threads > 1)}"
        put(title(f"{one.runtime}, weights in {one.format}, {threads}"), console)
        put(_table(one.readings, console), console)
        put(Text(f"- {one.decision.choice}: {one.decision.because}"), console)
    put(
        Text(
            f"Loss and KL are beside 16 bits, written token by token ({found.text}); CPU times are "
            "measured in turns; bytes are worked out from the engine's layout."
        ),
        console,
    )
    for name, why in found.refused.items():
        put(Text(f"- {name} was left out: {why}"), console)


def _table(readings: Sequence[CacheReading], console: Console) -> Table:
    table = ruled(console)
    table.add_column("cache bits", no_wrap=True)
    for head in ("perplexity", "KL nat/token", "bytes/token"):
        table.add_column(head, justify="right")
    for cost in readings[0].costs:
        table.add_column(f"write ms/token behind {cost.context}", justify="right")
        table.add_column("times its own", justify="right")
    for one in readings:
        cells = [_share(one.loss), plain(one.kl.value, 2), f"{one.token_bytes:,.0f}"]
        for cost in one.costs:
            ratio = cost.beside_own
            cells += [
                plain(cost.cpu.value * 1e3),
                f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            ]
        table.add_row(f"{one.cache}{' (its own)' * one.own}", *cells)
    return table


def _share(loss: Estimate) -> str:
    return f"{loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%})"
