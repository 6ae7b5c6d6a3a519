"""What one method made of a model, on the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.actions.quantise.records import Quantised


def show(found: Quantised, console: Console) -> None:
    """The result for people.

    Args:
        found: Of `negawatt quantise`.
        console: Where to.
    """
    console = fitting(console)
    recipe, quality = found.recipe, found.quality
    before = "".join(f"{name}, then " for name in recipe.transforms)
    put(title(f"{found.model}: {before}{recipe.method}"), console)
    table = ruled(console)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    formats = Counter(found.formats.values())
    loss, kl, same = quality.loss, quality.kl, quality.top1
    rows = {
        "formats": ", ".join(f"{name} ({count})" for name, count in formats.most_common()),
        "bits per weight, all counted": plain(found.bits_per_weight),
        "size": f"{plain(found.size_bytes / 1e6)} MB, of {plain(found.base_bytes / 1e6)} MB",
        "perplexity": f"{loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%})",
        "KL to the 16-bit model": f"{plain(kl.value)} ({plain(kl.low)} to {plain(kl.high)}) nat/token",
        "same first choice": f"{same.value:.1%}",
        "time of the method": f"{plain(found.seconds)} s, {plain(found.cpu_seconds.value)} CPU-s",
        "energy of the method": f"{plain(found.energy.value)} J ({found.energy.kind.value}, "
        f"{plain(found.energy.low)} to {plain(found.energy.high)})",
        "memory held at most": f"{plain(found.peak_bytes / 1e6)} MB",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    put(table, console)
    put(
        Text(
            f"Measured on {quality.tokens:,} tokens of {quality.text}; "
            f"{found.calibration_tokens:,} tokens for calibration."
        ),
        console,
    )
    for note in found.notes:
        put(Text(f"- {note}"), console)
    for kind, folder in found.artifacts.items():
        put(Text(f"- {kind}: {folder}"), console)
