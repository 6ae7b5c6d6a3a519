"""What one method made of a model, on the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.models.likeness import Likeness
from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.compress.mixed import Mix
    from negawatt.compress.quantised import Quantised
    from negawatt.core.estimate import Estimate


def show(found: Quantised, console: Console) -> None:
    """The result for people.

    Args:
        found: Of `negawatt quantise`.
        console: Where to.
    """
    console = fitting(console)
    recipe = found.recipe
    before = "".join(f"{name}, then " for name in recipe.transforms)
    put(title(f"{found.model}: {before}{recipe.method}"), console)
    table = ruled(console)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    formats = Counter(found.formats.values())
    rows = {
        "formats": ", ".join(f"{name} ({count})" for name, count in formats.most_common()),
        "bits per weight, all counted": plain(found.bits_per_weight),
        "size": f"{plain(found.size_bytes / 1e6)} MB, of {plain(found.base_bytes / 1e6)} MB",
        **_lost(found),
        "time of the method": f"{plain(found.seconds)} s, {plain(found.cpu_seconds.value)} CPU-s",
        "energy of the method": f"{plain(found.energy.value)} J ({found.energy.kind.value}, "
        f"{plain(found.energy.low)} to {plain(found.energy.high)})",
        "memory held at most": f"{plain(found.peak_bytes / 1e6)} MB",
    }
    if found.stated_bytes is not None and found.added_bytes is not None:
        rows["of which the model, until graded"] = (
            f"{plain(found.added_bytes / 1e6)} MB, {plain(found.stated_bytes / 1e6)} MB were stated"
        )
    for name, value in rows.items():
        table.add_row(name, value)
    put(table, console)
    put(
        Text(
            f"Measured on {found.quality.tokens:,} tokens: {found.quality.text}; "
            f"{found.calibration_tokens:,} tokens for calibration."
        ),
        console,
    )
    if found.mix is not None:
        _mixed(found.mix, console)
    for note in found.notes:
        put(Text(f"- {note}"), console)
    for kind, folder in found.artifacts.items():
        put(Text(f"- {kind}: {folder}"), console)


def _mixed(mix: Mix, console: Console) -> None:
    """What was tried, what was chosen, and why what it leaves floats stays so."""
    table = ruled(console)
    table.add_column(f"inputs of 8 bits, timed in {mix.engine.split()[0]}", no_wrap=True)
    for name in (mix.measure, "CPU time", "J a text"):
        table.add_column(name, justify="right")
    for one in mix.trials:
        cells = [f"{one.name} <-" if one.name == mix.choice else one.name, _range(one.distance)]
        cells += [_range(told) if told else "" for told in (one.ratio, one.energy)]
        table.add_row(*cells)
    put(table, console)
    put(Text(f"Chosen: {mix.choice}: {mix.because}."), console)
    for choice in mix.inlets:
        if not choice.rounded:
            put(Text(f"- {choice.inlet.name} stays a float: {choice.because}"), console)


def _lost(found: Quantised) -> dict[str, str]:
    """What was lost, and for an encoder what it takes now."""
    quality = found.quality
    if not isinstance(quality, Likeness):
        loss, kl = quality.loss, quality.kl
        return {
            "perplexity": f"{loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%})",
            "KL to the 16-bit model": f"{_range(kl)} nat/token",
            "same first choice": f"{quality.top1.value:.1%}",
        }
    rows = _said(quality)
    for name, own in found.served.items():
        rows |= {f"{label}, as {name} serves it": told for label, told in _said(own).items()}
    if found.operations is not None:
        work = found.operations
        rows["size beside float32"] = f"1 / {work.float32_bytes / found.size_bytes:.2f}"
        rows[f"multiplications, {work.tokens} tokens"] = (
            f"{work.multiplications / 1e9:.3f} G, {work.narrow:.1%} by narrow weights, "
            f"{work.integer:.1%} of 8 bits by 8 bits"
        )
    for speed in found.speeds:
        rows[f"CPU time of a text of {speed.tokens} in {speed.engine.split()[0]}"] = (
            f"{speed.narrow.value * 1e3:.2f} ms, {_range(speed.ratio)} of 16 bits, "
            f"{_range(speed.float32_ratio)} of float32"
        )
    return rows


def _said(quality: Likeness) -> dict[str, str]:
    """How like the original a model's answers are."""
    rows = {
        f"{quality.measure} to the original": _range(quality.distance),
        "same answer": f"{quality.same.value:.1%}",
    }
    if quality.task is not None:
        task, change = quality.task, quality.task.change
        rows[task.name] = (
            f"{task.value:.4f}, was {task.base:.4f} "
            f"({change.value:+.4f}, {change.low:+.4f} to {change.high:+.4f})"
        )
    return rows


def _range(one: Estimate) -> str:
    return f"{plain(one.value)} ({plain(one.low)} to {plain(one.high)})"
