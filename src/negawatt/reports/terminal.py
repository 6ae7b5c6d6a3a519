"""An outcome on a terminal: the front, the reason, what is certain, what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from negawatt.core.estimate import Kind
from negawatt.core.outcome import Outcome
from negawatt.reports import verdict, view
from negawatt.reports.figures import UNKNOWN, Figure, Sources, amount, duration, plain

#: Below this width the front is told variant by variant instead of as a table.
NARROW = 100
#: What a file or a pipe gets, whatever the terminal behind it is.
PLAIN_WIDTH = 112


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few signs that a plain ASCII output cannot show."""

    chosen: str
    front: str
    passed: str
    failed: str
    unsure: str
    assumed: str
    modelled: str
    measured: str

    def kind(self, kind: Kind) -> str:
        """The sign that stands after a figure of this kind."""
        signs = {Kind.MEASURED: self.measured, Kind.MODELLED: self.modelled}
        return signs.get(kind, self.assumed)


def show(outcome: Outcome, console: Console) -> None:
    """Print an outcome; in colour and rules on a terminal, plain in a pipe or a file."""
    console = _fitting(console)
    glyphs = _glyphs(console)
    sources = Sources()
    rows = view.rows(outcome, sources)
    blocks: list[RenderableType] = [
        Text(f"{outcome.facts.model} ({outcome.facts.architecture})", style="bold"),
        Text(verdict.headline(outcome), style="green"),
        _title("The front"),
        *_front(rows, glyphs, console),
        _legend(glyphs),
        _title(f"Why {outcome.decision.choice}"),
        Text(outcome.decision.because),
        *_certainties(outcome, glyphs),
        _title("Checks"),
        *(
            _check(check.name, check.detail, glyphs, passed=check.passed)
            for check in outcome.checks
        ),
        *_notes(outcome),
        _title("The job"),
        Text(_job(outcome)),
        _title("What came out"),
        *(Text(f"{name}: {place}") for name, place in outcome.artifacts.items()),
        _sample(outcome),
        _title("Where the figures come from"),
        *(
            Text(
                f"{glyphs.kind(one.kind)} {one.kind}: {one.source}"
                f"{f' [{one.boundary}]' if one.boundary else ''}: {', '.join(one.used_for)}",
                style="dim",
            )
            for one in sources.listed()
        ),
    ]
    _print(Group(*(Padding(block, (0, 1)) for block in blocks)), console)


def _fitting(console: Console) -> Console:
    """The console itself, or a plain one of a fixed width when nobody watches."""
    if console.is_terminal:
        return console
    return Console(
        file=console.file, width=PLAIN_WIDTH, color_system=None, force_terminal=False,
        legacy_windows=False, safe_box=True, emoji=False, highlight=False,
    )  # fmt: skip


def _print(what: RenderableType, console: Console) -> None:
    if _speaks_unicode(console):
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    console.file.write(captured.get().translate(str.maketrans("×…—µ–", "x:-u-")))


def _speaks_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _glyphs(console: Console) -> Glyphs:
    if _speaks_unicode(console):
        return Glyphs("▶", "●", "✓", "✗", "○", "?", "~", "")
    return Glyphs(">", "*", "ok", "FAILED", "-", "?", "~", "")


def _title(text: str) -> RenderableType:
    return Padding(Text(text, style="bold cyan"), (1, 0, 0, 0))


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
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal and _speaks_unicode(console) else None, padding=(0, 1, 0, 0),
                  show_edge=False, pad_edge=False)  # fmt: skip
    table.add_column("", min_width=1)
    table.add_column("variant\nrole", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.head}\n{column.under}", justify="right", no_wrap=True)
    for row in rows:
        mark = glyphs.chosen if row.chosen else glyphs.front if row.on_front else ""
        table.add_row(
            mark,
            _stacked(row.name, row.role if row.meets_budget else f"{row.role}, over budget"),
            *(_stacked(*column.cell(row, glyphs)) for column in columns),
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


def _stacked(upper: str, lower: str) -> Text:
    return Text.assemble(upper, "\n", (lower, "dim not bold"))


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
        yield _title("What is certain")
        yield from (_check(text, "", glyphs, passed=True) for text in sure)
    if unsure:
        yield _title("What is not")
        yield from (Text(f"{glyphs.unsure} {text}") for text in unsure)


def _check(name: str, detail: str, glyphs: Glyphs, *, passed: bool) -> Text:
    sign = (glyphs.passed, "green") if passed else (glyphs.failed, "bold red")
    return Text.assemble(sign, f" {name}{f': {detail}' if detail else ''}")


def _notes(outcome: Outcome) -> Iterable[RenderableType]:
    if outcome.facts.notes:
        yield _title("Worth knowing")
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
