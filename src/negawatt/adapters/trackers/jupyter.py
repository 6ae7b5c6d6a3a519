"""Jupyter: the magic `%%negawatt`, which measures a cell, and `%negawatt` for a line."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Measured, Stretch

_USAGE = "%%negawatt [NAME] [-o VARIABLE]"


def rows(measured: Measured) -> list[tuple[str, Estimate]]:
    """What is shown: everything known, each boundary, the clocks."""
    return [
        ("energy", measured.energy),
        *measured.energies.items(),
        ("CPU time", measured.cpu_seconds),
        ("time", measured.wall_seconds),
    ]


def as_text(measured: Measured) -> str:
    """Lines for a terminal."""
    lines = [f"{name:>12}  {estimate}" for name, estimate in rows(measured)]
    return "\n".join([measured.name, *lines, f"{'includes':>12}  {measured.energy.boundary}"])


def as_html(measured: Measured) -> str:
    """A table for a notebook; sources show on hover."""
    body = "".join(
        f'<tr title="{html.escape(estimate.source)}"><th>{html.escape(name)}</th>'
        f"<td>{html.escape(str(estimate))}</td></tr>"
        for name, estimate in rows(measured)
    )
    includes = html.escape(measured.energy.boundary)
    return (
        f"<table><caption>{html.escape(measured.name)}</caption>{body}"
        f"<tr><th>includes</th><td>{includes}</td></tr></table>"
    )


def parse(line: str) -> tuple[str, str | None]:
    """The name of the window, and the variable that takes the result.

    >>> parse("warm up -o spent")
    ('warm up', 'spent')
    """
    name, flag, variable = line.strip().partition("-o ")
    if flag and not variable.strip().isidentifier():
        raise UsageError(f"-o wants the name of a variable: {line!r}", fix=f"write {_USAGE}")
    return name.strip() or "cell", variable.strip() or None


def extend(shell: Any, measure: Callable[[str], Stretch]) -> None:
    """Give an IPython shell the magic.

    Args:
        shell: What IPython hands to an extension.
        measure: Makes the windows.
    """
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    def negawatt(line: str, cell: str | None = None) -> None:
        name, variable = parse(line) if cell is not None else (line, None)
        window = measure(name).start()
        try:
            ran = shell.run_cell(line if cell is None else cell)
        finally:
            measured = window.stop().result
        if variable is not None:
            shell.user_ns[variable] = measured
        shown = {"text/plain": as_text(measured), "text/html": as_html(measured)}
        display(shown, raw=True)  # type: ignore[no-untyped-call,unused-ignore]
        failure = ran.error_before_exec or ran.error_in_exec
        if failure is not None:  # whoever runs all cells must stop here; one traceback is enough
            failure._render_traceback_ = list
            raise failure

    negawatt.__doc__ = f"Measure what a cell spends: {_USAGE}"
    shell.register_magic_function(negawatt, "line_cell", "negawatt")
