"""What was taken out of a model and what that changed, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.models.likeness import Likeness
from negawatt.models.per_byte import PerByte
from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.compress.pruned import Pruned
    from negawatt.core.estimate import Estimate
    from negawatt.core.records import Quality


def show(found: Pruned, console: Console) -> None:
    """The result for people.

    Args:
        found: Of `negawatt prune`.
        console: Where to.
    """
    console = fitting(console)
    put(title(f"{found.model}: pruned by {found.cut.importance}"), console)
    table = ruled(console)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    base, shape = found.base, found.shape
    rows = {
        "blocks": f"{shape.blocks} of {base.blocks}",
        "inner channels": f"{shape.width:,} of {base.width:,}",
        "parameters": f"{plain(shape.parameters / 1e6)} M of {plain(base.parameters / 1e6)} M",
        "multiplications of a token read": f"{shape.multiplications / base.multiplications:.1%}",
    }
    if shape.heads < base.heads:
        rows["attention heads"] = f"{shape.heads} of {base.heads}"
    if shape.vocabulary < base.vocabulary:
        rows["tokens of the vocabulary"] = f"{shape.vocabulary:,} of {base.vocabulary:,}"
    if base.head:
        before, after = (one.multiplications + one.head for one in (base, shape))
        rows["multiplications of a token written"] = f"{after / before:.1%}"
    healing = found.healing
    if found.raw != found.quality:
        rows |= _lost(found.raw, ", before trimming" if healing is None else ", before healing")
    rows |= _lost(found.quality, "" if healing is None else ", healed")
    if healing is not None:
        rows["healing"] = (
            f"{healing.how}, {healing.steps:,} steps, {healing.tokens:,} tokens, "
            f"{plain(healing.seconds)} s, {plain(healing.joules)} J with the machine at rest in it"
            + (f", hidden states weighing {healing.states:g}" if healing.states else "")
        )
    for pace in found.paces:
        rows[f"CPU time of {pace.phase} in {pace.engine.split()[0]}"] = (
            f"{_range(pace.ratio)} of the base"
        )
    rows["time of it all"] = f"{plain(found.seconds)} s, {plain(found.cpu_seconds.value)} CPU-s"
    rows["energy of it all"] = (
        f"{plain(found.energy.value)} J ({found.energy.kind.value}, "
        f"{plain(found.energy.low)} to {plain(found.energy.high)})"
    )
    rows[f"paid back after {found.pays_back_by}"] = (
        "never" if found.pays_back is None else f"{found.pays_back:,.0f} tokens"
    )
    rows["memory held at most"] = f"{plain(found.peak_bytes / 1e6)} MB"
    for name, value in rows.items():
        table.add_row(name, value)
    put(table, console)
    if found.gone:
        put(Text(f"Blocks that went: {', '.join(map(str, found.gone))}."), console)
    text = f"Measured on {found.quality.tokens:,} tokens: {found.quality.text}"
    put(Text(f"{text}; {found.calibration_tokens:,} tokens for calibration."), console)
    for note in found.notes:
        put(Text(f"- {note}"), console)
    put(Text(f"- the model: {found.folder}"), console)


def _lost(quality: Quality | Likeness | PerByte, when: str) -> dict[str, str]:
    """What was lost at some point."""
    if isinstance(quality, PerByte):
        change, loss = quality.change, quality.loss
        return {
            f"bits for a byte of text{when}": (
                f"{quality.value:.4f}, was {quality.base:.4f} "
                f"({change.value:+.2%}, {change.low:+.2%} to {change.high:+.2%})"
            ),
            f"as perplexity for a token of the base{when}": (
                f"{loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%})"
            ),
            "tokens for the same text": f"{quality.longer:+.2%}",
        }
    if not isinstance(quality, Likeness):
        loss = quality.loss
        return {
            f"perplexity{when}": f"{loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%})",
            f"KL to the base{when}": f"{_range(quality.kl)} nat/token",
        }
    rows = {f"{quality.measure} to the base{when}": _range(quality.distance)}
    if quality.task is not None:
        task, change = quality.task, quality.task.change
        rows[f"{task.name}{when}"] = (
            f"{task.value:.4f}, was {task.base:.4f} "
            f"({change.value:+.4f}, {change.low:+.4f} to {change.high:+.4f})"
        )
    return rows


def _range(one: Estimate) -> str:
    return f"{plain(one.value)} ({plain(one.low)} to {plain(one.high)})"
