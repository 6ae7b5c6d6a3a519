"""What every engine took, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.decisions.engine import fronts
from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from negawatt.core.records import Decision, Workload
    from negawatt.decisions.engine import Run


def show(
    runs: Sequence[Run],
    refused: Mapping[str, str],
    decision: Decision,
    workload: Workload,
    console: Console,
) -> None:
    """The comparison for people.

    Args:
        runs: Everything that was run.
        refused: Engine to the reason why it was not.
        decision: The choice among runs of 8-bit weights.
        workload: What it was chosen for.
        console: Where to.
    """
    console = fitting(console)
    put(title("What each engine takes"), console)
    put(_table(runs, workload, console), console)
    put(Text("CPU times are measured in turns; KL is that of weights rounded to nearest."), console)
    put(title("Which one"), console)
    put(Text(f"- {decision.choice}: {decision.because}"), console)
    for name, why in refused.items():
        put(Text(f"- {name} was left out: {why}"), console)
    put(title("Where that changes, by prompt tokens for each written one"), console)
    for formats in _alike(runs):
        steps = fronts(formats)
        for (run, start), end in zip(steps, [*(s for _, s in steps[1:]), None], strict=True):
            until = f"to {plain(end)}" if end is not None else "upwards"
            put(Text(f"- from {plain(start)} {until}: {run.name}"), console)


def _alike(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one width of weights each, widest first."""
    widths = sorted({_bits(run) for run in runs}, reverse=True)
    return [[run for run in runs if _bits(run) == bits] for bits in widths]


def _bits(run: Run) -> str:
    return run.format.split("-", 1)[0]


def _table(runs: Sequence[Run], workload: Workload, console: Console) -> Table:
    table = ruled(console)
    for head in ("engine", "weights"):
        table.add_column(head, no_wrap=True)
    for head in (
        "threads",
        "read ms/token",
        "write ms/token",
        f"{workload.prompt} + {workload.generate} s",
        "KL nat/token",
        "weights MB",
    ):
        table.add_column(head, justify="right")
    for run in sorted(runs, key=lambda run: run.cpu_s(workload)):
        table.add_row(
            run.runtime,
            run.format,
            str(run.threads),
            plain(run.prefill_cpu.value * 1e3),
            plain(run.decode_cpu.value * 1e3),
            plain(run.cpu_s(workload)),
            plain(run.kl, 2),
            plain(run.size_bytes / 1e6),
        )
    return table
