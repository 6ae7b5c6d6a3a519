"""One report in every form it can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console

from negawatt.core.outcome import Outcome
from negawatt.reports.book import Book
from negawatt.reports.compare import Comparison
from negawatt.reports.files import replace_all
from negawatt.reports.table import Line


@dataclass(frozen=True, slots=True)
class Forms:
    """How something is shown; each form is made only when it is asked for."""

    html: Callable[[], str]
    json: Callable[[], str]
    show: Callable[[Console], None]
    title: str
    said: tuple[str, ...]
    lines: tuple[Line, ...]

    @classmethod
    def of_outcome(cls, outcome: Outcome) -> Self:
        """The result of an optimisation."""
        from negawatt.reports import jsonfile, table, terminal, verdict, webpage

        sure, unsure = verdict.certainties(outcome)
        return cls(
            lambda: webpage.page(outcome),
            lambda: jsonfile.text(outcome),
            lambda console: terminal.show(outcome, console),
            f"{outcome.facts.model}: fewer joules per token",
            (verdict.headline(outcome), outcome.decision.because, *sure, *unsure),
            table.of_outcome(outcome),
        )

    @classmethod
    def of_book(cls, read: Book) -> Self:
        """The totals of a ledger."""
        from negawatt.reports import book, table

        return cls(
            lambda: book.page(read),
            lambda: book.as_json(read),
            lambda console: book.show(read, console),
            f"Energy ledger: {read.name}",
            (
                f"{read.head.sequence} entries verify; shown: {read.choice}.",
                f"The chain ends in {read.head.sequence}:{read.head.hash}.",
                book.APART,
                *read.notes,
            ),
            table.of_book(read),
        )

    @classmethod
    def of_comparison(cls, found: Comparison) -> Self:
        """Before and after."""
        from negawatt.reports import table, versus

        return cls(
            lambda: versus.page(found),
            lambda: versus.as_json(found),
            lambda console: versus.show(found, console),
            f"{found.before.name} and {found.after.name}: before and after",
            (
                f"Before: {versus.told(found.before)}. After: {versus.told(found.after)}.",
                *(change.sentence for change in found.changes),
                *(versus.factors(change) for change in found.changes),
                *found.notes,
            ),
            table.of_comparison(found),
        )

    def write(self, places: Mapping[str, Path]) -> None:
        """Write the forms that are asked for, all or none of them.

        Args:
            places: "html", "csv" or "pdf", and the file each goes into.

        Raises:
            OutputError: a file cannot be written.
            RuntimeUnavailable: PDF is asked for and its package is not installed.
        """
        made: dict[str, Callable[[], str | bytes]] = {
            "html": self.html,
            "csv": self._csv,
            "pdf": self._pdf,
        }
        replace_all({path: made[form]() for form, path in places.items()})

    def _csv(self) -> str:
        from negawatt.reports.table import as_csv

        return as_csv(self.lines)

    def _pdf(self) -> bytes:
        from negawatt.reports.paper import pdf

        return pdf(self.title, self.said, self.lines)
