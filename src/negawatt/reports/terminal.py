"""An outcome on a terminal: the front, the reason, what is certain, what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from negawatt.core.outcome import Outcome
from negawatt.reports import verdict, view
from negawatt.reports.figures import UNKNOWN, Figure, Sources, amount, duration, plain
from negawatt.reports.screen import Glyphs, fitting, glyphs_of, put, ruled, stacked, title

#: Below this width the front is told variant by variant instead of as a table.
NARROW = 100


def show(outcome: Outcome, console: Console) -> None:
    """Print an outcome; in colour and rules on a terminal, plain in a pipe or a file."""
    console = fitting(console)
    glyphs = glyphs_of(console)
    sources = Sources()
    rows = view.rows(outcome, sources)
    blocks: list[RenderableType] = [
        Text(f"{outcome.facts.model} ({outcome.facts.architecture})", style="bold"),
        Text(verdict.headline(outcome), style="green"),
        title("The front"),
        *_front(rows, glyphs, console),
        _legend(glyphs),
        title(f"Why {outcome.decision.choice}"),
        Text(outcome.decision.because),
        *_certainties(outcome, glyphs),
        title("Checks"),
        *(
            _check(check.name, check.detail, glyphs, passed=check.passed)
            for check in outcome.checks
        ),
        *_notes(outcome),
        title("The job"),
        Text(_job(outcome)),
        title("What came out"),
        *(Text(f"{name}: {place}") for name, place in outcome.artifacts.items()),
        _sample(outcome),
        title("Where the figures come from"),
        *(
            Text(
                f"{glyphs.kind(one.kind)} {one.kind}: {one.source}"
                f"{f' [{one.boundary}]' if one.boundary else ''}: {', '.join(one.used_for)}",
                style="dim",
            )
            for one in sources.listed()
        ),
    ]
    put(Group(*(Padding(block, (0, 1)) for block in blocks)), console)


class _Column(NamedTuple):
    head: str
    under: str
    cell: Callable[[view.Row, Glyphs], tuple[str, str]]


def _over(
    pick: Callable[[view.Row], Figure | None],
) -> Callable[[view.Row, Glyphs], tuple[str, str]]:
    """A figure over its interval."""

    def cell(row: view.Row, glyphs: Glyphs) -> tuple[str, str]:
        figure = pick(row)
        if figure is None:
            return UNKNOWN, ""
        return f"{figure.text}{glyphs.kind(figure.kind)}", figure.interval.replace(" to ", "…")

    return cell


def _predicted(row: view.Row, glyphs: Glyphs) -> tuple[str, str]:
    sign = glyphs.kind(row.predicted.kind) if row.predicted else ""
    return f"{row.predicted.text if row.predicted else UNKNOWN}{sign}", row.deviation


def _decisive() -> Sequence[_Column]:
    """What a variant is chosen by."""
    return (
        _Column("bits", "size", lambda row, _: (row.bits, row.size)),
        _Column("loss, %", "interval", _over(lambda row: row.loss)),
        _Column("J/token", "interval", _over(lambda row: row.energy)),
        _Column("predicted", "deviation", _predicted),
        _Column("CPU × ref.", "interval", _over(lambda row: row.versus_reference)),
        _Column("CPU × int8", "interval", _over(lambda row: row.versus_int8)),
    )


def _further() -> Sequence[_Column]:
    """What else was measured on it."""
    return (
        _Column("KL, mnat", "interval", _over(lambda row: row.kl)),
        _Column("top-1, %", "interval", _over(lambda row: row.top1)),
        _Column("cloze, %", "interval", _over(lambda row: row.cloze)),
        _Column("prefill, ms", "CPU/token", _over(lambda row: row.prefill_cpu)),
        _Column("decode, ms", "CPU/token", _over(lambda row: row.decode_cpu)),
    )


def _table(
    rows: Sequence[view.Row], columns: Sequence[_Column], glyphs: Glyphs, console: Console
) -> RenderableType:
    table = ruled(console)
    table.add_column("", min_width=1)
    table.add_column("variant\nrole", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.head}\n{column.under}", justify="right", no_wrap=True)
    for row in rows:
        mark = glyphs.chosen if row.chosen else glyphs.front if row.on_front else ""
        table.add_row(
            mark,
            stacked(row.name, row.role if row.meets_budget else f"{row.role}, over budget"),
            *(stacked(*column.cell(row, glyphs)) for column in columns),
            style="bold green" if row.chosen else "" if row.meets_budget else "yellow",
        )
    return table


def _front(rows: Sequence[view.Row], glyphs: Glyphs, console: Console) -> Iterable[RenderableType]:
    if console.width < NARROW:
        yield _stories(rows, glyphs)
    else:
        yield _table(rows, _decisive(), glyphs, console)
        yield Text()
        yield _table(rows, _further(), glyphs, console)


def _stories(rows: Sequence[view.Row], glyphs: Glyphs) -> RenderableType:
    """The front for narrow terminals: a few lines per variant."""
    lines: list[Text] = []
    for row in rows:
        mark = glyphs.chosen if row.chosen else glyphs.front if row.on_front else " "
        flags = f" ({row.flags})" if row.flags else ""
        lines.append(Text(f"{mark} {row.name}, {row.role}{flags}", style="bold"))
        for label, figure in _told(row):
            if figure is not None:
                sign = glyphs.kind(figure.kind)
                lines.append(Text(f"    {label}: {figure.full}{sign}"))
        lines.append(Text(f"    {row.bits} bits, {row.size}; prediction off by {row.deviation}"))
    return Group(*lines)


def _told(row: view.Row) -> Iterable[tuple[str, Figure | None]]:
    return (
        ("perplexity loss", row.loss),
        ("KL, mnat/token", row.kl),
        ("top-1", row.top1),
        ("cloze", row.cloze),
        ("J/token", row.energy),
        ("CPU ms/token, prefill", row.prefill_cpu),
        ("CPU ms/token, decode", row.decode_cpu),
        ("CPU × reference", row.versus_reference),
        ("CPU × uniform int8", row.versus_int8),
        ("predicted J/token", row.predicted),
    )


def _legend(glyphs: Glyphs) -> Text:
    return Text(
        f"{glyphs.chosen} chosen  {glyphs.front} on the Pareto front  "
        f"{glyphs.modelled} modelled  {glyphs.assumed} assumed  no sign: measured"
        "  CPU and J per token",
        style="dim",
    )


def _certainties(outcome: Outcome, glyphs: Glyphs) -> Iterable[RenderableType]:
    sure, unsure = verdict.certainties(outcome)
    if sure:
        yield title("What is certain")
        yield from (_check(text, "", glyphs, passed=True) for text in sure)
    if unsure:
        yield title("What is not")
        yield from (Text(f"{glyphs.unsure} {text}") for text in unsure)


def _check(name: str, detail: str, glyphs: Glyphs, *, passed: bool) -> Text:
    sign = (glyphs.passed, "green") if passed else (glyphs.failed, "bold red")
    return Text.assemble(sign, f" {name}{f': {detail}' if detail else ''}")


def _notes(outcome: Outcome) -> Iterable[RenderableType]:
    if outcome.facts.notes:
        yield title("Worth knowing")
        yield from (Text(f"- {note}") for note in outcome.facts.notes)


def _job(outcome: Outcome) -> str:
    seconds = sum(step.seconds for step in outcome.steps)
    resumed = [step.name for step in outcome.steps if step.resumed]
    energy = outcome.job_energy
    text = (
        f"{duration(seconds)} in {len(outcome.steps)} steps"
        f"{f' ({len(resumed)} taken from an earlier run)' if resumed else ''},"
        f" {amount(energy.value, 'J')} ({amount(energy.low, 'J')} to {amount(energy.high, 'J')},"
        f" {energy.kind}); memory {amount(outcome.peak_memory_bytes, 'B')} of"
        f" {amount(outcome.stated_memory_bytes, 'B')} stated."
    )
    if outcome.payback_tokens is not None:
        text += f" Paid back after {plain(outcome.payback_tokens)} tokens."
    return text


def _sample(outcome: Outcome) -> RenderableType:
    prompt = Text(outcome.sample_prompt, style="bold")
    return Group(
        Padding(Text("Generated by the exported model:", style="dim"), (1, 0, 0, 0)),
        prompt + Text(outcome.sample_text, style="italic not bold"),
    )
